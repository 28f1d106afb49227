"""Computing every number of a report from score logs, with DuckDB, so that a log may be larger than memory.

`read_run` returns them as a `Run`; `markdown.py` and `page/` show it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finer_rewards._score_log import log_files
from finer_rewards._util.extras import extra
from finer_rewards._util.lossless_json import parse_json
from finer_rewards.errors import ConfigError
from finer_rewards.remote.wire import schema_from
from finer_rewards.types import Status

if TYPE_CHECKING:
    import duckdb

    from finer_rewards.schema import Schema

# Bins of a histogram.
BINS = 40
# Points of a curve; if there are more steps, neighbouring ones are merged.
MOST_POINTS = 200
# Components that get curves of their own.
MOST_COMPONENTS = 60
# The end of the year 9999 in seconds since 1970; later times are damage, as no calendar has them.
LATEST = 253_402_300_799
# Characters shown of a completion.
TEXT = 2000

_COLUMNS = {
    "time": "DOUBLE", "step": "BIGINT", "question": "VARCHAR", "db": "JSON", "gold": "JSON",
    "predicted": "VARCHAR", "value": "DOUBLE", "status": "VARCHAR", "reason": "VARCHAR",
    "components": "MAP(VARCHAR, DOUBLE)", "seconds": "DOUBLE",
    "explanation": "VARCHAR", "completion": "VARCHAR", "signature": "VARCHAR", "scorer": "JSON",
    "schemas": "JSON", "rows": "JSON",
}  # fmt: skip
# The completions of one prompt at one step form a group.
_GROUP = "step, question, gold, db"


@dataclass(frozen=True)
class Run:
    """The figures of one run; plain values only, so that it can be written as JSON.

    Attributes:
        totals: lines, unreadable lines, samples, scored, mean, share of matches, first and last time.
        signatures: each signature with its digest, its number of samples, and its content.
        axis: the x-axis of the curves: `step`, or `position` (hundredths of the log) if no step is logged.
        curves: for each name (`reward` first), along the axis, the mean over all scored samples with its 95 % interval,
            the number of scored samples, and how many of them have this component (the others count as 0).
        distributions: for each name, the edges and counts of a histogram.
        groups: along the axis, the number of groups, and the shares of groups whose rewards are all equal, that all
            match, and that never match.
        statuses: along the axis, the share of each status.
        slowest: the statements that took longest.
        timeouts: the questions whose predictions ran out of time most often.
        databases: every database with its samples, mean, matches and unscored, the hardest first.
        operations: the operations most often missing and extra in predictions that ran and did not match.
        causes: why scored samples did not match: each cause with the number of samples of which it is the main cause,
            and of samples that have it at all, over the commonest wrong pairs; `of` is how many samples did not match.
        samples: rows for the table of completions, drawn at random; `totals` has how many samples there are.
        questions: each question with its samples, mean and matches, for comparing two runs.
    """

    name: str
    totals: dict[str, Any]
    signatures: list[dict[str, Any]]
    axis: str
    curves: dict[str, dict[str, list[Any]]]
    distributions: dict[str, dict[str, list[Any]]]
    groups: dict[str, list[Any]]
    statuses: dict[str, list[Any]]
    slowest: list[dict[str, Any]]
    timeouts: list[dict[str, Any]]
    databases: list[dict[str, Any]]
    operations: dict[str, Any]
    causes: dict[str, Any]
    samples: list[dict[str, Any]]
    questions: list[dict[str, Any]] = field(default_factory=list)


def read_run(
    paths: Sequence[str], *, samples: int = 400, pairs: int = 800, seed: int = 0, by_position: bool = False
) -> Run:
    """Return the figures of a run.

    Args:
        paths: score logs, or folders of them.
        samples: rows for the table of completions, drawn such that every status, right and wrong, is among them.
        pairs: how many distinct wrong pairs have their operations compared, the commonest first.
        seed: decides which rows are drawn.
        by_position: use the position in the log as the x-axis, even if steps are logged.

    Raises:
        ConfigError: there is no log, or it holds no score.
        MissingExtraError: DuckDB is not installed.
    """
    files = log_files(paths)
    with _table(files) as connection:
        return _LogReader(connection, by_position).run(", ".join(paths), samples, pairs, seed)


@contextmanager
def _table(files: Sequence[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to a temporary database with the lines of the logs."""
    with extra("report", "Reading score logs", "duckdb"):
        import duckdb
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in _COLUMNS.items())
    with tempfile.TemporaryDirectory(prefix="finer-rewards-") as folder:
        connection = duckdb.connect(f"{folder}/report.duckdb")
        try:
            connection.execute("SET enable_progress_bar = false")
            # A value that is no finite number counts as not scored; so does one so large that sums would overflow.
            connection.execute("CREATE MACRO finite(x) AS CASE WHEN abs(x) < 1e100 THEN x END")
            connection.execute(
                f"""
                CREATE TABLE lines AS
                SELECT * REPLACE (finite(value) AS value, finite(seconds) AS seconds,
                                  CASE WHEN time BETWEEN 0 AND {LATEST} THEN time END AS time,
                                  db ->> '$' AS db, gold ->> '$' AS gold,
                                  left(completion, {TEXT}) AS completion)
                FROM read_json(?, format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true,
                               maximum_object_size = 268435456)
                """,
                [[str(file) for file in files]],
            )
            # A line with an unknown status is damaged.
            statuses = ", ".join(f"'{status.name}'" for status in Status)
            connection.execute(
                f"CREATE VIEW scores AS SELECT rowid AS row, * FROM lines WHERE status IN ({statuses})"
            )
            yield connection
        finally:
            connection.close()


