"""The code on every page works: Python prints the shown output, commands run, recipes build.

The blocks of a page run in order, in one namespace and one folder. Commands train for a few steps.
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
"""The lines that a run prints while it trains. Pages do not show them."""
FENCE = re.compile(
    r'^```(python|console|toml)(?: title="([\w.]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE
)
"""A block of code: its language, the name of the file that it is, and its code."""
FIGURES = re.compile(r"!\[[^]]*\]\(([\w-]+\.(?:png|svg))\)")
"""The figures next to a page. The code of a tutorial makes them."""
STORIES = [path for path in PAGES if FENCE.search(path.read_text(encoding="utf-8"))]
FAST = {"README.md", "data.md", "distances.md", "penalties.md", "pixels.md"}
"""Names of the pages that a run without the slow tests runs."""


def page_name(path):
    return str(path.relative_to(ROOT))


def story(path):
    marks = () if path.name in FAST else pytest.mark.slow
    return pytest.param(path, id=page_name(path), marks=marks)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Work in an empty folder with the recipes; forget what the page registers afterwards."""
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
    torch.compiler.reset()


@pytest.mark.parametrize("page", [story(path) for path in STORIES])
def test_page_runs(page, workplace, monkeypatch, capsys):
    text = page.read_text(encoding="utf-8")
    module = ModuleType(f"page_{page.stem}".replace("-", "_"))
    # torch.compile looks up the globals of the page's classes in their module.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    namespace = vars(module)
    for block in FENCE.finditer(text):
        language, file, code = block.groups()
        if file:
            (workplace / file).write_text(code, encoding="utf-8")
        elif language == "python":
            # Prepend empty lines, so that tracebacks show the line numbers of the page.
            lines_above = "\n" * text[: block.start(3)].count("\n")
            capsys.readouterr()
            exec(compile(lines_above + code, str(page), "exec"), namespace)
            printed = PROGRESS.sub("", capsys.readouterr().out)
            expected = "\n".join(PRINTS.findall(code))
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            checker = doctest.OutputChecker()
            assert checker.check_output(expected, printed, options), printed
        elif language == "console":
            joined = code.replace("\\\n", " ")
            for command in re.findall(r"^\$ (genzoo .*)$", joined, re.MULTILINE):
                run(command, monkeypatch)
        elif "[model]" in code:
            builds(checked({"data": "digits"} | tomllib.loads(code)))
    if page.parent.name == "tutorials":
        assert [name for name in FIGURES.findall(text) if not (workplace / name).exists()] == []


def run(command, monkeypatch):
    arguments = shlex.split(command)
    if arguments[1] in ("train", "resume"):
        arguments += ["--steps", "3" if arguments[1] == "train" else "4"]
    if arguments[1] == "evaluate" and "-n" not in arguments:
        arguments += ["-n", "100"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (None, 0), command


def builds(recipe):
    Settings.of(recipe["train"])
    model = build(recipe["model"], shape=(1, 8, 8))
    names = {player.name for player in model.players()}
    assert recipe["players"].keys() <= names


def test_every_registered_name_is_documented():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    owners = [item for registry in registries.values() for item in registry.registrations().items()]
    names = [name for name, (owner, *_) in owners if owner.distribution == "genzoo"]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_training_setting_is_documented():
    text = (ROOT / "docs" / "guides" / "recipes.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(Settings) if f"`{field.name}`" not in text] == []


def test_pages_load_nothing_from_other_sites():
    """A browser loads no script, style, font, or image from another host."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings
    assert "repo_url" not in settings  # the theme would contact that host
    loaded = [*(ROOT / "docs").rglob("*.css"), *PAGES]
    outside = re.compile(r"""url\(\s*['"]?https?:|@import|!\[[^]]*\]\(https?:|\bsrc=['"]?https?:""")
    assert [path.name for path in loaded if outside.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_no_page_has_a_placeholder(path):
    assert "TODO" not in path.read_text(encoding="utf-8")


def test_links_of_pages_outside_the_site_exist():
    """MkDocs checks the links of the site only."""
    link = re.compile(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)")
    pages = [*ROOT.glob("*.md"), *ROOT.glob("plugins/*.md"), *ROOT.glob("plugins/*/README.md")]
    texts = {
        page: re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8")) for page in pages
    }
    links = [(page, target) for page, text in texts.items() for target in link.findall(text)]
    assert len(links) > 20
    assert [item for item in links if not (item[0].parent / item[1]).exists()] == []
