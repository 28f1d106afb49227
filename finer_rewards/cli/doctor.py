"""`finer-rewards doctor`: reports what is installed, and whether limits and safety hold on this machine."""

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

from finer_rewards.cli.findings import COLUMNS, OPTIONAL, finding, lines_of
from finer_rewards.cli.options import add_output, add_parser
from finer_rewards.cli.output import format_of, open_output, write_records
from finer_rewards.engines.engine import Engine
from finer_rewards.engines.registry import ENGINES
from finer_rewards.executing import Query

EXAMPLES = """\
  finer-rewards doctor
  finer-rewards doctor --format json
  finer-rewards doctor --verl train.sh
"""
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
    "openenv": ("openenv",),
    "tinker": ("tinker_cookbook",),
    "ray": ("ray",),
    "server": ("fastapi", "uvicorn"),
    "prepare": ("datasets", "pyarrow", "transformers"),
    "report": ("duckdb", "plotly"),
    "fast": ("apsw", "sqlglotc") if sys.version_info >= (3, 11) else ("apsw",),
    "published": ("pandas",),
    "completion": ("shtab",),
    "statistics": ("scipy",),
    "zstd": ("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd",),
    **{engine.extra: engine.packages for engine in ENGINES.values() if engine.extra},
}
#: What is known to go wrong with trainers, by the name of their distribution; no extra installs most of them.
TRAPS: Final[Mapping[str, str]] = {
    "trl": "Tools need transformers 5.2, and jmespath with transformers below 5.13.",
    "verl": "0.9 ignores reward keys without `reward.` in front: doctor --verl FILE. Never return None."
    " EasyR1 installs as verl too: finer_rewards.adapters.easyr1.",
    "openrlhf": "A reward of None or an exception ends the run: use our reward_func, which returns numbers.",
    "verifiers": "0.4 has verifiers.v1 alone; reward methods have to be async.",
    "skyrl-gym": "Register the environment inside the Ray entry point.",
    "ms-swift": "None counts as 0, the worst of its group: finer_rewards.adapters.ms_swift gives the group's mean.",
    "google-tunix": "None counts as 0, the worst of its group: finer_rewards.adapters.columns gives the group's mean.",
    "openenv-core": "Plain POST /step knows no session, and metadata of an observation is dropped: use its client.",
    "tinker-cookbook": "None fails in the sum of a group: finer_rewards.adapters.tinker gives the group's mean.",
    "rllm": "An exception of a verifier is a reward of 0: finer_rewards.adapters.rllm takes the rollout out.",
    "nemo-rl": "None fails when its tensor is made: finer_rewards.adapters.nemo_rl gives the group's mean.",
    "slime": "None fails later: finer_rewards.adapters.slime sets remove_sample; use --group-rm.",
    "areal": "After 15 s four times it pays 0 in silence, and pickles the function: finer_rewards.adapters.areal.",
    "unsloth": "It patches TRL up to 1.15: TRLReward as it is.",
    "axolotl": "trl.reward_funcs takes module.attribute: a TRLReward at module level.",
}
#: The limits in seconds that the check of an engine tries in turn: on a busy machine even a query that ends at
#: once may miss the first.
TIMEOUTS = (0.3, 3.0, 20.0)


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
        for check in (_versions, _extras, _trainers, _engines) if verl is None else (partial(_verl, verl),):
            for record in check():
                if not record["ok"] and record["group"] not in OPTIONAL:
                    failed.append(record["name"])
                yield record

    kind = format_of(arguments.format, arguments.output)
    with open_output(arguments.output) as file:
        write_records(checked(), kind, file, COLUMNS, lines_of)
    verdict = f"failed: {', '.join(failed)}" if failed else "everything needed works"
    print(f"finer-rewards doctor: {verdict}", file=sys.stderr)
    return 1 if failed else 0


