"""Plugins in real wheels, built by hatchling and installed by pip: good ones and broken ones."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheels")]

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"

PIXELS = """
    import torch
    from torch import nn

    from genzoo import Model
    from genzoo.registry.build import build
    from genzoo.contract import Part


    class Pixels(Model):
        '''Every pixel has one brightness, the same in all images.'''

        def __init__(self, prior: Part = "hush", shape: tuple[int, ...] = (1, 28, 28)) -> None:
            super().__init__()
            self.shape = shape
            self.logits = nn.Parameter(torch.zeros(shape))
            self.prior = build(prior, "priors", dim=2)

        def loss(self, batch):
            return {"loss": (batch - self.logits.sigmoid()).square().mean()}

        def sample(self, n, given=None):
            with torch.no_grad():
                return self.logits.sigmoid().expand(n, *self.shape).clone()
"""
PRIOR = """
    import torch

    from genzoo.contract import Prior


    class Hush(Prior):
        '''A prior that returns zeros.'''

        def __init__(self, dim: int) -> None:
            super().__init__()
            self.dim = dim

        def sample(self, n):
            return torch.zeros(n, self.dim)
"""
# distribution -> (source of its module, names it registers, contract versions, requirements)
PACKAGES = {
    "genzoo-pixels": (PIXELS, {"pixels": "Pixels"}, ["1.0"], ["genzoo>=0.1"]),
    "genzoo-hush": (PRIOR, {"hush": "Hush"}, ["1.0"], ["genzoo"]),
    "genzoo-lost": ("from genzoo_nowhere import Model", {"lost": "X"}, [], []),
    "genzoo-raises": ("raise RuntimeError('no license')", {"raises": "X"}, [], []),
    "genzoo-exits": ("import sys; sys.exit(3)", {"exits": "X"}, [], []),
    "genzoo-dies": ("import os; os._exit(4)", {"dies": "X", "dies-too": "Y"}, [], []),
    "genzoo-needy": ("import nosuchlib", {"needy": "X"}, [], ["nosuchlib>=2"]),
    "genzoo-twin-a": ("class X:\n    pass", {"twin": "X"}, [], []),
    "genzoo-twin-b": ("class X:\n    pass", {"twin": "X"}, [], []),
    "genzoo-shadow": (PIXELS.replace("Pixels", "VAE"), {"vae": "VAE"}, [], []),
    "genzoo-slow": ("import time; time.sleep(1e6)", {"slow": "X"}, [], []),
    "genzoo-future": ("import sys; sys.exit(5)", {"future": "X"}, ["2.0"], []),
    # The fixture `site` damages the metadata of these two after their installation.
    "genzoo-mistyped": ("import sys; sys.exit(5)", {"mistyped": "X"}, [], []),
    "genzoo-garbled": ("import sys; sys.exit(5)", {"garbled": "X"}, [], []),
    "genzoo-ancient": ("import sys; sys.exit(5)", {"ancient": "X"}, ["0.9"], []),
}


def project(folder: Path, distribution: str) -> Path:
    """Write the source of a package into a folder and return its project's path."""
    source, names, contract, dependencies = PACKAGES[distribution]
    module = distribution.replace("-", "_")
    kind = "priors" if source is PRIOR else "models"
    points = "\n".join(f'{name} = "{module}:{attribute}"' for name, attribute in names.items())
    stated = "\n".join(f'"{version}" = "{module}"' for version in contract)
    home = folder / distribution
    home.mkdir()
    (home / f"{module}.py").write_text(textwrap.dedent(source).lstrip())
    (home / "pyproject.toml").write_text(f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "0.3"
description = "What {distribution} is about"
urls = {{ Homepage = "https://example.org/{distribution}" }}
dependencies = {json.dumps(dependencies)}

[project.entry-points.genzoo_{kind}]
{points}

[project.entry-points.genzoo_contract]
{stated}

[tool.hatch.build.targets.wheel]
include = ["{module}.py"]
""")
    return home


def pip(*arguments: str | Path, path: Path | None = None) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(path or ""),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    command = [sys.executable, "-m", "pip", *map(str, arguments), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def install_wheels(home: Path, projects: list[Path]) -> Path:
    """Build wheels of projects and install them; return the folder that they are installed in."""
    backend = None
    if importlib.util.find_spec("hatchling") is None:
        backend = home / "backend"
        pip("install", "--target", backend, "-c", CONSTRAINTS, "hatchling")
    build = ("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", home / "wheels")
    pip(*build, *projects, path=backend)
    wheels = sorted((home / "wheels").glob("*.whl"))
    assert len(wheels) == len(projects)
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", home / "site", *wheels)
    return home / "site"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Build and install the packages; damage the metadata of two."""
    home = tmp_path_factory.mktemp("wheels")
    site = install_wheels(home, [project(home, distribution) for distribution in PACKAGES])
    for distribution, file, old, new in (
        ("genzoo_garbled", "METADATA", "Name: genzoo-garbled", "Name:"),
        ("genzoo_mistyped", "entry_points.txt", "genzoo_mistyped:X", "genzoo mistyped X"),
    ):
        path = site / f"{distribution}-0.3.dist-info" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    return site


@pytest.fixture
def genzoo_(site, tmp_path, python):
    """Run the command in a process with the packages; map its arguments to exit code and output."""

    def run(*arguments, **environment: str) -> tuple[int, str]:
        command = [python, "-m", "genzoo", *map(str, arguments)]
        plugins = {"PYTHONPATH": str(site), "GENZOO_PLUGINS": ",".join(PACKAGES)}
        variables = {**os.environ, **plugins, **environment}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


def table(text: str) -> dict[tuple[str, str], str]:
    """Read the table of `genzoo list`: (name, distribution) -> state, for these packages only."""
    header, *rows = text.splitlines()
    column = header.index("state")
    states = {(row.split()[1], row.split()[2]): row[column:].strip() for row in rows}
    return {key: state for key, state in states.items() if key[1] in ("genzoo", "an", *PACKAGES)}


HAS = "of genzoo, but this genzoo has 1.0"
MALFORMED = "has a malformed entry point: expected module:attribute"
# States that the metadata show.
SEEN = {
    ("future", "genzoo-future"): f"refused: needs contract 2.0 {HAS}: upgrade genzoo",
    ("ancient", "genzoo-ancient"): f"refused: needs contract 0.9 {HAS}: upgrade genzoo-ancient",
    ("needy", "genzoo-needy"): "broken: it requires nosuchlib>=2, which is not installed",
    ("twin", "genzoo-twin-a"): "clash with genzoo-twin-b: ask for genzoo-twin-a:twin",
    ("twin", "genzoo-twin-b"): "clash with genzoo-twin-a: ask for genzoo-twin-b:twin",
    ("vae", "genzoo-shadow"): "the name is genzoo's: ask for genzoo-shadow:vae",
    ("mistyped", "genzoo-mistyped"): f"refused: {MALFORMED}",
}
# States that only an import can show.
TRIED = {
    ("lost", "genzoo-lost"): "broken: No module named 'genzoo_nowhere'",
    ("raises", "genzoo-raises"): "broken: RuntimeError: no license",
    ("exits", "genzoo-exits"): "broken: SystemExit: 3",
    ("dies", "genzoo-dies"): "broken: its import ends the process, with exit code 4",
    ("dies-too", "genzoo-dies"): "broken: not tried: it comes after 'dies' of the same package",
    ("needy", "genzoo-needy"): "broken: No module named 'nosuchlib'",
}


def test_listing_everything_imports_nothing(genzoo_):
    code, text = genzoo_("list")
    assert code == 0, text
    states = table(text)
    assert states == {key: SEEN.get(key, "") for key in states} | {
        ("garbled", "an"): states["garbled", "an"]
    }
    assert set(SEEN) < set(states)
    assert "has no valid name in its metadata: reinstall it" in states["garbled", "an"]
    assert {name for name, _ in states} >= {
        name for _, names, *_ in PACKAGES.values() for name in names
    }
    assert states["vae", "genzoo"] == states["pixels", "genzoo-pixels"] == ""


def test_trying_plugins_reports_the_broken_ones(genzoo_):
    # On a busy machine, the imports of the other packages may take a long time.
    others = ",".join(name for name in PACKAGES if name != "genzoo-slow")
    code, text = genzoo_("list", "models", "--check", "--timeout", 100_000, GENZOO_PLUGINS=others)
    assert code == 0, text
    states = {key: state for key, state in table(text).items() if key[1] != "genzoo-slow"}
    expected = {**SEEN, **TRIED}
    assert states == {key: expected.get(key, "") for key in states} | {
        ("garbled", "an"): states["garbled", "an"]
    }
    assert states["pixels", "genzoo-pixels"] == ""


def test_trying_a_plugin_that_does_not_end_is_stopped(genzoo_):
    code, text = genzoo_("list", "models", "slow", "--check", "--timeout", 0.5)
    assert code == 0, text
    assert "broken: its import takes longer than 0.5 s" in text


def test_a_good_plugin_trains_amid_broken_ones(genzoo_, tmp_path):
    code, text = genzoo_("info", "pixels")
    assert code == 0, text
    for expected in (
        "from genzoo-pixels 0.3 (genzoo_pixels:Pixels)",
        "genzoo_pixels.py, line 9",
        "What genzoo-pixels is about",
        "https://example.org/genzoo-pixels",
        "Every pixel has one brightness",
    ):
        assert expected in text
    code, text = genzoo_("train", "digits", "--model", "pixels", "--steps", 3, "--out", "run")
    assert code == 0, text
    needs = "[\"models 'pixels' from genzoo-pixels 0.3\", \"priors 'hush' from genzoo-hush 0.3\"]"
    assert f"needs = {needs}" in (tmp_path / "run" / "recipe.toml").read_text()
    code, text = genzoo_("sample", "run", "-n", 2, "-o", "s.npy")
    assert (code, "2 of shape (1, 8, 8)" in text) == (0, True), text
    code, text = genzoo_("sample", "run", PYTHONPATH="")
    assert (code, len(text.strip().splitlines())) == (2, 1), text
    assert text.startswith("error: No model named 'pixels'.")
    assert (
        "The run says that it needs models 'pixels' from genzoo-pixels 0.3; "
        "priors 'hush' from genzoo-hush 0.3." in text
    )
    assert text.strip().endswith(
        "If you trust where it comes from: pip install genzoo-pixels==0.3 genzoo-hush==0.3."
    )


def test_a_plugin_with_the_name_of_a_built_in_needs_its_full_name(genzoo_, tmp_path):
    code, text = genzoo_("train", "digits", "--model", "genzoo-shadow:vae", "--steps", 3)
    assert code == 0, text
    recipe = tmp_path / "runs" / "genzoo-shadow-vae-digits" / "recipe.toml"
    assert 'name = "genzoo-shadow:vae"' in recipe.read_text()
    code, text = genzoo_("sample", recipe.parent, "-n", 2, "-o", "s.npy")
    assert code == 0, text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lost", "which failed to import: No module named 'genzoo_nowhere'"),
        ("raises", "which failed to import: RuntimeError: no license"),
        ("exits", "which failed to import: SystemExit: 3"),
        ("needy", "which failed to import: No module named 'nosuchlib'"),
        ("future", "which needs contract 2.0 of genzoo, but this genzoo has 1.0: upgrade genzoo"),
        ("twin", "Write 'genzoo-twin-a:twin' or 'genzoo-twin-b:twin'."),
        ("mistyped", "which has a malformed entry point: expected module:attribute"),
        ("garbled", "comes from an unnamed package"),
        ("pixel", "Did you mean 'pixels'"),
    ],
)
def test_using_a_broken_plugin_names_the_problem(genzoo_, tmp_path, name, message):
    code, text = genzoo_("info", name)
    assert (code, len(text.strip().splitlines())) == (2, 1), text
    assert message in text


