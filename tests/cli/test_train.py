"""Recipes by name, and all ways to resume a run."""

import re
import tomllib
from pathlib import Path, PurePath

import pytest
import torch

import genzoo
from genzoo.cli.train import named_recipe
from genzoo.errors import GenzooError, SettingError
from genzoo.runs.lock import FolderLock
from genzoo.runs.recipe import shipped

ROOT = Path(__file__).parents[2]
SMALL = [
    "train.batch_size=8",
    "model.latent_dim=2",
    'model.encoder={name="mlp", hidden=[8]}',
    'model.decoder={name="mlp", hidden=[8]}',
    "train.checkpoint_every=2",
]


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_folder(genzoo_):
    """A run of two steps of the recipe vae-digits, in its default folder."""
    code, text = genzoo_("train", "vae-digits", "train.steps=2", *SMALL)
    assert (code, "Next: genzoo sample runs/vae-digits" in text) == (0, True), text
    return Path("runs/vae-digits")


def test_recipes_are_listed_with_model_data_time_and_requirements(genzoo_, monkeypatch):
    code, text = genzoo_("list", "recipes")
    assert code == 0
    assert {line.split()[0] for line in text.splitlines()[1:]} == {
        path.stem for path in ROOT.glob("recipes/*.toml")
    }
    rows = {line.split()[0]: line.split() for line in text.splitlines()}
    assert rows["vae-digits"][:5] == ["vae-digits", "vae", "digits", "11", "s"]
    assert rows["wgan-fashion-mnist"][3:5] == ["12", "min"]
    assert all(row[4] in ("s", "min") for name, row in rows.items() if name != "recipe")
    monkeypatch.setenv("GENZOO_PLUGINS", "off")
    rows = {line.split()[0]: line.split() for line in genzoo_("list", "recipes")[1].splitlines()}
    for name, plugin in {
        "swae-digits": "sliced",
        "cyclegan-icons": "translation",
        "char-wgan-gp-words": "text",
    }.items():
        assert rows[name][-2:] == ["needs", f"genzoo-{plugin}"]
    assert "needs" not in rows["vae-digits"]
    assert genzoo_("list", "recipes", "w*digits")[1].count("\n") == 7
    code, text = genzoo_("list", "recipes", "nothing")
    assert (code, "no recipe matches 'nothing'" in text) == (2, True)


def test_show_prints_a_recipe(genzoo_):
    code, text = genzoo_("info", "vae-digits")
    assert code == 0
    assert shipped()["vae-digits"].read_text() in text
    code, text = genzoo_("info", "vae-digitz", "--kind", "recipes")
    assert (code, "Did you mean 'vae-digits'" in text) == (2, True)


@pytest.mark.parametrize(
    ("kind", "folder", "pattern"),
    [("wheel", "genzoo/recipes", "*.toml"), ("sdist", "recipes", "*.*")],
)
def test_distributions_contain_the_recipes_and_the_wheel_no_scripts(kind, folder, pattern):
    builders = pytest.importorskip(f"hatchling.builders.{kind}")
    builder = getattr(builders, f"{kind.capitalize()}Builder")(str(ROOT))
    files = [PurePath(file.distribution_path) for file in builder.recurse_included_files()]
    packed = {file.name for file in files if file.parent == PurePath(folder)}
    assert packed == {path.name for path in (ROOT / "recipes").glob(pattern)}
    assert kind == "sdist" or {file.parts[0] for file in files} == {"genzoo"}


