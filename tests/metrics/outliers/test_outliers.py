"""Scores against their formulas, the level of p-values, and data in the form of a run."""

import csv
import html
import math

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo import Dataset
from genzoo.errors import DataError, SettingError
from genzoo.metrics import Background, png_bits
from tests.metrics.stand_in import StandIn

SHAPE = (1, 4, 4)
BITS = {"name": "digits", "binarize": "threshold"}


def model(**methods):
    return StandIn(SHAPE, modules=list, eval=lambda: None, **methods)


def total(x):
    return x.flatten(1).sum(1)


def uniform_levels(rows, levels):
    return torch.randint(levels, (rows, *SHAPE), dtype=torch.uint8)


@pytest.fixture(scope="module")
def nade(tmp_path_factory):
    """A run folder of a NADE on binary digits."""
    folder = tmp_path_factory.mktemp("runs") / "nade"
    genzoo.fit({"name": "nade", "hidden": 32}, BITS, folder, steps=100, log_every=100)
    return folder


@pytest.fixture
def pictures(tmp_path):
    """A folder with the first 20 held-out digits as files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = np.asarray(genzoo.build("digits", "datasets").test["x"])[:20, 0]
    for number, row in enumerate(rows):
        gray = np.round(row * (255 / 16)).astype(np.uint8)
        Image.fromarray(gray).save(folder / f"{number:02}.png")
    return folder


def test_scores_are_their_formulas():
    exact = model(log_prob=total, reconstruct=lambda x: x / 2, is_discrete=True, bits_per_dim=total)
    train, test, new = (uniform_levels(rows, 5) for rows in (30, 30, 7))
    reference = Dataset({"x": train}, {"x": test}, levels=5)
    scores = genzoo.outliers(exact, Dataset({"x": new}, levels=5), reference, batch_size=4)
    nats = {name: (x / 4).double().sum((1, 2, 3)) for name, x in (("train", train), ("new", new))}
    expected = {
        "negative_log_likelihood": -nats["new"],
        "typicality": (nats["new"] - nats["train"].mean()).abs(),
        "complexity_corrected": -nats["new"] / math.log(2)
        - png_bits((new * (255 / 4)).round().byte()),
        "reconstruction_error": (new / 8).double().square().mean((1, 2, 3)),
    }
    for kind in ("independent", "markov"):
        background = Background(kind, levels=5, shape=SHAPE).fit([train])
        expected[f"{kind}_ratio"] = background.log_prob(new) - nats["new"]
    assert set(scores.scores) == set(expected)
    for score, values in expected.items():
        torch.testing.assert_close(scores[score], values, rtol=1e-5, atol=1e-5)
    assert scores.units == {
        "negative_log_likelihood": "nats, exact",
        "typicality": "nats",
        "independent_ratio": "nats",
        "markov_ratio": "nats",
        "complexity_corrected": "bits",
        "reconstruction_error": "squared error per pixel",
    }
    assert len(scores) == 7
    assert [row.name for row in scores] == list("0123456")
    assert next(iter(scores)).scores["typicality"] == scores["typicality"][0].item()


def test_a_density_of_dequantized_data_is_a_probability_of_levels():
    """The uniform density gives each of the 5 levels of 16 pixels the probability 1/5."""
    density = model(log_prob=lambda x: torch.zeros(len(x)))
    train, new = uniform_levels(30, 5), uniform_levels(7, 5)
    reference = Dataset({"x": train}, {"x": train}, levels=5, dequantize=True)
    scores = genzoo.outliers(density, Dataset({"x": new}, levels=5), reference)
    log_p = Background("markov", levels=5, shape=SHAPE).fit([train]).log_prob(new)
    bits = 16 * math.log2(5) - png_bits((new * (255 / 4)).round().byte())
    torch.testing.assert_close(scores["markov_ratio"], log_p + 16 * math.log(5))
    torch.testing.assert_close(scores["complexity_corrected"], bits)
    assert scores.units["complexity_corrected"] == "bits"


def test_a_density_of_other_data_has_an_unknown_constant():
    density = model(log_prob=total)
    scores = genzoo.outliers(density, torch.rand(3, 4, 4), (torch.rand(9, 4, 4),) * 2)
    assert scores.units["markov_ratio"] == "nats, up to a constant"
    assert scores.units["complexity_corrected"] == "bits, up to a constant"


def test_a_bound_is_called_a_bound_and_its_noise_is_reproducible():
    bounded = model(elbo=lambda x: total(x) + torch.randn(len(x)))
    reference = (torch.rand(9, 4, 4), torch.rand(9, 4, 4))
    x = torch.rand(5, 4, 4)
    scores, again, other = (
        genzoo.outliers(bounded, x, reference, seed=seed, scores=names)
        for seed, names in ((0, None), (0, ["negative_elbo"]), (1, None))
    )
    assert scores.units["negative_elbo"] == "nats, an upper bound"
    assert "negative_log_likelihood" not in scores.scores
    assert torch.equal(scores["negative_elbo"], again["negative_elbo"])
    assert not torch.equal(scores["negative_elbo"], other["negative_elbo"])


@pytest.mark.parametrize(
    ("method", "name"), [("log_prob", "negative_log_likelihood"), ("elbo", "negative_elbo")]
)
def test_a_model_of_bits_has_no_likelihood_of_gray_values(method, name):
    bernoulli = model(**{method: total}, is_discrete=True)
    gray = (torch.rand(9, 4, 4), torch.rand(9, 4, 4))
    scores = genzoo.outliers(bernoulli, torch.rand(3, 4, 4), gray)
    assert scores.units == {name: "nats, a cross-entropy of gray values", "typicality": "nats"}
    bits = tuple(x.round() for x in gray)
    scores = genzoo.outliers(bernoulli, torch.rand(3, 4, 4).round(), bits)
    assert "cross-entropy" not in scores.units[name]
    assert "markov_ratio" in scores.scores


def test_a_background_that_does_not_fit_into_memory_is_left_out(monkeypatch):
    """The Markov chain of 5 levels needs 5 * 5 numbers for each of 16 values, in three tables."""
    x = uniform_levels(30, 5)
    reference = Dataset({"x": x}, {"x": x}, levels=5, dequantize=True)
    density, new = model(log_prob=total), Dataset({"x": x[:7]}, levels=5)
    expected = genzoo.outliers(density, new, reference)
    monkeypatch.setattr("genzoo.memory.free_memory", lambda _: 3 * 8 * 16 * 5**2 - 1)
    scores = genzoo.outliers(density, new, reference)
    assert set(expected.scores) - set(scores.scores) == {"markov_ratio"}
    torch.testing.assert_close(scores["independent_ratio"], expected["independent_ratio"])
    with pytest.raises(SettingError, match=r"'markov'.*choose other scores"):
        genzoo.outliers(density, new, reference, scores="markov_ratio")


def test_vectors_have_no_background_and_only_what_they_support():
    density = StandIn((3,), modules=list, eval=lambda: None, log_prob=total)
    scores = genzoo.outliers(density, torch.randn(4, 3), (torch.randn(9, 3), torch.randn(9, 3)))
    assert list(scores.scores) == ["negative_log_likelihood", "typicality"]
    bits = torch.randint(2, (9, 3)).float()
    discrete = StandIn((3,), modules=list, eval=lambda: None, log_prob=total, levels=2)
    scores = genzoo.outliers(discrete, bits[:4], (bits, bits))
    assert list(scores.scores)[2:] == ["independent_ratio", "markov_ratio"]


@pytest.mark.parametrize("score", ["typicality", "negative_log_likelihood", "markov_ratio"])
def test_the_test_has_its_level_on_samples_of_the_model(score):
    torch.manual_seed(0)
    net = genzoo.load("nade", shape=SHAPE)
    for parameter in net.parameters():
        parameter.data += torch.randn_like(parameter) / 2
    train, test, new = net.sample(6000).split(2000)
    scores = genzoo.outliers(net, new, (train, test), scores=score)
    p_values = scores.p_values(score)
    for level in (0.01, 0.05, 0.2):
        spread = math.sqrt(level * (1 - level) * (1 / 2000 + 1 / 2000))
        rejected = (p_values <= level).double().mean().item()
        # Typicality has few different values here, and ties make the test cautious.
        assert level - 4 * spread < rejected < level + 4 * spread
    coins = torch.randint(2, new.shape).float()
    noise = genzoo.outliers(net, coins, (train, test), scores=score)
    assert (noise.p_values(score) <= 0.05).double().mean() > 0.2


def test_p_values_count_the_inliers_that_are_at_least_as_unusual():
    exact = model(log_prob=lambda x: -total(x))
    rows = torch.arange(4.0)[:, None, None].expand(4, 4, 4) / 16  # scores 0, 1, 2, 3
    new = torch.tensor([0.5, 2, 2.5, 9])[:, None, None].expand(4, 4, 4) / 16
    scores = genzoo.outliers(exact, new, (rows, rows), scores="negative_log_likelihood")
    p_values = scores.p_values("negative_log_likelihood")
    assert p_values.tolist() == pytest.approx([4 / 5, 3 / 5, 2 / 5, 1 / 5])


def test_the_mode_of_a_normal_is_likely_but_not_typical():
    """The known failure of the likelihood, and a cure.

    The squared norm of a standard normal vector with 64 coordinates is about 64, never near 0.
    """
    normal = StandIn((64,), modules=list, eval=lambda: None, log_prob=lambda x: -total(x * x) / 2)
    reference = torch.randn(300, 64), torch.randn(300, 64)
    scores = genzoo.outliers(normal, 0.1 * torch.randn(50, 64), reference)
    assert scores.auroc("negative_log_likelihood").value == 0
    assert scores.auroc("typicality").value == 1


def test_files_have_the_scores_of_their_rows(nade, pictures):
    from_files = genzoo.outliers(nade, pictures)
    from_rows = genzoo.outliers(nade, "digits")
    assert len(from_rows) == 297
    assert from_files.names == tuple(str(pictures / f"{row:02}.png") for row in range(20))
    for score in from_files.scores:
        torch.testing.assert_close(from_files[score], from_rows[score][:20])
    listed = genzoo.outliers(nade, [str(pictures / "03.png"), pictures / "01.png"])
    assert torch.equal(listed["typicality"], from_files["typicality"][[3, 1]])
    for data in (BITS, genzoo.build(BITS, "datasets")):
        torch.testing.assert_close(
            genzoo.outliers(nade, data)["typicality"], from_rows["typicality"]
        )


def test_gray_runs_read_files_at_their_levels(pictures):
    run = genzoo.fit("vae", "digits", steps=2)
    rows = genzoo.build("digits", "datasets").test["x"][:20]
    files = genzoo.outliers(run, pictures, scores="reconstruction_error")
    arrays = genzoo.outliers(run, rows.astype(np.float32) / 16, scores="reconstruction_error")
    torch.testing.assert_close(files["reconstruction_error"], arrays["reconstruction_error"])


def test_level_numbers_stored_as_gray_levels_are_noticed(nade, pictures):
    for file in pictures.iterdir():
        Image.fromarray((np.asarray(Image.open(file)) // 16).astype(np.uint8)).save(file)
    with pytest.warns(UserWarning, match=r"No pixel of the pictures is above 15\."):
        genzoo.outliers(nade, pictures)


def test_unreadable_files_are_listed(nade, pictures):
    (pictures / "05.png").write_bytes(b"no picture")
    scores = genzoo.outliers(nade, pictures)
    assert list(scores.failed) == [str(pictures / "05.png")]
    assert len(scores) == 19
    assert str(pictures / "05.png") not in scores.names


def test_the_table_and_the_file_hold_all_scores(nade, pictures, tmp_path):
    (pictures / "00.png").rename(pictures / 'a,"b".png')
    scores = genzoo.outliers(nade, pictures)
    scores.to_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == list(scores.names)
    for score in scores.scores:
        assert [float(line[score]) for line in lines] == scores[score].tolist()
        p_values = [float(line[f"{score}_p_value"]) for line in lines]
        assert p_values == scores.p_values(score).tolist()
    table = scores.table(2)
    for score, unit in scores.units.items():
        area = scores.auroc(score)
        assert any(
            line.startswith(score) and f"{area.value:.3f}" in line for line in table.splitlines()
        )
        assert unit in table
    most = scores.names[scores["typicality"].argmax()]
    assert most in table.splitlines()[-2]
    assert scores.table(1, by="markov_ratio").splitlines()[-2] == "p-value of markov_ratio"
    assert str(scores) == scores.table()
    assert html.unescape(scores._repr_html_()) == f"<pre>{scores.table()}</pre>"
    single = genzoo.outliers(nade, pictures / "01.png")
    assert "01.png" in single.table()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("digitz", SettingError, r"\"digitz\" is not a file.*Did you mean 'digits'"),
        (["digits", "toy"], SettingError, r"\"digits\" is a dataset.*\./digits"),
        ("fashion", SettingError, "'fashion-mnist'"),
        (torch.zeros(2, 9, 8), DataError, r"shape \(1, 9, 8\), but the model reads \(1, 8, 8\)"),
        ({"y": torch.zeros(2, 8, 8)}, DataError, "no column 'x'"),
    ],
)
def test_data_that_do_not_fit_are_refused(nade, data, error, message):
    with pytest.raises(error, match=message):
        genzoo.outliers(nade, data)


def test_values_outside_the_range_of_the_levels_are_refused():
    levels = uniform_levels(9, 5).flatten(1)
    vectors = StandIn((16,), modules=list, eval=lambda: None, log_prob=total)
    reference = Dataset({"x": levels}, {"x": levels}, levels=5)
    with pytest.raises(DataError, match=r"spans -?\d.* to \d.*values from 0 to 1"):
        genzoo.outliers(vectors, 3 * torch.rand(5, 16), reference)


def test_scores_and_models_that_do_not_fit_are_refused(nade):
    with pytest.raises(SettingError, match=r"NADE does not support .*Did you mean 'typicality'"):
        genzoo.outliers(nade, "digits", scores="typical")
    with pytest.raises(SettingError, match=r"NADE does not support .*\"reconstruction_error\""):
        genzoo.outliers(nade, "digits", scores=["typicality", "reconstruction_error"])
    with pytest.raises(
        SettingError, match=r"need log_prob, elbo, or reconstruct; GAN provides none"
    ):
        genzoo.outliers(genzoo.load("gan", shape=(1, 8, 8)), "digits", "digits")
    with pytest.raises(SettingError, match="pass them"):
        genzoo.outliers(genzoo.load("vae", shape=(1, 8, 8)), "digits")
    conditional = genzoo.load("pixel-rnn", shape=(1, 8, 8), classes=10)
    with pytest.raises(SettingError, match="a single column"):
        genzoo.outliers(conditional, "digits", BITS)
    scores = genzoo.outliers(nade, "digits")
    with pytest.raises(SettingError, match=r"no score \"typical\".*'typicality'"):
        scores.p_values("typical")


def test_text_is_refused():
    symbols = Dataset(
        {"x": torch.zeros(3, 4).byte()}, {"x": torch.zeros(3, 4).byte()}, symbols=5, levels=5
    )
    text = StandIn((4, 5), modules=list, eval=lambda: None, log_prob=total)
    with pytest.raises(DataError, match="numbers only"):
        genzoo.outliers(text, symbols, symbols)