# -- the packages of this repository

OURS = {
    "genzoo-sliced": ("genzoo_sliced.py", "swae", "digits", []),
    "genzoo-translation": (
        "genzoo_translation/py.typed",
        "discogan",
        "mapped",
        ["data.of=digits", "train.batch_size=8"],
    ),
    "genzoo-text": (
        "genzoo_text/py.typed",
        "char-wgan-gp",
        "python-help",
        ["data.length=8", "model.generator.width=8", "model.critic.width=8"],
    ),
}
"""Package -> (a file of its wheel, a model, a dataset to train it on, settings)."""


@pytest.fixture(scope="session")
def repository_site(tmp_path_factory):
    """Build and install the packages of this repository; their wheels do not contain tests."""
    folders = [ROOT / "plugins" / name for name in OURS]
    return install_wheels(tmp_path_factory.mktemp("ours"), folders)


@pytest.mark.parametrize("name", OURS)
def test_a_package_of_this_repository_works_from_its_wheel(
    repository_site, site, tmp_path, python, name
):
    """Train a model of one package next to the broken ones, and read its run back."""
    file, model, data, settings = OURS[name]
    assert (repository_site / file).exists()
    assert not list(repository_site.glob("tests"))
    plugins = {
        "PYTHONPATH": f"{repository_site}:{site}",
        "GENZOO_PLUGINS": ",".join((name, *PACKAGES)),
    }
    variables = {**os.environ, **plugins}

    def run(*arguments: str) -> str:
        command = [python, "-m", "genzoo", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert f"{repository_site / file.split('/')[0]}" in run("info", model)
    run("train", data, *settings, "--model", model, "--steps", "2", "--out", "run")
    assert f"from {name} 0.1.0" in (tmp_path / "run" / "recipe.toml").read_text()
    assert "4 of shape" in run("sample", "run", "-n", "4", "-o", "s.npy")
