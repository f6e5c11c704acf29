"""Tests of run folders: resuming, damaging, and loading them."""

import json
import shutil
import subprocess
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

import genzoo
from genzoo.errors import RunError, SettingError
from genzoo.files import write_atomic
from genzoo.runs.checkpoint import FORMAT, Checkpoints, read_checkpoint
from genzoo.runs.folder import RunFolder
from tests.games import DATA, FAST, Mean
from tests.runs.files import content


def test_a_run_folder_has_the_documented_files(run):
    names = {
        p.relative_to(run).as_posix()
        for p in run.rglob("*")
        if p.is_file() and not p.name.startswith("events")
    }
    assert {
        "recipe.toml",
        "model.safetensors",
        "metrics.jsonl",
        "checkpoints/step-000006.ckpt",
    } <= names
    recipe = RunFolder(run).recipe()
    assert recipe["model"] == {
        "name": "test-mean",
        "lr": 0.1,
        "momentum": 0.0,
        "nan_at": -1,
        "shape": [2],
    }
    assert recipe["train"]["steps"] == 6
    assert recipe["train"]["seed"] == 0
    assert "torch" in (run / "recipe.toml").read_text()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]


def test_the_last_few_checkpoints_are_kept(tmp_path):
    folder = genzoo.fit(
        "test-mean", DATA, tmp_path / "run", steps=10, keep_checkpoints=2, **FAST
    ).folder
    assert [p.name for p in Checkpoints(folder / "checkpoints").paths()] == [
        "step-000008.ckpt",
        "step-000010.ckpt",
    ]


def test_a_kill_between_the_two_exports_is_repaired(tmp_path):
    run = genzoo.fit("test-mean", DATA, tmp_path / "run", steps=6, ema=0.5, **FAST)
    averaged = (run.folder / "model-ema.safetensors").read_bytes()
    (run.folder / "model-ema.safetensors").unlink()
    genzoo.fit("test-mean", DATA, run.folder, steps=6, ema=0.5, resume=True, **FAST)
    assert (run.folder / "model-ema.safetensors").read_bytes() == averaged


def test_load_keeps_the_runs_dtype(tmp_path):
    run = genzoo.fit("test-mean", DATA, tmp_path / "run", steps=2, precision="64-true", **FAST)
    model = genzoo.load(run.folder)
    assert model.w.dtype == torch.float64
    assert torch.equal(model.w, run.model.w)


def test_presets_and_subclasses_that_forward_settings_are_restored(tmp_path):
    @genzoo.models.register("test-preset")
    def preset(size: str = "small", shape: tuple[int, ...] = (2,)) -> Mean:
        return Mean(lr={"small": 0.1, "big": 0.5}[size], shape=shape)

    @genzoo.models.register("test-sub")
    class Sub(Mean):
        def __init__(self, extra: int = 1, **settings) -> None:
            super().__init__(**settings)

    for table in (
        {"name": "test-preset", "size": "big"},
        {"name": "test-sub", "extra": 2, "lr": 0.5},
    ):
        run = genzoo.fit(table, DATA, tmp_path / table["name"], steps=1, batch_size=40)
        again = genzoo.load(run.folder)
        assert again.lr == 0.5
        assert torch.equal(again.w, run.model.w)
    assert Sub(extra=3, lr=0.2).config == {"name": "test-sub", "extra": 3, "lr": 0.2}

    @genzoo.models.register("test-fixed")
    class Fixed(Mean):
        def __init__(self, *args, lr="fast", **settings) -> None:
            super().__init__({"fast": 0.5}[lr], *args, **settings)

    for model in (Fixed(0.9), Fixed(momentum=0.9)):
        assert model.config == {"name": "test-fixed", "lr": "fast", "momentum": 0.9}
        assert genzoo.build(model.config).momentum == 0.9


