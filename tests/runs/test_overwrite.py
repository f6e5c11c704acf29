"""Tests of what a run may overwrite in its folder and what it leaves unchanged."""

import pytest

import genzoo
from genzoo.errors import RunError, SettingError
from genzoo.runs.checkpoint import Checkpoints
from tests.games import DATA, FAST, Mean
from tests.runs.files import content


def test_a_run_is_overwritten_only_on_request(run):
    before = content(run)
    with pytest.raises(
        RunError, match=r"--resume \(genzoo resume\), or start again with --overwrite"
    ):
        genzoo.fit("test-mean", DATA, run, steps=6, **FAST)
    with pytest.raises(RunError, match="set one of them"):
        genzoo.fit("test-mean", DATA, run, steps=6, resume=True, overwrite=True, **FAST)
    assert content(run) == before
    genzoo.fit("test-mean", DATA, run, steps=2, overwrite=True, **FAST)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-000002.ckpt"]


def test_a_folder_that_is_not_a_run_is_never_removed(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for flags in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(RunError, match="not a run folder"):
            genzoo.fit("test-mean", DATA, tmp_path, steps=1, **FAST, **flags)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.slow
def test_overwrite_removes_only_the_files_of_the_run(run, tmp_path):
    (run / "notes.txt").write_text("mine")
    (run / "checkpoints" / "mine.bin").write_text("mine")
    genzoo.fit("test-mean", DATA, run, steps=2, overwrite=True, **FAST)
    assert (
        (run / "notes.txt").read_text() == (run / "checkpoints" / "mine.bin").read_text() == "mine"
    )
    assert [p.name for p in Checkpoints(run / "checkpoints").paths()] == ["step-000002.ckpt"]
    project = tmp_path / "project"
    (project / "checkpoints").mkdir(parents=True)
    with pytest.raises(RunError, match="not a run folder"):
        genzoo.fit("test-mean", DATA, project, steps=1, overwrite=True, **FAST)
    # a recipe that a person wrote, not the recipe of a run
    (project / "recipe.toml").write_text('model = "vae"\ndata = "digits"\n')
    with pytest.raises(RunError, match="not a run folder"):
        genzoo.fit("test-mean", DATA, project, steps=1, overwrite=True, **FAST)
    assert (project / "recipe.toml").exists()


def test_a_folder_of_a_run_killed_at_its_first_write_can_be_used(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".genzoo-abc.recipe.toml").write_text("half")
    genzoo.fit("test-mean", DATA, tmp_path / "run", steps=1, **FAST)
    assert not list((tmp_path / "run").glob(".*"))


def test_a_setting_that_toml_cannot_store_is_refused_before_anything_is_removed(run):
    @genzoo.models.register("test-none")
    class Nones(Mean):
        def __init__(self, rate: float | None = 0.5, shape: tuple[int, ...] = (2,)) -> None:
            super().__init__(shape=shape)

    before = content(run)
    with pytest.raises(SettingError, match="rate = None"):
        genzoo.fit({"name": "test-none", "rate": None}, DATA, run, steps=1, overwrite=True, **FAST)
    assert content(run) == before


@pytest.mark.parametrize("name", ["checkpoints", "samples", "report"])
def test_overwrite_does_not_remove_through_links(run, tmp_path, name):
    big = tmp_path / "big"
    if (run / name).exists():
        (run / name).rename(big)
    else:
        big.mkdir()
    for file in (
        "step-000099.ckpt",
        "step-000099.png",
        "evaluation.json",
        ".genzoo-x.step-000099.ckpt",
    ):
        (big / file).write_text("mine")
    (run / name).symlink_to(big)
    before, recipe = content(big), (run / "recipe.toml").read_bytes()
    with pytest.raises(
        RunError,
        match=rf"{name} is a symbolic link to .*big, and --overwrite removes nothing outside",
    ):
        genzoo.fit("test-mean", DATA, run, steps=2, overwrite=True, **FAST)
    assert content(big) == before
    assert (run / "recipe.toml").read_bytes() == recipe


def test_overwrite_removes_the_link_to_a_file(run, tmp_path):
    for name in (
        "model.safetensors",
        "metrics.jsonl",
        "checkpoints/step-000006.ckpt",
        ".genzoo-half",
    ):
        target = tmp_path / f"kept-{name.replace('/', '-')}"
        target.write_text("mine")
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(target)
    (run / "checkpoints" / "step-000077.ckpt").mkdir()
    genzoo.fit("test-mean", DATA, run, steps=2, overwrite=True, **FAST)
    assert [p.read_text() for p in tmp_path.glob("kept-*")] == ["mine"] * 4
    assert not [p for p in run.rglob("*") if p.is_symlink()]


def test_a_link_to_a_run_folder_is_a_run_folder(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    genzoo.fit("test-mean", DATA, tmp_path / "link", steps=2, overwrite=True, **FAST)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-000002.ckpt"]


@pytest.mark.parametrize("name", ["model.safetensors", "metrics.jsonl"])
def test_a_folder_in_place_of_a_file_is_named_before_training(run, name):
    (run / name).unlink()
    (run / name).mkdir()
    for flags in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(
            RunError, match=rf"{name} is a folder, and a run writes a file there; move it away"
        ):
            genzoo.fit("test-mean", DATA, run, steps=8, **FAST, **flags)
