"""Reading score logs and reporting on them, for `finer-rewards report` and `finer-rewards rescore`.

A `Scorer` writes the logs (`ScoreLog`).

Import from here: the modules inside are private.
"""

from finer_rewards._score_log import ScoreLog, log_record

__all__ = ["ScoreLog", "log_record"]
