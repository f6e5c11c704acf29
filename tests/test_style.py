"""House rules that no linter checks."""

import ast
from pathlib import Path

import pytest

import genzoo

ROOT = Path(genzoo.__file__).parent


def nested_conditionals(source: str) -> list[int]:
    """Return the line numbers of conditional expressions that contain another one."""
    outer = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.IfExp)]
    inner = (
        child
        for node in outer
        for child in ast.walk(node)
        if child is not node and isinstance(child, ast.IfExp)
    )
    return sorted({node.lineno for node in inner})


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_conditional_expression_is_nested(path):
    assert nested_conditionals(path.read_text(encoding="utf-8")) == []


def test_a_nested_conditional_is_detected():
    assert nested_conditionals("x = 1 if a else 2 if b else 3") == [1]
    assert nested_conditionals("x = (1 if a else 2) + (3 if b else 4)") == []
    assert nested_conditionals("f(1 if a else g(2 if b else 3))") == [1]
