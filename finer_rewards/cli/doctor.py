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
from finer_rewards.engines.engine import Engine
from finer_rewards.engines.registry import ENGINES
from finer_rewards.executing import Query

EXAMPLES = """\
  finer-rewards doctor
  finer-rewards doctor --format json
  finer-rewards doctor --verl train.sh
"""
COLUMNS = ("group", "name", "ok", "found", "advice")
#: The packages of each extra, by the name they are imported under.
EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "memory": ("faiss", "numpy"),
    "sentence": ("faiss", "numpy", "sentence_transformers"),
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
    "report": ("duckdb", "plotly"),
    "fast": ("sqlglotc", "apsw"),
    "published": ("pandas",),
    "completion": ("shtab",),
    **{engine.extra: engine.packages for engine in ENGINES.values() if engine.extra},
}
#: Groups whose absence is no failure.
OPTIONAL: Final = ("engine", "extra")
TIMEOUT = 0.3


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
        for check in (_versions, _extras, _engines) if verl is None else (partial(_verl, verl),):
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


def _engines() -> Iterator[dict[str, Any]]:
    """The engines: versions, and that the limits hold where no server is needed."""
    for engine in ENGINES.values():
        facts = engine.facts()
        for fact in facts:
            yield _record("engine", *fact)
        if engine.checks and all(fact.ok for fact in facts[:1]):
            yield from _tried(engine)


def _tried(engine: Engine) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="finer-rewards-") as folder:
        database, cache = Path(folder, "doctor.sqlite"), Path(folder, "cache")
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2);")
        before = database.read_bytes()
        with engine.executor(folder, timeout=TIMEOUT, workers=1, cache=cache) as executor:
            for name, sql, status in engine.checks:
                started = time.monotonic()
                run = executor.execute(sql, "doctor")
                seconds = time.monotonic() - started
                good = run.status.name == status and (status != "timeout" or seconds < TIMEOUT + 3)
                found = f"{run.status.name} after {seconds:.2f} s"
                yield _record("self-test", name, good, found, f"Expected {status}: {run.error or 'no error'}")
            executor.execute_many([Query("SELECT x FROM t", "doctor", keep=True)])
            kept = len(list(cache.glob("*/*.json")))
        yield _record(
            "self-test", f"{engine.name}: a gold result is kept", kept == 1, f"{kept} file{'s' * (kept != 1)}"
        )
        intact = database.read_bytes() == before and sorted(Path(folder).iterdir()) == [cache, database]
        found = "yes" if intact else "no"
        yield _record(
            "self-test", f"{engine.name}: nothing else was written", intact, found, "Please report this."
        )


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
