"""Generated parts agree with the source, diagrams with their script, results with recipes."""

import functools
import re
from pathlib import Path

import pytest

from genzoo.runs.recipe import read

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted((DOCS / "models").glob("*.md")), *sorted((DOCS / "plugins").glob("*.md"))]
REFERENCE = sorted((DOCS / "api").rglob("*.md"))
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
ROW = re.compile(r"^\| `([\w-]+)`(.*)$", re.MULTILINE)
CODE = re.compile(r"`[^`]*`|\\\(.*?\\\)")


@pytest.fixture
def script(import_from):
    """Import scripts of the documentation by name."""
    return functools.partial(import_from, DOCS / "assets")


@pytest.mark.parametrize(
    "page", PAGES + REFERENCE, ids=lambda path: path.relative_to(DOCS).as_posix()
)
def test_generated_parts_are_in_step_with_the_source(script, page):
    text = page.read_text(encoding="utf-8")
    assert script("generate").renew(text) == text, "run: python docs/assets/generate.py"


def test_diagrams_are_those_of_the_script(script):
    diagrams = script("diagrams")
    files = {path.stem: path.read_text(encoding="utf-8") for path in diagrams.FOLDER.iterdir()}
    assert files == {name: draw().svg() for name, draw in diagrams.PICTURES.items()}, (
        "run: python docs/assets/diagrams.py"
    )


@pytest.mark.parametrize("folder", ["diagrams", "curves"])
def test_every_drawing_has_a_page_and_an_alternative_text(folder):
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in (DOCS / "assets" / folder).glob("*.svg"):
        assert re.search(rf"!\[[^]]{{20,}}\]\(\.\./assets/{folder}/{path.name}\)", text), path


@pytest.mark.parametrize("page", sorted((DOCS / "models").glob("*.md")), ids=lambda path: path.stem)
def test_results_are_those_of_the_recipes(page):
    """Every number in a recipe's row of a table is in the recipe or in the comment at its head."""
    for name, cells in ROW.findall(page.read_text(encoding="utf-8")):
        path = ROOT / "recipes" / f"{name}.toml"
        if path.exists():
            known = numbers(path.read_text(encoding="utf-8")) | numbers(str(read(path)))
            for number in NUMBER.findall(CODE.sub("", cells)):
                number = number.replace(",", "")
                digits = len(number.partition(".")[2])
                rounded = {f"{float(value):.{digits}f}" for value in known}
                assert number in rounded, f"{name}: the recipe does not state {number}"


def numbers(text):
    return {number.replace(",", "") for number in NUMBER.findall(text)}
