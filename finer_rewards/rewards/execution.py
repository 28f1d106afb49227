"""Rewards that look at what the predicted SQL did: does it run, and is its result the gold's?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

from finer_rewards._util.sql_text import normalise
from finer_rewards.comparing import Mode, canonical_mode, compare, find_mode
from finer_rewards.comparing.choices import compare_with_choices
from finer_rewards.comparing.partial_results import ResultPair, needs_rows, settled
from finer_rewards.comparing.result import Settled, swapped
from finer_rewards.comparing.rules import find_rule
from finer_rewards.comparing.statements import shows_constants
from finer_rewards.reward import reward
from finer_rewards.types import Choices, Evidence, Execution, Score, Status, Trial, unscored

Empty = Literal["mask", "zero", "accept"]
Ambiguous = Literal["mask", "choices", "accept"]


@reward(needs={"predicted"}, compares=lambda **_: ())
def executable(evidence: Evidence, *, require_base_table: bool = False) -> Score:
    """1 when the predicted SQL returned a result on every database, else 0.

    A result cut at the row limit counts: the query did run. Text that is not a query, a statement that
    writes and a time-out do not.

    Args:
        require_base_table: a query that reads no base table (`SELECT 1`) does not count either.

    Example:
        >>> executable()
        executable()

    References:
        Ma et al., SQL-R1, 2025, section 3 (execution reward); Yao et al., Arctic-Text2SQL-R1, 2025.
    """
    if not evidence.trials:
        return did_not_run(None)
    for trial in evidence.trials:
        if trial.predicted is None or not trial.predicted.ok:
            return did_not_run(trial.predicted)
        if require_base_table and trial.predicted.tables is not None and not trial.predicted.tables:
            return Score(0.0, "it runs, but reads no base table")
    return Score(1.0, "it runs")


def _match_compares(mode: str | Mode, truncated: str | None, **_: object) -> tuple[Mode, ...] | None:
    record = find_mode(mode)
    return None if truncated == "accept" or needs_rows(record) else (record,)


def _match_needs(mode: str | Mode, **_: object) -> Iterable[str]:
    record = find_mode(mode)
    # Where only rewritten statements count, a gold that fails as it was written is none the worse.
    if record.rewriting == "none" or record.as_written:
        yield "execution"
    if record.rewriting != "none":
        yield f"as:{record.rewriting}"
    yield "neighbours" if record.require_base_table else "neighbours:asked"


def _check_match(mode: str | Mode, **_: object) -> dict[str, str | Mode]:
    return {"mode": canonical_mode(mode)}


@reward(needs={"predicted"})
def returns_rows(evidence: Evidence) -> Score:
    """1 when the predicted SQL returned at least one row on every database, else 0.

    Known to pay for: any query with rows, so `SELECT 1`.

    Example:
        >>> returns_rows()
        returns_rows()

    References:
        ReToolSQL, arXiv 2608.27796, 2026, pays 0.1 for it (second-hand).
    """
    for trial in evidence.trials:
        if trial.predicted is None or not trial.predicted.ok:
            return did_not_run(trial.predicted)
    return Score(
        float(bool(evidence.trials) and all(one.predicted.rows for one in evidence.trials if one.predicted))
    )


@reward(needs=_match_needs, check=_check_match, compares=_match_compares)
def execution_match(
    evidence: Evidence,
    mode: str | Mode = "answer",
    *,
    require_base_table: bool | None = None,
    empty: Empty | None = None,
    deterministic: bool | None = None,
    truncated: Literal["zero", "accept"] | None = None,
    ambiguous: Ambiguous | None = None,
    swapped_columns: Literal["zero", "accept"] | None = None,
) -> Score:
    r"""1 when the predicted result equals the gold result on every database, else 0.

    Formula: max over golds g of min over databases d of [p(d) ≡ g(d)], with ≡ the comparison of the mode.

    What matches has to match on the neighbours of the database too, where the scorer has them (see `Scorer`): for
    published modes only where they were asked for. The score then has the metric `lucky`, 1 for a match that
    neighbours refuse. An empty gold is judged where some neighbour has rows for it.

    `None` for a parameter means what the mode says. Our own modes guard against being cheated, and so does a mode
    of yours unless it says otherwise; the published modes compare and do no more.

    Args:
        mode: how results are compared: a name (`finer-rewards modes` lists them), or a `Mode` of your own.
        require_base_table: a query that reads no base table does not match, nor one that shows nothing but
            constants where the gold does not. answer: true.
        empty: what an empty gold result means: `mask` gives no value, `zero` no match, `accept`
            compares like any other. answer: `mask`. With several databases a gold is empty when it is so on all.
        deterministic: a query that draws random numbers does not match, nor one that reads the clock
            where the gold does not; a random gold gives no value. answer: true.
        truncated: what a result longer than the row limit means. Left out, it is compared as a whole all the same,
            where its rows are; where another limit cuts off rows that decide, there is no value. `zero`: such a
            prediction never matches and such a gold gives no value; `accept`: the rows up to the limit are compared.
        ambiguous: what a gold means of which several results are right, as when its LIMIT cuts through a tie:
            `mask` gives no value; `choices`, each of them matches, and what may or may not be one has no value;
            `accept` compares with the one that came. answer: `choices`; strict: `mask`.
        swapped_columns: where the mode permits another order of columns: `zero`, two columns that share
            half of their values may not trade places, for only their order tells which is which (winner,
            loser). answer: `zero`.

    Returns:
        1 or 0; `None` when no gold can be used.

    Raises:
        ConfigError: there is no such mode.

    Example:
        >>> execution_match(mode="bird")
        execution_match(mode='bird')

    References:
        Zhong, Yu, Klein, Semantic Evaluation for Text-to-SQL with Distilled Test Suites, 2020;
        Li et al., BIRD, 2023, section 5 (EX).
    """
    record = find_mode(mode)
    # A mode that guards against guesses guards against the rest too.
    guarded = record.require_base_table
    guards = _Guards(
        _rule(require_base_table, guarded),
        empty or record.empty_gold,
        _rule(deterministic, guarded),
        truncated,
        ambiguous or record.ties,
        (swapped_columns or record.swapped_columns) == "accept",
    )
    if truncated == "accept" and "accept_truncated" in find_rule(record.rule).reads:
        record = replace(record, accept_truncated=True)
    judge = _Judge(evidence, record, guards)
    score = judge.verdict(record.rewriting)
    if score.value != 1 and record.as_written and record.rewriting != "none":
        as_written = judge.verdict("none")
        # A match either way counts, and what cannot be judged either way leaves it open.
        return as_written if as_written.value == 1 or score.value == 0 else score
    return score


class _Guards(NamedTuple):
    """What the parameters of `execution_match` come to under its mode."""

    require_base_table: bool
    empty: Empty
    deterministic: bool
    truncated: Literal["zero", "accept"] | None
    ambiguous: Ambiguous
    accept_swaps: bool


class _Judge(NamedTuple):
    """Compares what a prediction and its golds did."""

    evidence: Evidence
    mode: Mode
    guards: _Guards

    def verdict(self, rewriting: str) -> Score:
        """Return the best over the golds, of the statements as they were rewritten."""
        trials = self.evidence.readings.get(rewriting, self.evidence.trials)
        usable: list[int] = []
        masked: Score | None = None
        by_gold = list(zip(*(trial.golds for trial in trials), strict=True))
        for index, golds in enumerate(by_gold):
            if not all(gold.ok for gold in golds):
                continue
            beside = [gold for trial in self._neighbours(rewriting, index) for gold in trial.golds]
            fault = self._unusable([*golds, *beside], index)
            if fault is None:
                usable.append(index)
            masked = masked or fault
        if not usable:
            return masked or unscored(Status.gold_failed)
        for trial in trials:
            if trial.predicted is None or not trial.predicted.ok:
                return did_not_run(trial.predicted)

        verdict: Score | None = None
        for index in usable:
            golds = by_gold[index]
            if self.guards.empty == "zero" and not any(gold.rows for gold in golds):
                verdict = Score(0.0, Status.gold_empty.sentence)
                continue
            verdict = self._alone(trials, golds, index, rewriting)
            if verdict.value == 1.0:
                verdict = self._on_neighbours(verdict, self._neighbours(rewriting, index), index)
            if verdict.value == 1.0:
                return verdict
            if verdict.value is None:
                masked = masked or verdict
        # A gold that cannot be judged leaves open whether the prediction equals it.
        return masked or verdict or unscored(Status.gold_failed)

    def _alone(
        self, trials: tuple[Trial, ...], golds: Sequence[Execution], index: int, rewriting: str
    ) -> Score:
        """Return the verdict of one gold on the databases themselves; with neighbours it is asked for once more."""
        kept = self.evidence.kept
        key = (self.mode, self.guards, rewriting, index)
        found = kept.get(key) if kept else None
        if found is None:
            found = kept[key] = self._compared(trials, golds, index)
        return found

    def _neighbours(self, rewriting: str, index: int) -> tuple[Trial, ...]:
        """Return the trials of a gold on neighbours, as far as they count for the mode."""
        found = self.evidence.neighbours
        if found is None or not (found.asked or self.mode.require_base_table):
            return ()
        by_gold = found.readings.get(rewriting, ())
        return by_gold[index] if index < len(by_gold) else ()

    def _on_neighbours(self, match: Score, trials: tuple[Trial, ...], index: int) -> Score:
        """Return what neighbours make of a match: the match, or that it is a lucky one, with what they show."""
        tried = False
        for trial in trials:
            predicted, gold = trial.predicted, trial.golds[0]
            if predicted is None:
                continue
            if self._plainly_equal(trial, gold):
                tried = True
                continue
            found = self._compared((trial,), (gold,), index) if predicted.ok else did_not_run(predicted)
            if found.value is None:
                # What is right on this neighbour is open.
                continue
            tried = True
            if found.value != 1.0:
                shown = f": {_shown(predicted)}; the gold gives {_shown(gold)}" if predicted.ok else ""
                reason = f"it matches by luck: not on {trial.db}, where {found.reason}{shown}"
                return Score(0.0, reason, found.status, metrics={"lucky": 1.0})
        return Score(1.0, match.reason, metrics={"lucky": 0.0}) if tried else match

    def _plainly_equal(self, trial: Trial, gold: Execution) -> bool:
        """Whether what matched before has the gold's very rows here, as nearly all have, under a rule sure of those."""
        predicted = trial.predicted
        equates = find_rule(self.mode.rule).equates
        return (
            predicted is not None
            and predicted.ok
            and len(gold.rows) > 0
            and predicted.rows == gold.rows
            and not (predicted.truncated or gold.truncated or gold.ambiguous)
            and self.mode.undecodable == "keep"
            and equates is not None
            and equates(self.mode, True).alike
            and _ruled_out((trial,), (gold,), self.guards) is None
        )

    def _compared(self, trials: tuple[Trial, ...], golds: Sequence[Execution], index: int) -> Score:
        """Return the verdict of one gold on all these databases."""
        ruled_out = _ruled_out(trials, golds, self.guards)
        if ruled_out is not None:
            return ruled_out
        gold_sql = self._gold_sql(index)
        sql = self.evidence.answer.sql
        guarded = self.guards.require_base_table and gold_sql and sql
        if guarded and shows_constants(sql or "") and not shows_constants(gold_sql or ""):
            return Score(0.0, "the query shows nothing but constants, so its result is a guess")
        reason = ""
        masked: Score | None = None
        for trial, gold in zip(trials, golds, strict=True):
            assert trial.predicted is not None
            found = self._comparison(trial, gold, gold_sql)
            comparison = found.comparison
            where = f" on {trial.db}" if len(trials) > 1 else ""
            if comparison is None or (found.ambiguous and self.guards.ambiguous != "accept"):
                cut = gold.truncated or trial.predicted.truncated
                masked = (
                    unscored(Status.undecided, found.reason) if cut and not gold.ambiguous else _open(gold)
                )
                continue
            if not comparison.match:
                return Score(0.0, comparison.reason + where)
            if not self.guards.accept_swaps and comparison.columns:
                rows = (row for gold in golds for row in gold.rows)
                if found.swapped if gold.truncated else swapped(rows, comparison.columns):
                    return Score(0.0, "columns of like values are in another order than the gold's" + where)
            reason = reason or comparison.reason
        return masked or Score(1.0, reason)

    def _comparison(self, trial: Trial, gold: Execution, gold_sql: str | None) -> Settled:
        """Return what comparing comes to; nothing where the prediction may be right, but is not known to be."""
        predicted = trial.predicted
        assert predicted is not None
        found = self._settled(trial, gold, gold_sql)
        if not gold.ambiguous or self.guards.ambiguous != "choices" or self._is_statement(gold_sql):
            return found
        comparison = found.comparison
        if comparison is None or predicted.truncated:
            return found if comparison is not None and comparison.match else Settled(None)
        choices = gold.choices or Choices("")
        if choices.runs and self.mode.rule == "aligned":
            if comparison.match:
                return found
            ordered = self.mode.counts_order(gold_sql)
            return Settled(compare_with_choices(choices, predicted, self.mode, ordered=ordered))
        comparing = partial(
            compare,
            mode=self.mode,
            gold_sql=gold_sql,
            predicted_sql=self.evidence.answer.sql,
            question=self.evidence.sample.question,
        )
        others = (replace(gold, rows=rows, order=None) for rows in choices.results)
        return Settled(next((one for other in others if (one := comparing(other, predicted)).match), None))

    def _gold_sql(self, index: int) -> str | None:
        golds = self.evidence.sample.golds
        # Answer rows have no SQL.
        return golds[index] if index < len(golds) else None

    def _unusable(self, golds: list[Execution], index: int) -> Score | None:
        """Return the unscored score when a gold that ran, here and on neighbours, says nothing all the same."""
        guards = self.guards
        if guards.deterministic and any(gold.volatile == "random" for gold in golds):
            return unscored(Status.gold_random)
        if guards.truncated == "zero" and any(gold.truncated for gold in golds):
            return unscored(Status.gold_too_large)
        for gold in golds:
            if not gold.ambiguous or guards.ambiguous == "accept":
                continue
            known = gold.choices is not None and (gold.choices.runs or gold.choices.results)
            if guards.ambiguous == "mask" or not (known or self._is_statement(self._gold_sql(index))):
                return _open(gold)
        if guards.empty == "mask" and not any(gold.rows for gold in golds):
            return unscored(Status.gold_empty)
        return None

    def _is_statement(self, gold_sql: str | None) -> bool:
        """True when the prediction is the gold itself, which is right whatever its ties."""
        sql = self.evidence.answer.sql
        return gold_sql is not None and sql is not None and normalise(gold_sql) == normalise(sql)

    def _settled(self, trial: Trial, gold: Execution, gold_sql: str | None) -> Settled:
        """Return what comparing a gold and the prediction came to."""
        predicted = trial.predicted
        assert predicted is not None
        texts: dict[str, Any] = {
            "gold_sql": gold_sql,
            "predicted_sql": self.evidence.answer.sql,
            "question": self.evidence.sample.question,
        }
        whole = not (gold.truncated or predicted.truncated)
        if whole or self.guards.truncated == "accept":
            return Settled(compare(gold, predicted, self.mode, **texts))
        number = next(index for index, one in enumerate(trial.golds) if one is gold)
        known = trial.settled.get((self.mode, number))
        if known is not None:
            return known
        cut = "the executor sent no more than the first rows, and does not compare them itself"
        return Settled(settled(ResultPair(trial.db, gold, predicted, self.mode, **texts)), reason=cut)


