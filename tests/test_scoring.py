"""The scorer observes once, in batches, and a score never depends on the rest of the batch."""

from __future__ import annotations

import asyncio
import pickle
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.errors import ConfigError
from finer_rewards.executing.protocol import Query
from finer_rewards.schema import Schema
from finer_rewards.types import Row

SCRIPT = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER, country TEXT);
INSERT INTO singer VALUES (1, 'Ann', 41, 'NO'), (2, 'Bo', 29, 'SE'), (3, 'Cy', 52, 'NO'), (4, 'Di', 41, 'DK');
"""
NEIGHBOUR = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER, country TEXT);
INSERT INTO singer VALUES (1, 'Eli', 18, 'NO'), (2, 'Flo', 45, 'SE');
"""
GOLD = "SELECT name FROM singer WHERE age > 40"


class Recorder:
    """An executor that answers from a table and remembers what it was asked."""

    dialect = "sqlite"

    def __init__(self, answers: Mapping[str, Sequence[Row]]) -> None:
        self.answers = answers
        self.asked: list[Query] = []

    def execute(self, sql: str, db: str) -> fr.Execution:
        return self.execute_many([Query(sql, db)])[0]

    def execute_many(self, queries: Sequence[Query]) -> list[fr.Execution]:
        self.asked += queries
        return [self._answer(query.sql) for query in queries]

    def _answer(self, sql: str) -> fr.Execution:
        if sql not in self.answers:
            return fr.Execution(fr.Status.failed, error="no such table")
        return fr.Execution(fr.Status.ok, ("c",), tuple(self.answers[sql]))

    def schema(self, db: str) -> Schema:
        raise ConfigError(f"There is no database {db!r}.")

    def describe(self) -> Mapping[str, object]:
        return {"engine": "recorder"}

    def close(self) -> None:
        self.asked.clear()


@pytest.fixture
def folder(make_db, tmp_path: Path) -> Path:
    make_db("concert", SCRIPT)
    make_db("neighbour", NEIGHBOUR)
    return tmp_path


def sample(sql: str, gold: str | tuple[str, ...] = GOLD, db: str | tuple[str, ...] = "concert") -> fr.Sample:
    return fr.Sample(sql, gold=gold, db=db)


def test_a_batch_asks_each_question_once() -> None:
    executor = Recorder({"a": [(1,)], "g": [(1,)]})
    scorer = fr.Scorer(r.execution_match(empty="accept"), executor, parse=lambda text: fr.Answer(None, text))
    scores = scorer.score([fr.Sample("a", "g", "d"), fr.Sample("b", "g", "d"), fr.Sample("a", "g", "d")])
    assert [score.value for score in scores] == [1.0, 0.0, 1.0]
    assert executor.asked == [Query("g", "d", keep=True), Query("a", "d"), Query("b", "d")]


def test_what_fails_on_the_first_database_is_not_run_on_the_others() -> None:
    executor = Recorder({"a": [(1,)], "g": [(1,)]})
    scorer = fr.Scorer(r.execution_match(), executor, parse=lambda text: fr.Answer(None, text))
    right, broken = scorer.score([fr.Sample("a", "g", ("d", "e")), fr.Sample("b", "g", ("d", "e"))])
    assert (right.value, broken.value, broken.status) == (1.0, 0.0, fr.Status.failed)
    assert Query("b", "e") not in executor.asked
    assert Query("a", "e") in executor.asked and Query("g", "e", keep=True) in executor.asked


def test_only_what_the_reward_needs_is_run() -> None:
    executor = Recorder({})
    fr.Scorer(r.executable(), executor, parse=lambda text: fr.Answer(None, text)).score(
        [fr.Sample("a", "g", "d")]
    )
    assert executor.asked == [Query("a", "d")]


def test_right_wrong_broken_and_unusable(folder: Path) -> None:
    with fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer:
        right, wrong, broken, prose, bad_gold, missing = scorer.score(
            [
                sample("SELECT name FROM singer WHERE NOT age <= 40"),
                sample("SELECT name FROM singer"),
                sample("SELECT nme FROM singer"),
                sample("I think it is 5"),
                sample(GOLD, gold="SELECT nope FROM singer"),
                sample(GOLD, db="typo"),
            ]
        )
    assert right.value == 1.0 and wrong.value == 0.0
    assert (broken.value, broken.status) == (0.0, fr.Status.failed)
    assert prose.value == 0.0 and prose.status.blame == "model"
    assert (bad_gold.value, bad_gold.status) == (None, fr.Status.gold_failed)
    assert (missing.value, missing.status) == (None, fr.Status.unavailable)
    assert not (folder / "typo.sqlite").exists()


