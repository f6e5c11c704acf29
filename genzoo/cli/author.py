"""The commands for authors of plugins: check, and new plugin."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Annotated, Any

import typer
from rich.markup import escape

from genzoo.__about__ import __version__
from genzoo.cli.common import console, kinds_named
from genzoo.errors import GenzooError, SettingError
from genzoo.files import local_path
from genzoo.registry.lookup import registry
from genzoo.registry.plugins import CONTRACT_VERSION

TEMPLATES = Path(__file__).parent / "templates" / "plugin"
FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "test.yml": ".github/workflows/test.yml",
    "model.py": "$module/__init__.py",
    "test_model.py": "tests/test_$word.py",
}
"""Template -> where it goes in a package, which is a template too."""

new = typer.Typer(rich_markup_mode=None, help="Begin something of your own.")


def check(
    name: Annotated[str, typer.Argument(help="A registered name.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings to build it with.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Where several kinds have the name; all of them by default.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHAPE",
            help="What to build it for, as in 1x28x28; may be repeated. By default its class says.",
        ),
    ] = None,
) -> None:
    """Run the conformance suite on anything that is registered; exit code 1 if it fails."""
    from genzoo.runs.recipe import override
    from genzoo.testing import checks

    table = override({"name": name}, overrides or ())
    shapes = [_shape(text) for text in shape] if shape else None
    words: Counter[str] = Counter()
    for each in _kinds(name, kind, several=not (overrides or shape)):
        _check_required(table, each)
        source = next(iter(registry(each).registrations_of(name)), None)
        console.print(
            f"[bold]{each[:-1]} {escape(name)}[/bold]"
            + (f"  from {escape(str(source))}" if source else "")
        )
        with console.status("builds it"):
            todo = checks(table, each, shapes)
        width = max(len(str(one)) for one in todo)
        for number, one in enumerate(todo, 1):
            with console.status(f"{one}, {number} of {len(todo)}"):
                result = one.result()
            word = (
                "skipped"
                if result.skipped
                else "FAIL"
                if not result.ok
                else "expected"
                if one.excuse
                else "ok"
            )
            words[word] += 1
            reason = textwrap.shorten(
                result.reason.removeprefix("expected failure: "), 400, placeholder=" ..."
            )
            line = f"{one!s:{width}}  {word:8}  {reason}".rstrip()
            console.print(
                line, style="bold red" if word == "FAIL" else None, markup=False, soft_wrap=True
            )
        console.print()
    counts = ", ".join(f"{count} {word}" for word, count in words.items())
    number, verdict = words.total(), "FAILED" if words["FAIL"] else "passed"
    console.print(
        f"{name}: {verdict}; {number} check{'s' if number > 1 else ''}: {counts}", markup=False
    )
    if words["FAIL"]:
        raise typer.Exit(1)


def _kinds(name: str, kind: str | None, several: bool) -> list[str]:
    """The kinds that have a name, or the one that was asked for."""
    if kind is not None:
        registry(kind)
        return [kind]
    kinds = kinds_named(name)
    if len(kinds) > 1 and not several:
        raise SettingError(
            f"{name!r} is the name of {' and '.join(kinds)}; say which is meant, as in --kind {kinds[0]}"
        )
    return kinds


def _check_required(table: Mapping[str, Any], kind: str) -> None:
    """Refuse to test what needs a setting that nobody gave."""
    from genzoo.registry.signatures import parameters
    from genzoo.testing.suites import SUITES

    try:
        known = parameters(registry(kind).get(table["name"]))
    except GenzooError:  # for the first check to say
        return
    given = {*table, *SUITES[kind][0].sizes((1, 1, 1))}
    lacking = [
        key
        for key, parameter in known.items()
        if parameter.default is parameter.empty and key not in given
    ]
    if lacking:
        words = " ".join(f"{key}=..." for key in lacking)
        raise SettingError(
            f"{kind[:-1]} {table['name']!r} has no default for {', '.join(lacking)}; give {words}"
        )


def _shape(text: str) -> tuple[int, ...]:
    """`"1x28x28"` -> (1, 28, 28)."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise SettingError(
            f"--shape {text}: expected sizes with x between them, as in 1x28x28 or 2"
        )
    return tuple(map(int, text.split("x")))


@new.command()
def plugin(
    name: Annotated[str, typer.Argument(help="What the package is called, as in genzoo-mymodel.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to put it into.")] = Path(),
) -> None:
    """Write a complete package with a model that trains and passes its own tests: NAME, below a folder."""
    folder = write_plugin(name, out)
    where = shlex.quote(str(folder))
    model = _words(name)["model"]
    console.print(
        f"{folder}: a package with the model {model!r} and its tests. Next:", markup=False
    )
    for line in (
        f"pip install -e {where}",
        f"pytest {where}",
        f"genzoo train digits --model {model} --steps 500 --out {shlex.quote(f'runs/{model}')}",
        f"Then make it yours: {folder / 'README.md'}",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def write_plugin(name: str, out: Path) -> Path:
    """Write a package with a model, and return its folder, `out / name`.

    Arguments:
        name: of the distribution, lower-case words with hyphens. `genzoo-my-model` has the module `genzoo_my_model`, the model
            `my-model` and its class `MyModel`.
        out: the folder that it goes into; made where it is not there.

    Raises:
        SettingError: the folder exists, or the name does not serve, or what it gives a name to has it already.

    Example:
        >>> import tempfile
        >>> folder = write_plugin("genzoo-my-model", Path(tempfile.mkdtemp()))
        >>> sorted(path.name for path in folder.iterdir())
        ['.github', '.gitignore', 'README.md', 'genzoo_my_model', 'pyproject.toml', 'tests']
    """
    words = _words(name)
    folder = local_path(out, "out") / name
    if folder.exists():
        raise SettingError(f"{folder} exists; give another name, or another folder with -o")
    for template, place in FILES.items():
        path = folder / Template(place).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (TEMPLATES / f"{template}.template").read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(words), encoding="utf-8")
    (folder / words["module"] / "py.typed").touch()
    return folder


def _words(name: str) -> dict[str, str]:
    """What the templates call things.

    Raises:
        SettingError: the name does not serve.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise SettingError(
            f"plugin {name!r}: expected lower-case letters and digits in words with hyphens, as in genzoo-mymodel"
        )
    model, module = name.removeprefix("genzoo-"), name.replace("-", "_")
    cls = "".join(word.capitalize() for word in model.split("-"))
    for word, what in ((module, "module"), (cls, "class")):
        if keyword.iskeyword(word) or not word.isidentifier():
            raise SettingError(
                f"plugin {name!r}: its {what} would be {word}, which Python does not allow; choose another name"
            )
    if importlib.util.find_spec(module) is not None:
        raise SettingError(
            f"plugin {name!r}: there is a module {module} already, which it would hide; choose another name"
        )
    if taken := registry("models").registrations_of(model):
        raise SettingError(
            f"plugin {name!r}: model {model!r} is taken by {taken[0]}; choose another name"
        )
    return {
        "distribution": name, "module": module, "model": model, "cls": cls, "word": model.replace("-", "_"),
        "title": model.replace("-", " ").capitalize(), "version": __version__, "contract": ".".join(map(str, CONTRACT_VERSION)),
    }  # fmt: skip
