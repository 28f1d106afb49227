"""Dense, textual, length, tag and speed rewards: who is to blame, which gold wins, what they pay for."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.errors import ConfigError
from finer_rewards.rewards.length import length_penalised
from finer_rewards.rewards.tags import between
from finer_rewards.schema import schema_from_mapping
from finer_rewards.types import Answer, Evidence, Execution, Sample, Status, Trial

NEAR = [
    r.cell_precision,
    r.cell_recall,
    r.column_recall,
    r.tuple_cardinality,
    r.tuple_constraint,
    r.tuple_order,
]
NEAR += [r.soft_f1, r.soft_f1_reference, r.rank_score]
RUNNING = [*NEAR, r.speed]
TEXTUAL = [r.ngram_similarity, r.schema_linking, r.text_similarity, r.clause_similarity]
CELL = st.one_of(st.none(), st.integers(0, 2), st.sampled_from(["a", "b", 0.5]))
TABLE = st.lists(st.tuples(CELL, CELL), max_size=4).map(tuple)


def ran(rows, seconds=0.1):
    return Execution(Status.ok, ("a", "b")[: len(rows[0]) if rows else 2], tuple(rows), seconds=seconds)


def seen(predicted, *golds, sql="SELECT a FROM t", gold="SELECT a FROM t"):
    sample = Sample("", (gold,) * len(golds), "x.sqlite")
    return Evidence(sample, Answer(None, sql), trials=(Trial("x.sqlite", predicted, golds),))


@pytest.mark.parametrize("factory", RUNNING)
def test_blame_decides_the_value_of_a_running_reward(factory):
    good, broken = ran([(1, 2)]), Execution(Status.failed)
    assert factory()(seen(broken, good)).value == 0
    assert factory()(seen(None, good)).value == 0
    assert factory()(seen(good, broken)).status is Status.gold_failed
    assert factory()(seen(Execution(Status.unavailable), good)).value is None
    assert factory()(seen(good, broken, good)).value == factory()(seen(good, good)).value


@pytest.mark.parametrize("factory", NEAR)
@given(gold=TABLE, run=TABLE)
def test_nearness_is_a_degree_and_identity_is_its_top(factory, gold, run):
    near = factory(empty="accept")
    assert 0 <= near(seen(ran(run), ran(gold))).value <= 1
    if gold:
        assert near(seen(ran(gold), ran(gold))).value == pytest.approx(1)


@pytest.mark.parametrize("factory", NEAR)
def test_the_best_gold_and_the_worst_database_count(factory):
    rows, others = ran([(1, 2), (3, 4)]), ran([(9, 9)])
    assert factory()(seen(rows, others, rows)).value == 1
    both = (Trial("x", rows, (rows,)), Trial("y", others, (rows,)))
    worst = factory()(Evidence(Sample("", "SELECT 1", ("x", "y")), Answer(None, "SELECT 1"), trials=both))
    assert worst.value == factory()(seen(others, rows)).value < 1


@pytest.mark.parametrize("factory", NEAR)
def test_an_empty_gold_result_is_what_you_say_it_is(factory):
    empty = ran([])
    assert factory(empty="mask")(seen(empty, empty)).status is Status.gold_empty
    assert factory(empty="mask")(seen(Execution(Status.failed), empty)).value is None
    assert factory(empty="zero")(seen(empty, empty)).value == 0
    assert factory(empty="accept")(seen(empty, empty)).value == (0 if factory is r.rank_score else 1)


def test_what_each_measure_pays_for():
    gold = ran([("a", 1), ("b", 2)])
    scrambled, everything = ran([("b", 1), ("a", 2)]), ran([("a", 1), ("b", 2), ("c", 3), ("d", 4)])
    assert r.cell_precision()(seen(scrambled, gold)).value == 1
    assert r.cell_recall()(seen(everything, gold)).value == 1
    assert r.tuple_constraint()(seen(everything, gold)).value == 1
    assert (
        r.column_recall()(seen(scrambled, gold)).value
        == r.column_recall()(seen(ran([(2, "b"), (1, "a")]), gold)).value
        == 1
    )
    assert r.column_recall()(seen(ran([("a", 1), ("b", 3)]), gold)).value == 0.5
    assert r.soft_f1()(seen(scrambled, gold)).value == 0.5
    assert r.soft_f1()(seen(ran(gold.rows[::-1]), gold)).value == 1
    assert r.soft_f1_reference()(seen(ran(gold.rows[::-1]), gold)).value == 0


def test_speed_by_birds_steps():
    for seconds, expected in ((0.05, 1.25), (0.1, 1.0), (0.2, 0.75), (0.4, 0.5), (0.5, 0.25)):
        assert r.speed()(seen(ran([(1,)], seconds), ran([(1,)], 0.1))).value == expected
    assert r.speed(measure="ves")(seen(ran([(1,)], 0.1), ran([(1,)], 0.4))).value == pytest.approx(2)
    assert r.speed(measure="ves")(seen(ran([(1,)], 0.0), ran([(1,)], 0.0))).value == 1


def test_speed_in_steps_is_the_same_every_time(make_db):
    script = "CREATE TABLE t (a INT); WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
    db = str(make_db("steps", script + "INSERT INTO t SELECT i FROM n"))
    once, twice = (
        "SELECT count(*) FROM t WHERE a > 5",
        "SELECT count(*) FROM t WHERE a > 5 AND a IN (SELECT a FROM t)",
    )
    samples = [Sample(sql, gold=once, db=db) for sql in (once, twice, "SELECT 1 FROM t LIMIT 1")]
    reward = r.speed(measure="ves", clock="steps")
    values = []
    for _ in range(2):
        with fr.Scorer(reward, fr.SQLite(workers=1, timeout=10)) as scorer:
            values.append([score.value for score in scorer.score(samples)])
    assert values[0] == values[1]
    assert values[0][0] == 1 and values[0][1] < 0.8 and values[0][2] > 1
    assert reward(seen(ran([(1,)]), ran([(1,)]))).status is Status.unavailable


@pytest.mark.parametrize("factory", TEXTUAL)
def test_textual_rewards_need_gold_sql_and_take_the_best(factory):
    far, near = "SELECT max(x) FROM other ORDER BY y LIMIT 1", "SELECT a FROM t WHERE b = 'q'"
    both = Evidence(Sample("", (far, near), "x"), Answer(None, near))
    assert factory()(both).value == 1
    assert 0 <= factory()(Evidence(Sample("", far, "x"), Answer(None, near))).value < 1
    assert factory()(Evidence(Sample("", far, "x"), Answer(None, None))).value == 0
    without = factory()(Evidence(Sample("", (), "x", answer=((1,),)), Answer(None, near)))
    assert without.value is None and without.status is Status.no_gold


@given(st.text(max_size=60), st.text(max_size=60))
def test_textual_rewards_survive_any_text(sql, gold):
    evidence = Evidence(Sample("", gold, "x"), Answer(None, sql))
    for factory in TEXTUAL:
        value = factory()(evidence).value
        assert value is None or 0 <= value <= 1


def test_words_tell_operators_literals_and_layout():
    def compare(sql, gold, **parameters):
        return r.ngram_similarity(**parameters)(Evidence(Sample("", gold, "x"), Answer(None, sql))).value

    gold = "SELECT a FROM t WHERE a > 3 AND b = 'X'"
    assert compare("select a\nfrom T1 where a > 3 and b = 'X'".replace("T1", "t"), gold) == 1
    assert compare(gold.replace("'X'", "'x'"), gold) < 1
    assert compare(gold.replace(">", "<"), gold) < 1
    assert compare("SELECT q.a FROM t AS q", "SELECT z.a FROM t AS z") == 1
    assert compare("SELECT q.a FROM t AS q WHERE NOT ('X' <> b OR q.a <= 3)", gold) == 1
    assert compare("SELECT a FROM t AS q", "SELECT a FROM t", published=True) == 1
    assert compare(gold.replace(">", "<"), gold, published=True) == 1
    assert compare(gold, gold, n=99) == 1 and compare(gold, gold, n=99, published=True) == 0
    assert compare("SELECT", gold) == 0


def test_names_of_the_schema():
    def linked(sql, gold, **parameters):
        return r.schema_linking(**parameters)(Evidence(Sample("", gold, "x"), Answer(None, sql)))

    assert linked("SELECT A FROM T", "SELECT a FROM t").value == 1
    assert linked("SELECT A FROM T", "SELECT a FROM t", published=True).value == 0
    assert linked("SELECT a, b FROM t", "SELECT a FROM t", metric="recall").value == 1
    assert linked("SELECT a, b FROM t", "SELECT a FROM t").value == pytest.approx(2 / 3)
    assert linked("SELECT a, b FROM t", "SELECT a FROM t", metric="f1").value == pytest.approx(0.8)
    assert linked("WITH c AS (SELECT a FROM t) SELECT a FROM c", "SELECT a FROM t").value == 1
    assert linked("select a from t", "select a from t", metric="recall", published=True).value == 0
    assert linked("SELECT a FROM t", "SELEC").status is Status.gold_unparsed
    assert linked("SELECT 1", "SELECT 2").value == 1
    found = linked("SELECT t.a, t.b FROM t", "SELECT a, c, d FROM t", metric="precision")
    assert found.value == found.metrics["precision"] == pytest.approx(2 / 3)
    assert found.metrics["recall"] == 0.5 and found.metrics["jaccard"] == pytest.approx(0.4)
    assert linked("SELEC", "SELECT a FROM t").value == 0


def test_the_schema_resolves_names():
    gold = "SELECT name FROM singer JOIN concert ON id = singer_id"
    predicted = "SELECT s.name FROM singer s JOIN concert c ON c.singer_id = s.id"
    sample = Sample("", gold, "x")
    schema = schema_from_mapping({"singer": ["id", "name"], "concert": ["singer_id", "year"]})
    for reward in (r.schema_linking(), r.schema_linking(metric="f1"), r.ngram_similarity()):
        assert reward.needs == {"schema"}
        assert reward(Evidence(sample, Answer(None, predicted), schema=schema)).value == 1
        assert 0 < reward(Evidence(sample, Answer(None, predicted))).value < 1


def test_parsing_is_no_running():
    def parsed(sql, **parameters):
        return r.parses(**parameters)(Evidence(Sample("", "SELECT 1", "x"), Answer(None, sql))).value

    assert parsed("SELECT nothing FROM nowhere") == 1
    assert (
        parsed("SELECT FROM WHERE")
        == parsed("SELECT 1; SELECT 2")
        == parsed("DROP TABLE t")
        == parsed(None)
        == 0
    )
    assert parsed("SELECT a FROM t", operations=True) == 1


# --- form and length ------------------------------------------------------------------------------------------


def of_text(factory, text, sql=None, **parameters):
    return factory(**parameters)(Evidence(Sample(text, "SELECT 1", "x"), Answer(None, sql))).value


def test_published_formats_accept_their_form_and_name_what_breaks_it():
    sql_r1 = "<think>a</think><answer>```sql\nSELECT 1\n```</answer>"
    assert of_text(r.published_format, "talk " + sql_r1, system="sql_r1") == 1
    assert of_text(r.published_format, sql_r1.replace("```sql", "```"), system="sql_r1") == 0
    assert of_text(r.published_format, sql_r1 + "<think>", system="sql_r1") == 0
    assert of_text(r.published_format, "<answer>```sql\n1```</answer><think></think>", system="sql_r1") == 0
    assert of_text(r.published_format, " " + sql_r1 + "\n") == 1
    assert of_text(r.published_format, "x" + sql_r1) == 0
    reason = r.published_format(system="skyrl")(
        Evidence(Sample("", "SELECT 1", "x"), Answer(None, None))
    ).reason
    assert "<solution>" in reason


def test_formats_are_read_in_linear_time():
    for piece in (
        "<think>",
        "</think><answer>",
        "<think></think><answer>",
        "</observation>",
        "```sql",
        "</think> ",
    ):
        text = "<think>" + piece * 20_000
        for system in ("sql_r1", "skyrl", "think2sql", "think_answer"):
            assert of_text(r.published_format, text, system=system) == 0
        of_text(r.sql_r1_length, text, "SELECT 1")


@given(st.text(alphabet="<a>/b", max_size=40))
def test_between_is_the_lazy_pattern(text):
    import re

    assert between(text, "<a>", "</a>") == re.findall(r"<a>(.*?)</a>", text, re.DOTALL)


def test_four_empty_tags_earn_the_tag_count():
    assert of_text(r.tag_count, "<think>\n\n</think>\n\n<answer>\n\n</answer>") == 1
    long = "<think>\n</think>\n<answer>\n" + "x" * 5000
    assert of_text(r.tag_count, long, trailing=0.002) < -9


def test_repetition():
    assert of_text(r.repetitive, "so it is and so " * 40) == 1
    assert of_text(r.repetitive, " ".join(map(str, range(200)))) == 0
    assert of_text(r.repetitive, "a b c") == 0


def test_lengths():
    assert of_text(r.overlong, "x" * 60, limit=100, buffer=40) == 0
    assert of_text(r.overlong, "x" * 80, limit=100, buffer=40) == 0.5
    assert of_text(r.overlong, "x" * 900, limit=100, buffer=40) == 1
    text = "<think>" + "t" * 1000 + "</think><answer>SELECT 1 FROM t</answer>"
    assert of_text(r.sql_r1_length, text, "SELECT 1\n FROM t") == pytest.approx(0.5 * 1015 / 2048 + 1)
    assert of_text(r.sql_r1_length, "SELECT 1", "SELECT 1") == 0


def test_length_penalty_of_a_group():
    texts = ["x" * 100, "x" * 110, "x" * 200, "x" * 900, "x" * 400]
    values = length_penalised([1.0, 1.0, 0.3, 0.2, None], texts)
    # mean 105, deviation max(7.07, 21) = 21
    assert values == pytest.approx([1.0, 1 - 0.1 * 5 / 21, 0.0, 0.0, None])
    assert length_penalised([1.0, 0.2], ["x", "x" * 99]) == [1.0, 0.2]
    with pytest.raises(ConfigError, match="as many of both"):
        length_penalised([1.0], [])


def test_parameters_out_of_range_are_refused():
    for make, parameters in (
        (r.ngram_similarity, {"n": 0}),
        (r.overlong, {"limit": 10, "buffer": 20}),
        (r.sql_r1_length, {"limit": 0}),
        (r.repetitive, {"threshold": 0}),
        (r.cell_recall, {"empty": "ignore"}),
        (r.published_format, {"system": "sql_r2"}),
    ):
        with pytest.raises(ConfigError):
            make(**parameters)


@pytest.mark.parametrize("factory", [*RUNNING, *TEXTUAL])
def test_each_says_what_it_is(factory):
    text = inspect.getdoc(factory)
    assert "Formula: " in text and "\nReferences:\n" in text and "\nExample:\n" in text
