# ruff: noqa: E501
"""Prose that a model wrote, unlike the templates of other tests: the same kind elsewhere before another kind at home.

The thoughts were written by a model for this file. The measure is that of `python -m benchmarks.memory real`, whose data
cannot be shipped.
"""

from __future__ import annotations

from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="the memory extra is not installed")

from benchmarks import memory_real  # noqa: E402
from finer_rewards.memory import HashingEmbedder, thought_embedder  # noqa: E402

WRITTEN = [
    # database, kind, question, thought, SQL
    ("library", "count+filter", "How many books did Le Guin write?", "Let me see. Books have an author column, so I only need those by 'Le Guin' and then how many there are. A single COUNT will do.", "SELECT COUNT(*) FROM book WHERE author = 'Le Guin'"),
    ("library", "order+limit", "Which book has the most pages?", "The longest book is wanted. Sorting the book table on pages, largest first, and keeping just the top row gives its title.", "SELECT title FROM book ORDER BY pages DESC LIMIT 1"),
    ("library", "group", "How many loans are there for each month?", "Loans carry a month. For each month I want a tally, so the loans get grouped by month and counted.", "SELECT month, COUNT(*) FROM loan GROUP BY month"),
    ("library", "join+filter", "What are the names of members who borrowed 'Emma'?", "Names sit in member, but who borrowed what is in loan, and titles are in book. I'd join all three on their ids and keep rows where the title is 'Emma'.", "SELECT m.name FROM member m JOIN loan l ON m.id = l.member_id JOIN book b ON b.id = l.book_id WHERE b.title = 'Emma'"),
    ("library", "nested: not in", "Which members have never borrowed a book?", "A member who never borrowed anything won't occur in loan. So: all members whose id is not in the member ids of loan.", "SELECT name FROM member WHERE id NOT IN (SELECT member_id FROM loan)"),
    ("library", "aggregate", "What is the average number of pages?", "Straightforward: the average over the pages column of book, no conditions attached.", "SELECT AVG(pages) FROM book"),
    ("clinic", "count+filter", "How many visits happened in 2021?", "Every visit has a year. Hmm, only 2021 matters here; filter on that, then count what remains.", "SELECT COUNT(*) FROM visit WHERE year = 2021"),
    ("clinic", "order+limit", "Who is the oldest patient?", "Oldest means the greatest age, so order patients by age descending and take the first one; only the name goes out.", "SELECT name FROM patient ORDER BY age DESC LIMIT 1"),
    ("clinic", "group", "Show the number of visits per doctor.", "Per doctor, so one row a doctor: group visit by doctor_id and put COUNT(*) beside it.", "SELECT doctor_id, COUNT(*) FROM visit GROUP BY doctor_id"),
    ("clinic", "join+filter", "List the doctors who treated Ann Lee.", "The doctor's name is in doctor and the patient's in patient, with visit linking the two. After joining them I restrict to the patient called 'Ann Lee'.", "SELECT d.name FROM doctor d JOIN visit v ON d.id = v.doctor_id JOIN patient p ON p.id = v.patient_id WHERE p.name = 'Ann Lee'"),
    ("clinic", "nested: not in", "Which doctors have no visits?", "Take the doctors and leave out those that show up in visit; a NOT IN over the doctor ids of visit does it.", "SELECT name FROM doctor WHERE id NOT IN (SELECT doctor_id FROM visit)"),
    ("clinic", "aggregate", "What is the mean fee of all visits?", "The fee column of visit averaged over everything. Nothing to filter or to group.", "SELECT AVG(fee) FROM visit"),
    ("racing", "count+filter", "How many races were held in Monza?", "The track of a race says where it was. I keep the ones at 'Monza' and count them.", "SELECT COUNT(*) FROM race WHERE track = 'Monza'"),
    ("racing", "order+limit", "Which driver has the highest number of points?", "Points are stored with the driver, so rank the drivers by points from high to low and cut after one.", "SELECT name FROM driver ORDER BY points DESC LIMIT 1"),
    ("racing", "group", "For each team, how many drivers does it have?", "Each team should come with how many drivers it has, thus grouping driver on team and a count.", "SELECT team, COUNT(*) FROM driver GROUP BY team"),
    ("racing", "join+filter", "Which drivers won in Spa?", "Winners: result holds driver_id and race_id and the place. Connect driver with result and race, then demand track 'Spa' and place 1.", "SELECT d.name FROM driver d JOIN result r ON d.id = r.driver_id JOIN race c ON c.id = r.race_id WHERE c.track = 'Spa' AND r.place = 1"),
    ("racing", "nested: not in", "Which drivers did not take part in any race?", "Drivers without any result. I select those whose id does not occur in the subquery of driver ids from result.", "SELECT name FROM driver WHERE id NOT IN (SELECT driver_id FROM result)"),
    ("racing", "aggregate", "What is the average of the points of drivers?", "AVG of points across the driver table is all that is asked.", "SELECT AVG(points) FROM driver"),
    ("garden", "count+filter", "How many plants are red?", "Colour is a plain column of plant; restrict it to 'red' and return how many rows that leaves.", "SELECT COUNT(*) FROM plant WHERE colour = 'red'"),
    ("garden", "order+limit", "What is the tallest plant?", "Highest height first, so sort by height descending, limit 1, and show the name.", "SELECT name FROM plant ORDER BY height DESC LIMIT 1"),
    ("garden", "group", "Give the count of plants in each bed.", "Beds are numbered in plant.bed. Grouping on it and counting gives the figure for each bed.", "SELECT bed, COUNT(*) FROM plant GROUP BY bed"),
    ("garden", "join+filter", "Which gardeners water the bed 'North'?", "Two tables: gardener for the names and bed for what they look after. Joined through gardener_id, filtered on the bed's name being 'North'.", "SELECT g.name FROM gardener g JOIN bed b ON g.id = b.gardener_id WHERE b.name = 'North'"),
    ("garden", "nested: not in", "Which gardeners have no bed?", "Those gardeners that no bed refers to: exclude every id found among the beds' gardener ids.", "SELECT name FROM gardener WHERE id NOT IN (SELECT gardener_id FROM bed)"),
    ("garden", "aggregate", "What is the average height of the plants?", "Just the mean height over all plants, one aggregate and no more.", "SELECT AVG(height) FROM plant"),
]  # fmt: skip