def test_a_match_must_hold_on_every_database(folder: Path) -> None:
    guess = sample("SELECT name FROM singer WHERE id IN (1, 3, 4)")
    with fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer:
        assert scorer.score_one(guess).value == 1.0
        both = fr.Sample(guess.completion, GOLD, db=("concert", "neighbour"))
        assert scorer.score_one(both).value == 0.0
        assert scorer.score_one(fr.Sample(GOLD, GOLD, db=("concert", "neighbour"))).value == 1.0


def test_the_best_of_several_golds_wins(folder: Path) -> None:
    golds = ("SELECT name FROM singer WHERE id = 2", GOLD)
    with fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer:
        assert scorer.score_one(sample(GOLD, gold=golds)).value == 1.0
        assert scorer.score_one(sample("SELECT name FROM singer", gold=golds)).value == 0.0


def test_answer_rows_supervise_without_sql(folder: Path) -> None:
    rows = (("Ann",), ("Cy",), ("Di",))
    with fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer:
        assert scorer.score_one(fr.Sample(GOLD, (), "concert", answer=rows)).value == 1.0
        assert scorer.score_one(fr.Sample("SELECT name FROM singer", (), "concert", answer=rows)).value == 0.0
        nothing = scorer.score_one(fr.Sample(GOLD, (), "concert"))
        assert (nothing.value, nothing.status) == (None, fr.Status.no_gold)


@pytest.mark.parametrize(
    ("sql", "gold", "value"),
    [
        ("SELECT 3", "SELECT count(*) FROM singer WHERE age > 40", 0.0),
        ("SELECT count(*) FROM singer WHERE age > 40", "SELECT 3", 1.0),
        ("SELECT 3", "SELECT 3", 1.0),
        ("SELECT abs(random()) % 1 + 3", "SELECT count(*) FROM singer WHERE age > 40", 0.0),
        ("SELECT name FROM singer WHERE age > 99", "SELECT name FROM singer WHERE age > 98", None),
        ("SELECT name FROM singer", "SELECT name FROM singer ORDER BY random()", None),
        (
            "SELECT name FROM singer WHERE id = 1",
            "SELECT name FROM singer ORDER BY age LIMIT 1 OFFSET 1",
            None,
        ),
    ],
)
def test_strict_guards(folder: Path, sql: str, gold: str, value: float | None) -> None:
    with fr.Scorer(r.execution_match(mode="strict"), fr.SQLite(str(folder)), neighbours=0) as scorer:
        assert scorer.score_one(sample(sql, gold=gold)).value == value


@pytest.mark.parametrize("gold", ["SELECT name FROM singer WHERE age > 99", "SELECT random()", "SELECT nope"])
@pytest.mark.parametrize("sql", [GOLD, "SELECT nope", "DROP TABLE singer", ""])
def test_an_unusable_gold_says_nothing_of_any_prediction(folder: Path, sql: str, gold: str) -> None:
    with fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer:
        score = scorer.score_one(sample(sql, gold=gold))
    assert score.value is None and score.status.blame == "data"


def test_guards_can_be_switched(folder: Path) -> None:
    empty = sample("SELECT name FROM singer WHERE age > 99", gold="SELECT name FROM singer WHERE age > 98")
    constant = sample("SELECT 3", gold="SELECT count(*) FROM singer WHERE age > 40")
    with fr.SQLite(str(folder)) as executor:
        assert (
            fr.Scorer(r.execution_match(empty="zero"), executor, neighbours=0).score_one(empty).value == 0.0
        )
        assert (
            fr.Scorer(r.execution_match(empty="accept"), executor, neighbours=0).score_one(empty).value == 1.0
        )
        assert (
            fr.Scorer(r.execution_match(require_base_table=False), executor, neighbours=0)
            .score_one(constant)
            .value
            == 1.0
        )
        assert (
            fr.Scorer(r.execution_match(mode="bird"), executor, neighbours=0).score_one(constant).value == 1.0
        )
        cut = fr.SQLite(str(folder), max_rows=2)
        every = sample("SELECT name FROM singer", gold="SELECT name FROM singer")
        assert fr.Scorer(r.execution_match(), cut, neighbours=0).score_one(every).value == 1.0
        zero = fr.Scorer(r.execution_match(truncated="zero"), cut, neighbours=0).score_one(every)
        assert zero.status is fr.Status.gold_too_large
        few = sample("SELECT name FROM singer", gold="SELECT name FROM singer WHERE id < 3")
        assert fr.Scorer(r.execution_match(), cut, neighbours=0).score_one(few).value == 0.0
        assert (
            fr.Scorer(r.execution_match(truncated="accept"), cut, neighbours=0).score_one(every).value == 1.0
        )
        cut.close()