class _LogReader:
    def __init__(self, connection: duckdb.DuckDBPyConnection, by_position: bool) -> None:
        self.connection = connection
        self.by_position = by_position

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        cursor = self.connection.execute(sql, parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def columns(self, sql: str, *parameters: Any) -> dict[str, list[Any]]:
        cursor = self.connection.execute(sql, parameters)
        names = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchall()
        return {name: [row[at] for row in rows] for at, name in enumerate(names)}

    def run(self, name: str, samples: int, pairs: int, seed: int) -> Run:
        (totals,) = self.rows(
            """
            SELECT (SELECT count(*) FROM lines) AS lines,
                   (SELECT count(*) FILTER (status IS NOT NULL OR scorer IS NULL) FROM lines) - count(*) AS unreadable,
                   count(*) AS samples, count(value) AS scored, avg(value) AS mean,
                   min(value) AS least, max(value) AS most,
                   count(DISTINCT step) AS steps, min(time) AS first, max(time) AS last
            FROM scores
            """
        )
        if not totals["samples"]:
            raise ConfigError(f"`LOG` should hold scores, but {name} holds none that can be read.")
        placed = self.placed()
        names = [
            row["name"]
            for row in self.rows(
                """
                SELECT name, count(*) AS n FROM (SELECT unnest(map_keys(components)) AS name FROM scores)
                GROUP BY name ORDER BY n DESC, name
                """
            )
        ]
        left_out = len(names) - MOST_COMPONENTS
        names = sorted(names[:MOST_COMPONENTS])
        match = next((one for one in names if one.startswith("execution_match")), None)
        # A completion is right if its execution match is 1 or, without such a component, if its value is the greatest
        # in the log. If the match stands in a branch that was not taken, it is wrong; if unscored, neither.
        told = f"coalesce({_component(match)}, 0)" if match else "(value >= (SELECT max(value) FROM scores))"
        matched = f"CASE WHEN value IS NOT NULL THEN CAST({told} AS DOUBLE) END"
        self.connection.execute(f"CREATE TABLE marked AS SELECT *, {matched} AS matched FROM ({placed})")
        (share,) = self.rows("SELECT avg(matched) AS matches FROM marked")
        return Run(
            name,
            {**totals, **share, "match": match, "components_left_out": max(0, left_out)},
            self.signatures(),
            "step" if totals["steps"] and not self.by_position else "position",
            {
                "reward": self.curve("value"),
                **{one: self.curve(_component(one)) for one in names},
            },
            {
                "reward": self.histogram("value"),
                **{one: self.histogram(_component(one)) for one in names},
            },
            self.groups(),
            self.statuses(),
            self.slowest(),
            self.timeouts(),
            self.databases(),
            self.operations(pairs),
            self.causes(pairs),
            self.samples(samples, seed),
            self.questions(),
        )

    def placed(self) -> str:
        """Return the query that adds to every score its place x on the axis: its step, or its hundredth of the log."""
        (span,) = self.rows(
            "SELECT min(step) AS low, max(step) AS high, count(DISTINCT step) AS steps, count(*) AS samples FROM scores"
        )
        if not span["steps"] or self.by_position:
            place = f"CAST((row_number() OVER (ORDER BY row) - 1) * 100 // {span['samples']} AS BIGINT)"
        elif span["steps"] <= MOST_POINTS:
            place = "step"
        else:
            width = -(-(span["high"] - span["low"] + 1) // MOST_POINTS)
            # The difference of two steps may overflow a BIGINT.
            low = f"CAST({span['low']} AS HUGEINT)"
            place = f"CAST({low} + (step - {low}) // {width} * {width} AS BIGINT)"
        # The long texts are not copied; they are looked up later, for the few rows that are shown.
        return f"SELECT * EXCLUDE (completion, explanation, reason, rows), {place} AS x FROM scores"

    def signatures(self) -> list[dict[str, Any]]:
        contents = {
            row["signature"]: parse_json(row["scorer"])
            for row in self.rows(
                """
                SELECT signature, any_value(scorer) AS scorer FROM lines
                WHERE json_type(scorer) = 'OBJECT' GROUP BY 1
                """
            )
        }
        counted = self.rows(
            "SELECT signature AS digest, count(*) AS samples FROM scores GROUP BY 1 ORDER BY min(row)"
        )
        return [{**row, "content": contents.get(row["digest"])} for row in counted]

    def curve(self, expression: str) -> dict[str, list[Any]]:
        """Return the mean of an expression over all scored samples, along the axis; NULL counts as 0."""
        error = "1.96 * coalesce(stddev_samp(v), 0) / sqrt(count(v))"
        return self.columns(
            f"""
            SELECT x, avg(v) AS mean, greatest(avg(v) - {error}, min(v)) AS low,
                   least(avg(v) + {error}, max(v)) AS high, count(asked) AS asked, count(*) AS scored
            FROM (SELECT x, {expression} AS asked, coalesce(asked, 0) AS v FROM marked WHERE value IS NOT NULL)
            WHERE x IS NOT NULL GROUP BY x ORDER BY x
            """
        )

    def histogram(self, expression: str) -> dict[str, list[Any]]:
        (span,) = self.rows(f"SELECT min({expression}) AS low, max({expression}) AS high FROM marked")
        low, high = span["low"], span["high"]
        if low is None:
            return {"edges": [], "counts": []}
        width = (high - low) / BINS or 1.0
        counts = [0] * (BINS if high > low else 1)
        for row in self.rows(
            f"""
            SELECT least(CAST(floor(({expression} - ?) / ?) AS INTEGER), ?) AS bin, count(*) AS n
            FROM marked WHERE {expression} IS NOT NULL GROUP BY bin
            """,
            low, width, len(counts) - 1,
        ):  # fmt: skip
            counts[row["bin"]] = row["n"]
        return {"edges": [low + width * at for at in range(len(counts) + 1)], "counts": counts}

    def groups(self) -> dict[str, list[Any]]:
        return self.columns(
            f"""
            SELECT x, count(*) AS groups, avg(CAST(low = high AS INTEGER)) AS zero_variance,
                   avg(CAST(worst >= 1 AS INTEGER)) AS all_match, avg(CAST(best < 1 AS INTEGER)) AS none_match
            FROM (
                SELECT min(x) AS x, min(value) AS low, max(value) AS high, min(matched) AS worst, max(matched) AS best
                FROM marked WHERE value IS NOT NULL AND x IS NOT NULL GROUP BY {_GROUP} HAVING count(*) > 1
            ) GROUP BY x ORDER BY x
            """
        )

    def statuses(self) -> dict[str, list[Any]]:
        found = self.rows("SELECT x, status, count(*) AS n FROM marked WHERE x IS NOT NULL GROUP BY ALL")
        places = sorted({row["x"] for row in found})
        sums = dict.fromkeys(places, 0)
        for row in found:
            sums[row["x"]] += row["n"]
        shares: dict[str, list[Any]] = {"x": list(places)}
        at = {x: number for number, x in enumerate(places)}
        for status in sorted({row["status"] for row in found}, key=lambda one: (one != "ok", one)):
            shares[status] = [0.0] * len(places)
        for row in found:
            shares[row["status"]][at[row["x"]]] = row["n"] / sums[row["x"]]
        return shares

    def slowest(self) -> list[dict[str, Any]]:
        return self.rows(
            """
            SELECT max(seconds) AS seconds, count(*) AS times, db, any_value(status) AS status, predicted
            FROM scores WHERE predicted IS NOT NULL GROUP BY db, predicted ORDER BY 1 DESC, predicted LIMIT 20
            """
        )

    def timeouts(self) -> list[dict[str, Any]]:
        return self.rows(
            """
            SELECT count(*) AS timeouts, count(DISTINCT predicted) AS statements, db, question, any_value(gold) AS gold
            FROM scores WHERE status = 'timeout' GROUP BY db, question ORDER BY 1 DESC, question LIMIT 20
            """
        )

    def databases(self) -> list[dict[str, Any]]:
        return self.rows(
            """
            SELECT db, count(*) AS samples, avg(value) AS mean, avg(matched) AS matches,
                   1 - count(value) / count(*) AS unscored
            FROM marked GROUP BY db ORDER BY matches NULLS LAST, db
            """
        )

    def questions(self) -> list[dict[str, Any]]:
        return self.rows(
            """
            SELECT question, db, gold, count(*) AS samples, avg(value) AS mean, avg(matched) AS matches
            FROM marked GROUP BY question, db, gold
            """
        )

    def operations(self, pairs: int) -> dict[str, Any]:
        from finer_rewards.reporting.operation_causes import wrong_operations

        wrong = """
            FROM marked WHERE status = 'ok' AND matched < 1 AND predicted IS NOT NULL AND gold IS NOT NULL
        """
        found = self.rows(
            f"SELECT predicted, gold, db, count(*) AS n {wrong} GROUP BY 1, 2, 3 ORDER BY n DESC, 1, 2, 3 LIMIT {pairs}"
        )
        (whole,) = self.rows(f"SELECT count(*) AS n {wrong}")
        return {
            **wrong_operations(found, self.schemas()),
            "samples": sum(row["n"] for row in found),
            "of": whole["n"],
        }

    def causes(self, pairs: int) -> dict[str, Any]:
        from finer_rewards.reporting.operation_causes import wrong_causes

        wrong = "FROM marked JOIN scores USING (row) WHERE marked.matched < 1"
        empty = "(json_array_length(scores.rows, '$.predicted') = 0 AND json_array_length(scores.rows, '$.gold') > 0)"
        # A prediction that did not run has its status as the cause, so its text is left out and such pairs merge.
        found = self.rows(
            f"""
            SELECT CASE WHEN marked.status = 'ok' THEN marked.predicted END AS predicted, marked.status, marked.db,
                   CASE WHEN marked.status = 'ok' THEN marked.gold END AS gold, coalesce({empty}, false) AS empty,
                   count(*) AS n {wrong} GROUP BY 1, 2, 3, 4, 5 ORDER BY n DESC, 1, 2, 3, 4, 5 LIMIT {pairs}
            """
        )
        (whole,) = self.rows(f"SELECT count(*) AS n {wrong}")
        return {
            "counts": wrong_causes(found, self.schemas()),
            "samples": sum(row["n"] for row in found),
            "of": whole["n"],
        }

    def schemas(self) -> dict[str, tuple[Schema, str]]:
        """Return the schema and dialect of each database, from the last line that has them."""
        found = {}
        for row in self.rows("SELECT schemas FROM lines WHERE json_type(schemas) = 'OBJECT' ORDER BY rowid"):
            for db, told in parse_json(row["schemas"]).items():
                try:
                    found[db] = schema_from(told), str(told["dialect"])
                except (KeyError, TypeError):
                    # The line was damaged.
                    continue
        return found

    def samples(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Draw rows: in turn one of each status, right and wrong separately, until there are enough."""
        return self.rows(
            """
            SELECT row, step, question, db, gold, predicted, value, matched, status, seconds, reason, explanation,
                   completion, rows
            FROM (
                SELECT row, matched, row_number() OVER (
                           PARTITION BY status, coalesce(matched >= 1, false) ORDER BY hash(row + ?)
                       ) AS rank
                FROM marked ORDER BY rank, hash(row + ?) LIMIT ?
            ) JOIN scores USING (row) ORDER BY rank, hash(row + ?)
            """,
            seed, seed, count, seed,
        )  # fmt: skip


def _component(name: str) -> str:
    quoted = name.replace("'", "''")
    return f"finite(components['{quoted}'])"
