"""EasyR1: a reward function for a whole batch, which EasyR1 loads from a file. Name this file itself:

    FILE=$(python -c "import finer_rewards.adapters.easyr1 as m; print(m.__file__)")

    worker.reward.reward_function=$FILE:compute_score
    worker.reward.reward_function_kwargs='{spec: "2 * execution_match() + executable()", root: /data/spider/database}'

EasyR1 passes only the response and the column `data.answer_key`, whose texts have to be JSON with `gold` and `db`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finer_rewards._chat import read_response
from finer_rewards.adapters._training_rows import truth_of
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.errors import ConfigError
from finer_rewards.parsing import without_endings

__all__ = ["compute_score"]

#: EasyR1 reads these two names from the file as well.
REWARD_NAME = "finer_rewards"
REWARD_TYPE = "batch"


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]], *, spec: str = "execution_match()", **options: Any
) -> list[dict[str, float]]:
    """Return for each completion `overall`, `accuracy` (1 for an execution match), the components and `unscorable`.

    EasyR1 has no value for *cannot be scored*: such a sample gets the mean of those with the same ground truth, so that
    its advantage is 0, and `unscorable` 1.

    Args:
        reward_inputs: `response` and `ground_truth` of each completion.
        spec: the reward as it prints, or the name of a preset.
        options: further options of `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`.

    Raises:
        ConfigError: the reward or an option cannot be used, a ground truth is no JSON or lacks a key, or no database
            was found for any of the first 8 samples.

    Example:
        >>> truth = '{"gold": "SELECT 1", "db": "any"}'
        >>> given = [{"response": text, "ground_truth": truth} for text in ("SELECT 1", "")]
        >>> [one["overall"] for one in compute_score(given, spec="well_formed(policy='plain')")]
        [1.0, 0.0]

    References:
        EasyR1 0.3.3, `verl.workers.reward.function.AutoRewardManager`.
    """
    scorer = RowScorer.of({"spec": spec, **options})
    truths = [one["ground_truth"] for one in reward_inputs]
    rows = [truth_of(truth) for truth in truths]
    for row, truth in zip(rows, truths, strict=True):
        if row == {"gold": truth}:
            raise ConfigError(
                "A ground truth should be JSON with the gold and its database, as EasyR1 passes nothing else, but got "
                f"{truth!r:.80}. Write json.dumps({{'gold': gold, 'db': db}}) into the column `data.answer_key`."
            )
    judged = scorer.judge_all(
        rows,
        [read_response(without_endings(one["response"])) for one in reward_inputs],
        where="A ground truth",
        caller="reward_function_kwargs",
    )
    records = map(scorer.record, judged)
    return [
        {"overall": value, "accuracy": record.pop("acc"), **{k: v for k, v in record.items() if k != "score"}}
        for value, record in zip(scorer.fill(judged, list(map(str, truths))), records, strict=True)
    ]
