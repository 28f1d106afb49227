"""The documentation: every block runs, every public name is in it, every link leads somewhere."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import finer_rewards as fr
from finer_rewards.cli import VERBS, main
from finer_rewards.comparing import modes
from finer_rewards.presets import PRESETS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
FENCE = re.compile(
    r"(?:^<!-- (?P<rule>not run|needs): (?P<what>[^>]+?) -->\n+)?^```[ {.]*(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```",
    re.M | re.S,
)
LONGEST = 300  # lines a page may have


class Block(NamedTuple):
    language: str
    code: str
    rule: str
    what: str


def blocks(page: Path) -> Iterator[Block]:
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield Block(found["language"], found["code"], found["rule"] or "", found["what"] or "")


def lacking(names: str) -> list[str]:
    return [name for name in names.replace(",", " ").split() if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `finer-rewards demo --keep example` leaves, made once."""
    folder = tmp_path_factory.mktemp("demo") / "example"
    assert main(["demo", "--keep", str(folder)]) == 0
    return folder


@pytest.fixture
def desk(tmp_path: Path, example: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a reader has it: `finer-rewards demo --keep example`, the repository's examples, own databases."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(example, "example")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "databases").symlink_to("example")
    commands = tmp_path / ".bin"
    commands.mkdir()
    (commands / "finer-rewards").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m finer_rewards "$@"\n')
    (commands / "finer-rewards").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    return tmp_path


def with_code(*languages: str) -> list[Path]:
    return [page for page in PAGES if any(block.language in languages for block in blocks(page))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


#: What a reader meets first is in the default tier; the others start a hundred commands.
FIRST = {ROOT / "README.md", DOCS / "index.md", DOCS / "reference.md"}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page in FIRST else pytest.mark.slow)
        for page in with_code("python", "sh", "yaml", "json")
    ],
    ids=name_of,
)
def test_every_block_runs(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one folder; the Python of a page is one program."""
    space = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", space)
    if "--keep example" in page.read_text(encoding="utf-8"):
        shutil.rmtree("example")
    for block in blocks(page):
        if block.rule == "not run" or (block.rule == "needs" and lacking(block.what)):
            continue
        if block.language == "python":
            run_python(block.code, space, page)
        elif block.language == "sh":
            done = subprocess.run(
                ["bash", "-c", block.code],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
            )
            # 1 says that something could not be scored, which is what some of the examples show.
            assert done.returncode in (0, 1) and "Traceback" not in done.stderr, (
                f"{name_of(page)}:\n{block.code}{done.stdout[-800:]}{done.stderr[-1500:]}"
            )
    space.__dict__.clear()
    gc.collect()


def run_python(code: str, space: ModuleType, page: Path) -> None:
    """Run a block after those before it, in this process: a new one would import everything once more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, name_of(page), "exec"), space.__dict__)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_says_why_and_the_rest_is_tested(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = {block.language for block in blocks(page)}
    assert shown <= {"python", "sh", "text", "yaml", "json", "toml"}, shown
    assert len(text.splitlines()) <= LONGEST, "split the page"
    # A command outside a fenced block would be run by nobody.
    if page.name != "README.md" and page.parent.name != "design":
        assert not re.search(r"^    (?:finer-rewards|pip|python) ", text, re.M)


@pytest.fixture(scope="module")
def everything() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_every_public_name_is_documented(everything: str) -> None:
    reference = (DOCS / "reference.md").read_text(encoding="utf-8")
    public = {f"finer_rewards.{name}" for name in fr.__all__} - {
        "finer_rewards.presets",
        "finer_rewards.rewards",
    }
    missing = sorted(name for name in public if f"::: {name}" not in everything and name not in reference)
    assert not missing, f"not in the documentation: {missing}"


def test_every_reward_is_documented(everything: str) -> None:
    shown = hooks().on_page_markdown(everything)
    missing = [
        name for name in fr.rewards.__all__ if f"::: finer_rewards.rewards.{name}\n" not in shown + "\n"
    ]
    assert not missing, f"no page in docs/rewards/ has the family of: {missing}"


def test_every_verb_preset_and_mode_is_documented() -> None:
    pytest.importorskip("mkdocs")
    pages = hooks()
    for verb in VERBS:
        assert f"\n## {verb}\n" in pages.cli_page()
    for name in PRESETS:
        assert f"\n## {name}\n" in pages.presets_page()
    for name in modes():
        assert f"| `{name}` |" in pages.modes_page()


def test_every_extra_is_documented(everything: str) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = re.findall(r"^(\w+) = ", section, re.M)
    missing = [
        name
        for name in extras
        if not re.search(rf"\[{name}\]|\[[\w,]*\b{name}\b[\w,]*\]|`{name}`", everything)
    ]
    assert extras and not missing, f"not in the documentation: {missing}"


def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    """Links and anchors are checked by the strict build."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        str(ROOT / "mkdocs.yml"),
        "-d",
        str(tmp_path),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NO_MKDOCS_2_WARNING": "1",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for page in ("index.html", "cli/index.html", "modes/index.html", "reference/index.html"):
        assert (tmp_path / page).stat().st_size > 5000


def test_contributing_fits_a_screen_and_ci_runs_its_commands() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    for command in ('pip install -q -e ".[dev]"', "python -m pytest", "ruff check .", "ruff format", "mypy"):
        assert command.replace(" -q", "") in text and command in script, command
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert all(f'"{version}"' in noxfile for version in ("3.10", "3.11", "3.12", "3.13"))


def test_spelling() -> None:
    pytest.importorskip("codespell_lib")
    command = [sys.executable, "-m", "codespell_lib", *map(str, PAGES), str(ROOT / "CHANGELOG.md")]
    # IIF is SQLite's function.
    done = subprocess.run([*command, "-L", "nam,iif"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def hooks() -> Any:
    specification = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_one_command_runs_every_script_that_the_readme_quotes():
    from benchmarks.__main__ import QUOTED

    measured = (ROOT / "README.md").read_text(encoding="utf-8").split("## Measured")[1]
    assert set(re.findall(r"`(\w+)\.py` \|", measured)) == set(QUOTED)
