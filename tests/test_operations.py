# ruff: noqa: E501 - a query is easier to compare on one line
from __future__ import annotations

import cProfile
import sys
import threading
from itertools import pairwise

import pytest
from bounds import at_most

import finer_rewards.operations as package
from finer_rewards.errors import ConfigError
from finer_rewards.operations import Operation, Operations, OperationsError, operation_f1, sql_operations
from finer_rewards.operations.guard import check_version
from finer_rewards.operations.published import published_operations

SCHEMA = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER, country TEXT);
CREATE TABLE concert (id INTEGER PRIMARY KEY, singer_id INTEGER NOT NULL REFERENCES singer(id), year TEXT, place TEXT);
CREATE TABLE award (singer_id INTEGER REFERENCES singer(id), title TEXT, year INTEGER, PRIMARY KEY (singer_id, title));
"""


def f1(first: str, second: str, schema: str | None = SCHEMA) -> float:
    return operation_f1(sql_operations(first, schema=schema), sql_operations(second, schema=schema))


EQUAL = [
    ("SELECT age > 3 OR age >= 3 OR age > 4 FROM singer", "SELECT age >= 3 FROM singer"),
    ("SELECT age = 3 AND age < 4 AND age <> 5 FROM singer", "SELECT age = 3 FROM singer"),
    ("SELECT name FROM singer WHERE age IS NULL OR (age IS NOT NULL AND name = 'x')", "SELECT name FROM singer WHERE age IS NULL OR name = 'x'"),
    ("SELECT (age > 3 OR name = 'x') AND (age > 3 OR name = 'y' ) FROM singer", "SELECT age > 3 OR (name = 'x' AND name = 'y') FROM singer"),
    ("SELECT NULL IS NULL, 1 AND age > 3 FROM singer", "SELECT 1 = 1, age > 3 FROM singer"),
    ("SELECT CONCAT('a', CONCAT('b', name)) FROM singer", "SELECT CONCAT('ab', name) FROM singer"),
    ("SELECT name FROM singer", "select T1.NAME as n from Singer as T1"),
    ("SELECT name FROM singer WHERE age > 40", "SELECT name FROM singer WHERE 40 < age"),
    ("SELECT name FROM singer WHERE age >= 3 AND age <= 9", "SELECT name FROM singer WHERE age BETWEEN 3 AND 9"),
    ("SELECT name FROM singer WHERE age IN (3, 4)", "SELECT name FROM singer WHERE age = 4 OR age = 3"),
    ("SELECT name FROM singer WHERE NOT (age > 3 OR name = 'x')", "SELECT name FROM singer WHERE name <> 'x' AND age <= 3"),
    ("SELECT COUNT(*) FROM singer", "SELECT COUNT(1) FROM singer"),
    ("SELECT name FROM singer WHERE country = \"Peru\"", "SELECT name FROM singer WHERE country = 'Peru'"),
    (
        "SELECT s.name FROM singer s JOIN concert c ON c.singer_id = s.id",
        "SELECT name FROM concert, singer WHERE singer.id = concert.singer_id",
    ),
    ("SELECT name, age FROM singer ORDER BY 2", "SELECT name, age AS a FROM singer ORDER BY a ASC"),
    ("SELECT country, COUNT(*) FROM singer GROUP BY 1", "SELECT country, COUNT(*) FROM singer GROUP BY country"),
    (
        "SELECT a.name FROM singer a JOIN singer b ON a.id = b.age WHERE b.name = 'x'",
        "SELECT q.name FROM singer p JOIN singer q ON p.age = q.id WHERE p.name = 'x'",
    ),
    ("SELECT * FROM singer", "SELECT id, name, age, country FROM singer"),
    ("SELECT IIF(age > 3, 1, 0) FROM singer", "SELECT CASE WHEN age > 3 THEN 1 ELSE 0 END FROM singer"),
    ("SELECT IFNULL(age, 0) FROM singer", "SELECT COALESCE(age, 0) FROM singer"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), EQUAL)
def test_equal_meaning_scores_one(first: str, second: str) -> None:
    assert f1(first, second) == 1.0


DIFFERENT = [
    ("SELECT name FROM singer WHERE age > 3 OR age > 4", "SELECT name FROM singer WHERE age > 4"),
    ("SELECT name FROM singer WHERE age = 3 AND age <> 3", "SELECT name FROM singer WHERE age = 3"),
    ("SELECT name FROM singer WHERE name > 'a' OR (name <= 'a' AND age > 3)", "SELECT name FROM singer WHERE name > 'a' OR age > 3"),
    ("SELECT CAST(3 AS INTEGER) = '3' FROM singer", "SELECT 3 = '3' FROM singer"),
    ("SELECT CONCAT_WS(name, 'a', 'b') FROM singer", "SELECT CONCAT_WS('', 'a', 'b') FROM singer"),
    ("SELECT name FROM singer", "SELECT place FROM concert"),
    ("SELECT name, age FROM singer", "SELECT age, name FROM singer"),
    ("SELECT name FROM singer WHERE age > 40", "SELECT name FROM singer WHERE age >= 40"),
    ("SELECT name FROM singer WHERE name LIKE 'a%'", "SELECT name FROM singer WHERE name NOT LIKE 'a%'"),
    ("SELECT name FROM singer", "SELECT DISTINCT name FROM singer"),
    ("SELECT SUM(age) - SUM(id) FROM singer", "SELECT SUM(age) - SUM(age) FROM singer"),
    ("SELECT name FROM singer ORDER BY age LIMIT 1", "SELECT name FROM singer ORDER BY age LIMIT 1 OFFSET 1"),
    (
        "SELECT name FROM singer EXCEPT SELECT place FROM concert",
        "SELECT place FROM concert EXCEPT SELECT name FROM singer",
    ),
    (
        "SELECT s.name FROM singer s JOIN concert c ON c.singer_id = s.id",
        "SELECT s.name FROM singer s LEFT JOIN concert c ON c.singer_id = s.id",
    ),
    (
        "SELECT name FROM singer WHERE id IN (SELECT singer_id FROM award) AND age NOT IN (SELECT year FROM award)",
        "SELECT name FROM singer WHERE age IN (SELECT year FROM award) AND id NOT IN (SELECT singer_id FROM award)",
    ),
    ("SELECT RANK() OVER (PARTITION BY name ORDER BY age) FROM singer", "SELECT RANK() OVER (ORDER BY age) FROM singer"),
    ("SELECT strftime('%Y', name) FROM singer", "SELECT strftime('%m', name) FROM singer"),
    ("WITH x AS (SELECT id FROM singer) SELECT id FROM x", "WITH x AS (SELECT age AS id FROM singer) SELECT id FROM x"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different_meaning_scores_below_one(first: str, second: str) -> None:
    assert 0.0 <= f1(first, second) < 1.0


def test_texts_that_differ_in_aliases_alone_are_rewritten_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = sql_operations("SELECT s.name FROM singer AS s WHERE s.age > 61", schema=SCHEMA)
    monkeypatch.setattr("finer_rewards.operations.canonical_form", None)
    assert sql_operations("select Name as n from singer t1 where T1.age > 61", schema=SCHEMA) is first
    with pytest.raises(TypeError):  # another database, so that nothing is known of it
        sql_operations("SELECT name FROM singer WHERE age > 61", schema="CREATE TABLE singer (name, age)")


def test_operations_are_a_multiset() -> None:
    a, b = Operation("limit", ("1",)), Operation("from", ("t",))
    one, two = Operations([a, a, b]), Operations([a])
    assert len(one) == 3 and a in one and one.count(a) == 2 and list(two) == [a]
    assert (
        one & two == two and len(one | two) == 3 and len(one + two) == 4 and one - two == Operations([a, b])
    )
    assert two <= one and not one <= two
    assert hash(one) == hash(Operations([b, a, a])) and len({one, Operations([a, b, a])}) == 1
    difference = one.diff(Operations([a, Operation("offset", ("2",))]))
    assert [str(part) for part in (difference.matched, difference.missing, difference.extra)] == [
        "limit 1",
        "limit 1\nfrom t",
        "offset 2",
    ]


def test_scope_tells_the_same_inner_operation_apart() -> None:
    operations = sql_operations(
        "SELECT (SELECT MAX(title) FROM award WHERE year > 3) FROM singer "
        "WHERE age > (SELECT MIN(year) FROM award WHERE year > 3)",
        schema=SCHEMA,
    )
    filters = [one for one in operations.of_kind("filter") if "award.year" in one.arguments]
    assert len({one.scope for one in filters}) == len(filters) == 2


def test_words() -> None:
    text = str(
        sql_operations(
            "SELECT count(*) FROM concert c JOIN award a ON a.singer_id = c.singer_id WHERE c.year > '2014'",
            schema=SCHEMA,
        )
    )
    assert "join concert on award.singer_id = concert.singer_id" in text
    assert "filter concert.year > '2014'" in text


REFUSED = [
    "", "   ", "-- only a comment", "/* open", ";", "REINDEX", "SAVEPOINT s", "SELECT 1; SELECT 2", "DROP TABLE t",
    "I think the answer is 5", "SELECT FROM WHERE", "SELECT 'open", "EXPLAIN SELECT 1", "PRAGMA user_version",
    "SELECT a FROM t WHERE a = 1 JOIN u ON t.a = u.a", "SELECT '\ud800'", "SELECT 1\x00; DROP TABLE t",
    "INSERT INTO t VALUES (1)", "REPLACE INTO t VALUES (1)", "UPDATE t SET a = 1", "CREATE TABLE t (a)",
    "SELECT " + "(" * 2_000 + "1" + ")" * 2_000,
    "SELECT " + "NOT " * 2_000 + "1",
    "SELECT " + "CASE WHEN 1 THEN " * 500 + "1" + " END" * 500,
    "SELECT a FROM t WHERE a IN (" + ",".join(map(str, range(20_000))) + ")",
    "SELECT '" + "x" * 1_000_000 + "'",
    "SELECT 1 FROM t t0 " + " ".join(f"JOIN t t{i}" for i in range(1, 25)),
    "SELECT 1 FROM " + "(SELECT * FROM " * 2_000 + "t" + ")" * 2_000,
]  # fmt: skip


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: repr(sql[:30]))
def test_refusals_are_typed_and_quick(sql: str) -> None:
    with at_most(2_000_000), pytest.raises(OperationsError):
        sql_operations(sql)


def large(part: int) -> list[str]:
    """Return queries that are long or deep; the long ones in so small a part."""
    return [
        "SELECT " + "(" * 50 + "1" + ")" * 50,
        "SELECT a FROM t WHERE " + " OR ".join(f"a = {i}" for i in range(2_000 // part)),
        "SELECT a FROM t WHERE " + " OR ".join(f"a > {i} AND b < {i}" for i in range(1_000 // part)),
        "SELECT a FROM t WHERE a IN (" + ",".join(map(str, range(5_000 // part))) + ")",
        "SELECT " + "+".join(["a"] * 500) + " FROM t",
        "SELECT " + "CASE WHEN 1 THEN " * 80 + "1" + " ELSE 0 END" * 80,
        "SELECT 1 FROM " + "(SELECT * FROM " * 100 + "t" + ")" * 100,
        " UNION ALL ".join(["SELECT 1"] * 500),
        "SELECT 1 FROM " + ", ".join(f"t t{i}" for i in range(60)),
        "WITH c0 AS (SELECT a + a AS a FROM t)"
        + "".join(f", c{i} AS (SELECT a + a AS a FROM c{i - 1})" for i in range(1, 30))
        + " SELECT a FROM c29",
        "SELECT a FROM t WHERE b IN (" * 40 + "1" + ")" * 40,
        "SELECT DISTINCT x0.c FROM "
        + ", ".join(f"t x{i}" for i in range(60))
        + " WHERE "
        + " AND ".join(f"x{i}.b = x{i + 1}.b" for i in range(59)),
        "SELECT t0.a FROM t t0 " + " ".join(f"FULL JOIN t t{i} ON t{i}.a = t{i - 1}.b" for i in range(1, 31)),
        "SELECT t0.a FROM t t0 " + " ".join(f"LEFT JOIN t t{i} ON t{i}.a = t{i - 1}.b" for i in range(1, 64)),
        "SELECT a FROM t WHERE " + " AND ".join(f"a{i} IS NOT NULL" for i in range(2_400 // part)),
        "SELECT a FROM t WHERE " + " AND ".join(f"EXISTS (SELECT 1 FROM t x WHERE x.a = t.a AND x.b = {i})" for i in range(100 // part)),
        "SELECT " + ", ".join(f"SUM(a{i}) OVER (PARTITION BY b{i} ORDER BY c{i})" for i in range(600 // part)) + " FROM t",
        "SELECT CASE " + " ".join(f"WHEN a = {i} THEN {i}" for i in range(1_500 // part)) + " END FROM t",
    ]  # fmt: skip


READ = large(8)
MOST_CALLS = 4_000_000  # about half a second; no clock, so that a busy machine does not matter


def profiled(sql: str, schema: object = None) -> tuple[int, int]:
    """Return how many operations a text has and how many calls reading them takes; 0 of each where it is refused."""
    # Another test may have read the text.
    package._operations.clear()
    profile = cProfile.Profile()
    try:
        found = profile.runcall(sql_operations, sql, schema=schema)
    except OperationsError:
        return 0, 0
    return len(found), sum(one.callcount for one in profile.getstats())


@pytest.mark.parametrize(
    "sql",
    [*READ, *(pytest.param(sql, marks=pytest.mark.slow) for sql in large(1) if sql not in READ)],
    ids=lambda sql: repr(sql[:30]),
)
def test_large_queries_are_read_in_bounded_time(sql: str) -> None:
    found, calls = profiled(sql + " ")
    assert found > 1 and calls < MOST_CALLS


WIDE = {name: {f"c{place}": "INT" for place in range(width)} for name, width in (("t", 20), ("wide", 2_000))}
GROWING = {
    "a name and a comma": lambda n: "SELECT a FROM t WHERE " + "a.b," * (n // 4),
    "prose": lambda n: "SELECT a FROM t WHERE " + "first, " * (n // 7),
    "prose in FROM": lambda n: "SELECT a FROM " + "first, " * (n // 7) + "t",
    "sources": lambda n: "SELECT 1 FROM " + ", ".join(f"t AS a{i}" for i in range(n // 9)),
    "items": lambda n: "SELECT " + ",".join("c1" for _ in range(n // 3)) + " FROM t",
    "star": lambda n: "SELECT * FROM t a0 " + " ".join(f"JOIN t a{i} ON a0.c1 = a{i}.c1" for i in range(1, n // 29)),
    "star of a wide table": lambda n: "SELECT * FROM " + ", ".join(f"wide a{i}" for i in range(n // 10)),
    "natural": lambda n: "SELECT * FROM wide a0 " + " ".join(f"NATURAL JOIN wide a{i}" for i in range(1, n // 21)),
    "a list": lambda n: "SELECT 1 FROM t WHERE c1 IN (" + ",".join(f"c{i % 20}" for i in range(n // 4)) + ")",
    "INTERSECT": lambda n: " INTERSECT ".join(f"SELECT c1 FROM t WHERE c2 = {i}" for i in range(n // 42)),
    "conditions on groups": lambda n: "SELECT c1 FROM t GROUP BY c1 HAVING " + " AND ".join(f"SUM(CASE WHEN c2 = {i} THEN 1 ELSE 0 END) > 0" for i in range(n // 56)),
    "values of a group": lambda n: f"SELECT c1 FROM t WHERE c2 IN ({', '.join(map(str, range(n // 5)))}) GROUP BY c1 HAVING COUNT(DISTINCT c2) = {n // 5}",
    "subqueries in subqueries": lambda n: "SELECT c1 FROM t WHERE " + "c1 IN (SELECT c2 FROM wide WHERE c3 IN (SELECT c1 FROM t WHERE " * min(n // 60, 49) + "c2 = 1" + "))" * min(n // 60, 49),
    "self joins": lambda n: "SELECT a0.c1 FROM t a0 " + " ".join(f"JOIN t a{i} ON a{i - 1}.c{i % 20} = a{i}.c{i * 7 % 20}" for i in range(1, n // 30)),
}  # fmt: skip


@pytest.mark.parametrize(
    "sizes", [(4_000, 8_000), pytest.param((4_000, 8_000, 16_000, 32_000, 59_000), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("shape", GROWING)
def test_no_text_takes_long_at_any_size(shape: str, sizes: tuple[int, ...]) -> None:
    small = [profiled(GROWING[shape](size), WIDE)[1] for size in (500, 1_000, 1_900)]
    large = [profiled(GROWING[shape](size), WIDE)[1] for size in sizes]
    assert max(*small, *large) < MOST_CALLS
    # Twice the text takes twice the calls, not four times as many.
    assert all(after < 3 * before for before, after in pairwise(large) if before), large


@pytest.mark.parametrize("side", ["FULL", "RIGHT", "LEFT"])
def test_more_joins_than_are_read_in_time_are_refused(side: str) -> None:
    many = " ".join(f"{side} JOIN t t{i} ON t{i}.a = t{i - 1}.b" for i in range(1, 400))
    with pytest.raises(OperationsError, match="too large"):
        sql_operations(f"SELECT t0.a FROM t t0 {many}")


def test_aliases_of_aliases_do_not_double_the_time() -> None:
    items = ", ".join(f"a{one}+a{one} AS a{one + 1}" for one in range(40))
    for tail in ("", " AND IIF(a40, 1, 2)"):  # plain, and not
        with at_most(2_000_000), pytest.raises(OperationsError, match="once CTEs and aliases are in place"):
            sql_operations(f"SELECT age AS a0, {items} FROM singer WHERE a40 > 1{tail}", schema=SCHEMA)


def test_position_of_a_syntax_error() -> None:
    with pytest.raises(OperationsError) as caught:
        sql_operations("SELECT a\nFROM t WHERE (a = 1")
    assert caught.value.line == 2 and caught.value.column is not None


def test_a_deep_caller_and_a_thread_get_the_same_answer() -> None:
    sql = "SELECT " + "(" * 45 + "1" + ")" * 45 + " AS deep"

    def dig(depth: int) -> Operations:
        return dig(depth - 1) if depth else sql_operations(sql, dialect="duckdb")

    deep = dig(sys.getrecursionlimit() - 400)
    found: list[Operations] = []
    thread = threading.Thread(target=lambda: found.append(sql_operations(sql + " ", dialect="duckdb")))
    thread.start()
    thread.join()
    assert found == [deep]


def test_bad_arguments_say_what_to_write() -> None:
    with pytest.raises(ConfigError, match="dialect"):
        sql_operations("SELECT 1", dialect="sqlitee")
    with pytest.raises(ConfigError, match="schema"):
        sql_operations("SELECT 1", schema=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sqlglot"):
        check_version("99.1.0")


@pytest.mark.parametrize("dialect", ["postgres", "duckdb", "sqlite"])
@pytest.mark.parametrize("words", ["IS NOT NULL", "NOTNULL", "IS NOT TRUE", "IS NOT UNKNOWN"])
def test_a_negated_is_stays_negated(dialect: str, words: str) -> None:
    """sqlglot has had two shapes for it, and PostgreSQL's differs from the others'."""
    if (dialect, words) == ("sqlite", "IS NOT UNKNOWN"):
        return
    negated, other = (
        f"SELECT a FROM t WHERE b {words}",
        "ISNULL" if words == "NOTNULL" else words.replace("NOT ", ""),
    )
    plain, spelt = f"SELECT a FROM t WHERE b {other}", f"SELECT a FROM t WHERE NOT b {other}"
    assert sql_operations(negated, dialect=dialect) != sql_operations(plain, dialect=dialect)
    assert sql_operations(negated, dialect=dialect) == sql_operations(spelt, dialect=dialect)
    assert published_operations(negated, dialect) == published_operations(spelt, dialect)
    assert published_operations(negated, dialect) != published_operations(plain, dialect)


BUSY = "SELECT country FROM singer GROUP BY country HAVING COUNT(*) > 2"
NAMED = "SELECT name FROM singer WHERE age = 3"


@pytest.mark.parametrize(
    "wrapped",
    [
        "SELECT name FROM (SELECT DISTINCT * FROM singer)",
        "SELECT s.name, s.age FROM (SELECT DISTINCT *, 1 FROM singer) s",
        "SELECT name FROM (SELECT * FROM singer UNION ALL SELECT * FROM person)",
    ],
)
def test_a_column_of_a_star_without_a_schema_is_that_of_the_derived_table(wrapped: str) -> None:
    # Where it stands among the columns is not known, nor what it is in another branch.
    assert f1(wrapped, wrapped, None) == 1.0
    assert f1(wrapped, wrapped.replace("name", "country"), None) < 1.0
    assert f1(wrapped, "SELECT name FROM singer UNION ALL SELECT name FROM person", None) < 1.0


def test_a_lateral_derived_table_is_merged_once_with_the_one_it_reads() -> None:
    wrapped = "SELECT x.id, y.year FROM (SELECT id FROM singer) x, LATERAL (SELECT year FROM award WHERE singer_id = x.id) y"
    joined = "SELECT s.id, a.year FROM singer s JOIN award a ON a.singer_id = s.id"
    assert sql_operations(wrapped, dialect="postgres") == sql_operations(joined, dialect="postgres")


@pytest.mark.parametrize("operator", ["UNION", "UNION ALL", "INTERSECT", "EXCEPT"])
def test_one_operand_shares_its_operations_with_the_set_operation(operator: str) -> None:
    both = f"{BUSY} {operator} SELECT name FROM singer GROUP BY name HAVING MIN(age) > 3"
    assert 0.5 < f1(BUSY, both) < 1
    assert f1(BUSY, both) == f1(both, BUSY)
    assert 0.5 < f1(f"SELECT COUNT(*) FROM ({BUSY})", f"SELECT COUNT(*) FROM ({both})") < 1


@pytest.mark.parametrize(
    ("nearer", "farther", "gold"),
    [
        # Another operator; another operator and an operand less.
        (f"{BUSY} UNION ALL {NAMED}", BUSY, f"{BUSY} UNION {NAMED}"),
        # The operands of EXCEPT the wrong way round.
        (f"{BUSY} EXCEPT {BUSY}", f"{NAMED} EXCEPT {BUSY}", f"{BUSY} EXCEPT {NAMED}"),
        # ORDER BY and LIMIT of the whole.
        (f"{BUSY} ORDER BY 1 LIMIT 3", BUSY, f"{BUSY} UNION {NAMED} ORDER BY 1 LIMIT 3"),
    ],
)
def test_set_operations_are_compared_by_their_best_pairing(nearer: str, farther: str, gold: str) -> None:
    assert f1(farther, gold) < f1(nearer, gold) < 1


def test_an_operand_has_one_partner() -> None:
    once, twice = f"{BUSY} UNION ALL {NAMED}", f"{BUSY} UNION ALL {BUSY}"
    difference = sql_operations(once, schema=SCHEMA).diff(sql_operations(twice, schema=SCHEMA))
    assert Operation("select", ("singer.name",), ("union all 2",)) in difference.missing


@pytest.mark.parametrize("operands", [31, 32, 60])
def test_many_operands_are_compared_in_bounded_steps(operands: int) -> None:
    first, second = (
        sql_operations(" UNION ALL ".join(f"{NAMED}{n}" for n in range(start, start + operands)))
        for start in (0, operands // 2)
    )
    with at_most(100_000):
        assert 0.5 < operation_f1(first, second) < 1