def _versions() -> Iterator[dict[str, Any]]:
    from finer_rewards._signature import SCORES
    from finer_rewards._version import VERSION

    yield finding("version", "finer-rewards", True, f"{VERSION} (SCORES {SCORES})")
    python = ".".join(map(str, sys.version_info[:3]))
    yield finding(
        "version", "python", sys.version_info >= (3, 10), f"{python}, {platform.platform()}", "Use 3.10+."
    )
    compiled = "compiled" if _is_there("sqlglotc") else "pure Python"
    found = version("sqlglot")
    major = int(found.partition(".")[0])
    yield finding(
        "version",
        "sqlglot",
        28 <= major < 31,
        f"{found}, {compiled}",
        "pip install 'sqlglot>=28,<31'",
    )
    yield finding(
        "version", "sqlparse", find_spec("sqlparse") is not None, _version("sqlparse"), "pip install sqlparse"
    )


def _verl(path: Path) -> Iterator[dict[str, Any]]:
    from finer_rewards.adapters._verl_config import check_settings, read_settings

    for one in check_settings(read_settings(path)):
        yield finding("verl", one.key, one.ok, one.found, one.advice)


def _version(package: str) -> str:
    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "present" if find_spec(package) else "missing"


def _is_there(package: str) -> bool:
    """Return whether a package can be imported."""
    # `sqlglotc` is no module of its own: it puts compiled modules into the folder of sqlglot.
    if package == "sqlglotc" and (sqlglot := find_spec("sqlglot")) is not None:
        folders = sqlglot.submodule_search_locations or ()
        return any(next(Path(folder).glob("*.so"), None) is not None for folder in folders)
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        # For `a.b`, find_spec imports `a`, which may be missing too.
        return False


def _extras() -> Iterator[dict[str, Any]]:
    for extra, packages in EXTRAS.items():
        missing = [package for package in packages if not _is_there(package)]
        found = "present" if not missing else f"missing {', '.join(missing)}"
        yield finding("extra", extra, not missing, found, f"pip install 'finer-rewards[{extra}]'")


def _trainers() -> Iterator[dict[str, Any]]:
    """Yield the trainers that are installed, each with what to mind."""
    for package, advice in TRAPS.items():
        try:
            yield finding("trainer", package, True, f"{version(package)}. {advice}")
        except PackageNotFoundError:
            continue


def _engines() -> Iterator[dict[str, Any]]:
    """Yield the version of each engine and, for those that need no server, whether the limits hold."""
    for engine in ENGINES.values():
        facts = engine.facts()
        for fact in facts:
            yield finding("engine", *fact)
        if engine.checks and all(fact.ok for fact in facts[:1]):
            yield from _tried(engine)


def _tried(engine: Engine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for timeout in TIMEOUTS:
        found = list(_tried_within(timeout, engine))
        if all(one["ok"] for one in found):
            break
    return found


def _tried_within(timeout: float, engine: Engine) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="finer-rewards-") as folder:
        database, cache = Path(folder, "doctor.sqlite"), Path(folder, "cache")
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2);")
        before = database.read_bytes()
        with engine.executor(folder, timeout=timeout, workers=1, cache=cache) as executor:
            for name, sql, status in engine.checks:
                started = time.monotonic()
                run = executor.execute(sql, "doctor")
                seconds = time.monotonic() - started
                good = run.status.name == status and (status != "timeout" or seconds < timeout + 3)
                found = f"{run.status.name} after {seconds:.2f} s"
                yield finding("self-test", name, good, found, f"Expected {status}: {run.error or 'no error'}")
            executor.execute_many([Query("SELECT x FROM t", "doctor", keep=True)])
            kept = len(list(cache.glob("*/*.json")))
        yield finding(
            "self-test", f"{engine.name}: a gold result is kept", kept == 1, f"{kept} file{'s' * (kept != 1)}"
        )
        intact = database.read_bytes() == before and sorted(Path(folder).iterdir()) == [cache, database]
        found = "yes" if intact else "no"
        yield finding(
            "self-test", f"{engine.name}: nothing else was written", intact, found, "Please report this."
        )