@pytest.mark.parametrize(
    ("sql", "gold", "value"),
    [
        ("SELECT country, age FROM singer", "SELECT age, country FROM singer", 1.0),
        ("SELECT age, id FROM singer WHERE id < 3", "SELECT id, age FROM singer WHERE id < 3", 1.0),
        ("SELECT max(age), min(age) FROM singer", "SELECT min(age), max(age) FROM singer", 1.0),
        (
            "SELECT b.age, a.age FROM singer a, singer b WHERE a.id <> b.id",
            "SELECT a.age, b.age FROM singer a, singer b WHERE a.id < b.id OR a.id > b.id",
            1.0,
        ),
        (
            "SELECT b.id, a.id FROM singer a, singer b WHERE a.id < b.id",
            "SELECT a.id, b.id FROM singer a, singer b WHERE a.id < b.id",
            0.0,
        ),
    ],
)
def test_columns_may_be_reordered_where_values_tell_them_apart(
    folder: Path, sql: str, gold: str, value: float
) -> None:
    with fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer:
        assert scorer.score_one(sample(sql, gold=gold)).value == value


def test_a_mode_that_rewrites_runs_what_it_rewrote(folder: Path) -> None:
    distinct = sample("SELECT country FROM singer", gold="SELECT DISTINCT country FROM singer")
    with fr.SQLite(str(folder)) as executor:
        assert (
            fr.Scorer(r.execution_match(mode="test_suite"), executor, neighbours=0).score_one(distinct).value
            == 1.0
        )
        kept = r.execution_match(mode="test_suite_keep_distinct")
        assert fr.Scorer(kept, executor).score_one(distinct).value == 0.0


def test_order_and_company_do_not_matter(folder: Path) -> None:
    samples = [sample(sql) for sql in (GOLD, "SELECT 1", "x", "SELECT name FROM singer", GOLD + " -- c")] * 3
    with fr.Scorer("execution_match() + 0.1 * executable()", fr.SQLite(str(folder)), neighbours=0) as scorer:
        together = scorer.score(samples)
        assert together == [scorer.score_one(one) for one in samples]
        assert together[::-1] == scorer.score(samples[::-1])


def test_threads_share_a_scorer(folder: Path) -> None:
    samples = [sample(GOLD), sample("SELECT name FROM singer"), sample("SELECT nope")]
    with (
        fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer,
        ThreadPoolExecutor(8) as threads,
    ):
        results = list(threads.map(lambda _: [score.value for score in scorer.score(samples)], range(32)))
    assert results == [[1.0, 0.0, 0.0]] * 32


def test_a_scorer_pickles(folder: Path) -> None:
    with fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer:
        assert scorer.score_one(sample(GOLD)).value == 1.0
        with pickle.loads(pickle.dumps(scorer)) as copy:
            assert copy.score_one(sample(GOLD)).value == 1.0
            assert copy.signature == scorer.signature


def test_the_signature_tells_every_parameter(folder: Path) -> None:
    def signature(reward: str, **limits: float) -> fr.signature.Signature:
        return fr.Scorer(reward, fr.SQLite(str(folder), **limits)).signature  # type: ignore[arg-type]

    base = signature("execution_match()")
    assert base.digest == signature("execution_match(mode='answer')").digest
    assert base.digest != signature("execution_match(mode='bird')").digest
    assert base.digest != signature("execution_match()", timeout=5.0).digest
    assert base.digest != signature("execution_match()", max_rows=5).digest
    assert "execution_match()" in str(base) and "\n" not in str(base)


def test_a_scorer_is_not_built_without_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"needs to run SQL, but this scorer has no executor"):
        fr.Scorer(r.execution_match())
    with pytest.raises(ConfigError, match="There is no reward 'finr'"):
        fr.Scorer("finr()")
    with pytest.raises(ConfigError, match="should be a Reward"):
        fr.Scorer(len)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="should get Sample objects"):
        fr.Scorer("well_formed()").score(["SELECT 1"])  # type: ignore[list-item]


