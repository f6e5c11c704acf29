"""The commands that generate data, for models with labels."""

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.contract import Dataset
from genzoo.plots import sheet
from genzoo.registry.lookup import registries
from genzoo.train.pictures import picture, sheet_labels
from tests.toys import Translator

SMALL = {"name": "mlp", "hidden": (8,)}
NAMES = ("zero", "one", "two")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = {"latent_dim": 2, "encoder": SMALL, "decoder": SMALL, "shape": (1, 8, 8)}
    return genzoo.load("vae", classes=10, **settings).eval()


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    """Save an untrained model of digits."""
    return genzoo.save(model, tmp_path_factory.mktemp("labels") / "run", "digits")


def sampled(genzoo_, tmp_path, *arguments):
    code, text = genzoo_(*arguments, "-o", tmp_path / "x.npy")
    assert code == 0, text
    return torch.from_numpy(np.load(tmp_path / "x.npy"))


def test_a_sheet_has_a_row_for_each_class(genzoo_, run, model, tmp_path):
    samples = sampled(genzoo_, tmp_path, "sample", run, "--seed", 3)
    torch.manual_seed(3)
    codes = torch.randn(80, 2)
    with torch.no_grad():
        expected = model.decode(codes, torch.arange(80) // 8)
    torch.testing.assert_close(samples, expected)
    genzoo_("sample", run, "-o", tmp_path / "x.png")
    expected_sheet = sheet(samples_of_seed(model, 0), 8, labels=[*map(str, range(10))])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.asarray(expected_sheet))


def samples_of_seed(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        return model.decode(torch.randn(80, 2), torch.arange(80) // 8)


def test_other_columns_label_each_image(genzoo_, run, model, tmp_path):
    code, text = genzoo_("sample", run, "--columns", 16, "-o", tmp_path / "x.png")
    assert code == 0, text
    names = [str(index // 8) for index in range(80)]
    expected = sheet(samples_of_seed(model, 0), 16, labels=names)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.asarray(expected))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (2, ["a", "b", "2"]),
        (3, ["a", "a", "b", "b", "2", "2"]),
        (1, ["a", "a", "b", "b", "2", "2"]),
    ],
)
def test_a_row_of_one_class_has_one_label(columns, expected):
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert sheet_labels(labels, ["a", "b"], columns) == expected


def test_another_number_of_samples_is_spread_over_the_classes(genzoo_, run, model, tmp_path):
    samples = sampled(genzoo_, tmp_path, "sample", run, "-n", 5)
    torch.manual_seed(0)
    codes = torch.randn(5, 2)
    with torch.no_grad():
        expected = model.decode(codes, torch.tensor([0, 2, 4, 6, 8]))
    torch.testing.assert_close(samples, expected)


def test_a_label_is_a_number_or_a_name(genzoo_, model, tmp_path):
    data = Dataset(
        {"x": torch.rand(6, 1, 8, 8), "y": torch.arange(6) % 3}, metadata={"class_names": NAMES}
    )
    settings = {"latent_dim": 2, "encoder": SMALL, "decoder": SMALL}
    three = genzoo.load("vae", classes=3, shape=(1, 8, 8), **settings).eval()
    run = genzoo.save(three, tmp_path / "run", data)
    samples = [
        sampled(genzoo_, tmp_path, "sample", run, "-n", 4, "--label", label)
        for label in ("2", "two", "1")
    ]
    torch.manual_seed(0)
    codes = torch.randn(4, 2)
    with torch.no_grad():
        expected = three.decode(codes, torch.full((4,), 2))
    torch.testing.assert_close(samples[0], expected)
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])
    for wrong in ("3", "three", "-1"):
        code, text = genzoo_("sample", run, f"--label={wrong}")
        assert code == 2
        assert "choose 0 to 2, or zero, one, two" in text


def test_class_names_that_are_the_numbers_are_not_listed(genzoo_, run):
    code, text = genzoo_("sample", run, "--label", 10)
    assert code == 2
    assert "choose 0 to 9." in text


