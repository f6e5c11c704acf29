"""The command evaluate for samples of other programs, and for data other than a run's."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.common import parts

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(PIXELS):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vae"
    genzoo.fit({"name": "vae", "latent_dim": 2}, "digits", folder, steps=2, batch_size=8)
    return folder


def test_the_report_of_a_folder_of_images_is_next_to_it(genzoo_, images):
    before = sorted(images.iterdir())
    code, text = genzoo_("evaluate", images, "--data", "digits", "frechet", "texture")
    assert code == 0, text
    report = images.with_name("images-report")
    assert str(report) in text.replace("\n", "")
    assert sorted(images.iterdir()) == before
    expected = genzoo.evaluate(images, "digits", ["frechet", "texture"])
    assert (report / "evaluation.json").read_text(encoding="utf-8") == expected.to_json()
    assert expected.table() in text


def test_the_report_goes_where_the_option_says(genzoo_, images, tmp_path):
    out = tmp_path / "here"
    assert genzoo_("evaluate", images, "texture", "--data", "digits", "-o", out)[0] == 0
    assert json.loads((out / "evaluation.json").read_text())["n"] == 50
    code, text = genzoo_("evaluate", images, "texture", "--data", "digits", "-o", images / "report")
    assert code == 2
    assert "inside the folder of the samples" in text
    assert not (images / "report").exists()


def test_the_range_and_a_table_of_data(genzoo_, tmp_path):
    np.save(tmp_path / "tanh.npy", PIXELS / 127.5 - 1)
    np.save(tmp_path / "bytes.npy", PIXELS)
    table = '{name = "digits", binarize = "threshold"}'
    for name, options in (("tanh", ("--range", "-1", "1")), ("bytes", ())):
        code, text = genzoo_(
            "evaluate", tmp_path / f"{name}.npy", "texture", "--data", table, *options
        )
        assert code == 0, text
    reports = [tmp_path / f"{name}-report" / "evaluation.json" for name in ("tanh", "bytes")]
    values = [json.loads(path.read_text())["measurements"][0]["value"] for path in reports]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    bits = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    direct = genzoo.evaluate(PIXELS, bits, "texture")["texture", "power_ratio"].value
    assert values[1] == pytest.approx(direct)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits", "digits"),
        ("2024", "2024"),  # a folder, not a number
        ("true", "true"),
        ("[runs]", "[runs]"),
        ('{name = "toy", rows = 9}', {"name": "toy", "rows": 9}),
    ],
)
def test_only_tables_are_read_as_toml(text, expected):
    assert parts(data=text, network=None) == {"data": expected}


def test_samples_without_data_are_refused(genzoo_, images):
    code, text = genzoo_("evaluate", images)
    assert code == 2
    assert "--data digits" in text
    code, text = genzoo_("evaluate", images, "--data", "digitz")
    assert code == 2
    assert "Did you mean" in text


def test_a_run_is_evaluated_on_other_data(genzoo_, run, images):
    code, text = genzoo_("evaluate", run, "texture", "-n", "60")
    assert code == 0, text
    own = json.loads((run / "report" / "evaluation.json").read_text())
    table = '{name = "digits", binarize = "threshold"}'
    code, text = genzoo_("evaluate", run, "texture", "-n", "60", "--data", table)
    assert code == 0, text
    other = json.loads((run / "report" / "digits" / "evaluation.json").read_text())
    assert other["measurements"][0]["value"] != own["measurements"][0]["value"]
    assert json.loads((run / "report" / "evaluation.json").read_text()) == own
    code, text = genzoo_("evaluate", images, "texture", "--data", run, "-n", "60")
    assert code == 0, text
    code, text = genzoo_("evaluate", run, "texture", "--range", "0", "1")
    assert code == 2
    assert "value_range" in text


def test_a_network_is_chosen_for_all_metrics(genzoo_, run):
    table = '{name = "self-trained", steps = 5}'
    names = ("frechet", "precision-recall", "texture")
    code, text = genzoo_("evaluate", run, *names, "-n", "80", "--network", table)
    assert code == 0, text
    content = json.loads((run / "report" / "evaluation.json").read_text())
    rows = [row for row in content["measurements"] if row["metric"] != "texture"]
    (network,) = {row["network"] for row in rows}
    assert network.startswith("self-trained-v1 (seed 0, ")
    assert f"note: {network} was trained in 5 steps" in " ".join(text.split())
    code, text = genzoo_("evaluate", run, "frechet", "-n", "80", "--network", "pixels")
    assert code == 0, text
    assert "pixels-v1" in text
    code, text = genzoo_("evaluate", run, "frechet", "--network", "pixel")
    assert code == 2
    assert "Did you mean 'pixels'" in text


def test_runs_are_compared_on_a_table_of_data(genzoo_, run, tmp_path):
    table = '{name = "digits", binarize = "threshold"}'
    command = ("compare", run, "--metric", "texture", "-n", "60", "--data", table)
    code, text = genzoo_(*command, "-o", tmp_path)
    assert code == 0, text
    bits = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    expected = genzoo.evaluate(run, bits, "texture", n=60)["texture", "power_ratio"].value
    assert f"{expected:.4g}" in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_outliers_of_changed_data_name_a_way_out(genzoo_, tmp_path):
    rows = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))

    @genzoo.datasets.register("test-changing")
    def changing():
        return genzoo.Dataset({"x": rows[:32].clone()}, {"x": rows[32:].clone()})

    model = {"name": "vae", "latent_dim": 2}
    genzoo.fit(model, "test-changing", tmp_path / "run", steps=2, batch_size=8)
    np.save(tmp_path / "x.npy", rows.numpy())
    rows[39] = 0.5
    code, text = genzoo_("outliers", tmp_path / "run", tmp_path / "x.npy")
    assert code == 2
    assert "the test column 'x' holds other values" in text
    assert "genzoo.outliers(" in text
    assert "--data" not in text
    genzoo.outliers(str(tmp_path / "run"), rows.numpy(), reference=str(tmp_path / "run"))
