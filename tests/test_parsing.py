from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from bounds import assert_linear
from forms import bad, good
from hypothesis import given, settings
from hypothesis import strategies as st

from finer_rewards.errors import ConfigError
from finer_rewards.parsing import AUTO, POLICIES, Policy, completion_text, named_policy, parse_completion
from finer_rewards.types import Answer

SQL = "SELECT name FROM singer WHERE age > 40"
THOUGHT = (
    "The question asks for names of singers over forty, so the table singer is read, its age is "
    "compared with 40, and only the column name is returned."
)
FENCED = f"```sql\n{SQL}\n```"
GOOD = {
    "auto": f"<think>{THOUGHT}</think> {SQL}",
    "finer": f"<think>{THOUGHT}</think> {SQL}",
    "think_answer": f"<think>{THOUGHT}</think>\n<answer>\n{FENCED}\n</answer>",
    "sql_r1": f"<think>{THOUGHT}</think>\nSo:\n<answer>\nHere it is.\n{FENCED}\n</answer>",
    "solution": f"<think>a</think><sql>S</sql><observation>1</observation>\n<think>{THOUGHT}</think>"
    f"<solution>{SQL}</solution>",
    "fence": f"The table is singer.\n{FENCED}\nThat is all.",
    "called": f"<think>{THOUGHT}</think> {SQL}",
    "plain": f"{SQL};\n",
}

AUTO_FINDS = {
    "thought then SQL": (f"<think>t</think> {SQL};", "t"),
    "thought then fence": (f"<think>t</think>\n{FENCED}", "t"),
    "thought and answer tag": (f"<think>t</think><answer>{SQL}</answer>", "t"),
    "fence inside the answer tag": (f"<think>t</think><answer>\n{FENCED}\n</answer>", "t"),
    "solution tag": (f"<think>t</think> text <solution>{SQL}</solution> text", "t"),
    "plain SQL": (SQL, None),
    "only a fence": (FENCED, None),
    "fence without a label": (f"```\n{SQL}\n```", None),
    "fence on one line": (f"```sql {SQL}```", None),
    "fence glued to SQL": (f"```{SQL}```", None),
    "label in capitals": (f"```SQLite\n{SQL}\n```", None),
    "prose before the fence": (f"Here is the query:\n{FENCED}", "Here is the query:"),
    "prose that begins with a keyword": (f"With this in mind:\n{FENCED}", "With this in mind:"),
    "prose after the fence": (f"<think>t</think>{FENCED}\nIt lists names.", "t"),
    "fence never closed": (f"<think>t</think>```sql\n{SQL}", "t"),
    "answer tag never closed": (f"<think>t</think><answer>{SQL}", "t"),
    "opening fence in the prompt": (f"{SQL}\n```\nIt lists names.", None),
    "opening fence in the prompt, another after": (f"{SQL}\n```\nIt returns\n```text\nJoe\n```", None),
    "keyword in the prose before an open fence": (f"With this in mind:\n```sql\n{SQL}", "With this in mind:"),
    "prose on the line of the query": (f"With this in mind: {SQL}", "With this in mind:"),
    "prose on the line of the query and an end": (f"With this in mind: {SQL};", "With this in mind:"),
    "opening tag in the prompt": (f"t</think>\n{SQL}", "t"),
    "fence in the thought": (f"<think>```sql\nSELECT 0\n```</think>{SQL}", "```sql\nSELECT 0\n```"),
    "several thoughts": (f"<think>a</think>\n<think>b</think>\n{FENCED}", "a\nb"),
    "nested thoughts": (f"<think><think>a</think></think>{SQL}", "a"),
    "the same fence twice": (f"<think>t</think>{FENCED}\n{FENCED}", "t"),
    "drafts before the last fence": (f"Try\n```sql\nSELECT 0\n```\nBetter:\n{FENCED}", None),
    "another language beside the SQL": (
        f"<think>t</think>```text\nsinger\n```\n{FENCED}\n```\nJoe\n```",
        "t",
    ),
    "end-of-turn tokens": (
        f"<think>t</think>{SQL}<|im_end|>\n<|endoftext|></s><|eot_id|> <|end_of_text|>",
        "t",
    ),
    "windows line ends": (f"<think>t</think>\r\n```sql\r\n{SQL}\r\n```\r\n", "t"),
}


ENDINGS = (
    "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "<pad>", "</s>",
    "<｜end▁of▁sentence｜>", "<|end|>", "<|return|>", "<|END_OF_TURN_TOKEN|>", "<|eom_id|>", "[EOS]",
    "<|fim_pad|>", "<|python_tag|>", "<|call|>", "<|user|>",
)  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_ends_a_turn_is_no_part_of_the_answer(ending: str) -> None:
    for completion in (SQL, f"<think>{THOUGHT}</think>\n{FENCED}"):
        for policy in ("auto", "plain" if completion == SQL else "finer"):
            plain, ended = (parse_completion(completion + end, policy) for end in ("", f"{ending}\n{ending}"))
            assert ended == plain
            assert (ended.sql, ended.problem) == (SQL, "")


