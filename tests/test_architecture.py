"""The floors of the house: imports lead downwards and in no circle; the drawing shows what is checked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "design" / "architecture.md"


def test_imports_keep_to_the_floors() -> None:
    pytest.importorskip("importlinter")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_drawing_shows_the_floors_that_are_checked() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("tomllib came with Python 3.11")
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    (drawing,) = re.findall(r"^floor .*?\n-----.*?\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    lines = [re.split(r"\s{2,}", line)[0] for line in drawing.splitlines() if not line.startswith(" ")]
    drawn = [line.split(" | ") for line in lines]
    names = {name for line in drawn for name in line}
    floors = [[name for name in layer.split(" | ") if name in names] for layer in layers]
    assert drawn == [floor for floor in floors if floor]
    # A file more on a floor need not be drawn; a package must be.
    packages = {path.parent.name for path in (ROOT / "finer_rewards").glob("*/__init__.py")}
    assert packages <= names


def test_no_contract_excuses_a_package() -> None:
    """Floors and circles have no exception; elsewhere one names the module that imports, and what it imports."""
    if sys.version_info < (3, 11):
        pytest.skip("tomllib came with Python 3.11")
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        excused = contract.get("ignore_imports", [])
        assert not excused or contract["type"] not in ("layers", "acyclic_siblings")
        assert not any("*" in one for one in excused)
