"""Do the bounds in pyproject.toml hold? Each extra installed by plain pip, at both ends, and its tests run.

    python -m benchmarks.bounds --extras memory,duckdb --pythons 3.10,3.11,3.13
    nox -s bounds

Oldest: every direct requirement at its lower bound, from wheels alone (a source of another age tells of compilers, not
of bounds). Newest: what pip finds. Resolved: that pip finds a solution, for extras of gigabytes; nothing is installed.
A row of benchmarks/results/bounds.jsonl a run; bounds.md is made of all of them.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "bounds.jsonl"
#: What is run of each extra beside its import: files of tests.
TESTS: Mapping[str, str] = {
    "": "tests/test_reward.py tests/test_scoring.py tests/test_operations_golden.py tests/test_golden.py",
    "memory": "tests/test_memory_index.py tests/test_memory_store.py tests/test_memory_reward.py",
    "similarity": "tests/test_structure_rewards.py",
    "testing": "tests/test_testing.py tests/test_testing_redteam.py",
    "server": "tests/serving/test_serving_asking.py tests/serving/test_serving_same.py",
    "prepare": "tests/test_prepare.py",
    "trl": "tests/test_adapters_trl.py",
    "verifiers": "tests/test_adapters_environments.py",
    "skyrl": "tests/test_adapters_environments.py",
    "openenv": "tests/test_adapters_rollouts.py",
    "tinker": "tests/test_adapters_rollouts.py",
    "duckdb": "tests/test_duckdb.py",
    "postgres": "tests/test_engines_registry.py",
    "published": "tests/test_comparing.py",
    "report": "tests/test_reporting.py",
    "completion": "tests/test_cli.py",
    "statistics": "tests/test_evaluate.py",
    "zstd": "tests/test_cli_inputs.py",
    "fast": "tests/test_engines_sqlite.py tests/test_operations_golden.py",
}
#: Extras that come without gigabytes.
LIGHT = (
    *("memory", "similarity", "testing", "server", "duckdb", "postgres", "published", "report", "completion"),
    *("statistics", "zstd", "fast"),
)
ENDS = ("oldest", "newest")  # and "resolved"
OPTIONS = "--import-mode=importlib --strict-markers -m 'not slow' -p no:cacheprovider --tb=no"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--extras", default=",".join(("", *LIGHT)), help="comma-separated; an empty one is the core"
    )
    parser.add_argument("--pythons", default="3.10,3.11,3.13")
    parser.add_argument("--ends", default=",".join(ENDS))
    parser.add_argument("--render", action="store_true", help="only make the table of what was run before")
    arguments = parser.parse_args()
    if not arguments.render:
        for version in arguments.pythons.split(","):
            for extra in arguments.extras.split(","):
                for end in arguments.ends.split(","):
                    row = measured(extra, version, end)
                    print(json.dumps(row), flush=True)
                    with RESULTS.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
    RESULTS.with_suffix(".md").write_text("\n".join(table()) + "\n", encoding="utf-8")


def requirements(extra: str) -> list[Requirement]:
    """Return what is required of an extra and of the core, extras of our own spelled out."""
    tomllib = importlib.import_module("tomllib")  # of Python 3.11, the rest of the project runs on 3.10
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else ())]
    found: list[Requirement] = []
    while waiting:
        one = Requirement(waiting.pop(0))
        if one.name == "finer-rewards":
            waiting += [more for name in one.extras for more in project["optional-dependencies"][name]]
        else:
            found.append(one)
    return found


def oldest(extra: str) -> Iterator[str]:
    """Yield a constraint for each lower bound."""
    for one in requirements(extra):
        least = [spec.version for spec in one.specifier if spec.operator == ">="]
        marker = f"; {one.marker}" if one.marker else ""
        yield from (f"{one.name}=={version}{marker}" for version in least)


def interpreter(version: str) -> str | None:
    """Return the path of a Python: pyenv's own, as its commands on the path answer for the chosen ones alone."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    known = sorted(pyenv.glob(f"{version}.*/bin/python")) if pyenv.is_dir() else []
    return str(known[-1]) if known else shutil.which(f"python{version}")