def test_an_empty_batch_is_no_batch(folder: Path) -> None:
    with fr.Scorer(r.execution_match(), fr.SQLite(str(folder)), neighbours=0) as scorer:
        assert scorer.score([]) == []


def test_executable_may_ask_for_a_base_table(folder: Path) -> None:
    samples = [sample("SELECT 1"), sample("SELECT count(*) FROM singer"), sample("SELECT 1 FROM nope")]
    with fr.SQLite(str(folder)) as executor:
        for reward, expected in (
            (r.executable(), [1, 1, 0]),
            (r.executable(require_base_table=True), [0, 1, 0]),
        ):
            assert [score.value for score in fr.Scorer(reward, executor).score(samples)] == expected


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("question", None), ("dialect", 5), ("meta", None), ("meta", [1]), ("gold", None), ("db", b"x"),
        ("answer", 5), ("answer", "abc"), ("answer", [1]), ("answer", ["ab"]), ("answer", [[[1]]]),
        ("answer", [{"a": 1}]), ("answer", [(1,), (1, 2)]),
    ],
)  # fmt: skip
def test_a_sample_says_which_field_is_wrong(parameter: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"`Sample\({parameter}=...\)` should .+ but got .+\. \w+"):
        fr.Sample(**{"completion": "SELECT 1", "gold": "SELECT 1", "db": "concert", parameter: value})


def test_what_was_not_observed_is_not_executable() -> None:
    assert r.executable()(fr.Evidence(sample(GOLD), fr.Answer(None, GOLD))).value == 0.0


def test_evidence_hashes(folder: Path) -> None:
    with fr.Scorer(r.executable(), fr.SQLite(folder)) as scorer:
        one, other = scorer.observe([sample(GOLD)])[0], scorer.observe([sample("SELECT")])[0]
    assert len({one, pickle.loads(pickle.dumps(one)), other}) == 2


@pytest.mark.parametrize("executor", ["concert.sqlite", fr.SQLite])
def test_an_executor_is_not_a_path(executor: object) -> None:
    with pytest.raises(ConfigError, match="should be an executor"):
        fr.Scorer(r.executable(), executor)  # type: ignore[arg-type]


def test_one_sample_is_not_a_batch(folder: Path) -> None:
    with fr.Scorer(r.executable(), fr.SQLite(folder)) as scorer, pytest.raises(ConfigError, match="a list"):
        scorer.score(sample(GOLD))  # type: ignore[arg-type]


def test_equal_scorers_have_one_signature(folder: Path) -> None:
    def digest(weight: float, timeout: float, policy: str = "auto") -> str:
        parse = partial(fr.parse_completion, policy=policy)
        return fr.Scorer(
            weight * r.executable(), fr.SQLite(folder, timeout=timeout), parse=parse
        ).signature.digest

    assert digest(2, 30) == digest(2.0, 30.0)
    assert digest(2, 30) != digest(2, 30, policy="finer")
    assert digest(2, 30) != digest(2.5, 30)


class Parser:
    def __call__(self, text: str) -> fr.Answer:
        return fr.Answer(None, text)


@pytest.mark.parametrize("parse", [partial(fr.parse_completion, policy="finer"), Parser(), lambda text: None])
def test_a_signature_holds_no_address(folder: Path, parse: Callable[[str], fr.Answer]) -> None:
    assert " at 0x" not in str(fr.Scorer(r.executable(), fr.SQLite(folder), parse=parse).signature.content)


def test_executable_of_what_was_never_run_is_0() -> None:
    nothing = fr.Evidence(sample("SELECT 1"), fr.Answer(None, "SELECT 1"))
    assert r.executable()(nothing).value == 0.0
    assert r.execution_match()(nothing).status is fr.Status.no_gold


SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c, singer"


def test_async_scores_are_equal_and_shared(folder: Path) -> None:
    samples = [sample(f"SELECT name FROM singer WHERE age > {age}") for age in range(40)]

    async def everything(scorer: fr.Scorer) -> list[list[fr.Score]]:
        return await asyncio.gather(*(scorer.ascore(samples[start:]) for start in range(8)))

    with fr.Scorer("execution_match()", fr.SQLite(folder, workers=2), neighbours=0) as scorer:
        expected = scorer.score(samples)
        assert asyncio.run(everything(scorer)) == [expected[start:] for start in range(8)]


