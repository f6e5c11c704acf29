"""A run whose data have moved finds them at their new path, if they are the same."""

import numpy as np
import pytest
from typer.testing import CliRunner

import genzoo
from genzoo.cli.app import app
from genzoo.errors import DataError, RunError, SettingError
from genzoo.runs.data_path import rerooted, without_paths
from genzoo.runs.folder import RunFolder

MODEL = {"name": "rnade", "hidden": 2, "components": 2}


def test_settings_below_the_old_path_move_with_it():
    table = {"name": "folder", "path": "/a/b/", "labels": "/a/b/c.csv", "fit": "/a/bc", "size": 8}
    moved = {"name": "folder", "path": "/new", "labels": "/new/c.csv", "fit": "/a/bc", "size": 8}
    assert rerooted(table, "/new") == moved
    assert rerooted({"name": "edges", "of": table}, "/new") == {"name": "edges", "of": moved}
    assert without_paths(table) == {"name": "folder", "size": 8}
    with pytest.raises(SettingError, match="digits, have no path; leave out --data-path"):
        rerooted({"name": "digits", "binarize": None}, "/new")


@pytest.fixture
def run(tmp_path):
    """Train on a file that moves afterwards."""
    old, new = tmp_path / "old.npy", tmp_path / "new.npy"
    np.save(old, np.random.RandomState(0).rand(40, 2).astype(np.float32))
    data = {"name": "npy", "path": str(old)}
    genzoo.fit(MODEL, data, tmp_path / "run", steps=1, batch_size=8, progress=False)
    old.rename(new)
    return tmp_path / "run", new


def test_a_run_is_used_with_moved_data(run):
    folder, new = run
    with pytest.raises(DataError, match=r"old.npy does not exist"):
        RunFolder(folder).dataset()
    assert RunFolder(folder).dataset(new).rows("train") == 36
    command = ["evaluate", str(folder), "likelihood", "--data-path", str(new)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.exception
    result = CliRunner().invoke(
        app, ["resume", str(folder), "--steps", "2", "--data-path", str(new)]
    )
    assert result.exit_code == 0, result.exception
    assert RunFolder(folder).recipe()["data"]["path"] == str(new)
    assert RunFolder(folder).dataset().rows("train") == 36


def test_other_data_at_the_new_path_are_refused(run):
    folder, new = run
    np.save(new, np.ones((40, 2), np.float32))
    command = ["resume", str(folder), "--steps", "2", "--data-path", str(new)]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, RunError)
    assert "was trained on other data" in str(error)