def measured(extra: str, version: str, end: str) -> dict[str, str]:
    """Install an extra into an environment of its own and run its tests; return the row."""
    row = {"extra": extra, "python": version, "end": end, "date": datetime.date.today().isoformat()}
    python = interpreter(version)
    if python is None:
        return {**row, "result": "no such Python here"}
    with tempfile.TemporaryDirectory(prefix="bounds-") as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        binary = str(Path(folder, "bin", "python"))
        pip = [binary, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        limits: list[str] = []
        if end == "oldest":
            constraints = Path(folder, "oldest.txt")
            constraints.write_text("\n".join(oldest(extra)), encoding="utf-8")
            limits = ["-c", str(constraints), "--only-binary", ":all:"]
        tools = ["pytest", "hypothesis"]
        target = f"{ROOT}[{extra}]" if extra else str(ROOT)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if end == "resolved":
            return {**row, **_resolved([*pip, "--dry-run", "--report", "-", target], environment)}
        # The build backend of the project itself comes from a wheel too.
        done = subprocess.run(
            [*pip, *limits, target, *tools], capture_output=True, text=True, env=environment, cwd=folder
        )
        if done.returncode:
            return {**row, "result": f"pip: {_why(done.stderr)}"}
        names = [one.name for one in requirements(extra)]
        listed = subprocess.run(
            [binary, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        there = {one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(listed.stdout)}
        wanted = [name.lower().replace("_", "-") for name in names]
        row["versions"] = ", ".join(
            f"{name} {there[name]}" for name in dict.fromkeys(wanted) if name in there
        )
        tests = TESTS.get(extra, TESTS[""]).split()
        # Deprecations are not what a bound promises; an extra that is absent skips its tests.
        done = subprocess.run(
            [binary, "-m", "pytest", "-o", f"addopts={OPTIONS}", "-W", "default", *tests],
            capture_output=True, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip
        return {**row, "result": _verdict(done.stdout)}


def _resolved(command: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"result": f"pip: {_why(done.stderr)}"}
    count = len(json.loads(done.stdout)["install"])
    return {"result": f"a solution of {count} packages"}


def _why(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR:")]
    wheel = [line for line in lines if "Could not find a version" in line]
    if wheel:
        return f"no wheel of {wheel[0].split('requirement ')[1].split(' (from')[0]} for it"
    if "ResolutionImpossible" in text:
        return "no wheels of the lower bounds for it, so that it takes newer ones"
    return " ".join(lines)[:160] or text.strip()[-160:]


def _verdict(text: str) -> str:
    """Return what the last line of pytest counts, and which tests failed."""
    last = text.strip().rpartition("\n")[2]
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", last)
    failed = [
        line.split("::")[-1].split(" - ")[0] for line in text.splitlines() if line.startswith("FAILED ")
    ]
    return ", ".join(counts) + (f" ({', '.join(failed[:4])})" if failed else "") or text.strip()[-160:]


def table() -> Iterator[str]:
    """Yield the lines of bounds.md: the newest row of each combination."""
    rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    newest = {(row["extra"], row["python"], row["end"]): row for row in rows}
    dates = sorted({row["date"] for row in newest.values()})
    yield "# Do the bounds hold?"
    yield ""
    yield f"`python -m benchmarks.bounds`, {platform.platform()}, {os.cpu_count()} cores, {dates[0]} to {dates[-1]}."
    yield "Each extra alone in a new environment, by pip: at the lower bounds of pyproject.toml (from wheels), and"
    yield "newest. Then its tests; *skipped* are those of other extras. *resolved*: pip finds a solution, and installs"
    yield "nothing."
    yield ""
    yield "| extra | Python | end | versions | tests |"
    yield "|---|---|---|---|---|"
    for (extra, version, end), row in sorted(newest.items()):
        yield f"| {extra or 'none'} | {version} | {end} | {row.get('versions', '')} | {row['result']} |"


if __name__ == "__main__":
    main()
