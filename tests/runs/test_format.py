"""Tests that opening a run of another format raises a one-line error."""

import json
import re
import shutil
import tomllib

import pytest
import tomlkit
from safetensors.torch import load_file, save_file

import genzoo
from genzoo.cli.evaluate import evaluate
from genzoo.cli.train import recipe_of_run, recipe_to_begin_from
from genzoo.errors import RunError
from genzoo.runs.checkpoint import Checkpoints, read_checkpoint, read_weights, write_sealed
from genzoo.runs.folder import RunFolder
from genzoo.runs.format import FORMAT
from tests.games import DATA, FAST

pytestmark = pytest.mark.usefixtures("without_pictures")

OLDER = r"; train it again with this version, or open it with the version that wrote it"
NEWER = r"; upgrade genzoo\."
VERSIONS = [
    (None, rf"has no format number, but genzoo \S+ reads format {FORMAT}{OLDER}"),
    (2, rf"has format 2, but genzoo \S+ reads format {FORMAT}{OLDER}"),
    (FORMAT + 1, rf"has format {FORMAT + 1}, but genzoo \S+ reads format {FORMAT}{NEWER}"),
    ("new", rf"has no format number, but genzoo \S+ reads format {FORMAT}{OLDER}"),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("format") / "run"
    return genzoo.fit("test-mean", DATA, folder, steps=2, progress=False, **FAST).folder


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


def set_format(folder, version):
    file = folder / "recipe.toml"
    table = tomlkit.parse(file.read_text())
    del table["run"]["format"]
    if version is not None:
        table["run"]["format"] = version
    file.write_text(tomlkit.dumps(table))


def test_a_run_records_its_format(run, tmp_path):
    assert tomllib.loads((run / "recipe.toml").read_text())["run"]["format"] == FORMAT
    saved = genzoo.save(genzoo.load("test-mean"), tmp_path / "saved")
    assert tomllib.loads((saved / "recipe.toml").read_text())["run"]["format"] == FORMAT


OPEN = {
    "load": genzoo.load,
    "model": lambda run: RunFolder(run).model(),
    "dataset": lambda run: RunFolder(run).dataset(),
    "resume": lambda run: genzoo.fit("test-mean", DATA, run, steps=4, resume=True, **FAST),
    "init_from": lambda run: genzoo.fit("test-mean", DATA, steps=2, init_from=run, **FAST),
    "genzoo resume": lambda run: recipe_of_run(run, ["train.steps=4"]),
    "genzoo train --from": lambda run: recipe_to_begin_from(run, []),
    "genzoo evaluate": lambda run: evaluate(str(run)),
}


@pytest.mark.parametrize("entrance", OPEN)
@pytest.mark.parametrize(("version", "message"), VERSIONS)
def test_a_different_format_is_refused_in_one_line(run, entrance, version, message):
    set_format(run, version)
    with pytest.raises(RunError, match=re.escape(f"run {run} ") + message) as error:
        OPEN[entrance](run)
    assert "\n" not in str(error.value)


def test_an_older_run_names_the_version_that_wrote_it(run):
    set_format(run, 1)
    written_by = rf"wrote it \({re.escape(genzoo.__version__)}, as its recipe says\)"
    with pytest.raises(RunError, match=written_by):
        genzoo.load(run)


def test_an_older_run_can_be_overwritten(run):
    set_format(run, None)
    fresh = genzoo.fit("test-mean", DATA, run, steps=2, overwrite=True, progress=False, **FAST)
    assert genzoo.load(fresh.folder) is not None


@pytest.mark.parametrize(("version", "message"), VERSIONS[1:3])
def test_checkpoints_and_weights_of_a_different_format_are_refused(run, version, message):
    checkpoint = Checkpoints(run / "checkpoints").paths()[-1]
    write_sealed({**read_checkpoint(checkpoint), "format": version}, checkpoint)
    with pytest.raises(RunError, match=rf"step-000002\.ckpt {message}"):
        read_checkpoint(checkpoint)
    weights = run / "model.safetensors"
    header = json.dumps({"format": version, "round": 2, "sha256": "of another format"})
    save_file(load_file(weights), weights, {"genzoo": header})
    with pytest.raises(RunError, match=rf"model\.safetensors {message}"):
        read_weights(weights)