def test_sample_sheets_work_with_integer_labels(tmp_path):
    @genzoo.models.register("test-labels")
    class Labels(Mean):
        inputs, given = ("x", "y"), ("y",)

        def __init__(self, shape: tuple[int, ...] = (1, 8, 8)) -> None:
            super().__init__(shape=shape)
            self.table = torch.nn.Embedding(10, 64)

        def loss(self, batch):
            return {
                "loss": (self.table(batch["y"]) - batch["x"].flatten(1)).square().mean()
                + self.w.square().mean()
            }

        @torch.no_grad()
        def sample(self, n, given=None):
            assert len(given) == n
            return self.table(given).view(n, 1, 8, 8).sigmoid()

    run = genzoo.fit("test-labels", "digits", tmp_path / "run", steps=2, batch_size=16)
    assert (run.folder / "samples" / "step-000002.png").exists()


def test_resuming_a_complete_run_changes_nothing(run):
    before = content(run)
    again = genzoo.fit("test-mean", DATA, run, steps=6, resume=True, **FAST)
    assert again.was_complete
    assert again.steps == 6
    assert content(run) == before


def test_a_resume_without_a_checkpoint_starts_over(run):
    expected = (run / "model.safetensors").read_bytes()
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    (run / "model.safetensors").unlink()
    genzoo.fit("test-mean", DATA, run, steps=6, resume=True, **FAST)
    assert (run / "model.safetensors").read_bytes() == expected
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_resume_of_another_recipe_is_refused(run):
    before = content(run)
    with pytest.raises(RunError, match=r"model\.lr was 0\.1, now 0\.2"):
        genzoo.fit({"name": "test-mean", "lr": 0.2}, DATA, run, steps=8, resume=True, **FAST)
    with pytest.raises(RunError, match=r"train\.batch_size was 8, now 4"):
        genzoo.fit("test-mean", DATA, run, steps=8, resume=True, **{**FAST, "batch_size": 4})
    with pytest.raises(RunError, match=r"model\.name was 'test-mean', now 'test-game'"):
        genzoo.fit("test-game", DATA, run, steps=8, resume=True, **FAST)
    assert content(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "newer"])
def test_a_damaged_checkpoint_is_named_and_nothing_is_overwritten(run, damage):
    path = run / "checkpoints" / "step-000006.ckpt"
    if damage == "newer":
        state = read_checkpoint(path)
        torch.save({**state, "format": FORMAT + 1}, path)
    else:
        path.write_bytes(
            {"truncated": path.read_bytes()[:700], "empty": b"", "garbage": b"pickle me" * 99}[
                damage
            ]
        )
    before = content(run)
    with pytest.raises(RunError, match=r"step-000006\.ckpt.*(damaged|upgrade genzoo)"):
        genzoo.fit("test-mean", DATA, run, steps=8, resume=True, **FAST)
    assert content(run) == before
    path.unlink()
    assert genzoo.fit("test-mean", DATA, run, steps=8, resume=True, **FAST).steps == 8


