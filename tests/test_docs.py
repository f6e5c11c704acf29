"""The pages keep their word: their Python runs and prints what they say, their commands run, their recipes build.

A page is one story. Its blocks run in order, in one namespace and one folder; training commands are cut to a few steps.
"""

import doctest
import re
import shlex
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
import torch

from genzoo.cli.app import main
from genzoo.registry.build import build
from genzoo.registry.lookup import registries
from genzoo.runs.recipe import checked
from genzoo.train.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = [
    path
    for pattern in ("*.md", "plugins/*.md", "docs/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]
PRINTS = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
PROGRESS = re.compile(r"^step [\d,]+/[\d,]+  .*\n", re.MULTILINE)
"""The lines that a run prints while it trains, of which pages show none."""
FENCE = re.compile(r"^```(python|console|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STORIES = [path for path in PAGES if FENCE.search(path.read_text(encoding="utf-8"))]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder with the recipes in it, one thread, and registries that forget what a page registers."""
    for name in ("recipes", "plugins"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "data"))
    for registry in registries.values():
        monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.mark.parametrize("page", STORIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page_runs(page, workplace, monkeypatch, capsys):
    text = page.read_text(encoding="utf-8")
    module = ModuleType(f"page_{page.stem}".replace("-", "_"))
    monkeypatch.setitem(
        sys.modules, module.__name__, module
    )  # where torch.compile looks for what a class on the page refers to
    namespace = vars(module)
    for block in FENCE.finditer(text):
        language, code = block.groups()
        if language == "python":
            lines_above = "\n" * text[: block.start(2)].count(
                "\n"
            )  # a traceback then names the page's line
            capsys.readouterr()
            exec(compile(lines_above + code, str(page), "exec"), namespace)
            said, printed = (
                "\n".join(PRINTS.findall(code)),
                PROGRESS.sub("", capsys.readouterr().out),
            )
            assert doctest.OutputChecker().check_output(
                said, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            ), printed
        elif language == "console":
            for command in re.findall(r"^\$ (genzoo .*)$", code, re.MULTILINE):
                run(command, monkeypatch)
        elif "[model]" in code:
            builds(checked({"data": "digits"} | tomllib.loads(code)))


def run(command, monkeypatch):
    words = shlex.split(command)
    if words[1] in ("train", "resume"):
        words += ["--steps", "3" if words[1] == "train" else "4"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code in (None, 0), command


def builds(recipe):
    Settings.of(recipe["train"])
    model = build(recipe["model"], shape=(1, 8, 8))
    names = {player.name for player in model.players()}
    assert recipe["players"].keys() <= names


def test_every_registered_name_is_documented():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    own = [
        (name, owner)
        for registry in registries.values()
        for name, (owner, *_) in registry.registrations().items()
    ]
    assert [
        name for name, owner in own if owner.distribution == "genzoo" and f"`{name}`" not in text
    ] == []


def test_every_training_setting_is_documented():
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(Settings) if f"`{field.name}`" not in text] == []


def test_pages_ask_nobody_else_for_anything():
    """What a browser loads comes from the site: no script, style, font or image from elsewhere."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings
    assert "repo_url" not in settings  # the theme would ask its host for stars
    loaded = [*(ROOT / "docs").rglob("*.css"), *PAGES]
    outside = re.compile(r"""url\(\s*['"]?https?:|@import|!\[[^]]*\]\(https?:|\bsrc=['"]?https?:""")
    assert [path.name for path in loaded if outside.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_has_a_gap_left_to_fill(path):
    assert "TODO" not in path.read_text(encoding="utf-8")
