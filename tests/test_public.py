"""What a user imports: the names, the cost, the papers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards._signature import SCORES
from finer_rewards._util.extras import extra
from finer_rewards.errors import MissingExtraError
from finer_rewards.presets import PRESETS
from finer_rewards.reward import known_rewards

ROOT = Path(__file__).parent.parent
HEAVY = (
    "sqlglot",
    "numpy",
    "torch",
    "faiss",
    "duckdb",
    "pandas",
    "trl",
    "transformers",
    "hypothesis",
    "sentence_transformers",
)


def test_the_public_names_are_few_sorted_and_there() -> None:
    assert fr.__all__ == sorted(fr.__all__)
    assert len(fr.__all__) <= 32
    assert all(hasattr(fr, name) for name in fr.__all__)


def test_what_users_do_not_import_begins_with_an_underscore() -> None:
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "design"]
    pages += [
        page for page in (ROOT / "examples").rglob("*") if page.suffix in (".py", ".md", ".sh", ".ipynb")
    ]
    pages += [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    things = [getattr(fr, name) for name in fr.__all__]
    homes = [thing.__name__ if inspect.ismodule(thing) else thing.__module__ for thing in things]
    named = set(re.findall(r"finer_rewards\.(\w+)", "\n".join([text, *homes])))
    modules = {module.name for module in pkgutil.iter_modules(fr.__path__)}
    public = {name for name in modules if not name.startswith("_")}
    # pytest finds its plugin by the entry point in pyproject.toml.
    assert public - {"pytest_plugin"} <= named


def test_importing_loads_nothing_heavy() -> None:
    code = f"import sys, finer_rewards; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_documents_itself_and_reads_back(name: str) -> None:
    text = PRESETS[name].__doc__ or ""
    for heading in ("Formula:", "Known to reward wrongly:"):
        assert heading in text, f"{name} has no {heading!r}"
    one = fr.preset(name)
    assert fr.parse_reward(repr(one)) == one
    assert fr.parse_reward(f"{name}()") == one


@pytest.mark.parametrize(
    "name", sorted(set(known_rewards()) - {"constant", "gate", "clip", "maximum", "total", "staircase"})
)
def test_a_reward_documents_itself(name: str) -> None:
    factory = known_rewards()[name]
    if not factory.__module__.startswith("finer_rewards."):
        pytest.skip("a reward defined by another test")
    text = factory.__doc__ or ""
    assert ">>>" in text, f"{name} has no example"
    assert re.search(r"References?:", text), f"{name} names no source"


def test_the_changelog_knows_the_scores_number() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"`SCORES = {SCORES}`" in changelog


def built_in() -> set[str]:
    """Every reward defined in the package, also in a file that nothing imports."""
    for module in pkgutil.iter_modules(fr.rewards.__path__, "finer_rewards.rewards."):
        importlib.import_module(module.name)
    return {
        name
        for name, factory in known_rewards().items()
        if factory.__module__.startswith("finer_rewards.reward")
    }


def test_every_reward_is_in_rewards() -> None:
    assert sorted(fr.rewards.__all__) == fr.rewards.__all__
    assert set(fr.rewards.__all__) == built_in(), "import it in finer_rewards/rewards/__init__.py"
    assert all(getattr(fr.rewards, name) is known_rewards()[name] for name in fr.rewards.__all__)


def test_the_readme_links_every_family_and_names_every_reward() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## Rewards\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+)\(", section)) == built_in()
    pages = {f"docs/rewards/{page.name}" for page in (ROOT / "docs" / "rewards").glob("*.md")}
    assert pages == set(re.findall(r"\((docs/rewards/\w+\.md)\)", section))


def test_the_readmes_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "trl" not in block]
    assert blocks
    monkeypatch.chdir(ROOT)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


CALLS = (
    "fr.adapters.trl.TRLReward(scorer)(completions=[text], gold=[gold], db=[db])",
    "fr.adapters.verl.compute_score('', text, gold, {'db': db}, spec='finer(memory=False)', root=root)",
    "fr.adapters.openrlhf.openrlhf_reward(scorer)([text], [''], [json.dumps({'gold': gold, 'db': db})])",
)


def test_a_trainer_without_a_memory_loads_none_and_no_server(tmp_path: Path) -> None:
    code = (
        "import json, sqlite3, sys, finer_rewards as fr\n"
        f"root, db, gold = {str(tmp_path)!r}, 'shop', 'SELECT x FROM t'\n"
        "sqlite3.connect(root + '/shop.sqlite').executescript('CREATE TABLE t(x); INSERT INTO t VALUES (1)')\n"
        "text = '<think>Take x of t.</think><answer>SELECT x FROM t</answer>'\n"
        "scorer = fr.Scorer(fr.presets.finer(memory=False), fr.SQLite(root))\n"
        + "".join(f"assert {call}\n" for call in CALLS)
        + "print(sorted(name for name in sys.modules if name.split('.')[1:2] in (['memory'], ['_serving'], ['remote'])"
        " and name.startswith('finer_rewards.')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


@pytest.mark.parametrize(
    ("package", "module"),
    [("nope.part", "nope"), ("nope-core", "nope"), ("nope-core", "nope_core"), ("Nope", "nope")],
)
def test_a_missing_package_is_known_by_its_name_or_the_first_word_of_it(package: str, module: str) -> None:
    with pytest.raises(MissingExtraError, match="pip install"), extra("x", "This", package):
        raise ModuleNotFoundError(name=module)
    with pytest.raises(ModuleNotFoundError), extra("x", "This", package):
        raise ModuleNotFoundError(name="another")
