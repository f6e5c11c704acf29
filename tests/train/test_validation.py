"""Validation while training: set aside, measured, the best weights kept, stopped in time."""

import json
import math

import pytest
import torch

import genzoo
from genzoo import Dataset
from genzoo.contract import Measurement, Metric
from genzoo.data.validation import set_aside
from genzoo.errors import DataError, RunError, SettingError
from genzoo.registry.lookup import registry
from genzoo.runs.result import Best
from tests import games

ROWS = torch.arange(40.0).view(40, 1).expand(40, 2) / 40
SETTINGS = {"batch_size": 8, "progress": False, "log_every": 3}


class Scripted(Metric):
    """A metric whose values, by the first coordinate of the model, are given by a function."""

    values = staticmethod(lambda w: w)

    def __call__(self, evidence):
        w = float(evidence.samples[0, 0])
        yield Measurement(quantity="up", value=self.values(w), n=1, higher_is_better=True)
        yield Measurement(quantity="down", value=self.values(w), n=1, higher_is_better=False)
        yield Measurement(quantity="flat", value=self.values(w), n=1)


@pytest.fixture(autouse=True)
def _registered():
    """Register the metric for these tests only, because others measure with all metrics."""
    genzoo.metrics.register("test-scripted")(Scripted)
    yield
    registry("metrics").unregister("test-scripted")


@pytest.fixture
def scripted(monkeypatch):
    def set_values(function):
        monkeypatch.setattr(Scripted, "values", staticmethod(function))

    return set_values


def weights(path):
    return float(genzoo.load(path, checkpoint="best").w.detach()[0])


def test_rows_are_set_aside_once_and_for_all():
    data = set_aside(Dataset({"x": ROWS, "label": torch.arange(40)}), 0.25)
    assert (data.rows("train"), data.rows("validation")) == (30, 10)
    numbers = torch.cat([data.train["label"], data.validation["label"]])
    assert sorted(numbers.tolist()) == list(range(40))
    for columns in (data.train, data.validation):
        assert torch.equal(columns["x"][:, 0], columns["label"] / 40)
    again = set_aside(Dataset({"x": ROWS}), 0.25)
    assert torch.equal(again.validation["x"], data.validation["x"])
    own = Dataset({"x": ROWS}, validation={"x": ROWS[:3]})
    assert set_aside(own, 0.25) is own


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_split_without_rows_is_refused(fraction):
    with pytest.raises(DataError, match=r"train\.validation = .* of the 40 training rows"):
        set_aside(Dataset({"x": ROWS}), fraction)


def test_the_loss_is_that_of_rows_that_are_not_trained_on():
    run = genzoo.fit("test-mean", ROWS, steps=4, validation=0.25, evaluate_every=2, **SETTINGS)
    held = set_aside(Dataset({"x": ROWS}), 0.25).validation["x"][:8]  # whole batches only
    expected = 0.5 * (run.model.w - held).detach().square().sum(1).mean()
    assert [line["step"] for line in run.history] == [2, 3, 4]
    assert run.history[-1]["validation/loss"] == pytest.approx(float(expected), rel=1e-6)
    assert "validation/loss" not in run.history[1]
    assert run.best is None
    # an own split wins; it is read in batches of the training size
    own = Dataset({"x": ROWS}, validation={"x": torch.full((16, 2), 0.5)})
    run = genzoo.fit("test-mean", own, steps=1, validation=0.1, **SETTINGS)
    expected = (run.model.w.detach()[0] - 0.5) ** 2
    assert run.history[-1]["validation/loss"] == pytest.approx(float(expected), rel=1e-6)


def test_validation_does_not_change_training():
    data = Dataset({"x": ROWS}, validation={"x": ROWS})
    plain = genzoo.fit("test-mean", data, steps=6, **SETTINGS)
    watched = genzoo.fit("test-mean", data, steps=6, monitor="loss", evaluate_every=1, **SETTINGS)
    assert torch.equal(plain.model.w, watched.model.w)
    assert "validation/loss" not in plain.history[-1]


def test_the_best_weights_are_kept_in_the_direction_of_the_metric(tmp_path, scripted):
    # the weight rises from 0 towards 0.5
    scripted(lambda w: -abs(w - 0.2))
    options = {"steps": 12, "evaluate_every": 1, **SETTINGS}
    run = genzoo.fit("test-mean", ROWS, tmp_path / "up", monitor="test-scripted/up", **options)
    ws = {line["step"]: -line["validation/test-scripted/up"] for line in run.history}
    best = min(ws, key=ws.get)
    assert 1 < best < 12
    value = -ws[best]
    assert run.best == Best(step=best, quantity="validation/test-scripted/up", value=value)
    assert -abs(weights(tmp_path / "up") - 0.2) == pytest.approx(value, abs=1e-7)
    assert float(genzoo.load(tmp_path / "up").w.detach()[0]) != weights(tmp_path / "up")
    run = genzoo.fit("test-mean", ROWS, tmp_path / "down", monitor="test-scripted/down", **options)
    assert run.best.step == 12


