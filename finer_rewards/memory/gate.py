"""`Gate`, the rules for entering a memory: a sample is admitted as verified or failed, or refused with a reason."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from finer_rewards._thoughts.stuffing import is_foreign, name_pieces, named_share, stuffed
from finer_rewards.errors import ConfigError
from finer_rewards.memory.embedders import HashingEmbedder, shorten
from finer_rewards.memory.trace import Trace, database_id
from finer_rewards.types import Evidence, Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finer_rewards.reward import Reward

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Decision:
    """What happened to one sample that was offered to a memory.

    Args:
        key: the key of its trace; empty when there is none.
        verified: whether execution showed its SQL to be right.
        refused: why it was not admitted; empty if it was.
    """

    key: str = ""
    verified: bool = False
    refused: str = ""


@dataclass(frozen=True)
class AdmissionReport:
    """What `remember` did: one decision for each sample.

    Example:
        >>> print(AdmissionReport((Decision("k", True), Decision("", False, "no thought"))))
        1 verified and 0 failed traces admitted, 1 refused: 1 no thought
    """

    decisions: tuple[Decision, ...] = ()

    @property
    def admitted(self) -> int:
        """How many traces were stored, verified and failed together."""
        return sum(not decision.refused for decision in self.decisions)

    @property
    def refused(self) -> Mapping[str, int]:
        """How many samples were refused, by reason, most frequent first."""
        counts = Counter(decision.refused for decision in self.decisions if decision.refused)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def __len__(self) -> int:
        return len(self.decisions)

    def __str__(self) -> str:
        verified = sum(decision.verified for decision in self.decisions if not decision.refused)
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.refused.items())
        text = f"{verified} verified and {self.admitted - verified} failed traces admitted"
        return f"{text}, {len(self) - self.admitted} refused{': ' if reasons else ''}{reasons}"


@dataclass(frozen=True)
class Gate:
    """The rules for entering a memory.

    Length, density and repetition are as in the published FINER-SQL code, except for `min_words`, which is 30 there:
    that would shut out terse models, whose thoughts of 10 words are about their query too. Text that only looks like
    reasoning is refused as well: lists of words, text aimed at a judge, hidden characters.

    Args:
        min_words: fewest words of a thought.
        min_named: least share of the words in its SQL's names and values that a thought has to mention.
        max_words: most words of a thought.
        min_mentions: fewest mentions of tables and columns.
        min_density: fewest mentions for each word.
        min_variety: least share of distinct pairs among neighbouring words; a text that repeats itself has few.
        duplicate: a trace is a near duplicate if the cosine of its words and pairs of words to those of a
            stored trace of the same database and outcome is this or more. Traces of other databases are not compared:
            finding the same reasoning there is the purpose of a memory.
        per_question: most traces for one question and outcome.

    Example:
        >>> Gate().check_text("SELECT 1", frozenset({"singer"}))
        'too short'
    """

    min_words: int = 8
    min_named: float = 0.25
    max_words: int = 2_000
    min_mentions: int = 2
    min_density: float = 0.05
    min_variety: float = 0.6
    duplicate: float = 0.9
    per_question: int = 4

    def judge(self, evidence: Evidence, score: Score) -> Decision:
        """Decide on one sample by itself; near duplicates and quotas are checked by `MemoryState.refuses`."""
        if score.value is None:
            return Decision(refused=f"not scored ({score.status.name})")
        answer = evidence.answer
        if answer.problem or not (answer.thought or "").strip() or not answer.sql:
            return Decision(refused="malformed")
        match = _execution_match()(evidence)
        if match.value is None:
            return Decision(refused=f"cannot be verified ({match.status.name})")
        verified = match.value == 1.0
        if verified:
            reason = _unsound(evidence)
            if reason:
                return Decision(refused=reason)
        thought = answer.thought or ""
        reason = self.check_text(thought, _names(evidence))
        reason = reason or stuffed(thought, evidence.sample.question, answer.sql)
        if not reason and named_share(thought, answer.sql) < self.min_named and not is_foreign(thought):
            reason = "is not about its query"
        return Decision(verified=verified, refused=reason)

    def is_near(self, thought: str, stored: Sequence[str]) -> bool:
        """Whether the thought nearly repeats a stored thought.

        Words are compared and not embeddings, because an embedder finds all reasoning about one kind of query similar.
        """
        import numpy as np

        vector = _word_vector(thought)
        return (
            bool(stored)
            and float(np.max(np.stack(list(map(_word_vector, stored))) @ vector)) >= self.duplicate
        )

    def check_text(self, thought: str, names: frozenset[str]) -> str:
        """Return why a thought is not good enough to keep; empty when it is.

        Args:
            thought: the reasoning.
            names: words of the tables and columns it should be about.
        """
        words = thought.split()
        if len(words) < self.min_words:
            return "too short"
        if len(words) > self.max_words:
            return "too long"
        pieces = [piece.casefold() for piece in _WORD.findall(thought)]
        mentions = sum(piece in names or piece.removesuffix("s") in names for piece in pieces)
        if mentions < self.min_mentions or mentions < self.min_density * len(words):
            return "hardly mentions the tables and columns"
        pairs = [(a.casefold(), b.casefold()) for a, b in pairwise(words)]
        if len(set(pairs)) < self.min_variety * len(pairs):
            return "repeats itself"
        return ""


def scored_pairs(scored: Iterable[tuple[Evidence, Score]]) -> list[tuple[Evidence, Score]]:
    """Return the argument of `remember` as a list of pairs; raise `ConfigError` when it is something else."""
    pairs = list(scored)
    for item in pairs:
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Evidence)):
            raise ConfigError(
                f"`remember(scored)` should get pairs (Evidence, Score), but got {item!r:.80}. "
                "Write for example memory.remember(zip(scorer.observe(samples), scores))."
            )
        if not isinstance(item[1], Score):
            raise ConfigError(
                f"`remember(scored)` should get pairs (Evidence, Score), but got the score {item[1]!r:.80}."
            )
    return pairs


def trace_of(evidence: Evidence, verified: bool, model: str, step: int, signature: str) -> Trace:
    """Return the trace of a scored sample."""
    sample = evidence.sample
    number = sample.meta.get("question_id")
    return Trace(
        text=evidence.answer.thought or "",
        db=database_id(sample.db),
        question=sample.question or ("" if number else "\n".join(sample.golds)),
        sql=evidence.answer.sql or "",
        verified=verified,
        model=model,
        step=step,
        time=time.time(),
        signature=signature,
        question_id=str(number) if number else "",
    )


def _unsound(evidence: Evidence) -> str:
    """Return why a right result does not show that the reasoning is right; empty when it does."""
    for trial in evidence.trials:
        runs = [run for run in (trial.predicted, *trial.golds) if run is not None]
        if any(run.volatile for run in runs):
            return "not deterministic"
        if trial.predicted is not None and trial.predicted.tables is not None and not trial.predicted.tables:
            return "reads no base table"
        if not any(gold.rows for gold in trial.golds):
            return "empty gold result"
    return ""


def _names(evidence: Evidence) -> frozenset[str]:
    """Return the words in the names that the predicted and gold SQL use, and in those of the schema if it is known."""
    statements = (evidence.answer.sql or "", *evidence.sample.golds)
    names = {name for sql in statements for name in _names_in(sql, evidence.dialect)}
    if evidence.schema is not None:
        for table in evidence.schema.tables:
            names.update((table.name, *(column.name for column in table.columns)))
    return frozenset(piece for name in names for piece in (name.casefold(), *name_pieces(name)))


@lru_cache(maxsize=4096)
def _names_in(sql: str, dialect: str) -> tuple[str, ...]:
    import sqlglot
    from sqlglot import expressions

    try:
        tree = sqlglot.parse_one(sql, dialect=dialect)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return ()
    found = tree.find_all(expressions.Table, expressions.Column)
    return tuple(sorted({node.name for node in found if node.name}))


@lru_cache(maxsize=50_000)
def _word_vector(thought: str) -> NDArray[np.float32]:
    from finer_rewards.memory.index import unit

    vector: NDArray[np.float32] = unit(HashingEmbedder(512).embed([shorten(thought)]))[0]
    return vector


@lru_cache(maxsize=1)
def _execution_match() -> Reward:
    from finer_rewards.rewards import execution_match

    return execution_match()