def test_a_pickle_is_never_loaded(run, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save({"format": 1, "round": 6, "model": Bomb()}, run / "checkpoints" / "step-000006.ckpt")
    (run / "model.safetensors").unlink()
    with pytest.warns(UserWarning, match="damaged"):
        model = genzoo.load(run)
    assert not (tmp_path / "exploded").exists()
    assert model.w.abs().sum() > 0  # step 4's weights


def test_load_returns_the_trained_weights_in_eval_mode(run):
    model = genzoo.load(run)
    assert not model.training
    # the exported weights equal those of the last checkpoint
    state = read_checkpoint(run / "checkpoints" / "step-000006.ckpt")
    assert torch.equal(model.w, state["model"]["w"])
    assert torch.equal(model.pool, torch.zeros(3))  # training state is not exported
    assert torch.equal(state["model"]["pool"], torch.full((3,), 6.0))


def test_load_of_a_killed_run_warns(run):
    (run / "model.safetensors").unlink()
    with pytest.warns(UserWarning, match="did not finish; these are the weights of step 6"):
        model = genzoo.load(run)
    assert torch.equal(
        model.w, read_checkpoint(run / "checkpoints" / "step-000006.ckpt")["model"]["w"]
    )


def test_load_returns_averaged_weights_if_the_run_has_them(tmp_path):
    run = genzoo.fit("test-mean", DATA, tmp_path / "run", steps=6, ema=0.5, **FAST)
    assert torch.equal(genzoo.load(run.folder).w, run.model.w)
    assert not torch.equal(RunFolder(run.folder).model(averaged=False).w, run.model.w)


def test_load_errors_name_the_problem(run, tmp_path):
    with pytest.raises(RunError, match="is not a run folder or the name of a model"):
        genzoo.load(tmp_path / "nowhere")
    with pytest.raises(SettingError, match="Did you mean 'test-mean'"):
        genzoo.load("test-meen")
    with pytest.raises(SettingError, match="leave out lr"):
        genzoo.load(run, lr=1.0)
    with pytest.raises(RunError, match=r"no recipe\.toml"):
        genzoo.load(tmp_path)
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(RunError, match="damaged"):
        genzoo.load(run)


@pytest.mark.slow
def test_weights_of_another_model_are_refused(run, tmp_path):
    other = genzoo.fit("test-game", DATA, tmp_path / "other", steps=1, batch_size=8).folder
    (run / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="another model's weights"):
        genzoo.load(run)


def test_an_unregistered_part_works_in_memory_and_is_refused_when_saved(tmp_path):
    class Mine(Mean):
        pass

    assert genzoo.fit(Mine(), DATA, steps=1, batch_size=8).steps == 1
    with pytest.raises(SettingError, match="Mine is not registered"):
        genzoo.fit(Mine(), DATA, tmp_path / "run", steps=1, batch_size=8)
    assert not (tmp_path / "run").exists()


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, lambda p: p.write_text("old"))

    def fail(p):
        p.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        write_atomic(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_one_line_error_and_keeps_the_run(run, python):
    """A file size limit replaces the full disk, in a separate process."""
    code = (
        "import resource, signal, torch, genzoo; torch.set_num_threads(1); import tests.games\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        "d = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))\n"
        f"genzoo.fit('test-mean', d, {str(run)!r}, steps=8, resume=True, batch_size=8, "
        "checkpoint_every=2, log_every=2)\n"
    )

    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    assert "RunError" in done.stderr
    assert "could not be written" in done.stderr
    assert Checkpoints(run / "checkpoints").paths()[-1].name == "step-000006.ckpt"
    read_checkpoint(run / "checkpoints" / "step-000006.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize("written", ["[1]", "nope", '{"format": "x"}', '{"round": []}', "[" * 5000])
def test_weights_whose_header_is_damaged_are_refused_by_name(run, written):
    shutil.rmtree(run / "checkpoints")
    file = run / "model.safetensors"
    save_file(load_file(file), file, {"genzoo": written})
    with pytest.raises(RunError, match="are damaged"):
        genzoo.load(run)


def test_an_unterminated_recipe_is_damaged(run):
    (run / "recipe.toml").write_text("x = " + "[" * 5000)
    with pytest.raises(RunError, match="is damaged"):
        genzoo.load(run)


@pytest.mark.parametrize("section", ["[model]\n", "[run]\n"])
@pytest.mark.parametrize("depth", [300, 5000])
def test_a_deeply_nested_recipe_is_damaged(run, section, depth):
    file = run / "recipe.toml"
    file.write_text(
        file.read_text().replace(section, f"{section}deep = {'[' * depth}{']' * depth}\n")
    )
    with pytest.raises(RunError, match=r"recipe\.toml is damaged: .*(deep|levels)"):
        genzoo.load(run)
    with pytest.raises(RunError, match="not a run folder"):
        genzoo.fit("test-mean", DATA, run, steps=8, resume=True, **FAST)
    assert RunFolder(run).facts() == {}


@pytest.mark.slow
def test_a_run_trains_and_resumes_into_linked_checkpoints(tmp_path):
    (tmp_path / "big").mkdir()
    uninterrupted = genzoo.fit("test-mean", DATA, tmp_path / "straight", steps=4, **FAST).folder
    run = genzoo.fit("test-mean", DATA, tmp_path / "run", steps=2, **FAST).folder
    (run / "checkpoints" / "step-000002.ckpt").rename(tmp_path / "big" / "step-000002.ckpt")
    (run / "checkpoints").rmdir()
    (run / "checkpoints").symlink_to(tmp_path / "big")
    (tmp_path / "big" / ".genzoo-half").write_text("somebody's")
    genzoo.fit("test-mean", DATA, run, steps=4, resume=True, **FAST)
    assert (run / "model.safetensors").read_bytes() == (
        uninterrupted / "model.safetensors"
    ).read_bytes()
    assert (tmp_path / "big" / "step-000004.ckpt").exists()
    assert (tmp_path / "big" / ".genzoo-half").exists()


def other(**settings):
    return genzoo.Dataset(
        {"x": DATA, "y": torch.arange(40)}, {"x": DATA[:5], "y": torch.arange(5)}, **settings
    )


@pytest.mark.slow
def test_a_resume_on_other_data_is_refused_by_name_or_allowed_on_request(tmp_path):
    folder = genzoo.fit("test-mean", other(), tmp_path / "run", steps=2, **FAST).folder
    before = content(folder)
    for data, message in (
        (other(binarize="threshold"), "binarize was None, now 'threshold'"),
        (genzoo.Dataset({"x": DATA.flip(0)}), "the train column 'x' holds other values"),
        (
            DATA.double().clamp(0, 0.5),
            r"the train column 'x' was float32 \(40, 2\), now float64 \(40, 2\)",
        ),
    ):
        with pytest.raises(
            RunError, match=rf"run was trained on other data: {message}.*allow_other_data"
        ):
            genzoo.fit("test-mean", data, folder, steps=4, resume=True, **FAST)
    assert content(folder) == before
    # the model reads only x, so the other settings of the dataset do not matter
    genzoo.fit("test-mean", DATA, folder, steps=4, resume=True, **FAST)
    genzoo.fit("test-mean", DATA / 2, folder, steps=6, resume=True, allow_other_data=True, **FAST)
    # the run recorded the new data
    genzoo.fit("test-mean", DATA / 2, folder, steps=8, resume=True, **FAST)
    with pytest.raises(RunError, match="holds other values"):
        genzoo.fit("test-mean", DATA, folder, steps=10, resume=True, **FAST)


def test_a_run_without_a_fingerprint_resumes_with_a_warning(run):
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text[: text.index("[run.data")])
    with pytest.warns(
        UserWarning, match="has no fingerprint of its data, so the data cannot be compared"
    ):
        genzoo.fit("test-mean", DATA / 2, run, steps=8, resume=True, **FAST)


def test_a_dataset_that_changes_at_every_call_is_reported(tmp_path):
    @genzoo.datasets.register("test-random")
    def unsteady(rows: int = 40):
        return genzoo.Dataset(
            {
                "x": torch.rand(
                    rows, 2, generator=torch.Generator().manual_seed(time.perf_counter_ns())
                )
            }
        )

    genzoo.fit("test-mean", "test-random", tmp_path / "run", steps=2, **FAST)
    with pytest.raises(
        RunError, match=r"differs each time it is built; give it a fixed seed.*--allow-other-data"
    ):
        genzoo.fit("test-mean", "test-random", tmp_path / "run", steps=4, resume=True, **FAST)
    genzoo.fit(
        "test-mean",
        "test-random",
        tmp_path / "run",
        steps=4,
        resume=True,
        allow_other_data=True,
        **FAST,
    )


def test_a_run_with_an_unknown_setting_is_refused_by_name(run):
    file = run / "recipe.toml"
    file.write_text(file.read_text().replace("[model]\n", "[model]\nrate = 3\n"))
    with pytest.raises(SettingError, match="'rate'"):
        genzoo.load(run)
