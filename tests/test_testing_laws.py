"""The laws hold for every shipped reward and preset.

What a reward claims is written down here: the structural laws bind all of them; a claim that is not listed is one
that the reward's docstring, or its nature, denies. Each law draws its examples once and every reward is held
against them; `-m slow` draws 1,000, in two processes. There one scorer observes for all rewards, so that a query runs
once and not once a reward; in the default tier each reward has a scorer of its own, which observes no more than it
asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.presets import PRESETS
from finer_rewards.reward import known_rewards
from finer_rewards.testing import LAWS, LawError, witnesses
from finer_rewards.testing.law_check import TEMPLATE
from finer_rewards.testing.laws import Bench
from finer_rewards.testing.small_databases import LIBRARY
from finer_rewards.testing.subjects import KnownThoughts, RewardSubject, SubjectCase, lenient_judge
from finer_rewards.types import Trial

STRUCTURAL = frozenset(name for name, law in LAWS.items() if not law.claimed)
CLAIMS = frozenset(LAWS) - STRUCTURAL
MEANING = frozenset(("spelling", "same_meaning"))
#: A measured time is another one every time.
TIMED = {"speed", "r_ves", "ves"}
#: Claims of rewards that stand alone; those of verdicts and of results hold whatever the text looks like.
REWARDS: dict[str, frozenset[str]] = {
    "execution_match": CLAIMS,
    "answer_match": MEANING | {"nothing_unrun"},
    "answer_coverage": MEANING | {"nothing_unrun"},
    "executable": MEANING | {"nothing_unrun"},
    "cell_precision": MEANING | {"nothing_unrun"},
    "cell_recall": MEANING | {"nothing_unrun"},
    "column_recall": MEANING | {"nothing_unrun"},
    "tuple_cardinality": MEANING | {"nothing_unrun"},
    "tuple_constraint": MEANING | {"nothing_unrun"},
    "soft_f1": MEANING | {"nothing_unrun"},
    "aligned_columns": MEANING | {"nothing_unrun"},
    "returns_rows": MEANING | {"nothing_unrun"},
    # The structure of a query is not what it does: another order of rows is another structure.
    "atomic_f1": frozenset(("right_above_wrong", "near_misses", "spelling")),
    "canonical_match": frozenset(("right_above_wrong", "near_misses", "spelling")),
    "tree_similarity": frozenset(("right_above_wrong", "near_misses", "spelling")),
    "schema_linking": frozenset(("spelling",)),
    "well_formed": MEANING,
}
#: Claims of presets, with the parameters under which they are made.
CLAIMING: dict[str, frozenset[str]] = {
    "finer()": CLAIMS,
    "execution_only()": CLAIMS,
    **{
        f"{name}(mode='strict')": CLAIMS
        for name in (
            *("agent_lightning", "arctic", "csc_sql", "excot", "mtir", "skyrl", "slm_sql", "star"),
            *("think2sql", "mars_sql", "serl_sql"),
        )
    },
    # Sets of rows: what BIRD's comparison calls equal is equal, however it is written.
    **{f"{name}()": MEANING | {"nothing_unrun"} for name in ("arctic", "excot", "star", "slm_sql", "mtir")},
}
TAGS = "<think>{thought}</think><answer>{sql}</answer>"
TEMPLATES = dict.fromkeys(("csc_sql", "slm_sql", "mtir", "sql_r1", "sql_r1_reference", "think2sql"), TAGS)
TEMPLATES |= dict.fromkeys(("skyrl", "skyrl_reference"), "<think>{thought}</think><solution>{sql}</solution>")
RANGES = {
    "well_formed": (0, 1),
    "constant": (1, 1),
    "speed": (0.0, 1.25),
    "tag_count": (0, 1),
    "repetitive": (0, 1),
}


def documented_range(name: str, text: str) -> tuple[float, float]:
    """Read the range a docstring promises: `Range [0, 4]`, `Range {-1, 0, 1}`, `in [0, 1]`."""
    if name in RANGES:
        return RANGES[name]
    unbounded = re.search(r"Range up to ([\d.]+),", text)
    if unbounded:
        return float("-inf"), float(unbounded[1])
    whole = re.search(r"Range \[([^,]+), ([^\]]+)\]", text) or re.search(r"in \[([^,]+), ([^\]]+)\]", text)
    if whole:
        return float(whole[1]), float(whole[2])
    values = re.search(r"(?:Range|in) \{([^}]+)\}", text)
    if values:
        numbers = [float(number) for number in values[1].split(",")]
        return min(numbers), max(numbers)
    if "Range from 0 up" in text:
        return 0, float("inf")
    assert re.match(r"1 (when|minus)", text), f"{name} documents no range"
    return 0, 1


def shipped() -> Iterator[tuple[str, fr.Reward, str, frozenset[str]]]:
    """Yield every shipped reward: name, itself, docstring, claims."""
    own = {
        name: make for name, make in known_rewards().items() if make.__module__.startswith("finer_rewards.")
    }
    for name in sorted(
        set(own) - {"gate", "total", "clip", "maximum", "staircase", "in_lost_groups", "each_call", "gain"}
    ):
        yield name, own[name](), own[name].__doc__ or "", REWARDS.get(name, frozenset())
    combined = {
        "gate": r.gate(condition=r.executable(), then=r.atomic_f1()),
        "total": 0.5 * r.executable() + 0.5 * r.atomic_f1(),
        "clip": r.clip(2 * r.execution_match() - 1),
        "staircase": r.staircase(r.execution_match()),
        "in_lost_groups": 0.5 * r.execution_match() + 0.5 * r.in_lost_groups(r.atomic_f1()),
        "maximum": r.maximum((r.execution_match(), 0.5 * r.executable())),
        "each_call": r.each_call(r.executable()),
        "gain": r.gain(r.cell_recall(empty="zero")),
    }
    for name, one in combined.items():
        yield name, one, "in [0, 1]", frozenset()
    for name, make in PRESETS.items():
        if f"{name}()" not in CLAIMING:
            yield name, make(), make.__doc__ or "", frozenset()
    for text, claims in CLAIMING.items():
        name = text.partition("(")[0]
        if name in PRESETS:
            yield name, fr.parse_reward(text), PRESETS[name].__doc__ or "", claims


Benches = list[tuple[Bench, frozenset[str]]]
#: What is observed of cases, without and with the seconds that it took.
Observe = Callable[[tuple[SubjectCase, ...]], list[tuple[fr.Evidence, fr.Evidence]]]


class Shared(RewardSubject):
    """A reward that scores what was observed for all of them; what is equal but for its seconds, once."""

    def __init__(self, reward: fr.Reward, observe: Observe) -> None:
        self.reward = reward
        self.name = repr(reward)
        self._observe = observe
        self._values: dict[fr.Evidence, float | None] = {}

    def score(self, cases: Sequence[SubjectCase]) -> list[float | None]:
        if len(self._values) > 20:
            self._values.clear()
        found = []
        for timeless, one in self._observe(tuple(cases)):
            if timeless not in self._values:
                self._values[timeless] = self.reward(one).value
            found.append(self._values[timeless])
        return found


def timeless(one: fr.Evidence) -> fr.Evidence:
    def stopped(run: fr.Execution) -> fr.Execution:
        return replace(run, seconds=0.0)

    def all_stopped(trials: Sequence[Trial]) -> tuple[Trial, ...]:
        return tuple(
            Trial(one.db, one.predicted and stopped(one.predicted), tuple(map(stopped, one.golds)))
            for one in trials
        )

    readings = {mode: all_stopped(trials) for mode, trials in one.readings.items()}
    trials = all_stopped(one.trials)
    return replace(one, trials=trials, predicted=None, gold=None, readings=readings)


def observing(rewards: Sequence[fr.Reward], executor: fr.SQLite) -> Observe:
    """Return what observes cases, for every reward at once; each batch of them once."""
    everything = rewards[0]
    for one in rewards[1:]:
        everything = everything + one
    scorer = fr.Scorer(everything, executor, memory=KnownThoughts(), judge=lenient_judge)

    @lru_cache(maxsize=16)
    def observe(cases: tuple[SubjectCase, ...]) -> list[tuple[fr.Evidence, fr.Evidence]]:
        samples = [fr.Sample(case.completion, case.gold, case.dbs, case.question) for case in cases]
        return [(timeless(one), one) for one in scorer.observe(samples)]

    return observe


@pytest.fixture(scope="module")
def witness_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("witnesses")
    return tuple(
        str(one.write(Path(folder, f"{number}.sqlite"))) for number, one in enumerate(witnesses(LIBRARY))
    )


@pytest.fixture(scope="module")
def executor() -> Iterator[fr.SQLite]:
    with fr.SQLite("/", timeout=10, workers=2) as made:
        yield made


def all_benches(files: tuple[str, ...], subject_of: Callable[[fr.Reward], RewardSubject]) -> Benches:
    made = []
    for name, one, text, claims in shipped():
        lo, hi = documented_range(name, text)
        bench = Bench(subject_of(one), lo, hi, TEMPLATES.get(name, TEMPLATE), LIBRARY, files)
        made.append((bench, (STRUCTURAL - ({"batch"} if name in TIMED else set())) | claims))
    return made


@pytest.fixture(scope="module")
def benches(witness_files: tuple[str, ...], executor: fr.SQLite) -> Benches:
    return all_benches(witness_files, lambda one: RewardSubject(one, executor=executor))


def hold(law: str, benches: Benches, examples: int) -> None:
    bound = [bench for bench, laws in benches if law in laws]
    assert bound
    broken: dict[str, str] = {}

    def check(example: Any) -> None:
        for bench in bound:
            if bench.subject.name not in broken:
                try:
                    LAWS[law].check(bench, example)
                except LawError as error:
                    broken[bench.subject.name] = str(error)

    drawn: Callable[..., Any] = given(LAWS[law].draw(bound[0]))(lambda example: check(example))
    settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(drawn)()
    assert not broken, "\n\n".join(broken.values())


@pytest.mark.parametrize("law", LAWS)
def test_laws_hold(law: str, benches: Benches) -> None:
    hold(law, benches, 3 if law == "batch" else 6)


def hold_with_one_observer(law: str, files: tuple[str, ...]) -> None:
    with fr.SQLite("/", timeout=30, workers=1) as executor:
        observe = observing([one for _, one, *_ in shipped()], executor)
        hold(law, all_benches(files, lambda one: Shared(one, observe)), 1000)


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, witness_files: tuple[str, ...]
) -> Iterator[dict[str, Future[None]]]:
    """What becomes of each law asked for; two processes work on them."""
    laws = [
        str(item.callspec.params["law"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_laws_hold_on_many_examples"
    ]
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        yield {law: pool.submit(hold_with_one_observer, law, witness_files) for law in laws}


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.parametrize("law", LAWS)
def test_laws_hold_on_many_examples(law: str, verdicts: dict[str, Future[None]]) -> None:
    verdicts[law].result()


def test_every_reward_and_preset_is_held_to_the_laws() -> None:
    names = {name for name, *_ in shipped()}
    own = {name for name, make in known_rewards().items() if make.__module__.startswith("finer_rewards.")}
    assert names == own | set(PRESETS)


def test_another_limit_is_another_tree() -> None:
    # The near misses found it: the literal of LIMIT and OFFSET was lost on the way into the tree.
    gold = "SELECT id FROM member ORDER BY id LIMIT 4 OFFSET 1"
    for sql in (gold.replace("4", "5"), gold.replace("OFFSET 1", "OFFSET 2")):
        value = r.tree_similarity()(fr.Evidence(fr.Sample(sql, gold, "x"), fr.Answer(None, sql))).value
        assert value is not None and value < 1
