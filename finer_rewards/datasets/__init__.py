"""Reads benchmarks, predictions and candidates as they lie on disk, and makes rows for trainers of benchmarks.

    from finer_rewards.datasets import prepare_rows, read_source, schema_prompt

`finer-rewards prepare` runs these steps one after the other: `read_source`, `prepare_rows`, `records_for`,
`write_folder`. Import from here: the modules inside are private.
"""

from finer_rewards.datasets.benchmark import LEVELS, Question
from finer_rewards.datasets.benchmark_modes import mode_of_rows
from finer_rewards.datasets.pass_rates import in_band, read_pass_rates
from finer_rewards.datasets.preparing import message_counter, prepare_rows, split_by_database
from finer_rewards.datasets.prompts import PROMPTS, chat_prompt
from finer_rewards.datasets.question_sources import read_source
from finer_rewards.datasets.schema_text import describe_database, schema_prompt
from finer_rewards.datasets.writing import records_for, write_folder

__all__ = [
    "LEVELS",
    "PROMPTS",
    "Question",
    "chat_prompt",
    "describe_database",
    "in_band",
    "message_counter",
    "mode_of_rows",
    "prepare_rows",
    "read_pass_rates",
    "read_source",
    "records_for",
    "schema_prompt",
    "split_by_database",
    "write_folder",
]
