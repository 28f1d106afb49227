"""The system prompts, each with the form of completion that it demands, and the messages of a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from finer_rewards.errors import ConfigError, suggest

#: One message of a chat: `role` and `content`.
Message = dict[str, str]

_AGGREGATE_FIRST: Final = (
    "In a query with GROUP BY, SELECT lists the aggregates first and the grouping columns after them."
)


@dataclass(frozen=True)
class Prompt:
    """A system prompt, and the form of completion that it demands.

    Args:
        system: the system message.
        policy: the policy with which `well_formed(policy=...)` accepts such a completion.
        form: such a completion, with `{thought}` and `{sql}` in their places.
    """

    system: str
    policy: str
    form: str

    def completion(self, thought: str, sql: str) -> str:
        """Return a thought and a query in the form demanded.

        Example:
            >>> PROMPTS["fence"].completion("Count them.", "SELECT count(*) FROM singer")
            'Count them.\\n\\n```sql\\nSELECT count(*) FROM singer\\n```'
        """
        return self.form.format(thought=thought.strip(), sql=sql.strip())


_TASK: Final = (
    "You answer questions about a SQLite database. You are given its tables, with some of their values, and a "
    "question. You write the one SQLite query whose result is the answer: exactly the columns asked for, and "
    "nothing beside them.\n\n"
)

#: The prompts by name. Each asks for the form that the system in brackets asks for, in words of this package.
#:
#: * `finer`: a thought in `<think>`, then the bare query (FINER-SQL).
#: * `sql_r1`: a thought in `<think>`, the query in a fence in `<answer>` (SQL-R1).
#: * `fence`: the query in a fence after free reasoning (OmniSQL).
#: * `plain`: the query alone.
PROMPTS: Final[Mapping[str, Prompt]] = MappingProxyType(
    {
        "finer": Prompt(
            _TASK + "First think, between <think> and </think>, in a few sentences: which tables and columns "
            "hold what is asked for, how they are joined, which conditions, groups and order are needed. After "
            "</think> write the query, which must run as it stands, and nothing else: no explanation, no tags, "
            "no code fence, one statement.",
            "finer",
            "<think>\n{thought}\n</think>\n{sql}",
        ),
        "sql_r1": Prompt(
            _TASK + "First think, between <think> and </think>. Then give the query between <answer> and "
            "</answer>, in a code fence that is opened with ```sql. Each of these four tags stands once.",
            "sql_r1",
            "<think>\n{thought}\n</think>\n<answer>\n```sql\n{sql}\n```\n</answer>",
        ),
        "fence": Prompt(
            _TASK + "Think step by step. End with the query in one code fence that is opened with ```sql.",
            "fence",
            "{thought}\n\n```sql\n{sql}\n```",
        ),
        "plain": Prompt(
            _TASK + "Write the query alone, without explanation or code fence.", "plain", "{sql}"
        ),
    }
)


def named_prompt(name: str) -> Prompt:
    """Return a prompt by its name.

    Raises:
        ConfigError: there is no prompt of that name.
    """
    if name not in PROMPTS:
        raise ConfigError(
            f"`prompt` should be one of {', '.join(PROMPTS)}, but got {name!r}. {suggest(name, PROMPTS)}".rstrip()
        )
    return PROMPTS[name]


def chat_prompt(
    schema: str,
    question: str,
    *,
    prompt: Prompt | str = "finer",
    evidence: str = "",
    aggregate_first: bool = False,
) -> list[Message]:
    """Return the messages of a question: the system prompt, then the schema, the hint and the question.

    Args:
        schema: the tables, as `schema_prompt` writes them.
        question: the question in words.
        prompt: the name of the system prompt.
        evidence: the hint that comes with the question, as in BIRD.
        aggregate_first: ask for aggregates before grouping columns, the order that golds of Spider have.

    Raises:
        ConfigError: there is no such prompt.

    Example:
        >>> for message in chat_prompt("CREATE TABLE singer (name);", "How many singers?", prompt="plain"):
        ...     print(message["role"], message["content"].splitlines()[-1])
        system Write the query alone, without explanation or code fence.
        user Question: How many singers?

    References:
        Hoang et al., FINER-SQL, ICDE 2026: the order of the message and the rule on aggregates; Ma et al.,
        SQL-R1, NeurIPS 2025: the four tags.
    """
    chosen = named_prompt(prompt) if isinstance(prompt, str) else prompt
    system = f"{chosen.system} {_AGGREGATE_FIRST}" if aggregate_first else chosen.system
    parts = [f"Database schema:\n{schema}"]
    if evidence.strip():
        parts.append(f"Hint: {evidence.strip()}")
    parts.append(f"Question: {question.strip()}")
    return [{"role": "system", "content": system}, {"role": "user", "content": "\n\n".join(parts)}]
