"""`Limits`: one record that validates, prints and describes itself, for every engine alike."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.errors import ConfigError
from finer_rewards.executing.limits import Limits

ENGINES = {"SQLite": None, "DuckDB": "duckdb", "Postgres": "psycopg"}


@pytest.fixture(params=ENGINES)
def engine(request):
    if ENGINES[request.param]:
        pytest.importorskip(ENGINES[request.param])
    return getattr(fr, request.param)


def test_every_engine_takes_every_limit_and_describes_what_decides(engine):
    given = {"timeout": 7, "max_rows": 5, "max_bytes": "1MiB", "memory_limit": "512MiB", "workers": 1}
    executor = engine(**given, deadline="relative", deadline_factor=3, deadline_floor=2)
    described = executor.describe()
    for one in fields(Limits):
        assert (one.name in described) is bool(one.metadata["decides"])
        assert f"{one.name}={getattr(executor, one.name)!r}" in repr(executor)
    assert (executor.max_bytes, described["memory_limit"]) == (1 << 20, 512 << 20)
    assert repr(pickle.loads(pickle.dumps(executor))) == repr(executor).replace(
        "root='.'", f"root={str(Path.cwd())!r}"
    )


@pytest.mark.parametrize("name", [one.name for one in fields(Limits)])
def test_every_limit_is_checked_by_name(engine, name):
    with pytest.raises(ConfigError, match=f"`{name}` should be"):
        engine(**{name: -1})


def test_a_limit_is_never_changed_afterwards(engine):
    with pytest.raises(FrozenInstanceError):
        engine().timeout = 3