STATEMENTS = {
    "one line": SQL,
    "clauses and comments": "select `name`, ';' as x -- a; b\nfrom singer\n\n-- the old ones\n"
    "where age = (select max(age)\n\nfrom singer)",
    "two blocks": "WITH old AS (\n  SELECT name\n  FROM singer\n\n  WHERE age > 40\n),\n\n"
    "young AS (SELECT 1) -- one\n\nSELECT name\nFROM old\n\nUNION\n\nSELECT 'a\n\nb'\n\nORDER BY 1",
}


@pytest.mark.parametrize("form", good(SQL))
def test_every_form_that_models_write_is_read(form: str) -> None:
    for name, sql in STATEMENTS.items():
        if (form == "single backticks" and "`" in sql) or (form == "code in a sentence" and "\n" in sql):
            continue  # nobody can tell where it ends
        answer = parse_completion(good(sql)[form])
        assert (answer.sql or "").removeprefix("-- the names; all of them\n") == sql, name
        assert answer.problem == "", name


@pytest.mark.parametrize("form", bad(SQL))
def test_what_is_no_certain_answer_is_malformed(form: str) -> None:
    assert parse_completion(bad(SQL)[form]).problem


@pytest.mark.parametrize("shape", AUTO_FINDS)
def test_auto_finds_the_sql_in_every_usual_shape(shape: str) -> None:
    completion, thought = AUTO_FINDS[shape]
    answer = parse_completion(completion)
    assert (answer.sql, answer.problem) == (SQL, "")
    if thought is not None:
        assert answer.thought == thought


@pytest.mark.parametrize("completion", [SQL, f"{SQL};", f"{SQL} ;\n", f"({SQL});", f"/* names */ {SQL};"])
def test_a_query_alone_has_no_thought(completion: str) -> None:
    assert parse_completion(completion).thought is None


@pytest.mark.parametrize(
    ("completion", "sql", "problem"),
    [
        ("", None, "there is no SQL"),
        (" \n ", None, "there is no SQL"),
        (";", None, "there is no SQL"),
        ("<think>t</think>", None, "there is no SQL"),
        ("<think>t</think> -- nothing here", None, "the answer holds no statement"),
        ("/* a */ -- b", None, "the answer holds no statement"),
        ("<think>all of it SELECT 1", None, "`<think>` is never closed, so there is no answer"),
        ("</think>t<think> SELECT 1", None, "`<think>` is never closed, so there is no answer"),
        ("<think>t</think>```sql\nSELECT 1\n```\n```sql\nSELECT 2\n```", None, "different fenced queries"),
        (
            "<think>t</think><answer>SELECT 1</answer><answer>SELECT 2</answer>",
            None,
            "2 different `<answer>`",
        ),
        ("<think>t</think>```python\nprint(1)\n```", None, "no code fence holds SQL"),
        ("<think>t</think> The query is SELECT 1", "The query is SELECT 1", "does not begin with SELECT"),
        ("<think>t</think> DROP TABLE singer", "DROP TABLE singer", "does not begin with SELECT"),
        ("＜think＞t＜/think＞ SELECT 1", "＜think＞t＜/think＞ SELECT 1", "does not begin with SELECT"),
    ],
)
def test_auto_says_why_there_is_no_certain_sql(completion: str, sql: str | None, problem: str) -> None:
    answer = parse_completion(completion)
    assert answer.sql == sql
    assert problem in answer.problem


@pytest.mark.parametrize(
    "sql",
    [
        "-- names\nSELECT name FROM singer",
        "/* a ; b */ SELECT 1 -- last",
        "(SELECT 1) UNION (SELECT 2)",
        "WITH t AS (SELECT 1) SELECT * FROM t",
        "VALUES (1)",
        "select 1; select 2",
        "SELECT '```'",
        "SELECT '```' || '```' || '```'",
    ],
)
def test_sql_is_kept_as_it_is(sql: str) -> None:
    assert parse_completion(f"<think>t</think>\n{sql}\n").sql == sql
    assert parse_completion(sql, "plain").sql == sql


@pytest.mark.parametrize("name", POLICIES)
def test_each_policy_accepts_its_own_form(name: str) -> None:
    answer = parse_completion(GOOD[name], name)
    assert answer.problem == ""
    assert answer.sql == SQL