def test_the_same_kind_elsewhere_comes_before_another_kind_at_home() -> None:
    traces = [
        {
            "db_id": db,
            "kind": kind,
            "question": question,
            "thought": thought,
            "sql": sql,
            "model": "",
            "style": "",
        }
        for db, kind, question, thought, sql in WRITTEN
    ]
    found = {}
    for name, way, asked in memory_real.ways(HashingEmbedder()):
        made = memory_real.vectors(way, traces, asked=asked)
        found[name] = float(memory_real.kinds(made @ made.T, traces)["hard"].split()[0])
    raw, default = found["raw, as published"], found["masked, centred, with the question (default)"]
    assert default >= 0.9
    assert default >= found["masked, centred"] - 0.02
    assert raw <= 0.75


def test_what_is_usual_counts_for_little_and_what_is_not_spoken_of_counts_too() -> None:
    def products(*lines: list[int]) -> Any:
        held = np.array([[1, 0, 0]] * 50 + [[1, 1, 0]] * 5 + [[0, 0, 1]] * 5, dtype=float)
        made = thought_embedder.with_operations(
            np.ones((len(lines), 2), dtype=np.float32),
            np.array(lines) - thought_embedder.operation_rates(held),
        )
        return made @ made.T

    shared_usual, shared_rare = products([1, 0, 0], [1, 1, 0])[0, 1], products([0, 1, 0], [1, 1, 0])[0, 1]
    assert shared_rare > shared_usual
    assert products([0, 0, 0], [0, 0, 0])[0, 1] == pytest.approx(1, abs=1e-3)
    assert products([0, 0, 0], [1, 0, 0])[0, 1] < products([0, 0, 0], [0, 0, 0])[0, 1]


def test_a_thought_about_nothing_stays_so_with_its_question() -> None:
    assert not thought_embedder.with_operations(
        np.zeros((1, 4), dtype=np.float32), np.array([[0.9, -0.1]])
    ).any()


def test_the_split_is_what_the_results_say() -> None:
    assert memory_real.chooses("pets_1")
    assert not memory_real.chooses("world_1")
    assert memory_real.auc(np.array([3.0, 1.0]), np.array([2.0])) == 0.5
