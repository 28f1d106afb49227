"""TRL: credit for the tokens of single clauses in addition to the reward of the whole answer. Experimental.

    from trl import GRPOTrainer
    from finer_rewards.adapters.trl import TRLReward
    from finer_rewards.adapters.trl_clauses import ClauseCredit

    class Trainer(ClauseCredit, GRPOTrainer): ...

    Trainer(model, reward_funcs=TRLReward(Scorer("execution_match()", executor)),
            clauses=TRLReward(Scorer("clause_credit()", executor)), args=..., train_dataset=...)

The reward functions are scored as usual. The credit of each clause, minus the mean of its group, is added to the
advantages of the clause's tokens; TRL 1.16 accepts one advantage for each token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finer_rewards.adapters.trl import TRLReward
from finer_rewards.errors import ConfigError
from finer_rewards.types import Score, Span

__all__ = ["ClauseCredit"]


def clause_gains(spans: Sequence[Sequence[Span]], size: int) -> list[list[Span]]:
    """Return the spans with the credit of each clause minus the clause's mean credit in its group.

    Args:
        spans: the spans of each completion, group after group; empty for a completion without a score.
        size: the number of completions in a group.

    Example:
        >>> first, second = clause_gains([[Span("where", 0, 5, 1.0)], [Span("where", 0, 9, 0.0)]], 2)
        >>> first[0].credit, second[0].credit
        (0.5, -0.5)
    """
    found: list[list[Span]] = []
    for start in range(0, len(spans), size):
        group = spans[start : start + size]
        # A clause may occur twice in one completion, as in a UNION; it counts once.
        worth = [{span.clause: span.credit for span in one} for one in group if one]
        mean = {
            clause: sum(one[clause] for one in worth if clause in one) / sum(clause in one for one in worth)
            for clause in {clause for one in worth for clause in one}
        }
        found += [[span._replace(credit=span.credit - mean[span.clause]) for span in one] for one in group]
    return found


def token_credit(spans: Sequence[Span], ends: Sequence[int]) -> list[float]:
    """Return the credit of each token: that of the clause in which it ends, and of missing clauses right before it.

    Args:
        spans: the spans of one completion.
        ends: for each token the number of characters up to its end.

    Example:
        >>> spans = [Span("select", 0, 8, 0.5), Span("where", 8, 8, -1.0), Span("limit", 8, 15, 0.25)]
        >>> token_credit(spans, ends=[6, 8, 13, 15])
        [0.5, 0.5, -0.75, 0.25]
    """
    found = [0.0] * len(ends)
    for span in spans:
        inside = [at for at, end in enumerate(ends) if span.start < end <= span.end]
        if span.start == span.end:
            # A missing clause: the decision to leave it out fell with the next token, or with the end-of-text token.
            inside = [at for at, end in enumerate(ends) if end > span.start][:1]
            inside = inside or [len(ends) - 1] * bool(ends)
        for at in inside:
            found[at] += span.credit
    return found


class ClauseCredit:
    """A mixin for TRL's `GRPOTrainer` that adds the credit of clauses to the advantages of their tokens.

    Args:
        args: positional arguments of the trainer.
        clauses: a `TRLReward` whose reward has `clause_credit()` in it.
        clause_weight: the factor of the clauses' credit.
        options: further arguments of the trainer.

    Raises:
        ConfigError: the reward gives no spans.

    References:
        TRL 1.16, `GRPOTrainer._generate_and_score_completions` and `_compute_loss`.
    """

    def __init__(self, *args: Any, clauses: TRLReward, clause_weight: float = 1.0, **options: Any) -> None:
        names = [part.name for part in _parts_of(clauses)] if isinstance(clauses, TRLReward) else []
        if "clause_credit" not in names:
            raise ConfigError(
                "`ClauseCredit(clauses=...)` should be a TRLReward with clause_credit() in it, "
                f"but got {clauses!r:.80}. Pass TRLReward(Scorer('clause_credit()', executor))."
            )
        self._clauses, self._clause_weight = clauses, clause_weight
        self._spans: list[tuple[Span, ...]] = []
        super().__init__(*args, **options)

    def _calculate_rewards(
        self, inputs: Sequence[Mapping[str, Any]], prompts: Any, completions: Any, *rest: Any
    ) -> Any:
        keys = [key for key in inputs[0] if key not in ("prompt", "completion", "completion_ids")]
        columns = {key: [one[key] for one in inputs] for key in keys}
        judged = self._clauses.judge(prompts, completions, **columns)
        self._spans = [_spans_of(one.score) for one in judged]
        return super()._calculate_rewards(inputs, prompts, completions, *rest)  # type: ignore[misc]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        from accelerate.utils import gather_object

        trainer: Any = self
        training = trainer.model.training
        size = trainer.num_generations if training else trainer.num_generations_eval
        # Gathered from all ranks, because a group may be split over two.
        every = gather_object([list(map(tuple, one)) for one in self._spans])
        gains = clause_gains([[Span(*span) for span in one] for one in every], size)
        first = trainer.accelerator.process_index * len(self._spans)
        advantages = output["advantages"]
        if advantages.dim() == 1:
            advantages = advantages.unsqueeze(1)
        credit = advantages.new_zeros(output["completion_ids"].shape)
        for row, spans in enumerate(gains[first : first + len(self._spans)]):
            written = output["completion_ids"][row][output["completion_mask"][row].bool()].tolist()
            values = token_credit(spans, list(self._ends(written)))
            credit[row, : len(values)] = credit.new_tensor(values)
        output["advantages"] = advantages + self._clause_weight * credit
        return output

    def _ends(self, tokens: Sequence[int]) -> Iterator[int]:
        """Yield how many characters the completion has up to the end of each token."""
        # An attribute of the trainer.
        tokenizer: Any = getattr(self, "processing_class")  # noqa: B009
        for number in range(1, len(tokens) + 1):
            yield len(tokenizer.decode(tokens[:number], skip_special_tokens=True))


def _spans_of(score: Score) -> tuple[Span, ...]:
    """Return the spans of a score, or of the first of its parts that has some; none if the score has no value."""
    if score.value is None:
        return ()
    return score.spans or next(filter(None, (_spans_of(part) for _, part in score.parts)), ())


def _parts_of(clauses: TRLReward) -> Iterator[Any]:
    waiting = [clauses.scorer.reward]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(one.parts())
