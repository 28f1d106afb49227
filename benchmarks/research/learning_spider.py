"""A task of the learning benchmark that no grammar of ours drew: real questions of Spider, with their real golds.

The questions and databases are those of Spider's dev split (its training golds come without their questions here), cut
to what a small policy can learn: one SELECT, at most two conditions, and no piece of SQL that only one question has.
They are other people's and stand beside the project: FINER_REWARDS_DATA, or ../shared/data.

An answer is the gold cut at its clauses, tables under their own names. All else is as in the other tasks: what is
not sound is left out, and neighbours are the library's own. They are few hundred, too few to
teach a policy questions that it has not seen: sampled EX is that of the questions that are trained on.
"""

from __future__ import annotations

import json
import os
import random
import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import sqlglot
from sqlglot import exp

from benchmarks.research.learning_task import Choice, Question, Task, written

__all__ = ["data_folder", "spider_task"]

DBS = (
    "battle_death", "car_1", "concert_singer", "course_teach", "cre_Doc_Template_Mgt", "employee_hire_evaluation",
    "flight_2", "museum_visit", "pets_1", "world_1",
)  # fmt: skip
_SLOTS = ("select", "from", "condition 1", "condition 2", "group", "having", "order", "limit")
_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like)
_READ = (
    "kind", "hint", "expressions", "from_", "from", "joins", "where", "group", "having", "order", "limit", "distinct",
)  # fmt: skip


def data_folder() -> Path | None:
    """Return the folder of other people's data, or `None`."""
    here = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("FINER_REWARDS_DATA") or here.parent / "shared" / "data")
    return folder if (folder / "questions" / "spider_dev.json").is_file() else None


def spider_task(folder: Path) -> Task:
    """Return the task over the data in a folder."""
    asked = [
        Question(one["db_id"], words, answer)
        for one in json.loads((folder / "questions" / "spider_dev.json").read_text(encoding="utf-8"))
        if one["db_id"] in DBS and (answer := cut(one["query"])) is not None
        if (words := tuple(re.findall(r"[a-z]+|\d+", one["question"].lower())))
    ]
    pool = _shared(asked)
    dbs = sorted({one.db for one in pool if sum(map(bool, one.answer)) > _EASY})
    pool = [one for one in pool if one.db in dbs]

    return Task(
        name="spider", slots=_SLOTS, conditions=("condition 1", "condition 2"),
        matters=("condition 1", "condition 2", "having", "order"), easy=_EASY, neighbours=2,
        dbs={db: partial(_dumped, folder / "spider_dev" / "database" / db / f"{db}.sqlite") for db in dbs},
        draw=lambda chance: chance.choice(pool), render=_render, held_out=0,
    )  # fmt: skip


_EASY = 2


def _dumped(path: Path, _: random.Random) -> str:
    """Return the script that makes a database again."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()


def cut(sql: str) -> tuple[Choice, ...] | None:
    """Return the clauses of a query, slot by slot; `None` for one that is more than one plain SELECT."""
    tree = sqlglot.parse_one(sql, dialect="sqlite")
    if not isinstance(tree, exp.Select) or {key for key, value in tree.args.items() if value} - set(_READ):
        return None
    tables = list(tree.find_all(exp.Table))
    if len({one.name.lower() for one in tables}) < len(tables):
        return None
    names = {one.alias_or_name.lower(): one.name.lower() for one in tables}
    for column in list(tree.find_all(exp.Column)):
        # SQLite reads a name in double quotes that is no column as text, and Spider's golds write all text so.
        if not column.table and column.this.args.get("quoted"):
            column.replace(exp.Literal.string(column.name))
            continue
        column.set("this", exp.to_identifier(column.name.lower()))
        if column.table:
            column.set("table", exp.to_identifier(names.get(column.table.lower(), column.table)))
    for one in tables:
        one.set("alias", None)
        one.set("this", exp.to_identifier(one.name.lower()))
    where, group, having, order, limit = (
        tree.args.get(one) for one in ("where", "group", "having", "order", "limit")
    )
    conditions = list(where.this.flatten()) if where and isinstance(where.this, exp.And) else []
    conditions = conditions or ([where.this] if where else [])
    if len(conditions) > 2:
        return None
    source = tree.args.get("from_") or tree.args["from"]
    shown = ", ".join(one.sql("sqlite") for one in tree.expressions)
    return (
        (("DISTINCT " if tree.args.get("distinct") else "") + shown,),
        (
            " ".join(
                [source.this.sql("sqlite"), *(one.sql("sqlite") for one in tree.args.get("joins") or ())]
            ),
        ),
        *(_compared(one) for one in [*conditions, None, None][:2]),
        (", ".join(one.sql("sqlite") for one in group.expressions),) if group else (),
        _compared(having.this) if having else (),
        (", ".join(one.sql("sqlite") for one in order.expressions),) if order else (),
        (limit.expression.sql("sqlite"),) if limit else (),
    )


def _compared(one: exp.Expr | None) -> Choice:
    """Return a condition as what is compared, how, and with what; in one piece where it is anything else."""
    if one is None:
        return ()
    if isinstance(one, _COMPARED) and isinstance(one.expression, exp.Literal):
        left, right = one.this.sql("sqlite"), one.expression.sql("sqlite")
        return (left, one.sql("sqlite")[len(left) : -len(right)].strip(), right)
    return (f"({one.sql('sqlite')})",)


def _shared(questions: list[Question]) -> list[Question]:
    """Return the questions each piece of which is in another of them too."""
    while True:
        counts = Counter((slot, piece) for one in questions for slot, piece in enumerate(one.answer))
        kept = [one for one in questions if all(counts[two] > 1 for two in enumerate(one.answer))]
        if len(kept) == len(questions):
            return kept
        questions = kept


def _render(_: str, slots: Mapping[str, Choice]) -> str:
    return written(
        f"SELECT {' '.join(slots['select'])} FROM {' '.join(slots['from'])}",
        [
            ("WHERE", [slots["condition 1"], slots["condition 2"]], " AND "),
            ("GROUP BY", [slots["group"]], ""),
            ("HAVING", [slots["having"]], ""),
            ("ORDER BY", [slots["order"]], ""),
            ("LIMIT", [slots["limit"]], ""),
        ],
    )
