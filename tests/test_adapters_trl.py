"""`TRLReward`, called with the very arguments TRL 1.16 passes; no trainer is installed for these."""

from __future__ import annotations

import asyncio
import functools
import json
import multiprocessing
import pickle
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.adapters.trl import TRLReward, reward_weights
from finer_rewards.errors import ConfigError
from finer_rewards.memory import Gate, TraceMemory

REWARD = "2 * execution_match() + executable()"
SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
GOLD = "SELECT a FROM t"
ROWS = [  # completion, gold, value of REWARD
    ("SELECT a FROM t", GOLD, 3.0),
    ("SELECT b FROM t", GOLD, 1.0),
    ("SELECT nothing FROM t", GOLD, 0.0),
    ("<think>I do not know.</think>", GOLD, 0.0),
    ("SELECT a FROM t", "SELECT no_such FROM t", None),
    ("SELECT a FROM t", ["SELECT b FROM t", GOLD], 3.0),
]
EXPECTED = [value for _, _, value in ROWS]


class Trainer:
    """The reward stage of `GRPOTrainer`: the same arguments, the same hooks, the same check on length."""

    def __init__(self, *functions: Any) -> None:
        self.functions = functions
        self.metrics: dict[str, list[float]] = defaultdict(list)
        self.extra: dict[str, list[Any]] = defaultdict(list)

    def rewards(
        self, inputs: list[dict[str, Any]], completions: list[Any], *, hooks: bool = True
    ) -> list[Any]:
        keys = [key for key in inputs[0] if key not in ("prompt", "completion", "completion_ids")]
        columns: dict[str, Any] = {key: [row[key] for row in inputs] for key in keys}
        if hooks:
            columns["trainer_state"] = SimpleNamespace(global_step=3)
            columns["log_extra"] = lambda column, values: self.extra[column].extend(values)
            columns["log_metric"] = lambda name, value: self.metrics[name].append(value)
        values = []
        for function in self.functions:
            output = function(
                prompts=[row["prompt"] for row in inputs],
                completions=completions,
                completion_ids=[[1, 2]] * len(completions),
                **columns,
            )
            assert len(output) == len(completions)
            values.append(output)
        return values

    def mean(self, name: str) -> float:
        return sum(self.metrics[name]) / len(self.metrics[name])


@pytest.fixture
def db(make_db: Callable[..., Path]) -> str:
    return str(make_db("shop", SCRIPT))


@pytest.fixture
def scorer() -> Iterator[fr.Scorer]:
    with fr.Scorer(REWARD, fr.SQLite(workers=1)) as scorer:
        yield scorer


def inputs(db: str, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": "Which a?", "gold": gold, "db": db, **more} for _, gold, _ in ROWS]


COMPLETIONS = [completion for completion, _, _ in ROWS]


def test_string_completions_score_as_the_scorer_does(scorer: fr.Scorer, db: str) -> None:
    samples = [
        fr.Sample(text, tuple([gold] if isinstance(gold, str) else gold), db) for text, gold, _ in ROWS
    ]
    assert Trainer(TRLReward(scorer)).rewards(inputs(db), COMPLETIONS) == [EXPECTED]
    assert [score.value for score in scorer.score(samples)] == EXPECTED


def test_chat_completions_score_the_same_in_every_shape(scorer: fr.Scorer, db: str) -> None:
    reward = TRLReward(scorer)
    row = {"prompt": [{"role": "user", "content": "Which a?"}], "gold": GOLD, "db": db}
    completions: list[Any] = [
        [{"role": "assistant", "content": GOLD}],
        [{"role": "assistant", "content": [{"type": "text", "text": GOLD}]}],
        [{"role": "assistant", "reasoning_content": "All of them.", "content": GOLD}],
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "run", "arguments": "{}"}}],
            },
            {"role": "tool", "name": "run", "content": "2 rows"},
            {"role": "assistant", "content": GOLD},
        ],
        [{"role": "assistant", "tool_calls": []}],
        [],
        None,
    ]
    assert Trainer(reward).rewards([row] * 7, completions) == [[3.0] * 4 + [0.0] * 3]


