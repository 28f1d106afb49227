"""Comparing results of which only some rows are at hand, as far as the verdict is certain without the others.

Row counts and fingerprints often decide. `executing/settling.py` calls this first, and has workers read more rows for
the pairs that are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from finer_rewards._util.fingerprint import Fingerprint, fingerprint_of
from finer_rewards.comparing.compare import compare
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.result import Comparison, counted
from finer_rewards.comparing.rules import Equates, find_rule
from finer_rewards.types import Execution


@dataclass(frozen=True)
class ResultPair:
    """A gold and a predicted result to be compared.

    Args:
        db: the database.
        gold: the gold's execution.
        predicted: the prediction's execution.
        mode: how they are compared.
        gold_ran: the gold statement as it was run, perhaps rewritten.
        predicted_ran: the predicted statement as it was run.
        gold_sql: the gold statement as it was written, for rules that look at it.
        predicted_sql: the predicted statement as it was written.
        question: the question in words.
    """

    db: str
    gold: Execution
    predicted: Execution
    mode: Mode
    gold_ran: str = ""
    predicted_ran: str = ""
    gold_sql: str | None = None
    predicted_sql: str | None = None
    question: str = ""

    def compared(self) -> Comparison:
        """Return the comparison of the rows at hand."""
        return compare(
            self.gold,
            self.predicted,
            self.mode,
            gold_sql=self.gold_sql,
            predicted_sql=self.predicted_sql,
            question=self.question,
        )


def needs_rows(mode: Mode) -> bool:
    """Whether only this process can compare under a mode: no worker can run its rule, or only first rows count."""
    return mode.max_rows is not None or not find_rule(mode.rule).runs_anywhere


def equates(pair: ResultPair) -> Equates | None:
    """Return what the rule of a pair can decide without cells; `None` when it can decide nothing."""
    rule = find_rule(pair.mode.rule)
    if rule.equates is None:
        return None
    ordered = pair.mode.counts_order(pair.gold_sql)
    if pair.mode.row_order == "query" and pair.gold_sql is None:
        ordered = pair.gold.order is not None
    return rule.equates(pair.mode, ordered)


def settled(pair: ResultPair) -> Comparison | None:
    """Return the comparison of a pair if it is certain from what is known; `None` when more rows have to be read.

    Example:
        >>> from finer_rewards.comparing import modes
        >>> from finer_rewards.types import Status
        >>> one, cut = Execution(Status.ok, ("a",), ((1,),)), Execution(Status.ok, ("a",), ((1,),), truncated=True)
        >>> settled(ResultPair("x", one, cut, modes()["strict"])).reason
        'more than 1 row, but gold has 1 row'
        >>> settled(ResultPair("x", cut, cut, modes()["strict"])) is None
        True
    """
    gold, predicted, most = pair.gold, pair.predicted, pair.mode.max_rows
    if all(not run.truncated or (most is not None and len(run.rows) >= most) for run in (gold, predicted)):
        return pair.compared()
    how = equates(pair)
    if how is None:
        return None
    if how.width and gold.columns and predicted.columns and len(gold.columns) != len(predicted.columns):
        columns = counted(len(predicted.columns), "column")
        return _no_match(f"{columns}, but gold has {len(gold.columns):,}", "width")
    ours, theirs = _known(gold), _known(predicted)
    if ours is None or theirs is None:
        return None
    one_will_do = theirs.length == 1 and bool(pair.mode.one_of_best)
    differ = _settled_by_counts(how, ours, theirs, one_will_do)
    if differ is not None or not (ours.complete and theirs.complete):
        return differ
    if pair.mode.undecodable != "keep" and not (ours.decodes and theirs.decodes):
        return None
    return _settled_by_fingerprints(how, ours, theirs, len(gold.columns))


def _settled_by_counts(
    how: Equates, gold: Fingerprint, predicted: Fingerprint, one_will_do: bool
) -> Comparison | None:
    """Return that two results differ if the numbers of their rows, or of their different rows, say so."""
    if how.counted and (_exceeds(predicted, gold) or _exceeds(gold, predicted)):
        return _no_match(f"{_rows(predicted)}, but gold has {_rows(gold)}", "row_count")
    if how.different and predicted.complete and gold.least > predicted.length and not one_will_do:
        return _no_match(f"{_rows(predicted)}, but gold has {gold.least:,} different ones", "row_count")
    if how.different and gold.complete and predicted.least > gold.length:
        different = counted(predicted.least, "different row")
        return _no_match(f"{different}, but gold has {_rows(gold)}", "row_count")
    return None


def _settled_by_fingerprints(
    how: Equates, gold: Fingerprint, predicted: Fingerprint, width: int
) -> Comparison | None:
    """Return that two results of which all rows are known are equal if their fingerprints are."""
    if how.alike and gold.sequence == predicted.sequence:
        order = ", in the same order" if gold.length > 1 else ""
        return Comparison(True, 1.0, f"{counted(gold.length, 'row')} = gold{order}", "identical")
    if how.alike and gold.rows == predicted.rows and not how.ordered:
        columns = tuple(range(width))
        return Comparison(True, 1.0, f"{counted(gold.length, 'row')} = gold", "rows", columns=columns)
    return None


def _no_match(reason: str, rule: str) -> Comparison:
    return Comparison(False, 0.0, reason, rule)


def _known(run: Execution) -> Fingerprint | None:
    """Return the fingerprint of a result, as far as its rows are known."""
    if run.fingerprint is not None:
        return run.fingerprint
    return Fingerprint(len(run.rows)) if run.truncated else fingerprint_of(run.rows)


def _exceeds(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether one result certainly has more rows than the other."""
    return other.complete and one.length + (not one.complete) > other.length


def _rows(known: Fingerprint) -> str:
    return f"{'' if known.complete else 'more than '}{counted(known.length, 'row')}"


def with_fingerprint(run: Execution, scanned: Execution) -> Execution:
    """Return an execution with what a second run, which read further, found out: a fingerprint, or all rows."""
    if scanned.truncated:
        return replace(run, fingerprint=scanned.fingerprint)
    return replace(scanned, order=run.order)
