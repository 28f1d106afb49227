"""Score logs: written by a `Scorer`, read by `finer-rewards report` and `finer-rewards rescore`.

Import from here: the modules inside are private.
"""

from finer_rewards._score_log import ScoreLog, log_record

__all__ = ["ScoreLog", "log_record"]
