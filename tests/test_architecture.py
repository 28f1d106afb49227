"""Imports lead downwards and in no circle; the table of the architecture page shows the layers that are checked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "design" / "architecture.md"


def test_imports_keep_to_the_layers() -> None:
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_table_shows_the_layers_that_are_checked() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("tomllib came with Python 3.11")
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    (table,) = re.findall(r"^\| layer .*?\n\|-.*?\n(.*?)^$", PAGE.read_text(), re.M | re.S)
    shown = [re.findall(r"`(\w+)`", row.split(" | ")[0]) for row in table.splitlines()]
    names = {name for line in shown for name in line}
    checked = [[name for name in layer.split(" | ") if name in names] for layer in layers]
    assert shown == [layer for layer in checked if layer]
    # A further file of a layer need not be in the table; a package must be.
    packages = {path.parent.name for path in (ROOT / "finer_rewards").glob("*/__init__.py")}
    assert packages <= names


def test_no_contract_excuses_a_package() -> None:
    """Layers and circles have no exception; elsewhere one names the module that imports, and what it imports."""
    if sys.version_info < (3, 11):
        pytest.skip("tomllib came with Python 3.11")
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        excused = contract.get("ignore_imports", [])
        assert not excused or contract["type"] not in ("layers", "acyclic_siblings")
        assert not any("*" in one for one in excused)


OPERATIONS = ROOT / "finer_rewards" / "operations"


def _trees() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in OPERATIONS.rglob("*.py")]


def _is_integer(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int


def test_terms_are_read_by_name() -> None:
    """Of 1,000 lines at most 25 subscripts are numbers: `column.source`, not `column[1]`."""
    by_number = [
        node
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and _is_integer(node.slice)
    ]
    lines = sum(len(path.read_text().splitlines()) for path in OPERATIONS.rglob("*.py"))
    assert len(by_number) <= 25 * lines / 1000


def test_no_part_of_a_term_has_any_type() -> None:
    operators = [
        node
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Operator" for base in node.bases)
    ]
    assert len(operators) > 30
    for operator in operators:
        annotated = [node.annotation for node in operator.body if isinstance(node, ast.AnnAssign)]
        (new,) = [
            node for node in operator.body if isinstance(node, ast.FunctionDef) and node.name == "__new__"
        ]
        taken = [argument.annotation for argument in new.args.args[1:] if argument.annotation is not None]
        assert not any("Any" in ast.unparse(annotation) for annotation in (*annotated, *taken)), operator.name
