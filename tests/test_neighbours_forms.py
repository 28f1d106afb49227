"""What all values of a column promise holds on neighbours too, and right queries that rest on it are not refused."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards._neighbours.forms import Form, form_of, moved

days = st.dates().map(lambda day: day.isoformat())
numbers = st.lists(st.integers(-5, 50), min_size=1, unique=True)


@given(st.lists(days, min_size=2, unique=True), days)
def test_days_stay_days(values, other):
    form = form_of(values)
    assert form.dates and form.fitted(other) == (other,)
    for wrong in (
        other + "s",
        "New " + other,
        other.replace("-", "/"),
        7,
        other + " 10:00:00",
        other[:8] + "32",
    ):
        assert not any(not form.takes(one) for one in form.fitted(wrong))
        assert not form.takes(wrong)


@given(st.integers(1, 9999), st.integers(1, 12))
def test_a_year_or_a_month_is_its_first_and_its_last_day(year, month):
    form = Form(dates=("2020-01-01 08:00:00", "2020-01-01 21:30:00"))
    first, last = f"{year:04}-{month:02}-01", form.fitted(f"{year:04}-{month:02}")[-1]
    assert form.fitted(f"{year:04}-{month:02}")[0] == f"{first} 08:00:00"
    assert isinstance(last, str) and last.endswith(" 21:30:00")
    following = moved(last[:10], 1)
    assert following is None or following[8:] == "01"
    assert form.fitted(f"{year:04}") == tuple(
        f"{year:04}-{day} {time}" for day in ("01-01", "12-31") for time in ("08:00:00", "21:30:00")
    )


@given(numbers, st.integers(-100, 100))
def test_numbers_are_negative_only_where_some_are(values, other):
    form = form_of(values)
    if set(values) == {0, 1}:
        assert form.takes(other) == (other in (0, 1))
    else:
        assert form.takes(other) == (other >= 0 or min(values) < 0)
        assert form.fitted(str(other)) == ((other,) if form.takes(other) else ())
    assert not form.takes("ten") and form.fitted("ten") == ()


@given(st.lists(st.text(), unique=True))
def test_other_text_promises_nothing(values):
    if not form_of(values).flags and not form_of(values).dates:
        assert all(form_of(values).takes(one) for one in ("", "x", 3, -1, b"y"))


@pytest.mark.parametrize(
    ("text", "step", "then"),
    [
        ("2020-01-01", -1, "2019-12-31"),
        ("2020-02-28", 1, "2020-02-29"),
        ("2020-01-01 00:00:00", -1, "2019-12-31 23:59:59"),
        ("2020-01-01T00:00:59", 1, "2020-01-01T00:01:00"),
        ("9999-12-31", 1, None),
        ("2020-13-01", 1, None),
        ("2020", 1, None),
    ],
)
def test_the_next_day_is_one_of_the_calendar(text, step, then):
    assert moved(text, step) == then


SCRIPT = """
CREATE TABLE visit(id INTEGER PRIMARY KEY, guest TEXT, came TEXT, at TEXT, paid INTEGER, nights INTEGER, cost REAL);
INSERT INTO visit VALUES
 (1,'Ann','2019-12-30','2020-03-01 09:00:00',1,0,10.5),(2,'Bo','2020-02-11','2020-03-31 21:30:00',0,3,20.25),
 (3,'Cy','2020-12-31','2020-04-01 00:00:00',1,2,7.75),(4,'Di','2021-01-01','2020-02-29 23:10:00',1,0,31.0),
 (5,'Ed','2018-06-17','2020-03-15 12:00:00',0,1,55.5),(6,'Flo','2020-07-04','2021-03-08 18:45:00',0,5,12.0);
"""


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    root = tmp_path_factory.mktemp("forms")
    (root / "inn").mkdir()
    with sqlite3.connect(root / "inn" / "inn.sqlite") as connection:
        connection.executescript(SCRIPT)
    connection.close()
    with fr.Scorer(r.execution_match(), fr.SQLite(root)) as found:
        yield found


@pytest.mark.parametrize(
    ("gold", "predictions"),
    [
        (
            "SELECT guest FROM visit WHERE strftime('%Y', came) = '2020'",
            [
                "came LIKE '2020%'",
                "came BETWEEN '2020-01-01' AND '2020-12-31'",
                "CAST(substr(came, 1, 4) AS INT) = 2020",
            ],
        ),
        (
            "SELECT guest FROM visit WHERE came >= '2020-01-01'",
            ["came > '2019-12-31'", "strftime('%Y', came) > '2019'", "date(came) >= date('2020-01-01')"],
        ),
        (
            "SELECT guest FROM visit WHERE strftime('%Y-%m', at) = '2020-03'",
            ["at LIKE '2020-03-%'", "at >= '2020-03-01' AND at < '2020-04-01'"],
        ),
        ("SELECT guest FROM visit WHERE paid = 1", ["paid", "paid <> 0", "paid > 0", "NOT paid = 0"]),
        ("SELECT guest FROM visit WHERE nights > 0", ["nights <> 0", "nights >= 1", "NOT nights = 0"]),
    ],
)
def test_a_query_may_rest_on_what_the_data_promises(scorer, gold, predictions):
    start = gold[: gold.index("WHERE") + 6]
    for score in scorer.score([fr.Sample(start + one, gold=gold, db="inn") for one in predictions]):
        assert score.value == 1, score.reason


@pytest.mark.parametrize(
    ("gold", "prediction"),
    [
        (
            "SELECT guest FROM visit WHERE strftime('%Y-%m', at) = '2020-03'",
            "SELECT guest FROM visit WHERE at BETWEEN '2020-03-01' AND '2020-03-31'",
        ),
        (
            "SELECT guest FROM visit WHERE came >= '2020-01-01'",
            "SELECT guest FROM visit WHERE came > '2020-01-01'",
        ),
        ("SELECT guest FROM visit WHERE nights > 0", "SELECT guest FROM visit WHERE nights > 1"),
    ],
)
def test_near_misses_are_still_told(scorer, gold, prediction):
    assert scorer.score_one(fr.Sample(prediction, gold=gold, db="inn")).value == 0


def test_the_second_may_be_counted_by_rows_or_by_values(scorer):
    gold = "SELECT guest FROM visit ORDER BY cost DESC LIMIT 1 OFFSET 1"
    by_values = (
        "SELECT guest FROM (SELECT guest, DENSE_RANK() OVER (ORDER BY cost DESC) AS n FROM visit) WHERE n = 2"
    )
    assert scorer.score_one(fr.Sample(by_values, gold=gold, db="inn")).value == 1
    first = "SELECT guest FROM visit ORDER BY cost DESC LIMIT 1"
    assert scorer.score_one(fr.Sample(first, gold=gold, db="inn")).value == 0
