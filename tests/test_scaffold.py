"""`genzoo new plugin`: it writes a package that builds, installs, keeps the contract and trains, or it refuses the name."""

import ast
import importlib.util
import keyword
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import genzoo
from genzoo.cli.app import main
from genzoo.cli.author import write_plugin
from genzoo.errors import SettingError
from genzoo.registry.plugins import CONTRACT_VERSION

ROOT = Path(__file__).parents[1]


def run(*command, cwd=None, **environment):
    variables = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **environment,
    }
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=cwd, env=variables, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the package of `genzoo new plugin genzoo-my-model`, its wheel, and a site that it is installed in."""
    home = tmp_path_factory.mktemp("scaffold")
    run(
        sys.executable,
        "-m",
        "genzoo",
        "new",
        "plugin",
        "genzoo-my-model",
        "-o",
        home / "build",
        GENZOO_PLUGINS="off",
    )
    pip = (sys.executable, "-m", "pip", "--quiet")
    run(
        *pip,
        "wheel",
        "--no-deps",
        "--wheel-dir",
        home / "wheels",
        home / "build" / "genzoo-my-model",
    )
    (wheel,) = (home / "wheels").glob("*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--target", home / "site", wheel)
    return home


@pytest.fixture
def here(home):
    """Run Python where the package is installed."""
    return lambda *arguments: run(
        sys.executable,
        *arguments,
        cwd=home,
        PYTHONPATH=str(home / "site"),
        GENZOO_PLUGINS="genzoo-my-model",
    )


def test_its_wheel_has_the_module_and_the_marker_of_types(home):
    (wheel,) = (home / "wheels").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"genzoo_my_model/__init__.py", "genzoo_my_model/py.typed"} <= set(names)
    assert not [name for name in names if "test" in name]


def test_the_wheel_of_genzoo_has_the_templates(tmp_path):
    run(sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    own = {
        f"genzoo/templates/plugin/{path.name}"
        for path in (ROOT / "genzoo" / "templates" / "plugin").iterdir()
    }
    assert len(own) == 6
    assert own <= set(zipfile.ZipFile(wheel).namelist())


def test_its_tests_pass_from_anywhere(home, here):
    printed = here("-m", "pytest", home / "build" / "genzoo-my-model", "-p", "no:cacheprovider")
    passed = int(re.search(r"(\d+) passed", printed)[1])
    assert passed > 20
    assert "failed" not in printed
    assert f"rootdir: {home / 'build' / 'genzoo-my-model'}" in printed


def test_it_trains_samples_and_is_loaded(home, here):
    printed = here(
        "-m", "genzoo", "train", "digits", "--model", "my-model", "--steps", "20", "--out", "run"
    )
    assert "run is complete: step 20" in printed
    assert "16 of shape (1, 8, 8)" in here(
        "-m", "genzoo", "sample", "run", "-n", "16", "-o", "samples.npy"
    )
    script = "import genzoo; model = genzoo.load('run'); print(type(model).__name__, model.config['name'], *model.sample(2).shape)"
    assert here("-c", script).split() == ["MyModel", "my-model", "2", "1", "8", "8"]


def test_it_learns(home, here):
    """Its loss falls, and by more than a constant could: below that of the mean image."""
    script = """