def test_patience_ends_training_and_counts_as_complete(tmp_path, scripted):
    scripted(lambda w: float(w > 0.1))
    folder, options = tmp_path / "run", {"evaluate_every": 2, "patience": 3, **SETTINGS}
    monitor = "test-scripted/up"
    run = genzoo.fit("test-mean", ROWS, folder, steps=100, monitor=monitor, **options)
    assert run.steps == run.best.step + 6 < 100
    assert run.history[-1]["step"] == run.steps
    again = genzoo.fit(
        "test-mean", ROWS, folder, steps=100, monitor=monitor, resume=True, **options
    )
    assert again.was_complete
    assert (again.steps, again.best) == (run.steps, run.best)
    options["patience"] = 5
    more = genzoo.fit("test-mean", ROWS, folder, steps=100, monitor=monitor, resume=True, **options)
    assert more.steps == run.steps + 4


def test_without_a_monitor_patience_follows_the_loss():
    run = genzoo.fit("test-mean", ROWS, steps=500, patience=2, evaluate_every=5, **SETTINGS)
    assert run.best.quantity == "validation/loss"
    assert run.steps == run.best.step + 10


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_killed_run_resumes_to_the_same_best_weights(tmp_path, ema):
    options = {"monitor": "loss", "evaluate_every": 3, "checkpoint_every": 4, "ema": ema}
    options |= {"steps": 14, **SETTINGS}
    small = {"name": "mlp", "hidden": (4,)}
    table = {"name": "vae", "latent_dim": 2, "encoder": small, "decoder": small}
    table["sampler"] = {"name": "mog", "components": 2}
    data = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    folder = tmp_path / "run"
    whole = genzoo.fit(table, data, folder, **options)
    log, best = (folder / "metrics.jsonl").read_text(), genzoo.load(folder, checkpoint="best")
    # what a kill after step 9 leaves
    for name in ("checkpoints/step-000012.ckpt", "checkpoints/step-000014.ckpt"):
        (folder / name).unlink()
    for name in ("model.safetensors", "model-ema.safetensors", "best.safetensors"):
        (folder / name).unlink(missing_ok=True)
    again = genzoo.fit(table, data, folder, resume=True, **options)
    assert again.best == whole.best
    resumed = genzoo.load(folder, checkpoint="best")
    for name, value in best.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert resumed.sample(3).shape == (3, 1, 8, 8)  # the sampler is fitted
    times = ("seconds", "images_per_second")
    lines = [
        [
            {k: v for k, v in json.loads(line).items() if k not in times}
            for line in text.splitlines()
        ]
        for text in (log, (folder / "metrics.jsonl").read_text())
    ]
    assert lines[0] == lines[1]


def test_nan_is_never_the_best(scripted):
    scripted(lambda w: math.nan)
    options = {"evaluate_every": 1, "patience": 3, **SETTINGS}
    run = genzoo.fit("test-mean", ROWS, steps=50, monitor="test-scripted/up", **options)
    assert run.steps == 3
    assert run.best is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": "nonsense"}, "No metric named 'nonsense'"),
        ({"monitor": "test-scripted/left"}, "test-scripted/up, test-scripted/down"),
        ({"monitor": "test-scripted/flat"}, "neither higher nor lower"),
        ({"monitor": "likelihood"}, "Mean does not provide it"),
        ({"monitor": "loss", "validation": 0.0}, r"train\.monitor = 'loss' needs validation rows"),
        ({"patience": 2, "validation": 0.0}, r"train\.patience = 2 needs validation rows"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_training(tmp_path, settings, message):
    with pytest.raises(SettingError, match=message):
        genzoo.fit("test-mean", ROWS, tmp_path / "run", steps=2, **settings, **SETTINGS)
    assert not (tmp_path / "run" / "recipe.toml").exists()


def test_a_game_has_no_loss_to_monitor():
    with pytest.raises(SettingError, match="GAN has no single loss to monitor"):
        genzoo.fit("gan", torch.rand(40, 1, 8, 8), steps=1, monitor="loss", **SETTINGS)


def test_a_run_without_best_weights_says_how_to_get_them(tmp_path):
    genzoo.fit("test-mean", games.DATA, tmp_path / "run", steps=2, **SETTINGS)
    with pytest.raises(RunError, match=r"has no best\.safetensors; train with train\.monitor"):
        genzoo.load(tmp_path / "run", checkpoint="best")
    with pytest.raises(SettingError, match="'vae' is an untrained model"):
        genzoo.load("vae", checkpoint="best")
    with pytest.raises(SettingError, match='expected "last" or "best"'):
        genzoo.load(tmp_path / "run", checkpoint="first")


def test_a_resume_cannot_change_the_training_rows(tmp_path):
    genzoo.fit("test-mean", ROWS, tmp_path / "run", steps=2, **SETTINGS)
    with pytest.raises(RunError, match=r"train\.validation"):
        genzoo.fit(
            "test-mean", ROWS, tmp_path / "run", steps=4, resume=True, patience=2, **SETTINGS
        )


def test_a_resume_with_other_validation_rows_is_refused(tmp_path):
    def data(value):
        return Dataset({"x": ROWS}, validation={"x": torch.full((8, 2), value)})

    genzoo.fit("test-mean", data(0.1), tmp_path / "run", steps=2, monitor="loss", **SETTINGS)
    with pytest.raises(RunError, match="the validation column 'x' holds other values"):
        genzoo.fit(
            "test-mean",
            data(0.2),
            tmp_path / "run",
            steps=4,
            monitor="loss",
            resume=True,
            **SETTINGS,
        )
