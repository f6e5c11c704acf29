"""Loggers receive the log and the pictures of a run, and cannot change or end it."""

import json
from types import SimpleNamespace

import pytest
import torch

import genzoo
from genzoo.contract import Logger
from genzoo.errors import SettingError, TrainingError
from genzoo.train import fit_seeds
from genzoo.train.artifacts import Artifacts
from tests.games import DATA, Mean  # noqa: F401 - the import registers the models

EACH = {"batch_size": 8, "checkpoint_every": 2, "log_every": 1, "sample_every": 2, "steps": 4}
CALLS = ["open 0", "log 1", "log 2", "log 3", "log 4", "close complete"]


class Recorder(Logger):
    """It records the calls."""

    def __init__(self) -> None:
        self.calls, self.runs, self.lines, self.files = [], [], [], []

    def open(self, run):
        self.calls.append(f"open {run.step}")
        self.runs.append(run)

    def log(self, step, values):
        self.calls.append(f"log {step}")
        self.lines.append({"step": step, **values})

    def picture(self, step, file):
        self.files.append((step, file.name, file.exists()))

    def close(self, status):
        self.calls.append(f"close {status}")


class Hostile(Recorder):
    """It changes whatever it can reach."""

    def log(self, step, values):
        super().log(step, values)
        values.clear()
        torch.manual_seed(step)
        torch.rand(1000)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)

    open = picture = close = lambda self, *_: self.log(0, {"loss": 0.0})


def broken(method, error=RuntimeError):
    """Return a logger whose method raises an error."""

    class Broken(Recorder):
        def fail(self, *_):
            raise error("the server is gone")

    setattr(Broken, method, Broken.fail)
    return Broken()


def train(*loggers, out=None, **settings):
    settings = {**EACH, "loggers": loggers, "progress": False, **settings}
    return genzoo.fit("test-game", DATA, out, **settings)


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


@pytest.fixture
def texts(monkeypatch):
    """Write samples as text and no curves: pictures take longer than the training here."""
    monkeypatch.setattr("genzoo.train.artifacts.can_plot", lambda: False)
    monkeypatch.setattr("genzoo.train.artifacts.picture", lambda *_: ["a line"])


@pytest.fixture(scope="module")
def quiet():
    """Return a run without loggers."""
    return train()


def test_a_logger_receives_the_log_of_a_run(quiet):
    logger = Recorder()
    run = train(logger)
    assert logger.calls == CALLS
    assert logger.lines == run.history
    facts = logger.runs[0]
    assert (facts.name, facts.folder, facts.step, facts.total) == ("test-game", None, 0, 4)
    assert facts.recipe["train"]["batch_size"] == 8


def test_a_logger_receives_the_pictures_of_a_run_with_a_folder(tmp_path, texts):
    logger = Recorder()
    train(logger, out=tmp_path / "run")
    names = [f"step-{step:06d}.txt" for step in (0, 2, 4)]
    assert logger.files == [(int(name[5:11]), name, True) for name in names]
    assert (logger.runs[0].name, logger.runs[0].folder) == ("run", tmp_path / "run")


def test_a_logger_cannot_change_the_run(quiet):
    logger = Hostile()
    run = train(logger)
    assert torch.equal(weights(run), weights(quiet))
    assert weights(run).dtype == torch.float32
    assert [line["step"] for line in run.history] == [1, 2, 3, 4]
    assert all("generator/loss" in line for line in run.history)


@pytest.mark.parametrize(
    ("method", "step"), [("open", 0), ("log", 1), ("picture", 0), ("close", 4)]
)
def test_a_broken_logger_is_one_warning(tmp_path, texts, quiet, method, step, recwarn):
    logger, other = broken(method), Recorder()
    run = train(logger, other, out=tmp_path / "run")
    (warning,) = recwarn
    assert (
        f"logger 'Broken' failed in {method} at step {step}: RuntimeError: the server is gone. "
        "Training continues without it" in str(warning.message)
    )
    assert "leave it out of train.loggers" in str(warning.message)
    assert torch.equal(weights(run), weights(quiet))
    assert other.calls == CALLS
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4


def test_the_warning_about_a_broken_logger_has_one_full_stop():
    def error(text):
        return OSError(text + ".")

    with pytest.warns(UserWarning, match=r"the server is gone\. Training"):
        train(broken("log", error))


def test_a_logger_that_breaks_is_closed_and_not_called_again():
    logger = broken("log")
    with pytest.warns(UserWarning, match="failed in log"):
        train(logger)
    assert logger.calls == ["open 0", "close failed"]


def test_a_logger_cannot_exit():
    with pytest.warns(UserWarning, match="failed in log at step 1: SystemExit"):
        assert train(broken("log", SystemExit)).steps == 4


def test_ctrl_c_within_a_logger_stops_the_run():
    other = Recorder()
    with pytest.raises(KeyboardInterrupt):
        train(other, broken("log", KeyboardInterrupt))
    assert other.calls == ["open 0", "log 1", "close stopped"]


