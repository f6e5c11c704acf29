"""Commands as a user types them: their output, exit codes, and one-line errors."""

import contextlib
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import genzoo
from genzoo.cli import app
from genzoo.registry.lookup import registries
from genzoo.runs.folder import RunFolder
from tests.toys import Bigrams

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setattr(app.console, "_width", 200, raising=False)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The folder of a run of 20 steps."""
    path = tmp_path_factory.mktemp("runs") / "vae"
    recipe = str(RECIPES / "vae-digits.toml")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["genzoo", "train", recipe, "--steps", "20", "--out", str(path)])
        patch.setattr(app.console, "_width", 200, raising=False)
        with pytest.raises(SystemExit) as stop:
            app.main()
    assert stop.value.code in (None, 0)
    assert "is complete: step 20" in printed.getvalue()
    return path


def test_list_shows_names_and_owners(genzoo_, monkeypatch):
    monkeypatch.setenv("GENZOO_PLUGINS", "off")
    code, text = genzoo_("list", "models", "wae-*")
    assert code == 0
    assert "wae-mmd" in text
    assert "genzoo.models.wae:WAEMMD" in text
    assert "vae  " not in text.replace("wae", "")
    assert genzoo_("list", "--check")[1].count("broken") == 0
    assert genzoo_("list", "priorz")[0] == 2


def test_info_shows_documentation_and_settings(genzoo_):
    code, text = genzoo_("info", "wae-mmd")
    assert code == 0
    for expected in (
        "latent_dim",
        "200.0",
        "https://arxiv.org/abs/1711.01558",
        "genzoo.models.wae:WAEMMD",
    ):
        assert expected in text
    count = sum(p.numel() for p in genzoo.load("wae-mmd").parameters())
    assert f"{count:,} parameters with these defaults, for examples of 1 x 28 x 28" in text
    assert genzoo_("info", "mlp")[1].count("activation") >= 3  # encoder, decoder and critic
    code, text = genzoo_("info", "wae-mdm")
    assert (code, "Did you mean 'wae-mmd'" in text) == (2, True)


@pytest.mark.slow
def test_help_and_list_import_no_torch():
    code = (
        "import sys, runpy; sys.argv = ['genzoo', {!r}]\n"
        "try: runpy.run_module('genzoo', run_name='__main__')\n"
        "except SystemExit as e: assert not e.code\n"
        "assert not {{'torch', 'numpy', 'lightning_fabric', 'sklearn', 'pyro'}} & set(sys.modules)"
    )
    for argument in ("list", "--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(argument)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train {r}/vae-digits.toml model.latnt_dim=3", "Did you mean 'latent_dim'"),
        (
            "train {r}/vae-digits.toml model.latent_dim=0",
            "model.latent_dim = 0: expected greater than 0",
        ),
        (
            "train {r}/vae-digits.toml model.latent_dim=many",
            'model.latent_dim = "many": expected an integer',
        ),
        ("train {r}/vae-digits.toml model.prior=mogg", "Did you mean 'mog'"),
        (
            "train {r}/vae-digits.toml model.prior.name=mog model.prior.components=many",
            "model.prior.components",
        ),
        ("train {r}/vae-digits.toml train.stesp=3", "Did you mean 'steps'"),
        ("train {r}/vae-digits.toml tarin.steps=3", "Did you mean 'train'"),
        ("train {r}/vae-digits.toml players.modle.lr=1", "no player"),
        ("train {r}/vae-digits.toml data=digitz", "Did you mean 'digits'"),
        ("train {r}/vae-digits.toml train.steps", "expected a.b=c"),
        ("train {r}/vae-digits.toml train.batch_size=5000", "batch_size"),
        ("train {r}/vae-digits.toml --model vae", "names its model"),
        ("train {r}/nothing.toml", "No such file"),
        ("train digits", "--model NAME"),
        ("train digits --model vaee", "Did you mean 'vae'"),
        ("train {r}/vae-digits.toml --device tpu", "tpu"),
        ("sample {t}", "not a run folder"),
        ("sample {t}/nowhere", "is not a run folder or the name of a model"),
        ("sample vae -o picture.jpg", ".png, .svg, .pdf, or .npy"),
        ("reconstruct vae", "not a run folder"),
        ("evaluate {t}", "not a run folder"),
        ("train {r}/vae-digits.toml --out ~nosuchuser/run", "there is no user of that name"),
        ("train ~nosuchuser/a.toml", "there is no user of that name"),
        ("train {r}/vae-digits.toml --plugin ~nosuchuser/a.py", "there is no user of that name"),
        ("sample vae -o ~nosuchuser/a.png", "there is no user of that name"),
        ("sample ~nosuchuser", "there is no user of that name"),
        (
            "train {r}/vae-digits.toml data.name=folder data.path=~nosuchuser/a",
            "there is no user of that name",
        ),
        (
            f"train {{r}}/vae-digits.toml train.steps={'9' * 5000}",
            "a number with thousands of digits",
        ),
        (f"train {{r}}/vae-digits.toml train.x={'[' * 5000}{']' * 5000}", "nested too deeply"),
        (
            "train {r}/vae-digits.toml model.latent_dim=100000000000",
            "Lower model.latent_dim = 100000000000",
        ),
        ("train {r}/vae-digits.toml train.epochs=inf", "expected a finite number"),
        ("train {r}/wae-mmd-digits.toml model.divergence.scales=[]", "at least 1 item"),
        ("sample vae -n 100000000000000", "needs"),
        ("frobnicate", "No such command"),
        ("sample", "Missing argument"),
    ],
)
def test_refusals_are_one_line_with_exit_code_2(genzoo_, tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    code, text = genzoo_(*command.format(r=RECIPES, t=tmp_path).split())
    assert code == 2
    assert message in text
    assert text.startswith("error: ")
    assert len(text.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*")), "no files are left"


@pytest.mark.slow
def test_a_batch_of_one_is_refused_where_a_model_needs_pairs(genzoo_, tmp_path):
    code, text = genzoo_(
        "train", RECIPES / "wae-mmd-digits.toml", "train.batch_size=1", "--out", tmp_path / "run"
    )
    assert (code, "n >= 2" in text, len(text.strip().splitlines())) == (2, True, 1), text


@pytest.mark.slow
def test_settings_of_a_slot_need_no_name(genzoo_, tmp_path):
    code, text = genzoo_(
        "train",
        RECIPES / "vae-digits.toml",
        "--steps",
        1,
        "model.prior.scale=2.0",
        "--out",
        tmp_path / "run",
    )
    assert code == 0, text
    assert 'name = "normal"\nscale = 2.0' in (tmp_path / "run" / "recipe.toml").read_text()
    code, text = genzoo_(
        "train",
        RECIPES / "vae-digits.toml",
        "model.prior.components=2",
        "--out",
        tmp_path / "other",
    )
    assert (code, "model.prior 'normal' has no setting 'components'" in text) == (2, True)


def test_malformed_recipes_are_named_with_the_line(genzoo_, tmp_path):
    bad = tmp_path / "bad.toml"
    for text, message in [
        ("[model\nname = 1", "line 1"),
        ('[model]\nname = "vae"', "needs a section [data]"),
        ('model = "vae"\ndata = "digits"\n[trian]\nsteps = 3', "Did you mean 'train'"),
        ('model = "vae"\ndata = 3', "expected a table"),
        ('model = "vae"\ndata = "digits"\nplayers = { critic = 3 }', "players.critic"),
    ]:
        bad.write_text(text)
        code, printed = genzoo_("train", bad, "--out", tmp_path / "run")
        assert (code, message in printed) == (2, True), printed
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_train_a_model_on_a_dataset_writes_its_recipe(genzoo_, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = genzoo_(
        "train",
        "toy",
        "--model",
        "vae",
        "--steps",
        "3",
        "data.distribution=moons",
        "model.latent_dim=2",
    )
    assert code == 0, text
    recipe = (tmp_path / "runs" / "vae-toy" / "recipe.toml").read_text()
    assert 'distribution = "moons"' in recipe
    assert "steps = 3" in recipe
    code, text = genzoo_("train", tmp_path / "runs" / "vae-toy" / "recipe.toml", "--out", "again")
    assert code == 0, text
    weights = [
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("runs/vae-toy", "again")
    ]
    assert weights[0] == weights[1]  # training the recipe of a run repeats the run


@pytest.mark.slow
def test_a_run_can_be_resumed_by_its_folder(genzoo_, run_folder):
    code, text = genzoo_(
        "train", RECIPES / "vae-digits.toml", "--steps", "20", "--out", run_folder, "--resume"
    )
    assert (code, "already" in text, "Nothing was done" in text) == (0, True, True)
    code, text = genzoo_("train", RECIPES / "vae-digits.toml", "--out", run_folder)
    assert (code, "--resume" in text, "--overwrite" in text) == (2, True, True)


def test_samples_are_written_as_pictures_and_arrays(genzoo_, run_folder, tmp_path):
    for command, n, out in [
        (("sample", run_folder, "-n", 12), 12, "s.png"),
        (("sample", run_folder, "-n", 12), 12, "s.npy"),
        (("reconstruct", run_folder, "-n", 4), 8, "r.png"),
        (("interpolate", run_folder, "-n", 3, "--steps", 5), 15, "i.png"),
        (("arithmetic", run_folder, "-a", "1,2,3", "-b", "4,5", "-c", 6), 9, "a.png"),
    ]:
        code, text = genzoo_(*command, "-o", tmp_path / out)
        assert code == 0, text
        assert f"{n} of shape (1, 8, 8)" in text
    array = np.load(tmp_path / "s.npy")
    assert array.shape == (12, 1, 8, 8)
    assert 0 <= array.min() <= array.max() <= 1
    assert Image.open(tmp_path / "s.png").mode == "L"
    assert genzoo_("reconstruct", run_folder, "-n", 400)[0] == 2


def test_samples_repeat_by_seed(genzoo_, run_folder, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        genzoo_("sample", run_folder, "-n", 3, "--seed", seed, "-o", tmp_path / f"{name}.npy")
    a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.fixture(scope="module")
def explicit_run(tmp_path_factory):
    """A small explicit model of labeled digits."""
    import genzoo

    path = tmp_path_factory.mktemp("explicit") / "run"
    table = {"name": "pixel-rnn", "layer": "row-lstm", "hidden": 4, "depth": 1, "classes": 10}
    genzoo.fit(
        table,
        {"name": "digits", "binarize": "threshold"},
        path,
        steps=5,
        batch_size=8,
        sample_every=5,
    )
    return path


@pytest.mark.slow
def test_completions_keep_the_given_rows(genzoo_, explicit_run, tmp_path):
    code, text = genzoo_(
        "complete", explicit_run, "-n", 3, "--rows", 5, "--times", 2, "-o", tmp_path / "c.npy"
    )
    assert code == 0, text
    completions = np.load(tmp_path / "c.npy").reshape(3, 2, 8, 8)
    held_out = RunFolder(explicit_run).dataset()
    x = (held_out.test["x"][:3, 0] > 8).astype(float)
    assert np.array_equal(completions[:, :, :5], np.broadcast_to(x[:, None, :5], (3, 2, 5, 8)))
    assert not np.array_equal(completions[:, 0, 5:], completions[:, 1, 5:])
    genzoo_("complete", explicit_run, "-n", 3, "--rows", 5, "--times", 2, "-o", tmp_path / "c.png")
    picture = np.asarray(Image.open(tmp_path / "c.png")) / 255
    tile = picture.shape[1] // 4  # the given rows, two completions, the original
    titles, picture = picture[: -3 * tile], picture[-3 * tile :]
    assert (titles < 0.5).any()
    inner = slice(tile // 16, tile, tile // 8)  # the middle of each pixel
    pixels = picture.reshape(3, tile, 4, tile)[:, inner, :, inner]
    assert np.array_equal(pixels[:, :, 3], x)
    assert np.array_equal(pixels[:, :5, 0], x[:, :5])
    np.testing.assert_allclose(pixels[:, 5:, 0], 0.5, atol=0.01)
    assert np.array_equal(pixels[:, :, 1:3].transpose(0, 2, 1, 3), completions)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "complete {e} --rows 8",
            "--rows 8: images have 8 rows, so nothing is left to complete",
        ),
        ("complete {v}", "VAE has no complete; it can sample, encode"),
        ("complete {e} -n 400", "297 held-out examples"),
        ("complete nade", "not a run folder"),
        ("complete rnade", "does not generate images"),
        ("sample {e} --truncation 1", "cannot truncate"),
    ],
)
def test_impossible_completions_are_refused(
    genzoo_, explicit_run, run_folder, tmp_path, monkeypatch, command, message
):
    monkeypatch.chdir(tmp_path)
    code, text = genzoo_(*command.format(e=explicit_run, v=run_folder).split())
    assert (code, message in text, len(text.strip().splitlines())) == (2, True, 1), text
    assert not list(tmp_path.rglob("*"))


def test_interpolation_is_spherical_by_default(genzoo_, run_folder, tmp_path):
    for name, options in (
        ("auto", ()),
        ("slerp", ("--path", "slerp")),
        ("linear", ("--path", "linear")),
    ):
        genzoo_(
            "interpolate",
            run_folder,
            "-n",
            2,
            "--steps",
            3,
            *options,
            "-o",
            tmp_path / f"{name}.npy",
        )
    auto, spherical, linear = (
        np.load(tmp_path / f"{name}.npy").reshape(2, 3, 64) for name in ("auto", "slerp", "linear")
    )
    assert np.array_equal(auto, spherical)  # the prior is normal
    assert not np.allclose(spherical[:, 1], linear[:, 1], rtol=0, atol=1e-5)
    # the end points are equal
    np.testing.assert_allclose(spherical[:, ::2], linear[:, ::2], atol=1e-6)


def test_arithmetic_takes_positions_on_the_sheet_of_samples(genzoo_, run_folder, tmp_path):
    options = ("-n", 12, "--seed", 3)
    genzoo_("sample", run_folder, *options, "-o", tmp_path / "s.npy")
    options = ("-a", "5", "-b", "12,1", "-c", "1,12", *options)
    code, text = genzoo_("arithmetic", run_folder, *options, "-o", tmp_path / "a.npy")
    assert code == 0, text
    sums, samples = np.load(tmp_path / "a.npy"), np.load(tmp_path / "s.npy")
    # subtracting and adding the same mean changes nothing
    np.testing.assert_allclose(sums[0], samples[4], atol=1e-5)
    genzoo_("arithmetic", run_folder, *options, "-o", tmp_path / "a.png")
    picture = np.asarray(Image.open(tmp_path / "a.png")) / 255
    tile = picture.shape[1] // 9  # eight pixels, enlarged, and a margin of 1
    assert picture.shape[0] == 4 * tile  # two examples, the means, and the last row of neighbors
    pixels = picture.reshape(4, tile, 9, tile)[
        :, 1 : tile - 1 : (tile - 2) // 8, :, 1 : tile - 1 : (tile - 2) // 8
    ]
    # bars of four: minus, plus, equals
    assert [(pixels[2, :, sign] == 0).sum() for sign in (1, 3, 5)] == [
        4,
        7,
        8,
    ]
    # white except for the first examples of b and c
    assert (pixels[0, :, [0, 1, 3, 5, 6, 7, 8]] == 1).all()
    # the result, between its neighbors
    np.testing.assert_allclose(pixels[2, :, 7], sums[0, 0], atol=0.01)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ("1,65", "-b 1,65: position 65 is not on a sheet of 64 samples; choose from 1 to 64"),
        ("0", "-b 0: position 0 is not on a sheet"),
        ("1,x", "-b 1,x: expected positions on the sheet of samples, as in 1,2,3"),
    ],
)
def test_positions_off_the_sheet_are_refused(genzoo_, run_folder, tmp_path, positions, message):
    code, text = genzoo_(
        "arithmetic", run_folder, "-a", 1, "-b", positions, "-c", 2, "-o", tmp_path / "a.png"
    )
    assert (code, message in text, len(text.strip().splitlines())) == (2, True, 1), text


def test_truncated_samples_vary_less(genzoo_, tmp_path):
    run_folder = tmp_path / "run"
    recipe = ("train", RECIPES / "vae-digits.toml", "model.sampler=none", "--steps", "20")
    assert genzoo_(*recipe, "--out", run_folder)[0] == 0
    for name, options in (("plain", ()), ("typical", ("--truncation", 0.1))):
        assert genzoo_("sample", run_folder, *options, "-o", tmp_path / f"{name}.npy")[0] == 0
    plain, typical = (
        np.load(tmp_path / f"{name}.npy").std(axis=0).mean() for name in ("plain", "typical")
    )
    assert typical < 0.2 * plain
    code, text = genzoo_("sample", run_folder, "--truncation", 0)
    assert (code, "truncation at 0 standard deviations" in text) == (2, True)


def test_a_missing_capability_is_named(genzoo_, monkeypatch):
    monkeypatch.setattr(registries["models"], "_registered", {})
    registries["models"].register("bigrams", Bigrams)
    code, text = genzoo_("sample", "bigrams", "--truncation", 1)
    assert (code, "Bigrams cannot truncate its samples; leave out --truncation" in text) == (
        2,
        True,
    )
    code, text = genzoo_("arithmetic", "bigrams", "-a", 1, "-b", 2, "-c", 3)
    assert (code, "Bigrams has no decode" in text) == (2, True)


def test_text_samples_are_printed_or_written_unchanged(genzoo_, tmp_path, monkeypatch):
    monkeypatch.setattr(registries["models"], "_registered", {})

    def text(self, x):
        return ["[red]" + "".join("abc"[i] for i in row) for row in x.argmax(-1)]

    monkeypatch.setattr(Bigrams, "text", text, raising=False)

    class Long(Bigrams):
        def __init__(self, shape: tuple[int, int] = (90, 3)) -> None:
            super().__init__(shape)

    registries["models"].register("bigrams", Long)
    code, text = genzoo_("sample", "bigrams", "-n", 3)
    lines = text.splitlines()
    # markup is not interpreted, and lines are not broken
    assert (code, len(lines), {len(line) for line in lines}) == (
        0,
        3,
        {95},
    )
    assert genzoo_("sample", "bigrams", "-n", 3, "-o", tmp_path / "three.txt")[0] == 0
    lines = (tmp_path / "three.txt").read_text().splitlines()
    assert (len(lines), {line[:5] for line in lines}) == (3, {"[red]"})
    code, text = genzoo_("sample", "bigrams", "-o", tmp_path / "three.png")
    assert (code, "as text, as in -o samples.txt" in text) == (2, True)


def test_suffixes_may_be_in_capitals(genzoo_, run_folder, tmp_path):
    for name in ("x.PNG", "x.NPY"):
        assert genzoo_("sample", run_folder, "-n", 2, "-o", tmp_path / name)[0] == 0
        assert (tmp_path / name).stat().st_size


def test_text_output_needs_a_text_model(genzoo_, run_folder, tmp_path):
    code, text = genzoo_("sample", run_folder, "-o", tmp_path / "x.txt")
    assert (code, "expected a name that ends in .png, .svg, .pdf, or .npy" in text) == (2, True)


def test_translation_needs_a_translation_model(genzoo_, run_folder, tmp_path):
    code, text = genzoo_("translate", run_folder, tmp_path)
    assert (code, "VAE has no translate" in text) == (2, True)


def test_evaluate_writes_a_table(genzoo_, run_folder):
    code, text = genzoo_("evaluate", run_folder, "reconstruction", "likelihood", "--limit", "50")
    assert code == 0, text
    evaluation = json.loads((run_folder / "report" / "evaluation.json").read_text())
    metrics = {row["metric"] for row in evaluation["measurements"]}
    assert metrics == {"reconstruction", "likelihood"}
    assert (evaluation["n"], evaluation["skipped"]) == (50, {})
    assert "squared_error" in text
    assert "50 held-out examples" in (run_folder / "report" / "evaluation.md").read_text()
    assert genzoo_("evaluate", run_folder, "likelihod")[0] == 2


def test_evaluate_writes_and_prints_what_python_returns(genzoo_, run_folder):
    import genzoo

    code, text = genzoo_("evaluate", run_folder, "-n", "60", "--seed", "3", "frechet", "codes")
    assert code == 0, text
    evaluation = genzoo.evaluate(run_folder, metrics=["frechet", "codes"], n=60, seed=3)
    report = run_folder / "report"
    assert (report / "evaluation.json").read_text(encoding="utf-8") == evaluation.to_json()
    assert (report / "evaluation.md").read_text(encoding="utf-8") == evaluation.to_markdown()
    assert evaluation.table() in text


@pytest.mark.slow
def test_evaluate_on_other_data_is_refused_by_name_or_allowed(genzoo_, tmp_path):
    import torch

    import genzoo

    rows = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))

    @genzoo.datasets.register("test-replaced")
    def replaced(binarize: str | None = None):
        return genzoo.Dataset({"x": rows[:32].clone()}, {"x": rows[32:].clone()}, binarize=binarize)

    genzoo.fit(
        {"name": "vae", "latent_dim": 2}, "test-replaced", tmp_path / "run", steps=2, batch_size=8
    )
    assert genzoo_("evaluate", tmp_path / "run", "reconstruction")[0] == 0
    rows[0] = 0.5  # a training row, which the metric does not use
    assert genzoo_("evaluate", tmp_path / "run", "reconstruction")[0] == 0
    rows[39] = 0.5
    code, text = genzoo_("evaluate", tmp_path / "run", "reconstruction")
    assert code == 2
    assert "error: " in text
    assert "was trained on other data: the test column 'x' holds other values" in text
    run = str(tmp_path / "run")
    assert f"--data {run}" in " ".join(text.split())
    assert genzoo_("evaluate", run, "reconstruction", "--data", run)[0] == 0
    assert (tmp_path / "run" / "report" / "data" / "evaluation.json").is_file()


def test_an_evaluation_is_strict_json_whatever_a_metric_returns(genzoo_, run_folder, monkeypatch):
    import genzoo

    monkeypatch.setattr(registries["metrics"], "_registered", {})

    @genzoo.metrics.register("test-infinite")
    class Infinite:
        needs, reads = (), ()

        def lacking(self, model):
            return []

        def __call__(self, evidence):
            for quantity, value in (("nothing", "nan"), ("much", "inf"), ("half", 0.5)):
                yield genzoo.contract.Measurement(quantity=quantity, value=float(value), n=1)

    assert genzoo_("evaluate", run_folder, "test-infinite")[0] == 0
    text = (run_folder / "report" / "evaluation.json").read_text()
    rows = json.loads(text, parse_constant=pytest.fail)["measurements"]
    values = {row["quantity"]: row["value"] for row in rows}
    assert values == {"nothing": "nan", "much": "inf", "half": 0.5}


def test_nan_weights_are_refused_in_one_line(genzoo_, run_folder, tmp_path):
    import shutil

    import torch

    from genzoo.runs.checkpoint import read_weights, write_weights

    folder = shutil.copytree(run_folder, tmp_path / "run")
    model = genzoo.load(folder)
    for file in folder.glob("*.safetensors"):
        weights, round = read_weights(file)
        broken = {
            name: value * torch.nan if value.is_floating_point() else value
            for name, value in weights.items()
        }
        write_weights(file, model, broken, round)
    for command in (("sample", folder), ("evaluate", folder)):
        code, text = genzoo_(*command)
        assert code == 2
        assert "holds weights that are not finite" in text
        assert "Traceback" not in text


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_evaluate_and_arrays_in_other_precisions(genzoo_, tmp_path, precision):
    out = tmp_path / "run"
    small = ["model.latent_dim=2", "model.critic.hidden=[8]", "train.batch_size=16"]
    code, text = genzoo_(
        "train",
        "digits",
        "--model",
        "wae-gan",
        f"train.precision={precision}",
        *small,
        "--steps",
        "2",
        "--out",
        out,
    )
    assert code == 0, text
    code, text = genzoo_("evaluate", out, "--limit", "3")
    assert code == 0, text
    assert "note: frechet: " in text  # it needs more than three images; the other metrics still run
    evaluation = json.loads((out / "report" / "evaluation.json").read_text())
    assert {"codes", "reconstruction"} <= {row["metric"] for row in evaluation["measurements"]}
    assert "frechet" in evaluation["skipped"]
    assert genzoo_("evaluate", out, "frechet", "--limit", "3")[0] == 2
    assert genzoo_("sample", out, "-n", "3", "-o", tmp_path / "x.npy")[0] == 0
    assert np.isfinite(np.load(tmp_path / "x.npy")).all()


def test_ctrl_c_saves_and_shows_how_to_resume(tmp_path, python):
    command = [python, "-m", "genzoo", "train", RECIPES / "vae-digits.toml"]
    command += ["--steps", "100000000", "--out", "run"]
    child = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    try:
        while not (metrics.exists() and metrics.read_text()):
            assert child.poll() is None, child.communicate()
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate()
    finally:
        child.kill()
    assert child.returncode == 130
    assert "stopped at step" in stderr
    assert "Resume with `genzoo resume run`." in stderr
    assert len(list((tmp_path / "run" / "checkpoints").glob("step-*.ckpt"))) == 1
