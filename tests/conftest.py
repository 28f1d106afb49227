"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real databases and predictions, which is no part of the repository."""
    folder = Path(os.environ.get("FINER_REWARDS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the data folder; there is none at {folder} (set FINER_REWARDS_DATA)")
    return folder


@pytest.fixture
def make_db(tmp_path: Path) -> Callable[..., Path]:
    """Build `ID.sqlite` under the test's own folder from a script."""

    def make(name: str, script: str) -> Path:
        path = tmp_path / f"{name}.sqlite"
        connection = sqlite3.connect(path)
        connection.executescript(script)
        connection.close()
        return path

    return make
