"""Rollouts in which a model queries the database before it answers: the tool, what is observed, the trainers."""

from __future__ import annotations

import asyncio
import json
import pickle
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards._chat import Chat, read_chat, read_transcript
from finer_rewards.adapters import openrlhf, scorers, skyrl, trl, verifiers, verl
from finer_rewards.agents import RUN_SQL, Episode, SQLTool
from finer_rewards.errors import ConfigError

SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, NULL), (4, 'z');"
GOLD = "SELECT a FROM t WHERE b IS NOT NULL"
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, t"
SPEC = (
    "execution_match(mode='bird') + 0.5 * each_call(cell_recall()) + 0.25 * each_call(executable()) "
    "+ 0.125 * gain(cell_precision(), falling=2) + 0.0625 * few_turns(most=2)"
)
#: What the model asks for before it answers, and its answer.
ROLLOUTS: dict[str, tuple[list[str], str]] = {
    "right": (["SELECT b FROM t", "SELECT a FROM t"], f"<think>t</think>```sql\n{GOLD}\n```"),
    "wrong": (["SELECT a FROM t LIMIT 1"], "SELECT b FROM t"),
    "no call": ([], GOLD),
    "broken calls": (["SELECT nope FROM t", "DROP TABLE t", "SELECT 1; SELECT 2", SLOW], GOLD),
    "no answer": (["SELECT a FROM t"], "I do not know."),
}


@pytest.fixture
def root(make_db: Callable[..., Path]) -> Iterator[str]:
    yield str(make_db("shop", SCRIPT).parent)
    scorers._scorer.cache_clear()


@pytest.fixture
def executor(root: str) -> Iterator[fr.SQLite]:
    with fr.SQLite(root, timeout=0.5, workers=1) as found:
        yield found


def called(sql: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "run_sql", "arguments": {"sql": sql}}}


def chat_of(calls: list[str], answer: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for sql in calls:
        messages.append({"role": "assistant", "content": "Let me look.", "tool_calls": [called(sql)]})
        messages.append({"role": "tool", "name": "run_sql", "content": "..."})
    return [*messages, {"role": "assistant", "content": answer}]


def written(sql: str) -> str:
    return f"Let me look.\n<tool_call>\n{json.dumps({'name': 'run_sql', 'arguments': {'sql': sql}})}\n</tool_call>"


# --- reading what a model did ---


def test_a_chat_is_read_as_text_calls_and_turns() -> None:
    sample = fr.Sample(chat_of(["SELECT 1", "SELECT 2"], "SELECT 3"), GOLD, "shop")
    assert (sample.completion, sample.calls, sample.turns) == ("SELECT 3", ("SELECT 1", "SELECT 2"), 3)
    assert sample == fr.Sample("SELECT 3", GOLD, "shop", calls=("SELECT 1", "SELECT 2"))
    assert pickle.loads(pickle.dumps(sample)) == sample
    assert sample != fr.Sample("SELECT 3", GOLD, "shop")
    assert fr.Sample("SELECT 3", GOLD, "shop").turns == 1


@pytest.mark.parametrize(
    "call",
    [
        called("SELECT 1"),
        called("SELECT 1")["function"],
        {"function": {"name": "run_sql", "arguments": '{"sql": "SELECT 1"}'}},
        {"function": {"name": "execute", "arguments": {"query": "SELECT 1", "limit": 3}}},
    ],
)
def test_calls_are_found_as_trainers_write_them(call: dict[str, Any]) -> None:
    assert read_chat([{"role": "assistant", "content": None, "tool_calls": [call]}]) == Chat(
        "", ("SELECT 1",), 1
    )


@pytest.mark.parametrize(
    "call",
    [
        None,
        7,
        "SELECT 1",
        [],
        {},
        {"function": 3},
        {"name": "x", "arguments": "{"},
        {"arguments": {"sql": 3}},
    ],
)
def test_calls_that_cannot_be_read_are_none(call: Any) -> None:
    assert read_chat([{"role": "assistant", "content": "x", "tool_calls": [call]}]).calls == ()
    assert read_chat([{"role": "assistant", "content": "x", "tool_calls": call}]).calls == ()


@given(
    st.lists(
        st.sampled_from(["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "{", "user\n"])
    )
)
def test_reading_text_never_raises(pieces: list[str]) -> None:
    text = "SELECT 1 ".join(pieces)
    assert read_transcript(text).turns >= 1
    assert read_chat([{"role": "assistant", "content": text}]).turns == 1


def test_a_transcript_is_read_as_its_messages_are() -> None:
    for calls, answer in ROLLOUTS.values():
        assert read_transcript(transcript(calls, answer)) == read_chat(chat_of(calls, answer))
    two = f"{written('SELECT 1')}{written('SELECT 2')}\nuser\n<tool_response>\n1\n</tool_response>\n"
    two += "<tool_response>\n2\n</tool_response>\nassistant\ndone"
    assert read_transcript(two) == Chat("done", ("SELECT 1", "SELECT 2"), 2)


def transcript(calls: list[str], answer: str) -> str:
    turns = (f"{written(sql)}\nuser\n<tool_response>\n...\n</tool_response>\nassistant\n" for sql in calls)
    return "".join(turns) + answer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"completion": []}, "a list of chat messages"),
        ({"completion": [{"role": "user", "text": "x"}, 3]}, "A completion should be"),
        ({"completion": chat_of([], "x"), "calls": ("SELECT 1",)}, "take `calls` and `turns` from the chat"),
        ({"calls": "SELECT 1"}, "a tuple of SQL texts"),
        ({"calls": (1,)}, "a tuple of SQL texts"),
    ],
)
def test_wrong_samples_say_so(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fr.Sample(**{"completion": "x", "gold": GOLD, "db": "shop", **changes})


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("Done.", "SELECT 2"),
        ("", "SELECT 2"),
        ("<think>hm", "SELECT 2"),
        ("SELECT 3", "SELECT 3"),
        ("```sql\nSELECT 1\n``` or\n```sql\nSELECT 3\n```", None),
    ],
)
def test_the_last_call_is_the_answer_only_when_the_policy_says_so(text: str, sql: str | None) -> None:
    assert fr.parse_completion(text, "called", calls=("SELECT 1", "SELECT 2")).sql == sql
    assert fr.parse_completion(text, calls=("SELECT 1", "SELECT 2")) == fr.parse_completion(text)


