"""The commands for authors of plugins: `check` and `new plugin`."""

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
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from genzoo.__about__ import __version__
from genzoo.cli.common import console, kinds_named
from genzoo.errors import GenzooError, SettingError
from genzoo.files import local_path
from genzoo.registry.kinds import SINGULAR
from genzoo.registry.lookup import registry
from genzoo.registry.plugins import CONTRACT_VERSION

if TYPE_CHECKING:
    from genzoo.testing import Check
    from genzoo.testing.conformance import Result

__all__ = ["check", "new", "plugin", "write_plugin"]

TEMPLATES = Path(__file__).parent / "templates" / "plugin"
FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "test.yml": ".github/workflows/test.yml",
    "model.py": "$module/__init__.py",
    "test_model.py": "tests/test_$word.py",
}
"""Template -> its path in a package, which is also a template."""

new = typer.Typer(rich_markup_mode=None, help="Create a package.")


def check(
    name: Annotated[str, typer.Argument(help="A registered name.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings for the constructor.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="The kind, if several have the name. Default: all of them.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHAPE",
            help="A shape of data, as in 1x28x28; may be repeated. Default: set by the class.",
        ),
    ] = None,
) -> None:
    """Run the conformance suite on a registered name. The exit code is 1 if a check fails."""
    from genzoo.runs.recipe import override
    from genzoo.testing import checks

    table = override({"name": name}, overrides or ())
    shapes = [_shape(text) for text in shape] if shape else None
    outcomes: Counter[str] = Counter()
    for kind_to_check in _kinds(name, kind, several=not (overrides or shape)):
        _check_required(table, kind_to_check)
        source = next(iter(registry(kind_to_check).registrations_of(name)), None)
        origin = f"  from {escape(str(source))}" if source else ""
        console.print(f"[bold]{SINGULAR[kind_to_check]} {escape(name)}[/bold]{origin}")
        with console.status("building it"):
            suite = checks(table, kind_to_check, shapes)
        width = max(len(str(test)) for test in suite)
        for number, test in enumerate(suite, 1):
            with console.status(f"{test}, {number} of {len(suite)}"):
                result = test.result()
            outcome = _outcome(test, result)
            outcomes[outcome] += 1
            reason = result.reason.removeprefix("expected failure: ")
            reason = textwrap.shorten(reason, 400, placeholder=" ...")
            line = f"{test!s:{width}}  {outcome:8}  {reason}".rstrip()
            style = "bold red" if outcome == "FAIL" else None
            console.print(line, style=style, markup=False, soft_wrap=True)
        console.print()
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    total, verdict = outcomes.total(), "FAILED" if outcomes["FAIL"] else "passed"
    plural = "s" if total > 1 else ""
    console.print(f"{name}: {verdict}; {total} check{plural}: {counts}", markup=False)
    if outcomes["FAIL"]:
        raise typer.Exit(1)


def _outcome(test: Check, result: Result) -> str:
    """Return the outcome of a check in one word."""
    if result.skipped:
        return "skipped"
    if not result.ok:
        return "FAIL"
    return "expected" if test.excuse else "ok"


def _kinds(name: str, kind: str | None, several: bool) -> list[str]:
    """Return the kinds that have a name, or only `kind` if it is set."""
    if kind is not None:
        registry(kind)
        return [kind]
    kinds = kinds_named(name)
    if len(kinds) > 1 and not several:
        raise SettingError(
            f"{name!r} is the name of {' and '.join(kinds)}; choose one, as in --kind {kinds[0]}."
        )
    return kinds


