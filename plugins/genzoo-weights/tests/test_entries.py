"""Every entry is registered and complete, and the package stays small."""

import tomllib
from pathlib import Path

import genzoo_weights
import pytest

from genzoo.testing import checks
from genzoo.weights import Entry

ROOT = Path(__file__).parents[1]
NAMES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "genzoo_weights"
]


def entry(name):
    module, _, attribute = NAMES[name].partition(":")
    assert module == "genzoo_weights"
    return getattr(genzoo_weights, attribute)


def test_every_folder_is_registered():
    folders = {path.name for path in (ROOT / "genzoo_weights" / "entries").glob("[!.]*")}
    assert folders == set(NAMES)
    assert all(isinstance(entry(name), Entry) for name in NAMES)
    assert {entry(name).folder.name for name in NAMES} == folders
    assert {value.partition(":")[2] for value in NAMES.values()} == set(genzoo_weights.__all__)


def test_the_package_is_small():
    files = (ROOT / "genzoo_weights").rglob("*")
    assert sum(path.stat().st_size for path in files if path.is_file()) < 40e6


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_conforms(name):
    for check in checks(entry(name)):
        check()
