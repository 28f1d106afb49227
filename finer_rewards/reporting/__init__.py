"""Score logs: written by a `Scorer`, read by `finer-rewards report` and `finer-rewards rescore`."""

from finer_rewards._score_log import ScoreLog, log_record

__all__ = ["ScoreLog", "log_record"]
