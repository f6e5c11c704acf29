"""The public API: `import genzoo` offers it, and docs/api lists all of it and nothing else."""

import importlib
import inspect
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import genzoo
from genzoo.registry.kinds import KINDS
from genzoo.registry.lookup import Registry

ROOT = Path(__file__).parent.parent
PUBLIC = (
    "genzoo.contract",
    "genzoo.registry",
    "genzoo.models",
    "genzoo.blocks",
    "genzoo.priors",
    "genzoo.divergences",
    "genzoo.data",
    "genzoo.metrics",
    "genzoo.weights",
    "genzoo.train",
    "genzoo.runs",
    "genzoo.sklearn",
    "genzoo.plots",
    "genzoo.errors",
    "genzoo.testing",
    "genzoo.distributed",
    "genzoo",
)
"""The public modules. Everything else is internal. The last one repeats names of the others."""
PACKAGES = [
    name.removeprefix("genzoo.") for name in PUBLIC if name not in ("genzoo", "genzoo.registry")
]
REGISTRY_METHODS = {"register", "available", "get"}
REFERENCE = sorted((ROOT / "docs" / "api").rglob("*.md"))
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)


def documented() -> list[str]:
    return [name for page in REFERENCE for name in ENTRY.findall(page.read_text(encoding="utf-8"))]


def public_names() -> list[str]:
    """Return the names that need an entry: each object once, under the first module that has it."""
    names: dict[int, str] = {}
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            is_method = name in REGISTRY_METHODS and inspect.ismethod(value)
            if is_method or isinstance(value, ModuleType | Registry) or name == "__version__":
                continue
            names.setdefault(id(value), f"{module_name}.{name}")
    return list(names.values())


def test_the_reference_lists_exactly_the_public_names():
    entries = documented()
    assert sorted(entries) == sorted(public_names())


@pytest.mark.parametrize("module_name", PUBLIC)
def test_public_names_exist_and_are_sorted(module_name):
    module = importlib.import_module(module_name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) <= set(dir(module)) | {
        n for n in module.__all__ if hasattr(module, n)
    }
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        module.smaple  # noqa: B018


@pytest.mark.parametrize("page", REFERENCE, ids=lambda p: p.stem)
def test_every_page_of_the_reference_is_in_the_navigation(page):
    address = page.relative_to(ROOT / "docs").as_posix()
    assert f" {address}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_available_right_after_the_import(kind):
    table = getattr(genzoo, kind)
    assert table.available() == genzoo.available(kind)
    assert callable(table.register)
    for name in table.available()[:1]:
        assert callable(table.get(name))


@pytest.fixture
def fresh(python):
    """Return a function from a script to its output in a new process, which imports genzoo."""

    def run(script: str) -> str:
        done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_an_attribute_right_after_the_import(package, fresh):
    script = f"import genzoo; print(genzoo.{package}.__name__, len(genzoo.{package}.__all__) > 0)"
    assert fresh(script) == f"genzoo.{package} True"


def test_every_kind_and_name_in_a_fresh_process(fresh):
    script = (
        "import genzoo\n"
        f"for kind in {KINDS!r}:\n"
        "    table = getattr(genzoo, kind)\n"
        "    table.available(), table.register, table.get\n"
        "for name in genzoo.__all__:\n"
        "    getattr(genzoo, name)\n"
        "print(genzoo.distributed.noise.__name__, genzoo.models.available('wae-*'))"
    )
    assert fresh(script) == "noise ['wae-gan', 'wae-mmd']"


def test_no_module_shares_the_name_of_a_public_function():
    """A module must not share the name of a public function: `import genzoo.build` fails."""
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            if isinstance(getattr(module, name), ModuleType):
                continue
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module(f"{module_name}.{name}")


def test_every_module_defines_all():
    """Without `__all__`, type checkers and `from module import *` take every name."""
    missing = []
    for path in sorted((ROOT / "genzoo").rglob("*.py")):
        if path.name in ("conftest.py", "__main__.py", "__about__.py") or "templates" in path.parts:
            continue
        if not re.search(r"^__all__\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            missing.append(str(path.relative_to(ROOT)))
    assert missing == []
