# ruff: noqa: E501
"""What the documentation promises, word for word, and the tests that hold it.

Whoever changes a sentence on safety has to look at its tests, and a new one needs a test: every row of these tables and
every item of these lists is a key here. Of reward hacking each hole is tried in this file.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards import rewards as r

ROOT = Path(__file__).parents[1]

CONTAINED = {
    "**Time.** The query is interrupted at the deadline. If it hangs inside one opcode the kernel kills the worker, which is "
    "replaced; the batch goes on.": (
        "test_engines.py::test_bombs_end_in_time_and_spare_what_follows",
        "test_executing_faults.py::test_a_query_that_nothing_else_ends_is_ended_from_here",
    ),
    "**Reading.** One statement, a query; the connection is read-only, and an authorizer lets it read and nothing else: no "
    "ATTACH, no PRAGMA, no VACUUM INTO, no temporary table.": (
        "test_executing_adversarial.py::test_what_is_not_reading_is_denied",
        "test_executing.py::test_status",
    ),
    "**Size.** Rows, bytes, the length of text, and the memory of the worker are limited.": (
        "test_engines.py::test_rows_and_bytes_are_capped",
        "test_engines.py::test_bombs_end_in_time_and_spare_what_follows",
    ),
    "**Blame.** A query that runs into a limit is the model's fault, with its status. A worker lost from outside is the "
    "system's; its query is tried again, then not scored.": (
        "test_executing_faults.py::test_a_query_that_loses_its_worker_twice_is_unavailable",
        "test_executing_faults.py::test_killed_workers_cost_nothing",
    ),
}

DATABASES = {
    "is in WAL mode, with its log or without": ("test_executing.py::test_write_ahead_log",),
    "lies on a file system that is read-only": (
        "test_executing_weird.py::test_a_file_system_that_is_read_only",
    ),
    "has any name: spaces, unicode, `?`, `%`, quotes": ("test_executing_weird.py::test_weird_databases",),
    "has 10 GB, most of them nothing": ("test_executing_weird.py::test_weird_databases",),
    "is locked by a writer": ("test_executing_weird.py::test_weird_databases",),
    "is corrupt, cut off, encrypted, empty (0 bytes), or something else": (
        "test_executing_weird.py::test_weird_databases",
    ),
    "is replaced, written, emptied or removed in mid-run": (
        "test_executing_weird.py::test_a_database_replaced_under_the_caches_is_noticed",
        "test_executing_weird.py::test_a_database_emptied_under_the_caches_is_nobodys_zero",
        "test_executing_weird.py::test_a_database_removed_in_mid_run",
    ),
    "has neighbours that no longer fit it": (
        "test_neighbours.py::test_what_was_built_reads_back_and_a_changed_database_is_noticed",
        "test_neighbours.py::test_neighbours_lost_in_mid_run_leave_their_samples_unscored",
    ),
}

AROUND = {
    "a worker is killed": (
        "test_executing_faults.py::test_killed_workers_cost_nothing",
        "test_executing_faults.py::test_a_query_that_loses_its_worker_twice_is_unavailable",
    ),
    "a worker is stopped (SIGSTOP)": ("test_executing_faults.py::test_a_stopped_worker_is_replaced",),
    "the process is killed": ("test_executing_faults.py::test_no_orphans_when_the_parent_is_killed",),
    "the disk is full": ("test_executing_weird.py::test_a_full_disk_costs_time_and_nothing_else",),
    "no file descriptor, process or memory is left": (
        "test_executing_faults.py::test_no_descriptor_is_left",
        "test_executing_faults.py::test_no_worker_can_be_started",
    ),
    "the process forks while threads score": (
        "test_executing_faults.py::test_forked_children_have_their_own_workers",
    ),
    "32 threads and an event loop score at once": (
        "test_executing_faults.py::test_threads_share_the_workers",
        "test_executing_faults.py::test_asyncio",
    ),
    "an `await scorer.ascore(...)` is cancelled": (
        "test_scoring.py::test_a_cancelled_await_ends_its_queries_and_no_others",
        "serving/test_serving_many.py::test_a_cancelled_await_ends_the_queries_on_the_server",
        "test_remote_ray_executor.py::test_a_call_that_nobody_waits_for_is_stopped_on_every_node",
    ),
    "a PostgreSQL server stops answering": (
        "test_postgres.py::test_a_silent_server_is_not_the_models_fault",
        "test_postgres.py::test_a_query_that_silences_its_sessions_is_at_fault",
    ),
    "a Ray node is lost": (
        "test_remote_ray_executor.py::test_what_a_lost_node_had_goes_to_the_others",
        "test_remote_ray_executor.py::test_without_a_node_the_system_is_at_fault",
    ),
    "a `serve` process is lost": (
        "serving/test_serving_process.py::test_a_server_killed_in_the_middle_scores_nothing",
    ),
}

ELSEWHERE = {
    "a database": (
        "test_executing_adversarial.py::test_what_is_not_reading_is_denied",
        "test_executing_weird.py::test_weird_databases",
    ),
    "golds and predictions": (
        "test_damaged.py::test_what_is_damaged_is_refused_or_left_out",
        "test_executing_adversarial.py::test_what_is_not_reading_is_denied",
    ),
    "a memory (`TraceMemory.open`, `--memory`)": (
        "test_memory.py::test_a_folder_does_not_choose_what_is_asked_or_loaded",
    ),
    'neighbours (`neighbours="FOLDER"`)': (
        "test_damaged.py::test_a_record_reaches_no_file_but_those_beside_it",
        "test_damaged.py::test_a_neighbour_is_the_file_that_its_record_means",
    ),
    'a result cache (`SQLite(cache="FOLDER")`)': (
        "test_damaged.py::test_what_is_damaged_is_refused_or_left_out",
    ),
    "a score log": (
        "test_reporting.py::test_what_a_model_writes_stays_text",
        "test_reporting.py::test_nothing_in_a_log_keeps_the_rest_from_being_reported",
        "test_reporting.py::test_the_page_in_a_browser",
        "test_cli_shown.py::test_nothing_is_obeyed",
    ),
}

README = {
    "SQL runs in worker processes that are killed at the deadline, in the middle of an opcode if need be.": (
        "test_executing_faults.py::test_a_query_that_nothing_else_ends_is_ended_from_here",
    ),
    "The connection is read-only, one statement is allowed, an authorizer lets it read and nothing else, and rows, bytes, "
    "text length and memory are limited.": (
        "test_executing_adversarial.py::test_what_is_not_reading_is_denied",
        "test_engines.py::test_rows_and_bytes_are_capped",
    ),
    "A mistyped database is an error, never a new file.": (
        "test_cli_errors.py::test_one_sentence_and_nothing_created",
    ),
    "What is not contained: the CPU time until the deadline, and what a query can read in the database it was given.": (),
}


def section(page: str, heading: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    return str(found)


def heads(page: str, heading: str) -> list[str]:
    """Return the first cells of a table, without its head."""
    rows = re.findall(r"^\| (.*?) \|", section(page, heading), re.M)
    return [row for row in rows[1:] if not row.startswith("---")]


def flat(text: str) -> str:
    return " ".join(text.split())


def items(page: str, heading: str) -> list[str]:
    return [
        flat(item) for item in re.findall(r"^- (.*?)(?=^- |\n\n|\Z)", section(page, heading), re.M | re.S)
    ]


def sentences(page: str, heading: str) -> list[str]:
    return re.findall(r"[A-Z].*?\.(?= [A-Z]|$)", flat(section(page, heading)))


@pytest.mark.parametrize(
    ("found", "held"),
    [
        (items("docs/executors.md", "What is contained"), CONTAINED),
        (heads("docs/executors.md", "Databases that are not as one would wish"), DATABASES),
        (heads("docs/executors.md", "What goes wrong around it"), AROUND),
        (heads("docs/foreign-folders.md", "Folders and files from elsewhere"), ELSEWHERE),
        (sentences("README.md", "What is contained"), README),
    ],
    ids=["contained", "databases", "around", "elsewhere", "readme"],
)
def test_every_promise_names_the_tests_that_hold_it(
    found: list[str], held: dict[str, tuple[str, ...]]
) -> None:
    assert found == list(held)
    for promise, tests in held.items():
        for test in tests:
            file, _, name = test.partition("::")
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{promise}: there is no {test}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("promises")
    connection = sqlite3.connect(folder / "shop.sqlite")
    connection.executescript(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price INTEGER, kind TEXT);"
        "INSERT INTO item VALUES (1, 'nut', 3, 'a'), (2, 'bolt', 5, 'a'), (3, 'nut', 8, 'b'), (4, 'cap', 8, 'b');"
    )
    connection.close()
    return folder


Scored = Callable[..., float | None]


@pytest.fixture(scope="module")
def scored(shop: Path) -> Scored:
    executor = fr.SQLite(shop, deadline_floor=0.2)

    def value(
        reward: fr.Reward | str, predicted: str, gold: str, neighbours: int | None = None
    ) -> float | None:
        text = f"<think>Take it.</think><answer>{predicted}</answer>"
        with fr.Scorer(reward, executor, neighbours=neighbours) as scorer:
            return scorer.score_one(fr.Sample(text, gold, "shop")).value

    return value


MATCH = r.execution_match()  # under `answer`
STRICT = r.execution_match(mode="strict")
FINER = fr.presets.finer(memory=False)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, item"


def a_guess(scored: Scored) -> None:
    for guess in ("SELECT 3", "VALUES (3)", "WITH x AS (SELECT 3) SELECT * FROM x"):
        for mode in (MATCH, STRICT):
            assert scored(mode, guess, "SELECT min(price) FROM item", neighbours=0) == 0


def an_empty_gold(scored: Scored) -> None:
    gold, wrong = "SELECT name FROM item WHERE price < 0", "SELECT name FROM item WHERE price > 99"
    assert scored(STRICT, wrong, gold, neighbours=0) is None
    assert scored(STRICT, gold, gold, neighbours=0) is None
    assert scored(STRICT, wrong, gold) in (None, 0.0)  # some neighbour has rows for it


def bags_of_whole_rows(scored: Scored) -> None:
    gold = "SELECT name, price FROM item"
    for wrong in (
        "SELECT name, price, id FROM item",
        "SELECT name FROM item",
        "SELECT DISTINCT name, kind FROM item",
        "SELECT name, name FROM item",
        "SELECT name, price FROM item UNION ALL SELECT name, price FROM item",
    ):
        assert scored(STRICT, wrong, gold, neighbours=0) == 0, wrong
        if "UNION ALL" not in wrong:
            assert scored(MATCH, wrong, gold, neighbours=0) == 0, wrong
    ordered = "SELECT name FROM item ORDER BY price, id"
    assert scored(STRICT, "SELECT name FROM item ORDER BY price DESC, id", ordered) == 0
    assert scored(STRICT, ordered, ordered) == 1


def partial_credit(scored: Scored) -> None:
    gold = "SELECT name FROM item WHERE price > 4 ORDER BY id"
    right = scored(FINER, "SELECT name FROM item WHERE price >= 5 ORDER BY id", gold)
    near = [
        scored(FINER, wrong, gold)
        for wrong in (
            "SELECT name FROM item WHERE price > 4",
            "SELECT name FROM item WHERE price > 5 ORDER BY id",
            "SELECT name, id FROM item WHERE price > 4 ORDER BY id",
            "SELECT name FROM item ORDER BY id",
        )
    ]
    wrong = [value for value in near if value != right]  # an order that the rows have anyhow is no mistake
    assert wrong and right is not None and all(value is not None and value < right for value in wrong)


def leaving_out(scored: Scored) -> None:
    gold = "SELECT name FROM item WHERE price > 4 AND kind = 'a' ORDER BY name"
    less = "SELECT name FROM item WHERE price > 4"
    most = scored(r.atomic_f1(), less, gold)
    cautious = scored(r.atomic_f1(beta=3.0), less, gold)
    assert most is not None and cautious is not None and cautious < most < 1
    assert (scored(FINER, less, gold) or 0) < (scored(FINER, gold, gold) or 0)


def no_query(scored: Scored) -> None:
    for text in (
        "Let me see.",
        "DROP TABLE item",
        "PRAGMA table_info(item)",
        "SELECT 1; SELECT 2",
        "EXPLAIN SELECT 1",
    ):
        assert scored(r.executable(), text, "SELECT name FROM item") == 0, text


def the_gold_beside(scored: Scored) -> None:
    gold = "SELECT max(price) FROM item"
    for text in (
        f"SELECT name FROM item -- {gold}",
        f"SELECT name FROM item /* {gold} */",
        f"SELECT 1; {gold}",
    ):
        assert scored(MATCH, text, gold) == 0
    for text in (f"SELECT name FROM item -- {gold}", f"SELECT name FROM item /* {gold} */"):
        assert scored(r.atomic_f1(), text, gold) == scored(r.atomic_f1(), "SELECT name FROM item", gold)


def repeated_tags(scored: Scored) -> None:
    once = scored(FINER, "SELECT name FROM item", "SELECT name FROM item")
    tagged = "<answer>SELECT name FROM item</answer>" * 20
    with_more = scored(
        FINER, f"SELECT name FROM item</answer>{tagged}<answer>SELECT name FROM item", "SELECT name FROM item"
    )
    assert once is not None and with_more is not None and with_more <= once


def an_endless_query(scored: Scored) -> None:
    gold = "SELECT name FROM item"
    assert scored(FINER, ENDLESS, gold) == scored(FINER, "SELECT nothing FROM item", gold)


def chance(scored: Scored) -> None:
    assert scored(MATCH, "SELECT abs(random()) % 2 FROM item", "SELECT 1 FROM item") == 0
    assert scored(MATCH, "SELECT name FROM item", "SELECT name FROM item ORDER BY random() LIMIT 1") is None


HOLES: dict[str, Callable[[Scored], None] | str] = {
    "`SELECT 3` where the answer is 3": a_guess,
    "a wrong query that is right on this database": "test_neighbours.py::test_guesses_and_near_misses_match_no_longer",
    "empty result equals empty gold": an_empty_gold,
    "extra columns, duplicate names, sets instead of bags": bags_of_whole_rows,
    "partial credit above a right answer": partial_credit,
    "leaving clauses out to raise F1": leaving_out,
    'prose, `DROP`, `PRAGMA` counted as "executable"': no_query,
    "the gold in a comment, or in another statement": the_gold_beside,
    "copied reasoning above broken SQL": (
        "test_memory_reward.py::test_reasoning_above_sql_that_does_not_run_is_worth_nothing"
    ),
    "tags repeated for format points": repeated_tags,
    "a query that never ends": an_endless_query,
    "clock and random functions": chance,
}


def test_every_hole_of_the_page_is_tried() -> None:
    assert heads("docs/reward-hacking.md", "Reward hacking") == list(HOLES)
    for held in HOLES.values():
        if isinstance(held, str):
            file, _, name = held.partition("::")
            assert f"def {name}(" in (ROOT / "tests" / file).read_text()


@pytest.mark.parametrize("hole", [hole for hole, held in HOLES.items() if callable(held)])
def test_a_hole_is_closed(hole: str, scored: Scored) -> None:
    held = HOLES[hole]
    assert callable(held)
    held(scored)