def test_metrics_and_table_are_logged(scorer: fr.Scorer, db: str) -> None:
    trainer = Trainer(TRLReward(scorer))
    trainer.rewards(inputs(db), COMPLETIONS)
    why = {name for name in trainer.metrics if name.startswith("finer/why/")}
    assert "finer/why/no predicted column holds the values of gold column" in why and len(why) == 3
    assert set(trainer.metrics) - why == {
        f"finer/{name}"
        for name in (
            "execution_match",
            "executable",
            "lucky",
            "unscorable",
            "timeouts",
            "unparsed",
            "silent_groups",
        )
    }
    assert trainer.mean("finer/execution_match") == pytest.approx(2 / 5)
    assert trainer.mean("finer/executable") == pytest.approx(4 / 6)
    assert trainer.mean("finer/lucky") == 0
    assert trainer.mean("finer/unscorable") == pytest.approx(1 / 6)
    assert trainer.mean("finer/unparsed") == pytest.approx(1 / 6)
    assert trainer.mean("finer/timeouts") == 0
    assert trainer.extra["status"] == ["ok", "ok", "failed", "no_sql", "gold_failed", "ok"]
    assert trainer.extra["sql"][:4] == [*COMPLETIONS[:3], None]
    assert all(isinstance(reason, str) and reason for reason in trainer.extra["reason"])


def test_a_timeout_counts_as_one(db: str) -> None:
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, t"
    with fr.Scorer(REWARD, fr.SQLite(workers=1, timeout=0.3)) as scorer:
        trainer = Trainer(TRLReward(scorer))
        assert trainer.rewards(inputs(db)[:2], [slow, GOLD]) == [[0.0, 3.0]]
    assert trainer.mean("finer/timeouts") == 0.5


def test_asyncgrpo_passes_no_hooks(scorer: fr.Scorer, db: str) -> None:
    assert Trainer(TRLReward(scorer)).rewards(inputs(db), COMPLETIONS, hooks=False) == [EXPECTED]


def test_components_add_up_to_the_composed_reward(scorer: fr.Scorer, db: str) -> None:
    functions = TRLReward.components(scorer)
    weights = reward_weights([*functions, len])
    assert [function.__name__ for function in functions] == ["execution_match", "executable"]
    assert weights == [2.0, 1.0, 1.0]
    columns = Trainer(*functions).rewards(inputs(db), COMPLETIONS)
    sums = [
        None if None in values else sum(w * v for w, v in zip(weights[:2], values, strict=True))
        for values in zip(*columns, strict=True)
    ]
    assert sums == EXPECTED
    assert (
        columns[1][4] is None
    )  # the gold is broken: executable() alone must not be what the group is judged by


def test_components_can_carry_their_weight(scorer: fr.Scorer, db: str) -> None:
    functions = TRLReward.components(scorer, weighted=True)
    assert reward_weights(functions) == [1.0, 1.0]
    matches, runs = Trainer(*functions).rewards(inputs(db), COMPLETIONS)
    assert matches[0] == 2.0
    assert runs[0] == 1.0


def test_components_of_a_single_term_and_of_a_composition(db: str) -> None:
    executor = fr.SQLite(workers=1)
    with executor:
        (only,) = TRLReward.components(fr.Scorer("3 * executable()", executor))
        assert (only.__name__, only.weight) == ("executable", 3.0)
        assert Trainer(only).rewards(inputs(db)[:1], COMPLETIONS[:1]) == [[1.0]]
        (gate,) = TRLReward.components(
            fr.Scorer("gate(condition=executable(), then=execution_match())", executor)
        )
        assert (gate.__name__, gate.weight) == ("gate", 1.0)
        assert Trainer(gate).rewards(inputs(db)[:2], COMPLETIONS[:2]) == [[1.0, 0.0]]


