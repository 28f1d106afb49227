"""`finer-rewards doctor`: what is installed, and whether limits and safety hold on this machine."""

from __future__ import annotations

import argparse
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from finer_rewards.cli.options import add_output, add_parser
from finer_rewards.cli.output import format_of, open_output, write_records
from finer_rewards.cli.terminal import paint

EXAMPLES = """\
  finer-rewards doctor
  finer-rewards doctor --format json
  finer-rewards doctor --verl train.sh
"""
COLUMNS = ("group", "name", "ok", "found", "advice")
#: The packages of each extra, by the name they are imported under.
EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "memory": ("faiss", "numpy", "sentence_transformers"),
    "similarity": ("apted",),
    "testing": ("hypothesis",),
    "trl": ("trl", "datasets"),
    "verl": ("verl",),
    "openrlhf": ("openrlhf",),
    "verifiers": ("verifiers",),
    "skyrl": ("skyrl_gym",),
    "nemo_gym": ("nemo_gym",),
    "ray": ("ray",),
    "server": ("fastapi", "uvicorn"),
    "prepare": ("datasets", "pyarrow", "transformers"),
    "duckdb": ("duckdb",),
    "postgres": ("psycopg",),
    "report": ("duckdb", "plotly"),
    "fast": ("sqlglotc", "apsw"),
    "published": ("pandas",),
    "completion": ("shtab",),
}
#: Groups whose absence is no failure.
OPTIONAL: Final = ("engine", "extra", "sqlite")
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
# One long step inside SQLite, which no interrupt stops.
LONG_STEP = "SELECT instr(hex(zeroblob(400000)), hex(zeroblob(200000)) || '1') FROM t"
TIMEOUT = 0.3
#: What is tried, and how it must end.
TESTS: Final = (
    ("a query runs", "SELECT sum(x) FROM t", "ok"),
    ("an endless query ends", ENDLESS, "timeout"),
    ("a long step ends", LONG_STEP, "timeout"),
    ("writing is refused", "DELETE FROM t", "refused"),
    ("attaching is refused", "ATTACH 'other.sqlite' AS other", "refused"),
)

