"""`genzoo new plugin` writes a package that builds, installs, passes its checks, and trains."""

import ast
import importlib.util
import keyword
import os
import re
import subprocess
import sys
import sysconfig
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
from genzoo.registry.kinds import BUILT_IN
from genzoo.registry.plugins import CONTRACT_VERSION

ROOT = Path(__file__).parents[1]


def built(test):
    """Mark a test of the built package: it is slow, and one worker builds the package for all."""
    return pytest.mark.slow(pytest.mark.xdist_group("scaffold")(test))


def run(*command, cwd=None, **environment):
    """Run a command that must succeed, and return its output."""
    variables = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, cwd=cwd, env=variables, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Write the package to build/ and its wheel to wheels/, and install it in site/."""
    home = tmp_path_factory.mktemp("scaffold")
    new = (sys.executable, "-m", "genzoo", "new", "plugin", "genzoo-my-model")
    run(*new, "-o", home / "build", GENZOO_PLUGINS="off")
    pip = (sys.executable, "-m", "pip", "--quiet")
    build = ("wheel", "--no-deps", "--wheel-dir", home / "wheels")
    run(*pip, *build, home / "build" / "genzoo-my-model")
    (wheel,) = (home / "wheels").glob("*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--target", home / "site", wheel)
    return home


@pytest.fixture
def installed(home, python):
    """Run Python with the package installed; map its arguments to its output."""
    environment = {"PYTHONPATH": str(home / "site"), "GENZOO_PLUGINS": "genzoo-my-model"}
    return lambda *arguments: run(python, *arguments, cwd=home, **environment)


@built
def test_the_wheel_contains_the_module_and_the_type_marker(home):
    (wheel,) = (home / "wheels").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"genzoo_my_model/__init__.py", "genzoo_my_model/py.typed"} <= set(names)
    assert not [name for name in names if "test" in name]


@pytest.mark.slow
def test_the_wheel_of_genzoo_contains_templates_and_weights(tmp_path):
    run(sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    folder = ROOT / "genzoo" / "cli" / "templates" / "plugin"
    templates = {f"genzoo/cli/templates/plugin/{path.name}" for path in folder.iterdir()}
    assert len(templates) == 6
    names = set(zipfile.ZipFile(wheel).namelist())
    assert templates <= names
    entries = [name for name in BUILT_IN["weights"] if name.endswith(".digits")]
    files = ("model.safetensors", "recipe.toml", "card.md", "sha256.json")
    assert {f"genzoo/weights/entries/{name}/{file}" for name in entries for file in files} <= names
    assert wheel.stat().st_size < 10e6


@built
def test_the_tests_of_the_package_pass_in_any_folder(home, installed):
    printed = installed(
        "-m", "pytest", home / "build" / "genzoo-my-model", "-p", "no:cacheprovider"
    )
    passed = int(re.search(r"(\d+) passed", printed)[1])
    assert passed > 20
    assert "failed" not in printed
    assert f"rootdir: {home / 'build' / 'genzoo-my-model'}" in printed


@built
def test_the_model_trains_samples_and_loads(home, installed):
    train = ("train", "digits", "--model", "my-model", "--steps", "20", "--out", "run")
    assert "run is complete: step 20" in installed("-m", "genzoo", *train)
    sample = ("sample", "run", "-n", "16", "-o", "samples.npy")
    assert "16 of shape (1, 8, 8)" in installed("-m", "genzoo", *sample)
    script = (
        "import genzoo; model = genzoo.load('run');"
        "print(type(model).__name__, model.config['name'], *model.sample(2).shape)"
    )
    assert installed("-c", script).split() == ["MyModel", "my-model", "2", "1", "8", "8"]


@built
def test_the_model_learns(home, installed):
    """The error falls below half of the error of the mean image, which is the best constant."""
    script = """
