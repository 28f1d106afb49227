"""Fixtures of the tests of the server."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.remote import Remote


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from servers import SCRIPT  # here, so that without the extra each file says what it lacks

    folder = tmp_path_factory.mktemp("databases")
    for name in ("shop", "other"):
        connection = sqlite3.connect(folder / f"{name}.sqlite")
        connection.executescript(SCRIPT)
        connection.close()
    return folder


@pytest.fixture(scope="module")
def local(root: Path):
    with SQLite(root, workers=2, timeout=10) as executor:
        yield executor


@pytest.fixture(scope="module")
def url(root: Path):
    from servers import SPEC, serving

    # An executor of its own: nothing that `local` keeps helps it.
    with (
        SQLite(root, workers=1, timeout=10) as executor,
        serving(fr.Scorer(SPEC, executor, neighbours=0), best=4) as (url, _),
    ):
        yield url


@pytest.fixture
def remote(url: str):
    with Remote(url) as executor:
        yield executor


@pytest.fixture
def process(root: Path):
    """Start `finer-rewards serve`; return the process and its url."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str):
        command = [sys.executable, "-m", "finer_rewards", "serve", "--db", str(root), "--port", "0", *options]
        one = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        running.append(one)
        line = one.stderr.readline()
        return one, re.search(r"serving on (http://127\.0\.0\.1:\d+), signature \w{16}", line)[1]

    yield start
    for one in running:
        one.kill()
        one.wait()
        one.stderr.close()