DUCKDB_TESTS: Final = (
    ("a query runs", "SELECT sum(x) FROM t", "ok"),
    ("an endless query ends", ENDLESS, "timeout"),
    ("reading files is refused", "SELECT * FROM read_text('/etc/passwd')", "refused"),
    ("writing is refused", "COPY t TO 'copy.csv'", "refused"),
)


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers,
        "doctor",
        "Check versions, extras, time limits and safety on this machine. Exit 1 when a check fails;\n"
        "a missing extra is no failure.",
        EXAMPLES,
    )
    parser.add_argument(
        "--verl",
        metavar="FILE",
        type=Path,
        help="check this launch script or YAML of verl instead: keys it ignores, names that do not exist",
    )
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write one record a check."""
    failed: list[str] = []

    def checked() -> Iterator[dict[str, Any]]:
        verl = arguments.verl
        for check in (
            (_versions, _extras, _engine, _other_engines) if verl is None else (partial(_verl, verl),)
        ):
            for record in check():
                if not record["ok"] and record["group"] not in OPTIONAL:
                    failed.append(record["name"])
                yield record

    kind = format_of(arguments.format, arguments.output)
    with open_output(arguments.output) as file:
        write_records(checked(), kind, file, COLUMNS, _lines)
    verdict = f"failed: {', '.join(failed)}" if failed else "everything needed works"
    print(f"finer-rewards doctor: {verdict}", file=sys.stderr)
    return 1 if failed else 0


def _record(group: str, name: str, ok: bool, found: str, advice: str = "") -> dict[str, Any]:
    return {"group": group, "name": name, "ok": ok, "found": found, "advice": "" if ok else advice}


def _versions() -> Iterator[dict[str, Any]]:
    from finer_rewards.signature import SCORES
    from finer_rewards.version import VERSION

    yield _record("version", "finer-rewards", True, f"{VERSION} (SCORES {SCORES})")
    python = ".".join(map(str, sys.version_info[:3]))
    yield _record(
        "version", "python", sys.version_info >= (3, 10), f"{python}, {platform.platform()}", "Use 3.10+."
    )
    compiled = "compiled" if find_spec("sqlglotc") else "pure Python"
    found = version("sqlglot")
    major = int(found.partition(".")[0])
    yield _record(
        "version",
        "sqlglot",
        28 <= major < 31,
        f"{found}, {compiled}",
        "pip install 'sqlglot>=28,<31'",
    )
    yield _record(
        "version", "sqlparse", find_spec("sqlparse") is not None, _version("sqlparse"), "pip install sqlparse"
    )


def _verl(path: Path) -> Iterator[dict[str, Any]]:
    from finer_rewards.adapters.verl_config import check_settings, read_settings

    for finding in check_settings(read_settings(path)):
        yield _record("verl", finding.key, finding.ok, finding.found, finding.advice)


def _version(package: str) -> str:
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "present" if find_spec(package) else "missing"


def _extras() -> Iterator[dict[str, Any]]:
    for extra, packages in EXTRAS.items():
        missing = [package for package in packages if find_spec(package) is None]
        found = "present" if not missing else f"missing {', '.join(missing)}"
        yield _record("extra", extra, not missing, found, f"pip install 'finer-rewards[{extra}]'")


def _engine() -> Iterator[dict[str, Any]]:
    from finer_rewards.engines.sqlite import SQLite
    from finer_rewards.executing import Query

    limits = hasattr(sqlite3.Connection, "setlimit")
    yield _record(
        "sqlite", "engine", True, f"SQLite {sqlite3.sqlite_version}, threads {sqlite3.threadsafety}"
    )
    yield _record(
        "sqlite",
        "length limits",
        limits,
        "available" if limits else "not in this Python; memory and time limits still hold",
        "Use Python 3.11 or later.",
    )
    with tempfile.TemporaryDirectory(prefix="finer-rewards-") as folder:
        database = Path(folder, "doctor.sqlite")
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2);")
        before = database.read_bytes()
        cache = Path(folder, "cache")
        with SQLite(folder, timeout=TIMEOUT, workers=1, cache=cache) as executor:
            for name, sql, status in TESTS:
                started = time.monotonic()
                run = executor.execute(sql, "doctor")
                seconds = time.monotonic() - started
                good = run.status.name == status and (status != "timeout" or seconds < TIMEOUT + 3)
                found = f"{run.status.name} after {seconds:.2f} s"
                yield _record("self-test", name, good, found, f"Expected {status}: {run.error or 'no error'}")
            executor.execute_many([Query("SELECT x FROM t", "doctor", keep=True)])
            kept = len(list(cache.glob("*/*.json")))
            yield _record("self-test", "a gold result is kept", kept == 1, f"{kept} file{'s' * (kept != 1)}")
        intact = database.read_bytes() == before and sorted(Path(folder).iterdir()) == [cache, database]
        yield _record(
            "self-test", "nothing else was written", intact, "yes" if intact else "no", "Please report this."
        )


def _other_engines() -> Iterator[dict[str, Any]]:
    """The engines of the extras: versions, and that the limits hold where no server is needed."""
    if find_spec("duckdb") is None:
        yield _record("engine", "DuckDB", False, "missing", "pip install 'finer-rewards[duckdb]'")
    else:
        from finer_rewards.engines.duckdb import DuckDB

        yield _record("engine", "DuckDB", True, _version("duckdb"))
        with tempfile.TemporaryDirectory(prefix="finer-rewards-") as folder:
            with closing(sqlite3.connect(Path(folder, "doctor.sqlite"))) as connection:
                connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2);")
            with DuckDB(folder, timeout=TIMEOUT, workers=1) as executor:
                for name, sql, status in DUCKDB_TESTS:
                    run = executor.execute(sql, "doctor")
                    advice = f"Expected {status}: {run.error or 'no error'}"
                    yield _record(
                        "self-test", f"DuckDB: {name}", run.status.name == status, run.status.name, advice
                    )
    found = _version("psycopg")
    advice = "pip install 'finer-rewards[postgres]'"
    yield _record("engine", "PostgreSQL", found != "missing", f"psycopg {found}", advice)


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    mark, colour = (
        ("ok", "green")
        if record["ok"]
        else ("--", "yellow")
        if record["group"] in OPTIONAL
        else ("FAILED", "red")
    )
    line = f"{paint(mark.ljust(6), colour)}  {record['group']:9}  {record['name']:25}  {record['found']}"
    yield f"{line}  {record['advice']}".rstrip()