import genzoo, torch
from genzoo.data.sklearn_digits import digits
data = digits()
x = data.prepare(torch.from_numpy(data.train["x"]))
mean = (x - x.mean(0)).square().flatten(1).sum(1).mean().item() / (2 * 0.1**2)
run = genzoo.fit("my-model", data, steps=400, progress=False)
print(run.history[-1]["error"] < 0.5 * mean)
"""
    assert installed("-c", script).strip() == "True"


@built
def test_genzoo_check_passes_and_lists_the_model(installed):
    assert "my-model: passed;" in installed("-m", "genzoo", "check", "my-model")
    assert "genzoo-my-model 0.1.0" in installed("-m", "genzoo", "list", "models", "my-model")


@built
def test_the_model_has_at_most_forty_lines_and_no_lint_errors(home):
    package = home / "build" / "genzoo-my-model"
    assert len((package / "genzoo_my_model" / "__init__.py").read_text().splitlines()) <= 40
    for arguments in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        run(sys.executable, "-m", "ruff", *arguments, package, cwd=home)


def test_the_command_prints_the_next_steps(tmp_path, monkeypatch, capsys):
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
        ("genzoo", "the module genzoo already exists"),
        ("json", "the module json already exists"),
        ("torch", "the module torch already exists"),
        ("class", "its module would be class, which Python does not allow"),
        ("genzoo-none", "its class would be None, which Python does not allow"),
        ("genzoo-3d", "its class would be 3d, which Python does not allow"),
        ("genzoo_model", "expected lowercase letters and digits in words with hyphens"),
        ("Genzoo-Model", "expected lowercase"),
        ("../genzoo-up", "expected lowercase"),
        ("genzoo-", "expected lowercase"),
        ("", "expected lowercase"),
        ("genzoo-naïve", "expected lowercase"),
    ],
)
def test_an_unsuitable_name_is_refused(name, reason, tmp_path):
    with pytest.raises(SettingError, match=reason):
        write_plugin(name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_changed(tmp_path):
    (tmp_path / "genzoo-mine").mkdir()
    with pytest.raises(
        SettingError, match=r"genzoo-mine exists; choose another name, or another folder with -o"
    ):
        write_plugin("genzoo-mine", tmp_path)
    assert list((tmp_path / "genzoo-mine").iterdir()) == []


def test_the_model_name_of_another_plugin_is_refused(install, tmp_path):
    install(
        "genzoo-other",
        "0.3",
        {"mine": "genzoo_other:Mine"},
        genzoo_other="raise RuntimeError('imported')",
    )
    with pytest.raises(SettingError, match=r"model 'mine' is taken by genzoo-other 0\.3"):
        write_plugin("genzoo-mine", tmp_path / "out")


TAKEN = [*keyword.kwlist, *sorted(sys.stdlib_module_names)[:40], *genzoo.available()]
WORDS = st.text(st.sampled_from("abz019"), min_size=1, max_size=6)
NAMES = st.one_of(
    st.lists(WORDS, min_size=1, max_size=4).map("-".join),
    st.lists(WORDS, min_size=1, max_size=3).map(lambda parts: "-".join(["genzoo", *parts])),
    st.sampled_from(TAKEN).map("genzoo-{}".format),
    st.text(max_size=12),
)


@given(name=NAMES)
@example("genzoo-a-1")
@example("a")
def test_any_name_is_refused_or_gives_a_valid_package(name):
    with tempfile.TemporaryDirectory() as folder:
        package, message = None, ""
        try:
            package = write_plugin(name, Path(folder))
        except SettingError as error:
            message = str(error)
        if package is None:
            assert repr(name) in message
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
    texts = [path.read_text() for path in package.rglob("*") if path.is_file()]
    assert "$" not in "".join(texts).replace("${{ matrix.python }}", "")


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(
    os.environ.get("GENZOO_SLOW") != "1",
    reason="installs all dependencies again, which takes a minute; set GENZOO_SLOW=1 to run it",
)
def test_the_package_works_in_a_fresh_environment(tmp_path):
    """Install genzoo from its wheel in a new environment, then write, test, and train a package."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python, constraints = tmp_path / "venv" / "bin" / "python", ("-c", ROOT / "constraints.txt")
    # torch takes longer to install than everything else together.
    installed, new = Path(sysconfig.get_path("purelib")), next(tmp_path.glob("venv/lib/*/site-*"))
    for name in ("torch", "torchgen", "functorch", "torch-*.dist-info"):
        for path in installed.glob(name):
            (new / path.name).symlink_to(path)
    pip = (python, "-m", "pip", "--quiet", "install", "--no-compile", *constraints)
    run(*pip, ROOT, "pytest")
    binary = python.parent
    run(binary / "genzoo", "new", "plugin", "genzoo-mymodel", "-o", "build", cwd=tmp_path)
    run(*pip, "-e", "build/genzoo-mymodel", cwd=tmp_path)
    assert " passed" in run(binary / "pytest", "build/genzoo-mymodel", cwd=tmp_path)
    train = ("train", "digits", "--model", "mymodel", "--steps", "50", "--out", "runs/mine")
    assert "is complete: step 50" in run(binary / "genzoo", *train, cwd=tmp_path)
    assert "mymodel: passed" in run(binary / "genzoo", "check", "mymodel", cwd=tmp_path)