@pytest.mark.parametrize("where", ["wheel", "checkout", "neither"])
def test_recipes_are_read_from_the_package_or_its_checkout(tmp_path, monkeypatch, where):
    package = tmp_path / "genzoo"
    folder = package / "recipes" if where == "wheel" else tmp_path / "recipes"
    folder.mkdir(parents=True)
    (folder / "mine.toml").touch()
    if where == "checkout":
        (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr("genzoo.runs.recipe.__file__", str(package / "runs" / "recipe.py"))
    assert shipped() == ({} if where == "neither" else {"mine": folder / "mine.toml"})


@pytest.mark.slow
def test_a_name_selects_a_shipped_recipe_and_a_path_a_file(genzoo_):
    Path("vae-digits").write_text('model = "vaee"\ndata = "digits"\n')
    assert genzoo_("train", "vae-digits", "train.steps=1", *SMALL)[0] == 0
    code, text = genzoo_("train", "./vae-digits", "--out", "other")
    assert (code, "'vaee'" in text) == (2, True), text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vae-digitz"], "is not the name or file of a recipe.*Did you mean 'vae-digits'"),
        (["digits"], "'digits' is a dataset; to train on it, add --model NAME"),
        (["vae-digits", "--model", "vae"], "names its model; override it with model=vae"),
    ],
)
def test_an_unknown_recipe_is_named(genzoo_, arguments, message):
    code, text = genzoo_("train", *arguments)
    assert code == 2
    assert len(text.splitlines()) == 1
    assert re.search(message, text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "resume {run} train.steps=3",
        "resume {run}/ --steps 3",
        "resume {run}/recipe.toml --steps 3",
        "train {run} --resume train.steps=3",
        "train {run}/recipe.toml --resume --steps 3",
    ],
)
def test_all_ways_to_resume_continue_the_same_run(genzoo_, run_folder, command):
    code, text = genzoo_(*command.format(run=run_folder).split())
    assert (code, "is complete: step 3" in text) == (0, True), text
    assert "note" not in text
    assert [path.name for path in Path("runs").iterdir()] == ["vae-digits"]


@pytest.mark.slow
def test_a_resume_may_change_only_the_length(genzoo_, run_folder):
    before = (run_folder / "recipe.toml").read_text()
    code, text = genzoo_("resume", run_folder, "model.latent_dim=3")
    assert (code, len(text.splitlines())) == (2, 1)
    for expected in ("model.latent_dim was 2, now 3", "a resume may change", "train.steps"):
        assert expected in text
    assert (run_folder / "recipe.toml").read_text() == before
    code, text = genzoo_("resume", run_folder, "train.epochs=0.02")  # 1,500 rows in batches of 8
    assert (code, "is complete: step 4" in text) == (0, True), text
    code, text = genzoo_("resume", run_folder)
    assert (
        code,
        "Nothing was done; to continue: genzoo resume runs/vae-digits train.steps=8" in text,
    ) == (0, True), text


@pytest.mark.slow
def test_a_run_is_not_trained_again_by_accident(genzoo_, run_folder):
    for path in (run_folder, run_folder / "recipe.toml"):
        code, text = genzoo_("train", path)
        assert (code, len(text.splitlines())) == (2, 1)
        assert "genzoo resume runs/vae-digits continues it" in text
        assert "genzoo train runs/vae-digits/recipe.toml --out OTHER" in text
    assert genzoo_("train", run_folder, "--resume", "--overwrite")[0] == 2
    code, text = genzoo_("train", run_folder / "recipe.toml", "--out", "again")
    assert code == 0, text
    assert (Path("again") / "model.safetensors").read_bytes() == (
        run_folder / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_resume_without_a_run_starts_with_a_note(genzoo_):
    code, text = genzoo_("train", "vae-digits", "train.steps=2", *SMALL, "--resume")
    assert code == 0, text
    assert "runs/vae-digits has no checkpoint to resume from; training starts at step 0." in text
    for checkpoint in Path("runs/vae-digits/checkpoints").iterdir():
        checkpoint.unlink()
    Path("runs/vae-digits/model.safetensors").unlink()
    code, text = genzoo_("resume", "runs/vae-digits")
    assert (code, "has no checkpoint to resume from" in text, "is complete: step 2" in text) == (
        0,
        True,
        True,
    )


@pytest.mark.parametrize("command", [("resume",), ("train", "--resume")])
@pytest.mark.parametrize(
    ("override", "request_"),
    [
        ("train.steps=1", "train.steps = 1 asks for fewer"),
        # an epoch has 187 batches of 8 rows
        ("train.epochs=0.005", "train.epochs = 0.005 asks for only 1"),
    ],
)
def test_a_resume_to_fewer_steps_reports_the_completed_steps(
    genzoo_, run_folder, command, override, request_
):
    code, text = genzoo_(*command, run_folder, override)
    assert code == 0
    assert f"{run_folder} has 2 steps already, and {request_}" in text
    assert "genzoo resume runs/vae-digits train.steps=4" in text
    assert "another --out" in text
    assert "complete" not in text


def test_a_folder_in_use_is_refused_before_any_other_output(genzoo_, run_folder):
    for checkpoint in (run_folder / "checkpoints").iterdir():
        checkpoint.unlink()
    lock = FolderLock(run_folder).acquire()
    code, text = genzoo_("resume", run_folder, "train.steps=3")
    lock.release()
    assert (code, len(text.splitlines())) == (2, 1), text
    assert "is in use by another run of this process" in text


def test_a_folder_that_is_not_a_run_cannot_be_resumed(genzoo_):
    Path("empty").mkdir()
    for path in ("empty", "nowhere", "vae-digits"):
        code, text = genzoo_("resume", path)
        assert (code, "is not a run folder" in text, len(text.splitlines())) == (2, True, 1)


@pytest.mark.slow
def test_a_run_on_arrays_must_be_resumed_in_python(genzoo_):
    genzoo.fit(
        {"name": "vae", "latent_dim": 2},
        torch.rand(16, 1, 8, 8),
        "run",
        steps=1,
        batch_size=8,
        progress=False,
    )
    code, text = genzoo_("resume", "run", "train.steps=2")
    assert (code, "genzoo.fit(model, data, 'run', resume=True, ...)" in text) == (2, True), text


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("train", "vae-digits"), ("train", "--from", "runs/vae-digits")]
)
def test_epochs_replace_the_steps_of_a_recipe(genzoo_, run_folder, command):
    overrides = ["train.epochs=1", "train.batch_size=750", "--out", "runs/epochs"]
    code, text = genzoo_(*command, *SMALL, *overrides)
    assert (code, "runs/epochs is complete: step 2" in text) == (0, True), text
    table = tomllib.loads(Path("runs/epochs/recipe.toml").read_text())["train"]
    assert (table["epochs"], "steps" in table) == (1, False)