def _rule(given: bool | None, guarded: bool) -> bool:
    return guarded if given is None else given


def did_not_run(predicted: Execution | None) -> Score:
    """Return the score of a prediction that has no SQL, or whose SQL failed."""
    if predicted is None:
        return Score(0.0, Status.no_sql.sentence, Status.no_sql)
    return Score(0.0, predicted.status.told(predicted.error), predicted.status)


def _open(gold: Execution) -> Score:
    """Return the score without a value of a gold of which several results are right."""
    return unscored(Status.gold_ambiguous, "" if gold.choices is None else f"The gold: {gold.choices.why}.")


def _shown(run: Execution, most: int = 3) -> str:
    """Return how many rows there are, and the first ones."""
    rows = ", ".join(f"{row!r:.80}" for row in run.rows[:most])
    dots = ", ..." if len(run.rows) > most else ""
    return f"{len(run.rows)} row{'s' * (len(run.rows) != 1)}" + (f" {rows}{dots}" if rows else "")


def _ruled_out(trials: tuple[Trial, ...], golds: Sequence[Execution], guards: _Guards) -> Score | None:
    """Return the score 0 when a rule decides before any row is looked at."""
    for trial, gold in zip(trials, golds, strict=True):
        predicted = trial.predicted
        assert predicted is not None
        # A gold without a table (or answer rows) sets no such standard.
        if (
            guards.require_base_table
            and predicted.tables is not None
            and not predicted.tables
            and gold.tables != frozenset()
        ):
            return Score(0.0, "the query reads no base table, so its result is a guess")
        if guards.deterministic and predicted.volatile == "random":
            return Score(0.0, "the query draws random values, so its result is not reproducible")
        if guards.deterministic and predicted.volatile == "clock" and gold.volatile != "clock":
            return Score(0.0, "the query reads the clock, which the gold does not")
        if guards.truncated == "zero" and predicted.truncated:
            return Score(0.0, "the predicted result was cut at the row limit, so it cannot be compared")
    return None