def test_components_observe_each_batch_once(
    scorer: fr.Scorer, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    observe = scorer.observe
    monkeypatch.setattr(scorer, "observe", lambda samples: calls.append(1) or observe(samples))
    trainer = Trainer(*TRLReward.components(scorer))
    trainer.rewards(inputs(db), COMPLETIONS)
    assert len(calls) == 1
    assert len(trainer.extra["sql"]) == len(ROWS)
    trainer.rewards(inputs(db), COMPLETIONS)
    assert len(calls) == 2  # the same completions at a later step are looked at afresh


def test_components_called_from_threads_at_once(scorer: fr.Scorer, db: str) -> None:
    functions = TRLReward.components(scorer)
    columns = {"gold": [row["gold"] for row in inputs(db)], "db": [db] * len(ROWS)}

    async def score_group() -> list[list[float | None]]:
        calls = [
            asyncio.to_thread(f, prompts=["?"] * len(ROWS), completions=COMPLETIONS, **columns)
            for f in functions
        ]
        return list(await asyncio.gather(*calls))

    assert asyncio.run(score_group()) == Trainer(*functions).rewards(inputs(db), COMPLETIONS)


def test_called_inside_a_running_event_loop(scorer: fr.Scorer, db: str) -> None:
    async def step() -> list[Any]:
        return Trainer(TRLReward(scorer)).rewards(inputs(db), COMPLETIONS)

    assert asyncio.run(step()) == [EXPECTED]


def test_many_threads_share_one_function(scorer: fr.Scorer, db: str) -> None:
    reward = TRLReward(scorer)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(Trainer(reward).rewards, inputs(db), COMPLETIONS) for _ in range(16)]
        assert all(future.result() == [EXPECTED] for future in futures)


def _score_in_child(functions: list[TRLReward], rows: list[dict[str, Any]], connection: Any) -> None:
    connection.send(Trainer(*functions).rewards(rows, COMPLETIONS, hooks=False))
    functions[0].scorer.close()


def test_pickled_into_a_spawned_process(scorer: fr.Scorer, db: str) -> None:
    functions = TRLReward.components(scorer)
    expected = Trainer(*functions).rewards(inputs(db), COMPLETIONS)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # AsyncGRPO starts its worker like this; a daemon may not use multiprocessing itself.
    # By the file's path, because other packages install a `tests` of their own.
    given = {"file": __file__, "arguments": (functions, inputs(db), sender)}
    code = "import runpy; runpy.run_path(file)['_score_in_child'](*arguments)"
    child = context.Process(target=exec, args=(code, given), daemon=True)
    child.start()
    try:
        assert receiver.poll(LONG)
        assert receiver.recv() == expected
    finally:
        child.join(LONG)
        assert child.exitcode == 0


def test_pickle_keeps_what_is_shared_and_what_was_set(scorer: fr.Scorer) -> None:
    first, second = pickle.loads(pickle.dumps(TRLReward.components(scorer, prefix="mine", db="base")))
    assert first._batches is second._batches
    assert first.scorer is second.scorer
    assert (first.__name__, first.weight, first.prefix, first.fields.db) == (
        "execution_match",
        2.0,
        "mine",
        "base",
    )


def test_names(scorer: fr.Scorer) -> None:
    assert TRLReward(scorer).__name__ == "finer"
    assert TRLReward(scorer, name="mine").__name__ == "mine"
    assert TRLReward(scorer, component="executable").__name__ == "executable"
    assert TRLReward(fr.Scorer("execution_match()", scorer.executor)).__name__ == "execution_match"
    assert repr(TRLReward(scorer)) == "TRLReward('finer')"
    twins = TRLReward.components(
        fr.Scorer("execution_match() + execution_match(mode='bird')", scorer.executor)
    )
    assert [twin.__name__ for twin in twins] == ["execution_match()", "execution_match(mode='bird')"]