import genzoo, torch
from genzoo.data.sklearn_digits import digits
data = digits()
x = data.prepare(torch.from_numpy(data.train["x"]))
mean = (x - x.mean(0)).square().flatten(1).sum(1).mean().item() / (2 * 0.1**2)
run = genzoo.fit("my-model", data, steps=400, progress=False)
print(run.history[-1]["error"] < 0.5 * mean)
"""
    assert here("-c", script).strip() == "True"


def test_genzoo_check_passes_and_lists_it(here):
    assert "my-model: passed;" in here("-m", "genzoo", "check", "my-model")
    assert "genzoo-my-model 0.1.0" in here("-m", "genzoo", "list", "models", "my-model")


def test_the_model_has_forty_lines_and_is_clean(home):
    package = home / "build" / "genzoo-my-model"
    assert len((package / "genzoo_my_model" / "__init__.py").read_text().splitlines()) <= 40
    for arguments in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        run(sys.executable, "-m", "ruff", *arguments, package, cwd=home)


@pytest.mark.slow
def test_its_types_are_sound(home):
    run(
        sys.executable,
        "-m",
        "mypy",
        "--cache-dir",
        home / "mypy",
        cwd=home / "build" / "genzoo-my-model",
    )


def test_what_it_says_next_is_what_a_person_can_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genzoo", "new", "plugin", "genzoo-other", "-o", "a folder"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (None, 0)
    printed = capsys.readouterr().out
    assert "pip install -e 'a folder/genzoo-other'" in printed
    assert "genzoo train digits --model other" in printed
    assert (tmp_path / "a folder" / "genzoo-other" / "README.md").is_file()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "genzoo-vae",
            r"model 'vae' is taken by genzoo .*genzoo\.models\.vae:VAE.*; choose another name",
        ),
        ("genzoo", "there is a module genzoo already"),
        ("json", "there is a module json already"),
        ("torch", "there is a module torch already"),
        ("class", "its module would be class, which Python does not allow"),
        ("genzoo-none", "its class would be None, which Python does not allow"),
        ("genzoo-3d", "its class would be 3d, which Python does not allow"),
        ("genzoo_model", "expected lower-case letters and digits in words with hyphens"),
        ("Genzoo-Model", "expected lower-case"),
        ("../genzoo-up", "expected lower-case"),
        ("genzoo-", "expected lower-case"),
        ("", "expected lower-case"),
        ("genzoo-naïve", "expected lower-case"),
    ],
)
def test_a_name_that_does_not_serve_is_refused(name, reason, tmp_path):
    with pytest.raises(SettingError, match=reason):
        write_plugin(name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "genzoo-mine").mkdir()
    with pytest.raises(
        SettingError, match=r"genzoo-mine exists; give another name, or another folder with -o"
    ):
        write_plugin("genzoo-mine", tmp_path)
    assert list((tmp_path / "genzoo-mine").iterdir()) == []


def test_a_model_of_another_plugin_is_refused(install, tmp_path):
    install(
        "genzoo-other",
        "0.3",
        {"mine": "genzoo_other:Mine"},
        genzoo_other="raise RuntimeError('imported')",
    )
    with pytest.raises(SettingError, match=r"model 'mine' is taken by genzoo-other 0\.3"):
        write_plugin("genzoo-mine", tmp_path / "out")


WORDS = st.text(st.sampled_from("abz019"), min_size=1, max_size=6)
NAMES = st.one_of(
    st.lists(WORDS, min_size=1, max_size=4).map("-".join),
    st.lists(WORDS, min_size=1, max_size=3).map(lambda words: "-".join(["genzoo", *words])),
    st.sampled_from(
        [*keyword.kwlist, *sorted(sys.stdlib_module_names)[:40], *genzoo.available()]
    ).map(lambda w: f"genzoo-{w}"),
    st.text(max_size=12),
)


@given(name=NAMES)
@example("genzoo-a-1")
@example("a")
def test_any_name_is_refused_or_makes_a_valid_package(name):
    with tempfile.TemporaryDirectory() as folder:
        package, refusal = None, ""
        try:
            package = write_plugin(name, Path(folder))
        except SettingError as error:
            refusal = str(error)
        if package is None:
            assert repr(name) in refusal
            assert list(Path(folder).iterdir()) == []
        else:
            assert package == Path(folder) / name
            is_valid(package, name)


def is_valid(package, name):
    project = tomllib.loads((package / "pyproject.toml").read_text())
    assert project["project"]["name"] == name == canonicalize_name(name)
    (needed,) = (Requirement(text) for text in project["project"]["dependencies"])
    assert needed.name == "genzoo"
    assert genzoo.__version__ in needed.specifier
    points = project["project"]["entry-points"]
    ((model, value),) = points["genzoo_models"].items()
    assert name in (model, f"genzoo-{model}")
    point = EntryPoint(model, value, "genzoo_models")
    assert (points["genzoo_contract"], CONTRACT_VERSION) == ({"1.0": point.module}, (1, 0))
    assert point.module.isidentifier()
    assert importlib.util.find_spec(point.module) is None
    tree = ast.parse((package / point.module / "__init__.py").read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == [point.attr]
    (test,) = (package / "tests").iterdir()
    assert f'checks("{model}", "models")' in test.read_text()
    ast.parse(test.read_text())
    left = "".join(
        path.read_text().replace("${{ matrix.python }}", "")
        for path in package.rglob("*")
        if path.is_file()
    )
    assert "$" not in left


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(
    os.environ.get("GENZOO_SLOW") != "1",
    reason="installs torch anew, in minutes; GENZOO_SLOW=1 asks for it",
)
def test_in_a_fresh_environment(tmp_path):
    """As a stranger does it: genzoo from its wheel, the package, its tests, a run."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python, constraints = tmp_path / "venv" / "bin" / "python", ("-c", ROOT / "constraints.txt")
    pip = (python, "-m", "pip", "--quiet", "install", *constraints)
    run(*pip, ROOT, "pytest")
    binary = python.parent
    run(binary / "genzoo", "new", "plugin", "genzoo-mymodel", "-o", "build", cwd=tmp_path)
    run(*pip, "-e", "build/genzoo-mymodel", cwd=tmp_path)
    assert " passed" in run(binary / "pytest", "build/genzoo-mymodel", cwd=tmp_path)
    train = (
        binary / "genzoo",
        "train",
        "digits",
        "--model",
        "mymodel",
        "--steps",
        "50",
        "--out",
        "runs/mine",
    )
    assert "is complete: step 50" in run(*train, cwd=tmp_path)
    assert "mymodel: passed" in run(binary / "genzoo", "check", "mymodel", cwd=tmp_path)