def test_a_failed_run_is_closed_as_failed():
    logger = Recorder()
    with pytest.raises(TrainingError, match="nan"):
        genzoo.fit(
            {"name": "test-mean", "nan_at": 3}, DATA, **EACH, loggers=[logger], progress=False
        )
    assert logger.calls[-1] == "close failed"


def test_an_unwritable_log_is_one_warning(tmp_path, monkeypatch, texts, quiet, recwarn):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genzoo.train.loggers.jsonl.line_text", refuse)
    run = train(out=tmp_path / "run")
    (warning,) = recwarn
    assert "logger 'JSONL' failed in log at step 1: RunError" in str(warning.message)
    assert "metrics.jsonl could not be written: No space left on device" in str(warning.message)
    assert len(run.history) == 4
    assert torch.equal(weights(run), weights(quiet))


def lose_the_last_checkpoint(folder):
    """Remove the last checkpoint, as if a run had been killed just before it."""
    max((folder / "checkpoints").iterdir()).unlink()


def test_a_resume_continues_at_its_step(tmp_path, texts):
    train(out=tmp_path)
    lose_the_last_checkpoint(tmp_path)
    logger = Recorder()
    train(logger, out=tmp_path, resume=True, steps=6)
    assert logger.calls == ["open 2", "log 3", "log 4", "log 5", "log 6", "close complete"]
    (facts,) = logger.runs
    assert (facts.step, facts.last_step, facts.total) == (2, 4, 6)
    assert [line["step"] for line in facts.history] == [1, 2]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_logger_cannot_change_the_log_of_a_resumed_run(tmp_path, texts):
    class Forger(Recorder):
        def open(self, run):
            run.recipe["model"]["name"] = "forged"
            run.history[0]["generator/loss"] = -1.0

    before = train(out=tmp_path).history
    run = train(Forger(), out=tmp_path, resume=True, steps=6)
    assert run.history[:4] == before
    assert "forged" not in (tmp_path / "recipe.toml").read_text()


def test_a_complete_run_opens_no_logger(tmp_path, texts):
    train(out=tmp_path)
    logger = Recorder()
    assert train(logger, out=tmp_path, resume=True).was_complete
    assert logger.calls == []


def test_a_recipe_has_the_loggers_that_it_can_hold(tmp_path, texts):
    folder = tmp_path / "run"
    train("jsonl", {"name": "tensorboard"}, Recorder(), out=folder)
    recipe = genzoo.runs.RunFolder(folder).recipe()
    assert recipe["train"]["loggers"] == ["jsonl", {"name": "tensorboard"}]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4  # naming it makes no second one
    train(out=tmp_path / "default", loggers=None)
    assert "loggers" not in genzoo.runs.RunFolder(tmp_path / "default").recipe()["train"]


def test_the_way_back_names_loggers_that_are_objects(tmp_path, texts):
    with pytest.raises(KeyboardInterrupt, match=r"resume=True, loggers=loggers\)"):
        train(broken("log", KeyboardInterrupt), out=tmp_path)


def test_only_rank_0_logs():
    logger = Recorder()
    dataset = genzoo.data.as_dataset(DATA)
    for main in (False, True):
        engine = SimpleNamespace(main=main, device=torch.device("cpu"))
        artifacts = Artifacts(None, dataset, engine, 1, [logger])
        artifacts.open_loggers(0, 1)
        artifacts.add_line({"step": 1, "loss": 1.0})
    assert logger.calls == ["open 0", "log 1"]


def test_each_seed_is_a_run_of_its_own(tmp_path, texts):
    logger = Recorder()
    settings = {**EACH, "loggers": [logger], "progress": False}
    list(fit_seeds("test-mean", DATA, tmp_path, 2, **settings))
    assert [run.name for run in logger.runs] == ["seed-0", "seed-1"]
    assert logger.calls == 2 * CALLS
    with pytest.raises(SettingError, match=r"jobs = 2: a logger that is an object .* name it"):
        fit_seeds("test-mean", "digits", tmp_path, 2, jobs=2, **settings)


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        ("tensorbord", r"No logger named 'tensorbord'\. Did you mean 'tensorboard'"),
        ({"name": "wandb", "projct": "a"}, "has no setting 'projct'. Did you mean 'project'"),
        ({"name": "wandb", "project": 3}, r"train\.loggers\[0\]\.project = 3: expected"),
        (print, r"train\.loggers\[0\] = .*print.*: expected a name, a table, or an instance"),
        (Recorder, r"train\.loggers\[0\] = the class Recorder: expected a name, a table, or"),
    ],
)
def test_an_unusable_logger_is_named_before_training(tmp_path, logger, message):
    with pytest.raises(SettingError, match=message):
        train(logger, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_loggers_are_a_list():
    with pytest.raises(SettingError, match=r'train\.loggers = "wandb": expected'):
        genzoo.fit("test-mean", DATA, loggers="wandb")


def test_a_registered_name_must_build_a_logger():
    genzoo.loggers.register("test-no-logger", dict)
    try:
        with pytest.raises(SettingError, match="builds a dict, which does not derive"):
            train("test-no-logger")
    finally:
        genzoo.loggers.unregister("test-no-logger")
