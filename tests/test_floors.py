"""Modules import only from lower floors of the architecture, and `import genzoo` stays light."""

import ast
import os
import subprocess
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import genzoo

ROOT = Path(genzoo.__file__).parent
ORDER = (
    "__about__", "errors", "terminal", "files", "memory", "progress", "distributed", "registry",
    "contract", "plots", "data", "blocks", "priors", "divergences", "models", "runs", "metrics",
    "train", "weights", "loading", "sklearn", "testing", "cli", "__main__",
)  # fmt: skip
"""The floors from the ground up: a package imports only earlier ones and itself."""
FLOORS = {name: floor for floor, name in enumerate(ORDER)}
LIGHT = {"__about__", "errors", "terminal", "files", "memory", "progress", "registry"}
"""The modules that `import genzoo` may load, in addition to the registries of `KINDS`."""
KINDS = {"models", "priors", "divergences", "metrics", "weights"}
TYPES = {("registry", "contract")}
"""Upward imports for type checkers: `build` and `Registry` return the contract's classes."""
HEAVY = {
    "pyro",
    "sklearn",
    "matplotlib",
    "lightning_fabric",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "ot",
    "pyarrow",
    "tensorboard",
}
"""Packages that only functions import, when they need them."""
NOT_FOR_LIGHT = HEAVY | {"torch", "pydantic", "numpy", "einops"}


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    deferred: bool
    """True inside a function, and for type checkers only."""
    typing_only: bool = False
    names: tuple[str, ...] = ()
    """The names of `from module import names`."""


def imports(source: str) -> list[Import]:
    """Return all imports of a module; `from genzoo import train` is an import of `genzoo.train`."""
    statements = []

    def visit(node: ast.AST, deferred: bool, typing_only: bool) -> None:
        if isinstance(node, ast.Import):
            statements.extend(
                Import(alias.name, node.lineno, deferred, typing_only) for alias in node.names
            )
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            names = tuple(alias.name for alias in node.names)
            if node.module == "genzoo":
                statements.extend(
                    Import(f"genzoo.{name}", node.lineno, deferred, typing_only) for name in names
                )
            else:
                statements.append(
                    Import(node.module or "", node.lineno, deferred, typing_only, names)
                )
        within = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.iter_child_nodes(node):
            visit(child, deferred or within or for_types, typing_only or for_types)

    visit(ast.parse(source), False, False)
    return statements


def forbidden_imports(package: str, source: str) -> list[str]:
    """Describe the forbidden imports of a module of a package (`"train"`, `"errors"`)."""
    messages = []
    for item in imports(source):
        top, *rest = item.module.split(".")
        if top == "genzoo" and rest and rest[0] in FLOORS:
            for_types = item.typing_only and (package, rest[0]) in TYPES
            if FLOORS[rest[0]] > FLOORS[package] and not for_types:
                messages.append(f"line {item.line}: {package} is below {rest[0]}, which it imports")
            if (package, rest[0]) == ("train", "models"):
                messages.append(f"line {item.line}: train knows no model by name, and imports none")
        elif top == "genzoo" and rest:
            messages.append(
                f"line {item.line}: {item.module} has no floor, "
                "or is a name that only users import from genzoo"
            )
        heavy = (NOT_FOR_LIGHT if package in LIGHT else HEAVY) - {package}
        if not item.deferred and top in heavy:
            messages.append(
                f"line {item.line}: {top} is imported with the module; "
                "import it in the function that needs it"
            )
    return messages


MODULES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if path != ROOT / "__init__.py" and path.name != "conftest.py"
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_import_only_lower_floors(path):
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert package in FLOORS, f"{package} has no floor; add it here and to the architecture page"
    assert forbidden_imports(package, path.read_text(encoding="utf-8")) == []


def test_there_are_no_import_cycles():
    """Imports at the top of modules have no cycles; imports in functions do not count."""
    names = {
        path: ".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in MODULES
    }
    names = {path: name.removesuffix(".__init__") for path, name in names.items()}
    modules = set(names.values())
    graph: dict[str, set[str]] = {}
    for path, name in names.items():
        eager = [item for item in imports(path.read_text(encoding="utf-8")) if not item.deferred]
        submodules = {f"{item.module}.{name}" for item in eager for name in item.names}
        packages = {
            item.module for item in eager if f"{item.module}.{(*item.names, '')[0]}" not in modules
        }
        graph[name] = (submodules | packages) & modules
    list(TopologicalSorter(graph).static_order())  # CycleError names the cycle


def test_the_top_module_imports_only_the_ground_floor():
    source = (ROOT / "__init__.py").read_text(encoding="utf-8")
    eager = [
        item.module
        for item in imports(source)
        if not item.deferred and item.module.startswith("genzoo")
    ]
    assert eager
    assert {module.split(".")[1] for module in eager} <= LIGHT | KINDS


@pytest.mark.parametrize(
    ("package", "source", "message"),
    [
        ("contract", "from genzoo.priors.simple import Normal", "contract is below priors"),
        ("contract", "def f():\n    import genzoo.train.loop", "contract is below train"),
        ("models", "from genzoo import train", "models is below train"),
        ("train", "def f():\n    from genzoo.models import vae", "train knows no model"),
        ("registry", "import torch", "torch is imported with the module"),
        ("metrics", "class A:\n    from sklearn import svm", "sklearn is imported with the module"),
        ("models", "from genzoo import Model", "only users import"),
        ("cli", "import genzoo.attic", "genzoo.attic has no floor"),
        ("registry", "if TYPE_CHECKING:\n    import torch", None),
        ("registry", "if TYPE_CHECKING:\n    from genzoo.contract import Model", None),
        (
            "registry",
            "def f():\n    from genzoo.contract import Model",
            "registry is below contract",
        ),
        ("data", "if TYPE_CHECKING:\n    from genzoo.models import GAN", "data is below models"),
        ("metrics", "def f():\n    import sklearn.svm", None),
        ("cli", "from genzoo.models.vae import VAE", None),
    ],
)
def test_a_forbidden_import_is_reported(package, source, message):
    lines = forbidden_imports(package, source)
    if message is None:
        assert lines == []
    else:
        assert any(message in line for line in lines)


@pytest.mark.parametrize(
    "statement",
    [
        "import genzoo",
        "import genzoo; [genzoo.available(kind) for kind in genzoo.registry.kinds.KINDS]",
        "import genzoo, genzoo.runs.recipe",
        "import genzoo; dir(genzoo)",
    ],
)
def test_light_statements_import_no_heavy_packages(statement):
    script = f"{statement}; import sys; print(sorted(set(sys.modules) & {NOT_FOR_LIGHT!r}))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_models_import_heavy_packages_only_on_use():
    script = (
        "import genzoo, sys; from genzoo.registry.lookup import registries;"
        "[registry.get_all() for registry in registries.values()];"
        f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    )
    environment = {**os.environ, "GENZOO_PLUGINS": "off"}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout.strip() == "[]"