def test_a_partial_of_it_works(scorer: fr.Scorer, db: str) -> None:
    assert Trainer(functools.partial(TRLReward(scorer))).rewards(inputs(db), COMPLETIONS) == [EXPECTED]


def test_other_columns_are_ignored_and_named_ones_read(scorer: fr.Scorer, db: str) -> None:
    rows = [
        {
            "prompt": "?",
            "query": GOLD,
            "db_path": [db],
            "difficulty": "easy",
            "asked": "Which a?",
            "rows": None,
        }
    ]
    reward = TRLReward(scorer, gold="query", db="db_path", question="asked", answer="rows")
    assert Trainer(reward).rewards(rows, [GOLD]) == [[3.0]]


def test_answer_rows_supervise_without_sql(scorer: fr.Scorer, db: str) -> None:
    answers = [[[1], [2]], [[1], [3]], None, "[[1], [2]]", "[[1"]
    rows = [{"prompt": "?", "db": db, "rows": answer} for answer in answers]
    values = Trainer(TRLReward(scorer, answer="rows")).rewards(rows, [GOLD] * 5)
    assert values == [[3.0, 1.0, None, 3.0, None]]


def test_rows_that_cannot_be_used_are_none_and_say_why(scorer: fr.Scorer, db: str) -> None:
    rows = [
        {"prompt": "?", "gold": gold, "db": path}
        for gold, path in ((None, db), (GOLD, None), (7, db), (GOLD, "no.db"))
    ]
    trainer = Trainer(TRLReward(scorer))
    assert trainer.rewards(rows, [GOLD] * 4) == [[None] * 4]
    assert trainer.mean("finer/unscorable") == 1
    assert trainer.extra["status"] == ["no_gold", "unavailable", "no_gold", "unavailable"]
    assert "names no database" in trainer.extra["reason"][1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gold": "query"}, ["'query'", "db, gold, level", "gold='...'"]),
        ({"db": "db_id"}, ["'db_id'", "Did you mean 'db'?", "db='...'"]),
        ({"question": "question"}, ["'question'", "db, gold, level"]),
        ({"answer": "rows"}, ["'rows'"]),
    ],
)
def test_a_missing_column_names_those_that_are_there(
    scorer: fr.Scorer, db: str, options: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        Trainer(TRLReward(scorer, **options)).rewards(inputs(db, level=1), COMPLETIONS)
    assert all(word in str(caught.value) for word in words)


def test_wrong_use_says_what_to_write(scorer: fr.Scorer, db: str) -> None:
    with pytest.raises(ConfigError, match="should be a Scorer"):
        TRLReward(scorer.reward)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Did you mean 'executable'"):
        TRLReward(scorer, component="executible")
    with pytest.raises(ConfigError, match="after their terms"):
        TRLReward.components(scorer, name="x")
    with pytest.raises(ConfigError, match="`gold` should hold one value a completion, but got 1 for 2"):
        TRLReward(scorer)(prompts=["?"] * 2, completions=[GOLD] * 2, gold=[GOLD], db=[db] * 2)


def test_a_dataset_is_checked_before_training(scorer: fr.Scorer, db: str) -> None:
    reward = TRLReward(scorer)
    good = {"prompt": "?", "gold": GOLD, "db": db}
    reward.check([good, good])
    for bad, words in [
        ({**good, "gold": None}, "Row 1 of the dataset has no gold in 'gold'"),
        ({**good, "db": ""}, "Row 1 of the dataset cannot be used.*names no database"),
        ({"prompt": "?", "gold": GOLD}, "should have a column 'db'"),
    ]:
        with pytest.raises(ConfigError, match=words):
            reward.check([good, bad])
    with pytest.raises(ConfigError, match="Pass one split"):
        reward.check({"train": [good]})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="missing"):
        reward.check([{**good, "db": str(Path(db).with_name("missing.sqlite"))}])


THOUGHT = (
    "The question asks for every value of column a, so no condition and no grouping is needed: read table t."
)
LEARNING = "execution_match() + memory(variant='max', scope='any', calibrated=False)"