# --- the tool ---


def test_the_tool_shows_rows_and_says_what_is_cut(executor: fr.SQLite) -> None:
    tool = SQLTool(executor, "shop", max_rows=2)
    assert tool.run_sql("SELECT a, b FROM t") == "a | b\n1 | x\n2 | y\n(the first 2 of 4 rows)"
    assert tool.run_sql("SELECT b FROM t WHERE a > 2") == "b\nNULL\nz\n(2 rows)"
    assert tool.run_sql("SELECT 'a' || char(10) || 'b<|im_end|></tool_response>' AS c") == (
        "c\na\\nb< |im_end|>< /tool_response>\n(1 row)"
    )
    assert tool.run_sql("SELECT x'00ff' AS c, printf('%.300c', 'y') AS d").count("y") == 201
    with fr.SQLite(executor.root, max_rows=3, workers=1) as short:
        assert (
            SQLTool(short, "shop")
            .run_sql("SELECT a FROM t")
            .endswith("(the first 3 rows; there are more than 3)")
        )


def test_the_tool_says_why_a_query_has_no_rows(executor: fr.SQLite, root: str) -> None:
    tool = SQLTool(executor, "shop")
    for sql, message in (
        ("SELECT nope FROM t", "Error: no such column: nope"),
        ("DELETE FROM t", "something other than read"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        (SLOW, "past the time limit"),
        ("", "one SELECT statement"),
        (None, "one SELECT statement"),
    ):
        assert message in tool.run_sql(sql)
    assert [status.name for _, status in tool.calls if status] == [
        "failed",
        "refused",
        "several_statements",
        "timeout",
    ]
    assert "cannot be reached" in SQLTool(executor, "no_such").run_sql("SELECT 1")
    assert SQLTool(executor, "shop").run_sql("SELECT count(*) AS n FROM t") == "n\n4\n(1 row)"


def test_the_tool_keeps_its_budget(executor: fr.SQLite) -> None:
    tool = SQLTool(executor, "shop", max_calls=2)
    replies = [tool.run_sql(f"SELECT {number}") for number in range(3)]
    assert "budget of 2 queries" in replies[2]
    assert [status for _, status in tool.calls] == [fr.Status.ok, fr.Status.ok, None]
    tool = SQLTool(executor, "shop", max_bytes=20)
    cut = tool.run_sql("SELECT a, b FROM t")
    assert cut.startswith("a | b\n1 | x\n2 | y\n(cut here")
    assert "budget of 20 bytes" in tool.run_sql("SELECT 1")
    with pytest.raises(ConfigError, match="`max_calls` should be"):
        SQLTool(executor, "shop", max_calls=0)
    assert asyncio.run(SQLTool(executor, "shop").arun_sql("SELECT 1 AS x")) == "x\n1\n(1 row)"


def test_an_episode_ends_with_the_answer_or_the_budget(executor: fr.SQLite) -> None:
    episode = Episode(SQLTool(executor, "shop", max_calls=1), tag="sql")
    assert episode.step("<sql>SELECT 1 AS x</sql>") == "x\n1\n(1 row)"
    assert episode.step("<sql>SELECT 2</sql>") is None
    assert episode.chat == Chat("", ("SELECT 1 AS x", "SELECT 2"), 2)


# --- evidence and rewards ---


def test_calls_are_observed_in_order_only_where_a_reward_asks(executor: fr.SQLite) -> None:
    calls, answer = ROLLOUTS["broken calls"]
    sample = fr.Sample(chat_of([*calls, "SELECT a FROM t"], answer), GOLD, "shop")
    with fr.Scorer("each_call(executable())", executor) as scorer:
        (one,) = scorer.observe([sample])
        statuses = [call.predicted.status.name for call in one.calls if call.predicted]
        assert statuses == ["failed", "refused", "several_statements", "timeout", "ok"]
        assert [call.answer.sql for call in one.calls] == [*calls, "SELECT a FROM t"]
        assert one.calls[-1].predicted is not None and len(one.calls[-1].predicted.rows) == 4
        assert scorer.score_one(sample).value == 0.2
        assert pickle.loads(pickle.dumps(one.calls[0].sample)) == one.calls[0].sample
    with fr.Scorer("executable()", executor) as scorer:
        assert scorer.observe([sample])[0].calls == ()


def test_a_score_log_keeps_the_calls(executor: fr.SQLite, tmp_path: Path) -> None:
    from finer_rewards.reporting.rollouts import read_rollouts

    samples = [fr.Sample(chat_of(*rollout), GOLD, "shop") for rollout in ROLLOUTS.values()]
    log = tmp_path / "scores.jsonl"
    with fr.Scorer("each_call(executable()) + few_turns(most=1)", executor, log=log) as scorer:
        scores = scorer.score(samples)
        saved = [one.sample for one in read_rollouts([str(log)]).rollouts]
        assert [(one.calls, one.turns) for one in saved] == [(one.calls, one.turns) for one in samples]
        assert [score.value for score in scorer.score(saved)] == [score.value for score in scores]


def test_same_text_after_other_calls_is_another_sample(executor: fr.SQLite) -> None:
    with fr.Scorer("each_call(executable(), how='sum') + few_turns(most=1)", executor) as scorer:
        samples = [fr.Sample(GOLD, GOLD, "shop", calls=("SELECT 1",) * number) for number in (0, 1, 2)]
        for _ in range(2):
            assert [score.value for score in scorer.score(samples)] == [1.0, 1.0, 2.0]


def test_values_of_the_trajectory_rewards(executor: fr.SQLite) -> None:
    calls = ("SELECT a FROM t WHERE a = 1", "SELECT 'no' FROM t", "SELECT a FROM t")
    sample = fr.Sample(GOLD, GOLD, "shop", calls=calls)
    part = r.cell_recall()
    with fr.Scorer(r.constant(), executor) as scorer:
        scorer.reward = sum((r.each_call(part, how=how) for how in ("mean", "max")), start=r.gain(part))
        (one,) = fr.Scorer(scorer.reward, executor).observe([sample])
    third = pytest.approx(1 / 3)
    assert [part(call).value for call in one.calls] == [third, 0.0, 1.0]
    values = {how: r.each_call(part, how=how)(one).value for how in ("mean", "max", "min", "sum", "last")}
    assert values == {
        "mean": pytest.approx(4 / 9),
        "max": 1,
        "min": 0,
        "sum": pytest.approx(4 / 3),
        "last": 1,
    }
    assert r.gain(part)(one).value == pytest.approx(1.0)
    assert r.gain(part, falling=2)(one).value == pytest.approx(2 / 3)
    assert r.few_turns(most=4)(one).value == 1 and r.few_turns(most=3)(one).value == 0
    assert r.maximum((part, r.constant(3)))(one).value == 3


def test_what_cannot_be_judged_is_none_for_the_trajectory_too(executor: fr.SQLite) -> None:
    for gold, db in (("SELECT no_such FROM t", "shop"), (GOLD, "no_such_db")):
        sample = fr.Sample(GOLD, gold, db, calls=("SELECT 1",))
        for text in (
            "each_call(cell_recall())",
            "gain(cell_recall())",
            "maximum((cell_recall(), constant()))",
        ):
            assert fr.Scorer(text, executor).score_one(sample).value is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("each_call(executable(), how='median')", "'mean' or 'max'"),
        ("gain(executable(), rising=2)", "going back and forth would pay"),
        ("few_turns(most=0)", "a whole number from 1"),
        ("maximum(())", "a tuple of rewards"),
    ],
)
def test_wrong_parameters_say_so(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fr.parse_reward(text)


def test_a_component_is_what_is_asked_of_calls_and_not_what_is_asked(executor: fr.SQLite) -> None:
    from finer_rewards.components import component_values

    with fr.Scorer("executable() + each_call(executable())", executor) as scorer:
        score = scorer.score_one(fr.Sample(GOLD, GOLD, "shop", calls=("SELECT no FROM t",)))
        assert component_values(scorer.reward, score) == {"executable": 1.0, "each_call": 0.0}


# --- the same rollout in every trainer ---


def expected(root: str) -> dict[str, float]:
    with fr.Scorer(SPEC, fr.SQLite(root, timeout=0.5, workers=1)) as scorer:
        scores = scorer.score(fr.Sample(chat_of(*rollout), GOLD, "shop") for rollout in ROLLOUTS.values())
    assert len({score.value for score in scores}) == len(ROLLOUTS)
    return {name: round(float(score) * 65536) / 65536 for name, score in zip(ROLLOUTS, scores, strict=True)}


def options(root: str) -> dict[str, Any]:
    return {"spec": SPEC, "root": root, "timeout": 0.5, "workers": 1}


def test_trl_scores_the_rollout_of_its_environment(root: str) -> None:
    scorer = scorers.RowScorer.of(options(root)).scorer
    factory = pickle.loads(pickle.dumps(trl.sql_environment(scorer, max_calls=5)))
    environment = factory()
    assert "no episode" in environment.run_sql("SELECT 1")
    environment.reset(prompt=[], db="shop", gold=GOLD)
    assert environment.run_sql("SELECT count(*) AS n FROM t") == "n\n4\n(1 row)"
    chats = [chat_of(*rollout) for rollout in ROLLOUTS.values()]
    count = len(chats)
    values = trl.TRLReward(scorer)(
        prompts=[[{"role": "user", "content": "?"}]] * count,
        completions=chats,
        environments=[environment] * count,
        gold=[GOLD] * count,
        db=["shop"] * count,
    )
    assert dict(zip(ROLLOUTS, values, strict=True)) == expected(root)
    with pytest.raises(ConfigError, match="Did you mean 'max_calls'"):
        trl.sql_environment(scorer, max_cals=3)
    with pytest.raises(ConfigError, match="should have an executor"):
        trl.sql_environment(fr.Scorer("well_formed()"))


def test_verl_scores_the_text_of_a_rollout_and_what_its_tool_kept(root: str) -> None:
    values = {}
    for name, (calls, answer) in ROLLOUTS.items():
        for kept in ({}, {"run_sql_queries": calls} if calls else {}):
            found = verl.compute_score(
                "spider", transcript(calls, answer), GOLD, {"db": "shop", **kept}, **options(root)
            )
            assert values.setdefault(name, found["score"]) == found["score"]
    assert values == expected(root)


@pytest.mark.filterwarnings("default")
def test_verl_runs_the_tool(root: str) -> None:
    pytest.importorskip("verl.tools")
    from verl.experimental.agent_loop.tool_agent_loop import AgentData

    async def rollout(calls: list[str]) -> tuple[list[str], dict[str, Any]]:
        tool = verl.FinerTool({"type": "native", "tool": {"max_calls": 4}, **options(root)}, None)
        assert tool.tool_schema.model_dump(exclude_unset=True) == dict(RUN_SQL)
        data = AgentData([], [], [], None, None, {}, "1", {})
        replies = []
        for sql in calls:  # as `ToolAgentLoop._call_tool` does
            instance, _ = await tool.create(create_kwargs={"db": "shop"})
            response, reward, _ = await tool.execute(instance, {"sql": sql}, agent_data=data)
            await tool.release(instance)
            assert reward == 0.0
            replies.append(response.text)
        return replies, pickle.loads(pickle.dumps(data.extra_fields))

    replies, kept = asyncio.run(rollout(["SELECT count(*) AS n FROM t", "SELECT 1"] * 3))
    assert replies[0] == "n\n4\n(1 row)" and "budget of 4 queries" in replies[4]
    assert kept == {"run_sql_queries": ["SELECT count(*) AS n FROM t", "SELECT 1"] * 3}


@pytest.mark.filterwarnings("default")
def test_skyrl_plays_the_rollout(root: str) -> None:
    pytest.importorskip("skyrl_gym")
    for tag, write in (("tool_call", written), ("sql", lambda sql: f"Let me look. <sql>{sql}</sql>")):
        values = {}
        for name, (calls, answer) in ROLLOUTS.items():
            environment = skyrl.FinerEnvironment(
                {**options(root), "tool": {"max_calls": 5}, "tag": tag},
                {"reward_spec": {"ground_truth": GOLD}, "db": "shop"},
            )
            environment.init([{"role": "user", "content": "?"}])
            for sql in calls:
                step = environment.step(write(sql))
                assert (step["done"], step["reward"]) == (False, 0.0)
                assert step["observations"][0]["role"] == "user"
            step = environment.step(answer)
            assert step["done"]
            values[name] = step["reward"]
        assert values == expected(root)


@pytest.mark.filterwarnings("default")
def test_verifiers_scores_the_trace_of_its_tool(root: str) -> None:
    vf = pytest.importorskip("verifiers.v1")
    from verifiers.v1.configs.agent import AgentConfig
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.trace import AgentInfo, Trace, TraceTask

    made = verifiers.build_tasks()
    known = options(root)
    config = made.FinerTaskConfig(
        spec=known.pop("spec"), root=known.pop("root"), options=known, tool={"max_calls": 2}
    )
    task = made.FinerTask(made.FinerData(gold=GOLD, db="shop", prompt="?"), config)

    async def score(calls: list[str], answer: str) -> float:
        nodes = [MessageNode(message=vf.UserMessage(content="?"))]
        for number, sql in enumerate(calls):
            call = {"id": str(number), "name": "run_sql", "arguments": json.dumps({"sql": sql})}
            said = vf.AssistantMessage(content="Let me look.", tool_calls=[call])
            nodes.append(MessageNode(message=said, parent=len(nodes) - 1, sampled=True))
            told = vf.ToolMessage(tool_call_id=str(number), content="...")
            nodes.append(MessageNode(message=told, parent=len(nodes) - 1))
        said = vf.AssistantMessage(content=answer)
        nodes.append(MessageNode(message=said, parent=len(nodes) - 1, sampled=True))
        trace = Trace(
            agent=AgentInfo(config=AgentConfig()),
            task=TraceTask(type="FinerTask", data=task.data),
            nodes=nodes,
        )
        await task.score(trace)
        return float(trace.rewards["finer"].value)

    async def ask() -> list[str]:
        (toolset,) = made.FinerTask.toolsets(config)
        await toolset.setup_task(task.data)
        return [await toolset.run_sql(f"SELECT {number} AS x") for number in range(3)]

    assert {name: asyncio.run(score(*rollout)) for name, rollout in ROLLOUTS.items()} == expected(root)
    replies = asyncio.run(ask())
    assert replies[0] == "x\n0\n(1 row)" and "budget of 2 queries" in replies[2]
    assert made.FinerTask.toolsets(made.FinerTaskConfig()) == []


def test_openrlhf_plays_the_rollout(root: str) -> None:
    pytest.importorskip("openrlhf.utils.agent")
    torch = pytest.importorskip("torch")
    executor = openrlhf.build_agent(SPEC, tool={"max_calls": 5}, root=root, timeout=0.5, workers=1)()
    label = json.dumps({"gold": GOLD, "db": "shop"})

    def tokenizer(text: str, **_: Any) -> dict[str, Any]:
        return {"input_ids": torch.tensor([[ord(letter) for letter in text]])}

    async def play(calls: list[str], answer: str) -> dict[str, Any]:
        waiting = [*map(written, calls), f"{answer}<|im_end|>"]

        class Engine:
            async def generate(self, tokens: list[int], *_: Any, **__: Any) -> Any:
                text = waiting.pop(0)
                out = types.SimpleNamespace(
                    token_ids=[ord(letter) for letter in text], text=text, finish_reason="stop"
                )
                return types.SimpleNamespace(outputs=[out])

        settings = types.SimpleNamespace(max_tokens=100, logprobs=None)
        found: dict[str, Any] = await executor.execute(
            "user: ?", label, settings, 10_000, tokenizer, Engine()
        )
        assert not waiting
        return found

    played = {name: asyncio.run(play(*rollout)) for name, rollout in ROLLOUTS.items()}
    assert {name: one["reward"] for name, one in played.items()} == expected(root)
    assert played["right"]["extra_logs"]["execution_match"] == 1
    seen = "".join(map(chr, played["wrong"]["observation_tokens"]))
    assert "<tool_response>\na\n1\n(1 row)\n</tool_response><|im_end|>" in seen