def test_a_cancelled_await_ends_its_queries_and_no_others(folder: Path) -> None:
    executor = fr.SQLite(folder, workers=2, timeout=10 * LONG)

    async def cancel_one(scorer: fr.Scorer) -> tuple[list[fr.Score], float]:
        slow = asyncio.ensure_future(scorer.ascore([sample(SLOW)]))
        await asyncio.sleep(0.5)
        other = asyncio.ensure_future(
            scorer.ascore([sample(GOLD + f" AND {age} = {age}") for age in range(50)])
        )
        began = time.monotonic()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        late = time.monotonic() - began
        return await other, late

    with fr.Scorer("execution_match()", executor, neighbours=0) as scorer:
        began = time.monotonic()
        scores, late = asyncio.run(cancel_one(scorer))
        assert late < LONG
        assert all(score.value == 1 for score in scores)
        # The loop has ended, so the thread has; and the workers that are left have nothing to do.
        assert time.monotonic() - began < LONG
        assert scorer.score_one(sample(GOLD)).value == 1
        assert len(executor.process_ids) <= 2


def test_what_is_kept_for_the_next_batch_is_bounded_by_its_size() -> None:
    long = {f"SELECT {number}": [("x" * 4_000_000,)] for number in range(12)}
    executor = Recorder({**long, GOLD: [("x" * 100,)]})
    with fr.Scorer(r.execution_match("bird"), executor, neighbours=0) as scorer:
        kept = [weakref.ref(scorer.observe([sample(GOLD)])[0])]
        for sql in long:
            evidence = scorer.observe([sample(sql)])
            scorer.grade(evidence)
            kept.append(weakref.ref(evidence[0]))
        del evidence
        alive = [one for ref in kept if (one := ref()) is not None]
        assert sum(len(str(one.predicted)) for one in alive) <= 32 << 20


class Keeping(Recorder):
    """One that returns the same object for the same statement."""

    def _answer(self, sql: str) -> fr.Execution:
        self.kept: dict[str, fr.Execution] = getattr(self, "kept", {})
        return self.kept.setdefault(sql, super()._answer(sql))


@fr.reward()
def tagged(evidence: fr.Evidence) -> float:
    return float(evidence.sample.meta["weight"][0])


def test_samples_that_differ_in_what_they_carry_are_scored_apart() -> None:
    tags = [1]
    with fr.Scorer(tagged(), Keeping({GOLD: [(1,)]})) as scorer:

        def value(weight: object) -> float | None:
            return scorer.score_one(fr.Sample(GOLD, GOLD, "concert", meta={"weight": weight})).value

        assert value(tags) == 1
        tags[0] = 2
        assert value(tags) == 2
        assert value([True]) == 1 and value([1.5]) == 1.5
        assert value([Decimal(3)]) == 3 and value([Decimal(4)]) == 4


def formed(
    reward: str, completions: list[str], caplog: pytest.LogCaptureFixture, *, at_once: bool
) -> list[str]:
    """Score completions, and return what was said of their form."""
    caplog.clear()
    scorer = fr.Scorer(reward)
    samples = [fr.Sample(completion, "SELECT 1", "any") for completion in completions]
    if at_once:
        scorer.score(samples)
    for sample in samples:  # once more, or one by one, as verl and OpenRLHF do
        scorer.score_one(sample)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_form_that_most_completions_break_is_said_once(
    caplog: pytest.LogCaptureFixture, at_once: bool
) -> None:
    fence, prose = "```sql\nSELECT 1\n```", "I do not know."
    (said,) = formed("2 * well_formed(policy='finer')", [fence] * 9 + ["SELECT 1"], caplog, at_once=at_once)
    assert "malformed by well_formed(policy='finer')" in said and "there is no `<think>`" in said
    assert "policy='auto' reads" in said
    (said,) = formed("gate(condition=well_formed(), then=constant())", [prose] * 12, caplog, at_once=at_once)
    assert "No policy reads most of them" in said and "does not begin with SELECT" in said
    assert not formed("well_formed()", [fence] * 9 + [prose] * 8, caplog, at_once=at_once)
    assert not formed("well_formed(policy='finer')", [fence] * 3, caplog, at_once=at_once)
    assert not formed("overlong(limit=9, buffer=2)", [prose] * 12, caplog, at_once=at_once)