@pytest.mark.parametrize(
    ("name", "completion", "problem"),
    [
        ("finer", f"Sure! <think>{THOUGHT}</think> {SQL}", "text before `<think>`: Sure!"),
        ("finer", f"<think>short</think> {SQL}", "the thought has 5 characters, and at least 101"),
        ("finer", f"<think>{THOUGHT}</think>", "there is no SQL"),
        ("finer", f"<think>{THOUGHT}</think> {SQL}\n<think>again</think> {SQL}", "stands 2 times"),
        ("finer", f"<think><think>{THOUGHT}</think></think> {SQL}", "stands 2 times"),
        ("finer", f"</think>{THOUGHT}<think> {SQL}", "never closed"),
        ("finer", f"{THOUGHT}</think> {SQL}", "`<think>` is missing before `</think>`"),
        ("finer", SQL, "there is no `<think>`"),
        ("finer", f"<think>{'a' * 200}</think> {SQL}", "filler"),
        ("finer", f"<think>{'think step by step. ' * 20}</think> {SQL}", "filler"),
        ("finer", f"<think>{'. ' * 200}</think> {SQL}", "filler"),
        ("finer", f"<think>{' ' * 200}</think> {SQL}", "the thought is empty"),
        ("finer", f"<think>{THOUGHT}</think> Here it is:\n{FENCED}", "text beside the SQL: Here it is:"),
        ("finer", f"<think>{THOUGHT}</think> I cannot answer this.", "does not begin with SELECT"),
        ("think_answer", f"<think>t</think> {SQL}", "`<answer>` stands 0 times"),
        ("think_answer", f"<think>t</think> so <answer>{SQL}</answer>", "text beside the SQL: so"),
        ("think_answer", f"<think>t</think><answer>{SQL}", "`</answer>` stands 0 times"),
        ("sql_r1", f"<answer>{SQL}</answer><think>t</think>", "there is no `<answer>` with SQL"),
        (
            "sql_r1",
            f"<think>t</think><answer>{SQL}</answer><answer>{SQL}</answer>",
            "`<answer>` stands 2 times",
        ),
        ("sql_r1", f"<think>a</think><think>b</think><answer>{SQL}</answer>", "stands 2 times"),
        ("solution", f"<solution>{SQL}</solution>", "there is no `<think>`"),
        ("solution", f"<think>t</think>{SQL}", "`<solution>` stands 0 times"),
        ("solution", GOOD["solution"].replace("</observation>\n<think>", "</observation>\n"), "follows an"),
        ("fence", SQL, "there is no code fence"),
        ("fence", f"```sql\n{SQL}", "never closed"),
        ("plain", FENCED, "stands in a code fence"),
        ("plain", "Here: SELECT 1", "does not begin with SELECT"),
    ],
)
def test_each_refusal_has_its_reason(name: str, completion: str, problem: str) -> None:
    assert problem in parse_completion(completion, name).problem


HOSTILE = {
    "NUL": "<think>t</think> SELECT 1\x00; DROP TABLE orders",
    "lone surrogate": "<think>\udc80</think> SELECT '\ud800'",
    "brackets": "(" * 1_000_000,
    "closing brackets": "SELECT " + ")" * 1_000_000,
    "opening tags": "<think>" * 150_000,
    "closing tags": "</think>" * 125_000,
    "pairs of tags": "<think></think>" * 66_000,
    "answer tags": "<think>t</think>" + "<answer>" * 125_000,
    "backticks": "`" * 1_000_000,
    "fences": "```sql\n" * 140_000,
    "block comments": "/*" * 500_000,
    "closed comments": "/**/" * 250_000,
    "line comments": "--\n" * 330_000,
    "end marks": "SELECT 1" + "</s>" * 250_000,
    "semicolons": "SELECT 1" + ";" * 1_000_000,
    "spaces": " " * 1_000_000,
    "observations": "</observation>" * 70_000,
    "one word": "<think>" + "a" * 1_000_000 + "</think> SELECT 1",
}


