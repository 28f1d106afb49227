"""`compute_score`, called as verl 0.9 calls it; `test_adapters_verl_loop` has verl's own reward loop call it."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.adapters import scorers
from finer_rewards.adapters.scorers import scorer_for
from finer_rewards.adapters.verl import check, compute_score, compute_score_async, overrides
from finer_rewards.errors import ConfigError, MissingExtraError

SPEC = "2 * execution_match() + executable()"
SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
GOLD = "SELECT a FROM t"
KEYS = ["score", "acc", "execution_match", "executable", "unscorable"]
ROWS: list[tuple[str, Any, list[float]]] = [  # response, ground truth, values of KEYS
    ("<think>All.</think>SELECT a FROM t", GOLD, [3.0, 1.0, 1.0, 1.0, 0.0]),
    ("SELECT b FROM t", GOLD, [1.0, 0.0, 0.0, 1.0, 0.0]),
    ("", GOLD, [0.0, 0.0, 0.0, 0.0, 0.0]),
    ("SELECT a FROM t", "SELECT no_such FROM t", [0.0, 0.0, 0.0, 1.0, 1.0]),
    ("SELECT a FROM t", ["SELECT b FROM t", GOLD], [3.0, 1.0, 1.0, 1.0, 0.0]),
    ("SELECT a FROM t", None, [0.0, 0.0, 0.0, 1.0, 1.0]),
    ("SELECT a FROM t", {"gold": GOLD}, [3.0, 1.0, 1.0, 1.0, 0.0]),
    ("SELECT a FROM t", json.dumps({"gold": GOLD, "question": "Which a?"}), [3.0, 1.0, 1.0, 1.0, 0.0]),
]


@pytest.fixture
def root(make_db: Callable[..., Path]) -> str:
    return str(make_db("shop", SCRIPT).parent)


def call(root: str, response: str, truth: Any, *, function: Any = compute_score, **more: Any) -> Any:
    """Call as verl does: `reward_kwargs` win over what the trainer passes."""
    options = {
        "data_source": "spider",
        "solution_str": response,
        "ground_truth": truth,
        "extra_info": {"db": "shop"},
    }
    return function(**{**options, "spec": SPEC, "root": root, "workers": 1, **more})


@pytest.mark.parametrize(("response", "truth", "values"), ROWS)
def test_the_keys_are_the_same_for_every_sample(
    root: str, response: str, truth: Any, values: list[float]
) -> None:
    record = call(root, response, truth)
    assert list(record) == KEYS
    assert list(record.values()) == values
    assert all(type(value) in (float, int) for value in record.values())


def test_it_scores_as_the_scorer_does(root: str) -> None:
    with fr.Scorer(SPEC, fr.SQLite(root, workers=1)) as scorer:
        for response, truth, _ in ROWS[:5]:
            value = scorer.score_one(fr.Sample(response, truth, "shop")).value
            assert call(root, response, truth)["score"] == (0.0 if value is None else value)


def test_what_cannot_be_scored_gets_the_fallback(root: str) -> None:
    broken = call(root, GOLD, "SELECT no_such FROM t", fallback=-0.5)
    assert (broken["score"], broken["unscorable"]) == (-0.5, 1.0)
    nowhere = call(root, GOLD, GOLD, extra_info={"db": None})
    assert (nowhere["score"], nowhere["unscorable"]) == (0.0, 1.0)


def test_extra_info_is_read_and_left_alone(root: str) -> None:
    extra = {
        "base": "shop",
        "num_turns": None,
        "rollout_reward_scores": {},
        "rows": [[1], [2]],
        "question": "Which a?",
    }
    before = copy.deepcopy(extra)
    assert call(root, GOLD, None, extra_info=extra, db="base", answer="rows")["score"] == 3.0
    assert extra == before


def test_the_async_twin_is_a_coroutine_function_and_agrees(root: str) -> None:
    # verl decides by inspect.iscoroutinefunction, which sees neither partials nor callable objects.
    assert inspect.iscoroutinefunction(compute_score_async)
    assert not inspect.iscoroutinefunction(compute_score)

    async def loop() -> list[Any]:
        calls = [call(root, response, truth, function=compute_score_async) for response, truth, _ in ROWS]
        return list(await asyncio.gather(*calls))

    assert [list(record.values()) for record in asyncio.run(loop())] == [values for _, _, values in ROWS]


def test_the_loop_goes_on_while_a_slow_query_runs(root: str) -> None:
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, t"

    async def loop() -> tuple[int, Any]:
        task = asyncio.create_task(call(root, slow, GOLD, function=compute_score_async, timeout=0.5))
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.02)
            ticks += 1
        return ticks, task.result()

    ticks, record = asyncio.run(loop())
    assert ticks >= 5
    assert record["score"] == 0.0


def test_many_threads_as_in_a_reward_worker(root: str) -> None:
    with ThreadPoolExecutor(32) as pool:
        futures = [pool.submit(call, root, response, truth) for response, truth, _ in ROWS * 16]
    assert [list(future.result().values()) for future in futures] == [values for _, _, values in ROWS] * 16


def test_one_scorer_a_configuration(root: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(scorer_for, SPEC, root, {"timeout": 7.0}) for _ in range(32)]
    assert len({id(scorer.result()) for scorer in made}) == 1
    assert scorer_for(SPEC, root, {"timeout": 8.0}) is not made[0].result()
    assert repr(scorer_for("execution_only", root, {}).reward) == "execution_match()"


def test_a_row_does_not_cost_a_look_at_the_whole_folder(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = call(root, GOLD, GOLD)
    monkeypatch.setattr(os, "scandir", None)
    assert call(root, GOLD, GOLD) == first


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_a_scorer_is_made_makes_its_own(root: str) -> None:
    with scorers._LOCK:
        child = os.fork()
        if not child:
            scorer_for("executable()", root, {})
            os._exit(0)
    for _ in range(200):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended and status == 0


def test_acc_without_execution_match_is_the_score(root: str) -> None:
    assert call(root, "SELECT b FROM t", GOLD, spec="executable()") == {
        "score": 1.0, "acc": 1.0, "executable": 1.0, "unscorable": 0.0
    }  # fmt: skip


def test_wrong_configuration_says_what_to_write(root: str) -> None:
    with pytest.raises(
        ConfigError, match=r"should have a column 'db', but it has db_id, gold.*Did you mean 'db_id'"
    ):
        call(root, GOLD, GOLD, extra_info={"db_id": "shop"})
    with pytest.raises(ConfigError, match=r"but got 'tiemout'. Did you mean 'timeout'"):
        call(root, GOLD, GOLD, tiemout=3)
    with pytest.raises(ConfigError, match="executible"):
        call(root, GOLD, GOLD, spec="executible()")
    with pytest.raises(ConfigError, match="executible"):
        overrides("executible()", root)
    with pytest.raises(ConfigError, match=r"Did you mean 'timeout'"):
        overrides(SPEC, root, tiemout=3)


def test_a_prompt_is_the_question_and_step_and_group_are_kept(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[fr.Sample] = []
    scorer = scorer_for(SPEC, root, {"workers": 1})
    observe = scorer.observe

    def spy(samples: list[fr.Sample]) -> Any:
        seen.extend(samples)
        return observe(samples)

    monkeypatch.setattr(scorer, "observe", spy)
    extra = {"db": "shop", "prompt": [{"role": "user", "content": "Which a?"}], "step": 7, "group": "g1"}
    assert call(root, GOLD, GOLD, extra_info=extra)["score"] == 3.0
    assert call(root, GOLD, GOLD, extra_info={**extra, "question": "All a?"})["score"] == 3.0
    assert [one.question for one in seen] == ["Which a?", "All a?"]
    assert dict(seen[0].meta) == {"step": 7, "group": "g1"}


def test_a_dataset_is_checked_before_training(root: str) -> None:
    good = {
        "data_source": "spider",
        "prompt": [{"role": "user", "content": "Which a?"}],
        "reward_model": {"ground_truth": GOLD},
        "extra_info": {"db": "shop"},
    }
    assert check([good, good], spec=SPEC, root=root) == 2
    for change, words in [
        ({"reward_model": {"style": "rule"}}, "mapping with `ground_truth`"),
        (
            {"reward_model": {"ground_truth": None}},
            "Row 1 of the dataset has no gold in 'reward_model.ground_truth'",
        ),
        (
            {"extra_info": {"db_id": "shop"}},
            "should have a column 'db', but it has db_id, gold.*Did you mean 'db_id'",
        ),
        ({"extra_info": {"db": ""}}, "Row 1 of the dataset cannot be used.*names no database"),
        ({"extra_info": {"db": "no_such_database"}}, "no_such_database"),
    ]:
        with pytest.raises(ConfigError, match=words):
            check([good, {**good, **change}], spec=SPEC, root=root)
    with pytest.raises(ConfigError, match="column 'reward_model' for verl, but it has data_source, prompt"):
        check([{"data_source": "s", "prompt": "x"}], root=root)


def test_the_manager_needs_verl(monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    import finer_rewards.adapters.verl as module

    module._manager.cache_clear()
    monkeypatch.setitem(sys.modules, "verl", None)
    with pytest.raises(MissingExtraError, match="verl"):
        module.FinerRewardManager  # noqa: B018
    with pytest.raises(AttributeError, match="no_such"):
        module.no_such  # noqa: B018
    assert overrides(SPEC, root, manager=True)[-3:] == [
        "reward.reward_manager.source=importlib",
        "reward.reward_manager.name=FinerRewardManager",
        "reward.reward_manager.module.path=pkg://finer_rewards.adapters.verl",
    ]
    with pytest.raises(ConfigError, match=r"0\.7\.1"):
        overrides(SPEC, root, manager=True, legacy=True)


def test_overrides_for_older_versions(root: str) -> None:
    lines = overrides("execution_only", root, asynchronous=True, legacy=True, answer=None)
    assert lines == [
        "custom_reward_function.path=pkg://finer_rewards.adapters.verl",
        "custom_reward_function.name=compute_score_async",
        "+custom_reward_function.reward_kwargs.spec='execution_only'",
        f"+custom_reward_function.reward_kwargs.root='{root}'",
        "+custom_reward_function.reward_kwargs.answer=null",
    ]


def test_verl_can_find_it_by_name() -> None:
    # What `pkg://finer_rewards.adapters.verl` and a name come to, wrapped as verl wraps it.
    module = sys.modules["finer_rewards.adapters.verl"]
    wrapped = functools.partial(module.compute_score, spec="well_formed(policy='plain')")
    assert wrapped("s", "SELECT 1", "SELECT 1", {"db": "any"})["score"] == 1.0


def test_a_root_of_another_machine_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="is not there"):
        lines = overrides(SPEC, str(tmp_path / "there"))
    assert f"+reward.custom_reward_function.reward_kwargs.root='{tmp_path / 'there'}'" in lines
    with pytest.raises(ConfigError, match="is not there"):
        compute_score("spider", "SELECT 1", "SELECT 1", {"db": "shop"}, root=str(tmp_path / "there"))


def test_a_run_without_databases_ends_soon_and_one_lost_later_goes_on(root: str, caplog) -> None:
    def scored(db: str, **more: Any) -> dict[str, float]:
        return compute_score("spider", GOLD, GOLD, {"db": db}, spec=SPEC, root=root, **more)

    for _ in range(7):
        assert scored("no_such_db", timeout=7)["unscorable"] == 1
    assert [one.getMessage()[:30] for one in caplog.records] == ["A sample cannot be scored (sai"]
    with pytest.raises(ConfigError, match="none of the first 8 samples"):
        scored("no_such_db", timeout=7)
    assert scored("shop", timeout=8)["unscorable"] == 0
    for _ in range(9):
        assert scored("no_such_db", timeout=8)["unscorable"] == 1


def test_the_rows_of_a_file_are_checked(root: str, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    pytest.importorskip("pyarrow.parquet")
    row = {
        "data_source": "spider",
        "prompt": [],
        "reward_model": {"ground_truth": GOLD},
        "extra_info": {"db": "shop"},
    }
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row] * 3), path)
    assert check(path, root=root, spec=SPEC) == 3
    whole = path.read_bytes()
    for broken in (b"", b"SELECT 1\n", whole[:-9], whole[:4] + bytes(40) + whole[44:]):
        path.write_bytes(broken)
        with pytest.raises(ConfigError, match=r"train\.parquet cannot be read as one.* Write it again"):
            check(path, root=root, spec=SPEC)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**row, "extra_info": {"db": "shp"}}]), path)
    with pytest.raises(ConfigError, match="Did you mean 'shop'"):
        check(str(path), root=root, spec=SPEC)
