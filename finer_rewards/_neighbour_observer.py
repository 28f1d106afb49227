"""Observing predictions on neighbours, for `Scorer.observe`: a match has to hold on these small siblings, too.

Only samples for which it can change the score are run there: those that match on the database itself, and those whose
gold is empty.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from finer_rewards._trials import run_trials
from finer_rewards._util.sql_text import folded
from finer_rewards.errors import ConfigError
from finer_rewards.executing.protocol import Executor
from finer_rewards.executing.siblings import Siblings
from finer_rewards.reward import Reward
from finer_rewards.types import Answer, Evidence, Neighbourhood, Sample, Score, Status

# `_neighbours` is imported where it is used: it needs sqlglot, which takes longer to import than all else.

Neighbours = int | str | os.PathLike[str] | tuple[int, str | os.PathLike[str]] | None
# How many neighbours of a database are used by default.
_MOST = 8


class NeighbourObserver:
    """Adds to evidence what happens on neighbours.

    Args:
        reward: the reward; its parts say whether neighbours count for them.
        executor: runs SQL.
        neighbours: as `Scorer` takes it.

    Raises:
        ConfigError: the user asks for neighbours, and this executor cannot have them.
    """

    def __init__(self, reward: Reward, executor: Executor | None, neighbours: Neighbours) -> None:
        self.asked = neighbours is not None and neighbours != 0
        self.most, self.folder = _read(neighbours)
        wanted = {"neighbours", "neighbours:asked"} if self.asked else {"neighbours"}
        self.leaves = [leaf for leaf in reward.leaves() if wanted & leaf.needs] if self.most else []
        needs = {need for leaf in self.leaves for need in leaf.needs}
        self.rewritings = tuple(sorted(need[3:] for need in needs if need.startswith("as:")))
        self._modes = reward.compared_under()
        self._executor = executor
        self._had = False
        if self.leaves and not _may_have_neighbours(executor):
            if self.asked:
                raise ConfigError(
                    "`Scorer(neighbours=...)` should stand beside an executor of SQLite databases, "
                    f"but got {executor!r:.80}. Pass neighbours=0."
                )
            self.leaves = []

    def describe(self) -> Mapping[str, object] | None:
        """Return what decides which neighbours are used, for the signature; `None` when none are."""
        if not self.leaves or self._executor is None:
            return None
        from finer_rewards._neighbours import neighbours_digest

        return {"most": self.most, "digest": neighbours_digest(self._executor, self.folder)}

    def observe(self, evidence: Sequence[Evidence]) -> None:
        """Add to evidence that is new what happens on neighbours, where that can matter."""
        if not self.leaves or self._executor is None:
            return
        alone = [{leaf: leaf(one) for leaf in self.leaves} for one in evidence]
        # Index of each sample that matters -> whether its prediction runs on neighbours. If not, only its golds run, to
        # see whether these are empty everywhere.
        runs = {
            index: run
            for index, (one, scores) in enumerate(zip(evidence, alone, strict=True))
            if (run := _matters(one, scores.values())) is not None
        }
        for index, scores in enumerate(alone):
            if index not in runs:
                evidence[index].learn(scores)
        if not runs:
            return
        siblings = self._siblings([evidence[index].sample for index in runs])
        groups: dict[tuple[str, Hashable, str], list[int]] = {}
        for index, run in runs.items():
            one = evidence[index]
            # Many completions of a group differ only in case or spaces, which the engine ignores; one of them is run
            # for all. (Published modes also compare column names, so there the text counts as it is.)
            text = self._text(one.answer.sql or "") if run else ""
            groups.setdefault((one.sample.dbs[0], one.sample.gold, text), []).append(index)
        for run in (True, False):
            some = {key: same for key, same in groups.items() if runs[same[0]] is run}
            leaders = [(evidence[same[0]], text) for (_, _, text), same in some.items()]
            found = self._observed(leaders, siblings, run)
            for same, neighbourhood in zip(some.values(), found, strict=True):
                self._settle(evidence, alone, same, neighbourhood)

    def _settle(
        self,
        evidence: Sequence[Evidence],
        alone: Sequence[Mapping[Reward, Score]],
        same: Sequence[int],
        neighbourhood: Neighbourhood,
    ) -> None:
        """Give the same neighbourhood to samples with equal predictions, and score it once for all.

        Args:
            evidence: the evidence of the batch, to which this is added.
            alone: the scores of each sample's leaves without neighbours.
            same: the indices of the samples; the first one is scored with neighbours.
            neighbourhood: what happened on neighbours.
        """
        leader = evidence[same[0]]
        for index in same:
            one = evidence[index]
            one.look_beside(neighbourhood)
            alike = [leaf for leaf in self.leaves if alone[index][leaf] == alone[same[0]][leaf]]
            one.learn({leaf: leaf(one) if one is leader else leader.known[leaf] for leaf in alike})

    def _text(self, sql: str) -> str:
        """Return the statement without what the engine does not look at; names count where published modes do."""
        return sql if self.asked else folded(sql)

    def _observed(
        self,
        leaders: Sequence[tuple[Evidence, str]],
        siblings: Mapping[tuple[str, str], Siblings],
        run: bool,
    ) -> list[Neighbourhood]:
        """Return what happens on the neighbours of each; only the golds run there unless `run`."""
        assert self._executor is not None
        beside: dict[Hashable, tuple[Sample, str]] = {}
        pairs: list[tuple[Sample, Answer]] = []
        places: list[list[int | None]] = []
        errors = [_error(one.sample, siblings) for one, _ in leaders]
        for (one, text), error in zip(leaders, errors, strict=True):
            mine: list[int | None] = []
            for gold in one.sample.golds:
                dbs = siblings[one.sample.dbs[0], gold].dbs
                mine.append(len(pairs) if dbs and not error else None)
                if dbs and not error:
                    # A group shares it, for what runs is the answer's statement, not the sample's.
                    key = (gold, dbs, one.sample.question)
                    if key not in beside:
                        beside[key] = replace(one.sample, gold=gold, db=dbs), self._text(gold)
                    there, golds_text = beside[key]
                    pairs.append((there, Answer(None, gold) if text == golds_text else one.answer))
            places.append(mine)
        readings = run_trials(
            self._executor,
            pairs,
            self.rewritings,
            predicted=run,
            gold=True,
            modes=self._modes,
            at_once=True,
        )
        return [
            Neighbourhood({}, self.asked, Status.neighbours_lost, error)
            if error
            else Neighbourhood(
                {
                    rewriting: tuple(() if place is None else trials[place] for place in mine)
                    for rewriting, trials in readings.items()
                },
                self.asked,
            )
            for mine, error in zip(places, errors, strict=True)
        ]

    def build(
        self, asked: Sequence[tuple[str, str]], on_step: Callable[[int], None] | None = None
    ) -> int | None:
        """Build neighbours for pairs (database, gold); return how many have some, `None` if neighbours do not count."""
        if not self.leaves or self._executor is None:
            return None
        return sum(bool(one.dbs) for one in self._had_all(asked, on_step).values()) if asked else 0

    def _siblings(self, samples: Sequence[Sample]) -> dict[tuple[str, str], Siblings]:
        return self._had_all(
            list(dict.fromkeys((sample.dbs[0], gold) for sample in samples for gold in sample.golds))
        )

    def _had_all(
        self, asked: Sequence[tuple[str, str]], on_step: Callable[[int], None] | None = None
    ) -> dict[tuple[str, str], Siblings]:
        assert self._executor is not None
        from finer_rewards._neighbours import find_siblings

        found = find_siblings(self._executor, asked, most=self.most, folder=self.folder, on_step=on_step)
        error = next((one.error for one in found if one.error), "")
        # If neighbours were there before, the run goes on with them, and samples that lack them are left unscored;
        # otherwise the meaning of the scores would change in the middle of a run.
        if error and not self._had:
            if self.asked:
                raise ConfigError(error)
            warnings.warn(
                f"Matches are not tried on neighbours, so that a lucky guess counts as right. {error} "
                "Pass neighbours=0 to do without.",
                RuntimeWarning,
                stacklevel=5,
            )
            self.leaves = []
            return dict.fromkeys(asked, Siblings())
        self._had = True
        return dict(zip(asked, found, strict=True))


def _matters(evidence: Evidence, alone: Iterable[Score]) -> bool | None:
    """Return whether the prediction has to run on neighbours; `None` when neighbours cannot change its score."""
    sample = evidence.sample
    if len(sample.dbs) > 1 or sample.answer is not None or not sample.golds:
        return None
    if any(score.value == 1.0 for score in alone):
        return True
    if any(score.status is Status.gold_empty for score in alone):
        predicted = evidence.predicted
        return predicted is not None and predicted.ok and not predicted.rows
    return None


def _error(sample: Sample, siblings: Mapping[tuple[str, str], Siblings]) -> str:
    return next((found.error for gold in sample.golds if (found := siblings[sample.dbs[0], gold]).error), "")


def _read(neighbours: Neighbours) -> tuple[int, str | None]:
    """Return how many neighbours to use at most, and the user's folder with them, if any."""
    if neighbours is None:
        return _MOST, None
    if isinstance(neighbours, int) and not isinstance(neighbours, bool) and neighbours >= 0:
        return neighbours, None
    most, folder = neighbours if isinstance(neighbours, tuple) else (_MOST, neighbours)
    if isinstance(folder, (str, os.PathLike)) and Path(folder).is_dir():
        return most, os.fspath(folder)
    raise ConfigError(
        f"`Scorer(neighbours=...)` should be a whole number from 0 up, or a folder that has neighbours, "
        f"but got {neighbours!r:.80}. Build them: finer-rewards testsuite build -o FOLDER."
    )


def _may_have_neighbours(executor: Executor | None) -> bool:
    from finer_rewards._neighbours import has_siblings

    return has_siblings(executor)
