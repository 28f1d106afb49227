"""Golden scores: none may move unless `SCORES` is raised.

Rewrite the file after raising `SCORES` and noting the reason in the changelog under *Scores*:

    python tests/test_golden.py
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from pathlib import Path

from forms import bad, good

import finer_rewards as fr
from finer_rewards._signature import SCORES

FILE = Path(__file__).parent / "golden" / "scores.json"
SCRIPT = """
CREATE TABLE ferry (id INTEGER PRIMARY KEY, name TEXT NOT NULL, seats INTEGER, built INTEGER);
CREATE TABLE trip (id INTEGER PRIMARY KEY, ferry_id INTEGER NOT NULL REFERENCES ferry (id), day TEXT, pax REAL);
INSERT INTO ferry VALUES (1, 'Alba', 300, 1998), (2, 'Bore', 120, NULL), (3, 'Cecilia', 300, 2010);
INSERT INTO trip VALUES
  (1, 1, '2024-05-01', 80), (2, 1, '2024-05-02', 75.5), (3, 2, '2024-05-02', 40), (4, 3, NULL, 12);
"""
THOUGHT = (
    "<think>The question asks for ferries, so the table ferry is read; the column seats says how many people fit on "
    "board, and trips are joined by ferry_id where passengers are needed.</think>"
)
GOLDS = {
    "names": "SELECT name FROM ferry WHERE seats >= 200",
    "ordered": "SELECT name, seats FROM ferry ORDER BY seats DESC, name",
    "joined": "SELECT f.name, SUM(t.pax) FROM ferry f JOIN trip t ON t.ferry_id = f.id GROUP BY f.id",
    "count": "SELECT COUNT(*) FROM trip WHERE day IS NOT NULL",
    "empty": "SELECT name FROM ferry WHERE seats > 1000",
    "tie": "SELECT name FROM ferry ORDER BY seats DESC LIMIT 1",
    "broken": "SELECT nome FROM ferry",
}
PREDICTED = {
    "right": {
        "names": "SELECT name FROM ferry WHERE NOT seats < 200",
        "ordered": "SELECT seats, name FROM ferry ORDER BY 1 DESC, 2",
        "joined": "SELECT name, total FROM ferry JOIN "
        "(SELECT ferry_id, SUM(pax) AS total FROM trip GROUP BY 1) ON id = ferry_id",
        "count": "SELECT COUNT(day) FROM trip",
        "empty": "SELECT name FROM ferry WHERE 1000 < seats",
        "tie": "SELECT name FROM ferry WHERE seats = (SELECT MAX(seats) FROM ferry) LIMIT 1",
        "broken": "SELECT name FROM ferry",
    },
    "near": {
        "names": "SELECT name FROM ferry WHERE seats > 300",
        "ordered": "SELECT name, seats FROM ferry ORDER BY seats, name",
        "joined": "SELECT f.name, AVG(t.pax) FROM ferry f JOIN trip t ON t.ferry_id = f.id GROUP BY f.id",
        "count": "SELECT COUNT(*) FROM trip",
        "empty": "SELECT name FROM ferry",
        "tie": "SELECT name FROM ferry ORDER BY seats LIMIT 1",
        "broken": "SELECT nome FROM ferry",
    },
}
FIXED = ("SELECT 3", "SELECT nope FROM ferry", "I do not know.", "DELETE FROM ferry", "")
REWARDS = (
    "execution_match()",
    "execution_match(mode='lenient')",
    "execution_match(mode='bird')",
    "execution_match(mode='test_suite')",
    "execution_match(empty='zero', ambiguous='accept')",
    "executable()",
    "well_formed()",
    "atomic_f1()",
    "atomic_f1(metric='jaccard', shape=(0.05, 0.79, 0.2))",
    "atomic_reference()",
    "canonical_match()",
    "soft_f1()",
    "finer(memory=False)",
    "arctic()",
    "skyrl()",
    "csc_sql()",
    "sql_r1()",
)

FORM_REWARDS = ("execution_match()", "well_formed()", "finer(memory=False)")


def computed() -> dict[str, dict[str, float | None]]:
    """Return the value of each reward for each case."""
    found: dict[str, dict[str, float | None]] = {}
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder, "ferries.sqlite"))
        connection.executescript(SCRIPT)
        connection.close()
        samples = {}
        for name, gold in GOLDS.items():
            texts = {kind: predicted[name] for kind, predicted in PREDICTED.items()}
            texts |= {f"fixed {index}": text for index, text in enumerate(FIXED)}
            for kind, text in texts.items():
                samples[f"{name}: {kind}"] = fr.Sample(THOUGHT + text, gold, "ferries")
        formed = {
            f"form: {name}": fr.Sample(text, GOLDS["names"], "ferries")
            for forms in (good, bad)
            for name, text in forms(PREDICTED["right"]["names"]).items()
        }
        with fr.SQLite(folder) as executor:
            for reward in REWARDS:
                cases = {**samples, **(formed if reward in FORM_REWARDS else {})}
                scores = fr.Scorer(reward, executor, neighbours=0).score(cases.values())
                found[reward] = {
                    case: None if score.value is None else round(score.value, 6)
                    for case, score in zip(cases, scores, strict=True)
                }
    return found


def test_no_golden_score_has_moved() -> None:
    golden = json.loads(FILE.read_text(encoding="utf-8"))
    assert golden["SCORES"] == SCORES, (
        "SCORES was raised: run `python tests/test_golden.py`, and say why in the changelog"
    )
    moved = [
        f"{reward} | {case}: {golden['values'][reward].get(case)} -> {value}"
        for reward, values in computed().items()
        for case, value in values.items()
        if reward in golden["values"] and golden["values"][reward].get(case, "new") != value
    ]
    assert not moved, "scores moved; raise SCORES and say why under *Scores*:\n" + "\n".join(moved)
    assert set(golden["values"]) == set(REWARDS), (
        "a reward without golden scores: run `python tests/test_golden.py`"
    )


def test_every_form_that_models_write_is_read_and_what_is_none_gets_the_least() -> None:
    values = json.loads(FILE.read_text(encoding="utf-8"))["values"]["finer(memory=False)"]
    assert {values[f"form: {name}"] for name in good("SELECT 1")} == {4}
    assert {values[f"form: {name}"] for name in bad("SELECT 1")} == {0}


if __name__ == "__main__":
    FILE.write_text(json.dumps({"SCORES": SCORES, "values": computed()}, indent=1) + "\n", encoding="utf-8")