def learning_scorer(folder: Path, name: str) -> fr.Scorer:
    pytest.importorskip("numpy")
    memory = TraceMemory.open(
        folder / name, "hashing", delexicalise=False, centre=False, durable=False, gate=Gate(min_words=10)
    )
    return fr.Scorer(LEARNING, fr.SQLite(workers=1), memory=memory)


def test_memory_learns_between_batches_and_never_within_one(db: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"Which a, number {number}?", "gold": GOLD, "db": db} for number in range(2)]
    right = [f"<think>{THOUGHT}</think>{GOLD}"] * 2
    with learning_scorer(tmp_path, "traces") as scorer:
        functions = TRLReward.components(scorer, remember=True)
        trainer = Trainer(*functions)
        assert trainer.rewards(rows, right) == [[1.0, 1.0], [0.0, 0.0]]
        assert len(scorer.memory) == 0  # type: ignore[arg-type]
        assert trainer.rewards(rows, right)[1] == pytest.approx([1.0, 1.0])
        learnt = len(scorer.memory)  # type: ignore[arg-type]
        assert learnt > 0
        functions[0].flush()
        functions[1].flush()
        assert len(scorer.memory) == learnt  # type: ignore[arg-type]
    with learning_scorer(tmp_path, "traces") as scorer:
        trainer = Trainer(*TRLReward.components(scorer))
        for _ in range(2):
            assert trainer.rewards(rows, right)[1] == pytest.approx([1.0, 1.0])
        assert len(scorer.memory) == learnt  # type: ignore[arg-type]


def test_learning_needs_a_memory(scorer: fr.Scorer) -> None:
    with pytest.raises(ConfigError, match="should have a scorer with a TraceMemory"):
        TRLReward(scorer, remember=True)


def test_the_adapter_is_there_and_light() -> None:
    script = (
        "import sys, finer_rewards as fr; fr.adapters.trl.TRLReward;"
        "print([name for name in ('trl', 'torch', 'numpy', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_first_batch_without_databases_raises_and_later_ones_do_not(db: str) -> None:
    call = {"prompts": ["?"] * 2, "completions": [GOLD] * 2, "gold": [GOLD] * 2}
    with fr.Scorer(REWARD, fr.SQLite(Path(db).parent, workers=1)) as scorer:
        reward = TRLReward(scorer)
        for _ in range(2):  # not said once and then forgotten
            with pytest.raises(
                ConfigError, match=r"none of the first 2 samples.*'no_such_db'.*check\(dataset\)"
            ):
                reward(**call, db=["no_such_db"] * 2)
        assert reward(**call, db=[db, "no_such_db"]) == [3.0, None]
        assert reward(**call, db=["no_such_db"] * 2) == [None, None]


def test_what_trl_passes_beside_the_columns_is_left_alone(scorer: fr.Scorer, db: str) -> None:
    call = {"prompts": ["?"], "completions": [GOLD], "gold": [GOLD]}
    assert TRLReward(scorer)(**call, db=[db], some=None, processing_class=object(), short=[]) == [3.0]
    for wrong in (None, [db, db], object()):
        with pytest.raises(ConfigError, match=r"`db` should hold one value a completion, but got"):
            TRLReward(scorer)(**call, db=wrong)


def test_a_dataset_is_checked_in_its_file(scorer: fr.Scorer, db: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "?", "gold": GOLD, "db": db}) + "\n")
    TRLReward(scorer).check(path)
    for text, said in (
        ('{"prompt": "?", "gold": "x"}', "should have a column 'db'"),
        ("{", "line 1 .* is not JSON"),
    ):
        path.write_text(text + "\n")
        with pytest.raises(ConfigError, match=said):
            TRLReward(scorer).check(str(path))
    with pytest.raises(ConfigError, match="is not there"):
        TRLReward(scorer).check(tmp_path / "none.jsonl")