def test_a_model_without_labels_refuses_one(genzoo_, tmp_path):
    settings = {"latent_dim": 2, "encoder": SMALL, "decoder": SMALL}
    plain = genzoo.load("vae", shape=(1, 8, 8), **settings)
    run = genzoo.save(plain, tmp_path / "run", "digits")
    code, text = genzoo_("sample", run, "--label", 1)
    assert code == 2
    assert "not conditioned on labels" in text


def test_a_model_with_another_condition_refuses_a_label(genzoo_, tmp_path, monkeypatch):
    monkeypatch.setattr(registries["models"], "_registered", {})
    registries["models"].register("test-translator", Translator)
    run = genzoo.save(genzoo.load("test-translator", shape=(1, 8, 8)), tmp_path / "run")
    code, text = genzoo_("sample", run, "--label", 1)
    assert code == 2
    assert "not conditioned on labels" in text


def test_reconstructions_and_interpolations_use_the_labels_of_the_data(
    genzoo_, run, model, tmp_path
):
    test = genzoo.build("digits", "datasets").test
    x, y = torch.as_tensor(test["x"][:4]) / 16, torch.as_tensor(test["y"][:4])
    with torch.no_grad():
        codes = model.encode(x, y)
        expected = model.decode(codes, y)
        ends = model.decode(codes[2:], y[:2])
        fixed = model.decode(codes[:2], torch.tensor([7, 7]))
    pairs = sampled(genzoo_, tmp_path, "reconstruct", run, "-n", 4)
    torch.testing.assert_close(pairs[1::2], expected)
    paths = sampled(genzoo_, tmp_path, "interpolate", run, "-n", 2, "--steps", 3)
    torch.testing.assert_close(paths[::3], expected[:2])
    torch.testing.assert_close(paths[2::3], ends)
    paths = sampled(genzoo_, tmp_path, "interpolate", run, "-n", 2, "--steps", 3, "--label", 7)
    torch.testing.assert_close(paths[::3], fixed)


def test_arithmetic_is_decoded_at_one_label(genzoo_, run, model, tmp_path):
    torch.manual_seed(0)
    codes = torch.randn(80, 2)
    sums = codes[[8]] - codes[[1, 2]].mean(0, keepdim=True) + codes[[79]]
    for arguments, label in (([], 1), (["--label", 5], 5)):
        images = sampled(
            genzoo_, tmp_path, "arithmetic", run, "-a", 9, "-b", "2,3", "-c", 80, *arguments
        )
        with torch.no_grad():
            expected = model.decode(sums, torch.tensor([label]))
        torch.testing.assert_close(images[:1], expected)


def test_training_pictures_have_a_row_for_each_class(model):
    image = picture(model, genzoo.build("digits", "datasets"), seed=0)
    rows = image.figure().axes[0].texts
    assert [text.get_text() for text in rows] == [*map(str, range(10))]


def test_a_sheet_of_many_classes_has_one_sample_of_each_of_the_first(genzoo_, tmp_path):
    torch.manual_seed(0)
    settings = {"latent_dim": 2, "encoder": SMALL, "decoder": SMALL, "shape": (1, 8, 8)}
    many = genzoo.load("vae", classes=100, **settings).eval()
    run = genzoo.save(many, tmp_path / "run")
    samples = sampled(genzoo_, tmp_path, "sample", run)
    torch.manual_seed(0)
    with torch.no_grad():
        expected = many.decode(torch.randn(64, 2), torch.arange(64))
    torch.testing.assert_close(samples, expected)
    genzoo_("sample", run, "-n", 200, "-o", tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").width // 15 == Image.open(tmp_path / "x.png").width / 15
    shown = picture(many, genzoo.build("digits", "datasets"), seed=0).figure().axes[0]
    assert [text.get_text() for text in shown.texts] == [*map(str, range(64))]


def test_points_of_a_critic_with_labels_are_drawn_without_its_surface():
    points = Dataset({"x": torch.rand(30, 2), "y": torch.arange(30) % 3})
    nets = {"generator": SMALL, "critic": SMALL, "latent_dim": 2}
    gan = genzoo.load("gan", classes=3, shape=(2,), **nets)
    assert picture(gan, points, seed=0) is not None
