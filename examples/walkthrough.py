"""From a Spider folder to a reward curve, cell by cell.

Each `# %%` is a cell: open the file in VS Code, or with jupytext as a notebook, or run it with
`python examples/walkthrough.py`. Instead of a model, a small "policy" picks among written queries and gets better; all
else is what a real run does. Needs `pip install "finer-rewards[report]"`.
"""

# %%
from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import finer_rewards as fr
from finer_rewards.cli import main as finer_rewards
from finer_rewards.parsing import completion_text

HERE = Path(__file__).parent if "__file__" in globals() else Path("examples")
DESK = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="walkthrough-"))

# %% [markdown]
# ## The data: a folder as Spider unpacks

# %%
TRIES = {
    "How many ferries are there?": ["SELECT COUNT(*) FROM ferry", "SELECT MAX(id) FROM trip", "SELECT 3"],
    "Which ferry has the most seats?": [
        "SELECT name FROM ferry ORDER BY seats DESC LIMIT 1",
        "SELECT name FROM ferry ORDER BY seats LIMIT 1",
        "SELECT MAX(seats) FROM ferry",
    ],
    "How many passengers did each ferry carry?": [
        "SELECT f.name, SUM(t.passengers) FROM ferry AS f JOIN trip AS t ON t.ferry_id = f.id GROUP BY f.id",
        "SELECT f.name, COUNT(*) FROM ferry AS f JOIN trip AS t ON t.ferry_id = f.id GROUP BY f.id",
        "SELECT f.name, SUM(t.passenger) FROM ferry AS f JOIN trip AS t ON t.ferry_id = f.id GROUP BY f.id",
    ],
    "Which ferries are older than time?": [
        "SELECT name FROM ferry WHERE built < 0"
    ],  # an empty gold proves nothing
}
spider = DESK / "spider"
(spider / "database" / "ferries").mkdir(parents=True, exist_ok=True)
shutil.copy(HERE / "ferries" / "ferries.sqlite", spider / "database" / "ferries" / "ferries.sqlite")
questions = [{"db_id": "ferries", "question": text, "query": tries[0]} for text, tries in TRIES.items()]
(spider / "train_spider.json").write_text(json.dumps(questions))

# %% [markdown]
# ## Audit the gold, build neighbours, write rows for the trainer

# %%
finer_rewards(["check", str(spider)])
finer_rewards(["prepare", str(spider), "--to", "trl", "-o", str(DESK / "rows"), "--max-prompt", "6000"])
rows = [json.loads(line) for line in (DESK / "rows" / "train.jsonl").read_text().splitlines()]
print(completion_text(rows[0]["prompt"])[:600])
golds = "".join(f"{tries[0]}\tferries\n" for tries in list(TRIES.values())[:3])
(DESK / "gold.sql").write_text(golds)
finer_rewards(["testsuite", "build", "--db", str(spider / "database"), "--gold", str(DESK / "gold.sql")])

# %% [markdown]
# ## "Train": every step, a group of completions a prompt is scored and logged

# %%
reward = fr.presets.finer(memory=False)
draw = random.Random(0)
log = DESK / "scores.jsonl"
with fr.Scorer(reward, fr.SQLite(spider / "database", timeout=5), neighbours=4, log=log) as scorer:
    for step in range(30):
        samples = []
        for row in rows:
            question = row["question"]
            for _ in range(8):
                tries = TRIES[question]
                sql = tries[0] if draw.random() < 0.2 + 0.025 * step else draw.choice(tries[1:])
                thought = f"The question is: {question} I look for the table that holds what is asked, join what it "
                thought += "needs, and keep to the columns that were asked for."
                samples.append(
                    fr.Sample(f"<think>\n{thought}\n</think>\n{sql}", row["gold_sql"], row["db_id"], question)
                )
        scores = scorer.score(samples, step=step)
        if step % 10 == 9:
            values = [score.value for score in scores if score.value is not None]
            print(f"step {step}: mean {sum(values) / len(values):.2f} of {len(values)} scored")

# %% [markdown]
# ## Look: the curves, and one completion

# %%
print(scores[-1].explain())
finer_rewards(["report", str(log), "-o", str(DESK / "report.html")])
print(f"open {DESK / 'report.html'}")