def test_steps_and_epochs_together_are_refused_when_a_run_is_resumed(genzoo_, run_folder):
    code, text = genzoo_("resume", run_folder, "train.steps=3", "train.epochs=1")
    assert (code, "give one of them" in text) == (2, True), text


@pytest.mark.slow
def test_a_run_shorter_than_a_log_interval_shows_no_time(genzoo_, run_folder):
    (run_folder / "metrics.jsonl").unlink()
    assert (
        genzoo_("resume", run_folder)[1].splitlines()[0]
        == f"{run_folder} is complete already: step 2"
    )


@pytest.mark.slow
def test_a_run_resumed_from_other_weights_is_refused(genzoo_, run_folder):
    assert genzoo_("train", "--from", run_folder, "--out", "runs/second")[0] == 0
    code, text = genzoo_("train", run_folder, "--resume", "--from", "runs/second", "train.steps=3")
    assert (code, "did not begin with" in text) == (2, True), text


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("x.npy", "npy"),
        ("set", "shards"),
        ("set/part-{0..1}.tar", "shards"),
        ("t.parquet", "arrow"),
        ("pictures", "folder"),
    ],
)
def test_a_path_of_data_is_a_dataset(path, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "pictures").mkdir()
    for file in ("x.npy", "set/part-0.tar", "t.parquet"):
        (tmp_path / file).touch()
    recipe, run = named_recipe(path, "vae", [])
    assert recipe["data"]["name"] == name
    assert recipe["data"]["path"] == path
    assert run == f"vae-{Path(path).stem}"
    with pytest.raises(SettingError, match="is a dataset; to train on it, add --model NAME"):
        named_recipe(path, None, [])


def test_a_model_needs_data_and_not_a_recipe_or_another_file():
    Path("notes.txt").touch()
    for what, message in (
        ("notes.txt", r"notes\.txt is not a kind of file that can be read"),
        ("./photos", r"photos is missing; a path is a folder of images"),
        ("digit", r"No dataset named 'digit', and no file or folder.*'digits'"),
        ("my.toml", r"my\.toml is a recipe, which names its model; override it with model=vae"),
        ("vae-digits", r"vae-digits is a recipe, which names its model"),
    ):
        with pytest.raises(GenzooError, match=message):
            named_recipe(what, "vae", [])
