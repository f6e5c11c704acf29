"""W&B, trackio, and MLflow get a run through their functions; modules of the test stand in.

The stand-ins have the signatures of wandb 0.31, trackio 0.43, and mlflow 3. They fail as those do.
"""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import genzoo
from genzoo.testing import check
from tests.games import DATA, Mean  # noqa: F401 - the import registers the models

SETTINGS = {
    "batch_size": 8,
    "checkpoint_every": 2,
    "log_every": 1,
    "sample_every": 2,
    "progress": False,
}
NAMES = ["wandb", "trackio", "mlflow"]


class Server:
    """The runs of a project: identifier -> what it has received."""

    def __init__(self):
        self.runs, self.active = {}, None

    def begin(self, identifier, **facts):
        assert self.active is None, "the run before is not finished"
        run = {"values": [], "pictures": [], "facts": facts, "ends": []}
        self.active = self.runs.setdefault(identifier, run)

    def finish(self, status):
        if self.active is not None:
            self.active["ends"].append(status)
        self.active = None

    def add(self, step, values):
        for name, value in values.items():
            if isinstance(value, Picture):
                self.active["pictures"].append((step, name))
            else:
                self.active["values"].append((step, name, value))


class Picture:
    def __init__(self, path):
        assert Path(path).read_bytes()[:4] == b"\x89PNG"


def wandb(server):
    module = ModuleType("wandb")
    module.Image = Picture

    def init(*, project, name, config, id, resume, mode="online"):
        assert resume == "allow"
        assert not set(id) & set(r"/\#?%:")
        server.begin(id, project=project, name=name, config=config, mode=mode)

    def log(data, step=None):
        # W&B ignores steps that go back
        assert all(step >= last for last, *_ in server.active["values"][-1:])
        server.add(step, data)

    def finish(exit_code=None):
        server.finish({0: "ok", 1: "failed"}[exit_code])

    module.init, module.log, module.finish = init, log, finish
    return module


def trackio(server):
    module = ModuleType("trackio")
    module.Image = Picture

    def init(project, name=None, config=None, resume="never", space_id=None):
        if resume == "never" and name in server.runs:
            name = f"{name}-2"
        server.begin(name, project=project, name=name, config=config)
        return SimpleNamespace(name=name)

    module.init = init
    module.log = lambda metrics, step=None: server.add(step, metrics)
    module.finish = lambda: server.finish("ok")
    return module


def mlflow(server):
    module = ModuleType("mlflow")
    project = []

    def start_run(run_id=None, run_name=None, tags=None):
        if run_id is not None:
            assert run_id in server.runs
        run_id = run_id or f"run-{len(server.runs)}"
        server.begin(run_id, project=project[-1], name=run_name, config=None)
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def log_metrics(metrics, step=None):
        assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz_./0123456789") for name in metrics)
        server.add(step, metrics)

    def log_artifact(local_path, artifact_path=None):
        step = int("".join(filter(str.isdigit, local_path.rpartition("step-")[2])))
        server.active["pictures"].append((step, artifact_path))

    module.set_experiment = project.append
    module.start_run, module.log_metrics, module.log_artifact = start_run, log_metrics, log_artifact
    module.log_dict = lambda table, file: server.active["facts"].update(config=table)
    module.end_run = server.finish
    return module


@pytest.fixture(params=NAMES)
def tracker(request, monkeypatch):
    """Return the name of a tracker, and the server of its stand-in."""
    server = Server()
    module = {"wandb": wandb, "trackio": trackio, "mlflow": mlflow}[request.param](server)
    monkeypatch.setitem(sys.modules, request.param, module)
    return request.param, server


def train(folder, name, **settings):
    logger = {"name": name, "project": "games"}
    return genzoo.fit("test-mean", DATA, folder, loggers=[logger], **SETTINGS, **settings)


def drawn(*_):
    from PIL import Image

    return Image.new("L", (4, 4))


def test_a_tracker_has_each_step_and_sheet_once_after_a_kill(tmp_path, tracker, monkeypatch):
    name, server = tracker
    monkeypatch.setattr("genzoo.train.artifacts.picture", drawn)
    monkeypatch.setattr("genzoo.train.artifacts.can_plot", lambda: False)
    folder = tmp_path / "run"
    train(folder, name, steps=4)
    max((folder / "checkpoints").iterdir()).unlink()
    history = train(folder, name, steps=6, resume=True).history
    ((_, run),) = server.runs.items()
    assert [value for *key, value in run["values"] if key[1] == "loss"] == [
        line["loss"] for line in history
    ]
    assert [step for step, key, _ in run["values"] if key == "lr"] == [1, 2, 3, 4, 5, 6]
    assert run["pictures"] == [(step, "samples") for step in (0, 2, 4, 6)]
    assert (run["facts"]["project"], run["facts"]["name"]) == ("games", "run")
    assert run["facts"]["config"]["train"]["batch_size"] == 8
    assert run["ends"] == 2 * ["FINISHED" if name == "mlflow" else "ok"]


def test_an_overwritten_run_is_another_run_of_the_tracker(tmp_path, tracker, without_pictures):
    name, server = tracker
    train(tmp_path / "run", name, steps=2)
    train(tmp_path / "run", name, steps=2, overwrite=True)
    first, second = server.runs.values()
    assert [key for *key, _ in first["values"]] == [key for *key, _ in second["values"]]


def test_a_run_without_a_folder_is_tracked(tracker):
    name, server = tracker
    train(None, name, steps=2)
    assert [step for step, key, _ in server.runs.popitem()[1]["values"] if key == "loss"] == [1, 2]


def test_a_tracker_that_fails_is_one_warning(tracker, recwarn):
    name, server = tracker
    module = sys.modules[name]
    setattr(module, "log_metrics" if name == "mlflow" else "log", None)
    assert train(None, name, steps=4).steps == 4
    (warning,) = recwarn
    assert f"logger '{name}' failed in log at step 1: TypeError" in str(warning.message)
    ends = {"wandb": "failed", "trackio": "ok", "mlflow": "FAILED"}
    assert server.runs.popitem()[1]["ends"] == [ends[name]]


def test_a_tracker_that_is_not_installed_is_one_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.warns(UserWarning, match=r"needs wandb; install it with: pip install 'genzoo\[wan"):
        assert train(None, "wandb", steps=1).steps == 1


def test_a_tracker_conforms(tracker):
    name, _ = tracker
    results = check(name, "loggers", options={})
    assert [str(result) for result in results if not result.ok or result.skipped] == []


def test_options_reach_the_tracker(tmp_path, monkeypatch, without_pictures):
    server = Server()
    monkeypatch.setitem(sys.modules, "wandb", wandb(server))
    logger = genzoo.train.WandB(options={"mode": "offline"})
    genzoo.fit("test-mean", DATA, tmp_path / "run", loggers=[logger], **SETTINGS, steps=1)
    assert server.runs.popitem()[1]["facts"]["mode"] == "offline"
    table = {"name": "wandb", "project": "genzoo", "options": {"mode": "offline"}}
    assert genzoo.runs.RunFolder(tmp_path / "run").recipe()["train"]["loggers"] == [table]