@pytest.mark.parametrize("part", [8, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_gives_an_answer_in_linear_time(kind: str, part: int) -> None:
    def read(length: int) -> None:
        for policy in POLICIES.values():
            half = length // 2
            assert isinstance(parse_completion(HOSTILE[kind][:half] + HOSTILE[kind][-half:], policy), Answer)

    assert_linear(read, len(HOSTILE[kind]) // part // 16)


TAGS = ["<think>", "</think>", "<answer>", "</answer>", "<solution>", "</observation>", "```", "```sql\n"]
OTHERS = ["SELECT 1", "--", "/*", "*/", "\n", ";", "(", "prose", "\x00", "\ud800", "<|im_end|>", "'", " "]
PIECES = st.sampled_from([*TAGS, *OTHERS])


@settings(deadline=None)
@given(st.lists(PIECES | st.text(), max_size=14).map("".join), st.sampled_from(sorted(POLICIES)))
def test_any_text_gives_an_answer_and_a_kept_policy_has_sql(completion: str, name: str) -> None:
    answer = parse_completion(completion, name)
    if not answer.problem:
        assert answer.sql
        assert answer.sql in completion
        assert POLICIES[name].need_thought <= bool(answer.thought)
    if answer.sql is None:
        assert answer.problem
    if name != "plain":
        assert answer.sql is None or "</think>" not in answer.sql


@settings(deadline=None)
@given(st.lists(st.sampled_from([*TAGS[-2:], *OTHERS]), max_size=10).map("".join))
def test_what_finer_accepts_auto_reads_the_same(middle: str) -> None:
    completion = f"<think>{THOUGHT}</think>{middle}"
    answer = parse_completion(completion, "finer")
    if not answer.problem:
        assert parse_completion(completion) == answer


def test_a_policy_is_a_value() -> None:
    for name, policy in POLICIES.items():
        assert pickle.loads(pickle.dumps(policy)) == policy
        assert eval(repr(policy)) == policy
        assert named_policy(name) is policy
    assert len(set(POLICIES.values())) == len(POLICIES)
    assert replace(AUTO, min_thought=3) != AUTO
    assert parse_completion("<think>ab</think>SELECT 1", Policy(min_thought=3)).problem.startswith(
        "the thought has 2"
    )


def test_own_tags() -> None:
    answer = parse_completion("<reason>a</reason>x<sql>SELECT 1</sql>", Policy("reason", "sql"))
    assert answer == Answer("a", "SELECT 1")


@pytest.mark.parametrize(
    "build",
    [
        lambda: named_policy("finner"),
        lambda: parse_completion("", "solutions"),
        lambda: Policy(thought="<think>"),
        lambda: Policy(answer=""),
        lambda: Policy(answer="think"),
        lambda: Policy(min_thought=-1),
        lambda: Policy(min_thought=1.5),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_policy_is_refused(build: object) -> None:
    with pytest.raises(ConfigError, match=r"should .* got|should differ"):
        build()  # type: ignore[operator]


def test_a_mistyped_policy_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'finer'"):
        named_policy("finner")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("SELECT 1", "SELECT 1"),
        (None, ""),
        ([], ""),
        ({"role": "assistant", "content": "a"}, "a"),
        ([{"role": "assistant", "content": "a"}], "a"),
        ([{"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}], ""),
        ([{"role": "assistant", "tool_calls": []}], ""),
        ([{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image"}, "b"]}], "ab"),
        ([{"content": "a"}], "a"),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "a"),
        (
            [
                {"role": "assistant", "content": "let me look", "tool_calls": [{"name": "f"}]},
                {"role": "tool", "content": "3 rows"},
                {"role": "assistant", "content": "a"},
                {"role": "assistant", "content": "b"},
            ],
            "ab",
        ),
        ({"role": "assistant", "reasoning_content": "why", "content": "a"}, "<think>why</think>a"),
        ({"role": "assistant", "reasoning_content": None, "content": "a"}, "a"),
    ],
)
def test_completion_text_of_what_trainers_pass(value: object, text: str) -> None:
    assert completion_text(value) == text


@pytest.mark.parametrize(
    "value", [1, b"SELECT 1", ["SELECT 1"], {"text": "a"}, {"content": 3}, {"content": [1]}]
)
def test_completion_text_names_what_it_got(value: object) -> None:
    with pytest.raises(ConfigError, match="A completion should be text"):
        completion_text(value)


def test_real_traces_with_several_thoughts(shared_data: Path) -> None:
    path = shared_data / "traces" / "haoranluo_grpo" / "tmp_ab_result__ab_flash_think_25.jsonl"
    responses = [json.loads(line)["response"] for line in path.read_text().splitlines()]
    for response in responses:
        answer = parse_completion(response)
        tail = response.rsplit("```sql", 1)
        if len(tail) == 1:  # the one that ran out of tokens inside its thought
            assert (answer.sql, bool(answer.problem)) == (None, True)
            continue
        assert (answer.sql, answer.problem) == (tail[1].removesuffix("```").strip().rstrip(";"), "")
        assert answer.thought
        assert "<think>" not in answer.thought
        assert "times" in parse_completion(response, "finer").problem
    assert len(responses) == 25


def test_attacks_on_the_format(shared_data: Path) -> None:
    lines = (shared_data / "hacks" / "hacks.jsonl").read_text().splitlines()
    items = [json.loads(line) for line in lines]
    refused = [item for item in items if "format_must_be_0" in (item["expect"], *item["also"])]
    assert len(refused) >= 7
    for item in refused:
        assert parse_completion(item["completion"], "finer").problem, item["id"]
    for item in items:
        if item["kind"] == "control" or item["id"] in ("format-06", "format-07"):
            problem = parse_completion(item["completion"], "finer").problem
            assert bool(problem) == (item["kind"] != "control"), item["id"]
        assert parse_completion(item["honest_correct"], "finer").problem == "", item["id"]