def _check_required(table: Mapping[str, Any], kind: str) -> None:
    """Check that every required setting has a value.

    Raises:
        SettingError: a setting without a default is missing.
    """
    from genzoo.registry.signatures import parameters
    from genzoo.testing.suites import SUITES

    try:
        known = parameters(registry(kind).get(table["name"]))
    except GenzooError:
        return  # the first check reports this error
    set_by_suite = SUITES[kind][0].sizes((1, 1, 1))
    required = [key for key, value in known.items() if value.default is value.empty]
    missing = [key for key in required if key not in table and key not in set_by_suite]
    if missing:
        example = " ".join(f"{key}=..." for key in missing)
        raise SettingError(
            f"{SINGULAR[kind]} {table['name']!r} has no default for {', '.join(missing)}; "
            f"add {example}"
        )


def _shape(text: str) -> tuple[int, ...]:
    """Return a shape such as "1x28x28" as a tuple."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise SettingError(f"--shape {text}: expected sizes separated by x, as in 1x28x28 or 2.")
    return tuple(map(int, text.split("x")))


@new.command()
def plugin(
    name: Annotated[str, typer.Argument(help="The name of the package, as in genzoo-mymodel.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder that will contain it.")
    ] = Path(),
) -> None:
    """Write a complete package: a model that can be trained, and tests that pass."""
    folder = write_plugin(name, out)
    path = shlex.quote(str(folder))
    model = _variables(name)["model"]
    console.print(
        f"{folder}: a package with the model {model!r} and its tests. Next:", markup=False
    )
    for line in (
        f"pip install -e {path}",
        f"pytest {path}",
        f"genzoo train digits --model {model} --steps 500 --out {shlex.quote(f'runs/{model}')}",
        f"Then change the model: {folder / 'README.md'}",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def write_plugin(name: str, out: Path) -> Path:
    """Write a package with a model, and return its folder, `out / name`.

    Arguments:
        name: the name of the package, lowercase words with hyphens. `genzoo-my-model` has the
            module `genzoo_my_model`, the model `my-model`, and the class `MyModel`.
        out: the folder that will contain the package; it is created if needed.

    Raises:
        SettingError: the folder exists, the name is not valid, or another module or model has it.

    Example:
        >>> import tempfile
        >>> folder = write_plugin("genzoo-my-model", Path(tempfile.mkdtemp()))
        >>> sorted(path.name for path in folder.iterdir())
        ['.github', '.gitignore', 'README.md', 'genzoo_my_model', 'pyproject.toml', 'tests']
    """
    variables = _variables(name)
    folder = local_path(out, "out") / name
    if folder.exists():
        raise SettingError(f"{folder} exists; choose another name, or another folder with -o.")
    for template, target in FILES.items():
        path = folder / Template(target).substitute(variables)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (TEMPLATES / f"{template}.template").read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(variables), encoding="utf-8")
    (folder / variables["module"] / "py.typed").touch()
    return folder


def _variables(name: str) -> dict[str, str]:
    """Return the values of the variables in the templates.

    Raises:
        SettingError: the name is not valid, or another module or model has it.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise SettingError(
            f"plugin {name!r}: expected lowercase letters and digits in words with hyphens, as in "
            "genzoo-mymodel."
        )
    model, module = name.removeprefix("genzoo-"), name.replace("-", "_")
    cls = "".join(word.capitalize() for word in model.split("-"))
    for identifier, role in ((module, "module"), (cls, "class")):
        if keyword.iskeyword(identifier) or not identifier.isidentifier():
            raise SettingError(
                f"plugin {name!r}: its {role} would be {identifier}, which Python does not allow; "
                "choose another name."
            )
    if importlib.util.find_spec(module) is not None:
        raise SettingError(
            f"plugin {name!r}: the module {module} already exists, and the plugin would hide it; "
            "choose another name."
        )
    if owners := registry("models").registrations_of(model):
        raise SettingError(
            f"plugin {name!r}: model {model!r} is taken by {owners[0]}; choose another name."
        )
    return {
        "package": name,
        "module": module,
        "model": model,
        "cls": cls,
        "word": model.replace("-", "_"),
        "title": model.replace("-", " ").capitalize(),
        "version": __version__,
        "contract": ".".join(map(str, CONTRACT_VERSION)),
    }
