"""`Policy`, the form that a completion has to have, and the named policies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from finer_rewards.errors import ConfigError, suggest


@dataclass(frozen=True)
class Policy:
    """The form a completion must have. The SQL is found wherever it can be; breaking a rule is a problem.

    Args:
        thought: tag around the thought; empty when no thought is looked for.
        answer: where the SQL stands: `"rest"` (all that follows the thought), `"fence"` (a code fence), the name
            of a tag, or `"any"` (an `<answer>` or `<solution>` tag, else a fence, else the rest, else a JSON object,
            a tag of any name, or backticks in a sentence).
        need_thought: a completion without a thought breaks the policy.
        prefilled: the opening thought tag may be missing, because the prompt ends with it.
        several: there may be several thoughts; they end at the last closing tag.
        outside: there may be text before the thought and around the SQL.
        unclosed: the closing fence or answer tag may be missing.
        fenced: the SQL may stand in a code fence or between sentences; otherwise the text is used as it is.
        observed: a thought must follow every `</observation>`.
        filler: a thought may be anything; otherwise it has to have readable words, and at least
            `min_thought` / 2 different sequences of four characters (ignoring case and runs of white space).
        min_thought: fewest characters of the thought, without white space around it.
        called: if no SELECT follows the thought, the last query that was run through a tool is the answer.

    Raises:
        ConfigError: a tag that is no name, or a negative length.

    Example:
        >>> from finer_rewards.parsing import parse_completion
        >>> tags = Policy("reason", "sql", min_thought=9)
        >>> parse_completion("<reason>age</reason><sql>SELECT 1</sql>", tags).problem
        'the thought has 3 characters, and at least 9 are asked for'
    """

    thought: str = "think"
    answer: str = "any"
    need_thought: bool = False
    prefilled: bool = True
    several: bool = True
    outside: bool = True
    unclosed: bool = True
    fenced: bool = True
    observed: bool = False
    filler: bool = False
    min_thought: int = 0
    called: bool = False

    def __post_init__(self) -> None:
        for name in ("thought", "answer"):
            tag = getattr(self, name)
            if not isinstance(tag, str) or not re.fullmatch(
                r"[\w-]+" if name == "answer" else r"[\w-]*", tag
            ):
                raise ConfigError(
                    f"`Policy({name}=...)` should be a tag's name, without brackets, but got {tag!r:.80}."
                )
        if self.thought == self.answer:
            raise ConfigError(
                f"`Policy(answer=...)` should differ from the thought's tag, but both are {self.answer!r}."
            )
        length: object = self.min_thought
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise ConfigError(
                f"`Policy(min_thought=...)` should be a count of characters, but got {length!r:.80}."
            )


#: Finds the SQL in every usual form; a problem means that there is no SQL or no certain one, or a thought of filler.
AUTO: Final = Policy()

_STRICT: Final = Policy(need_thought=True, prefilled=False, several=False, unclosed=False, filler=True)

#: The named policies.
#:
#: * `auto`: every usual form.
#: * `finer`: one thought of more than 100 characters, nothing before it, then the SQL and nothing else
#:   (FINER-SQL, published code). Two things differ from that code: the SQL may be fenced, because every
#:   instruct model fences it at first, and filler is refused.
#: * `think_answer`: one thought, then one `<answer>`, nothing else (DeepSeek-R1's form).
#: * `sql_r1`: the four tags once each and in order, any text around them (SQL-R1).
#: * `solution`: one `<solution>`, at least one thought, a thought after every observation (SkyRL-SQL).
#: * `fence`: one fenced query, after the thought where there is one (OmniSQL).
#: * `called`: as `auto`, or the last query that was run through a tool, if no SELECT
#:   follows the thought.
#: * `plain`: nothing but SQL, as in a prediction file.
POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        "auto": AUTO,
        "finer": replace(_STRICT, answer="rest", outside=False, filler=False, min_thought=101),
        "think_answer": replace(_STRICT, answer="answer", outside=False),
        "sql_r1": replace(_STRICT, answer="answer"),
        "solution": Policy(
            answer="solution", need_thought=True, prefilled=False, unclosed=False, observed=True, filler=True
        ),
        "fence": Policy(answer="fence", unclosed=False, filler=True),
        "called": Policy(called=True),
        "plain": Policy(thought="", answer="rest", outside=False, fenced=False, filler=True),
    }
)


def named_policy(policy: Policy | str) -> Policy:
    """Return a policy by its name; a `Policy` is returned as it is.

    Raises:
        ConfigError: the name is unknown.

    Example:
        >>> named_policy("plain").thought
        ''
    """
    if isinstance(policy, Policy):
        return policy
    found = POLICIES.get(policy) if isinstance(policy, str) else None
    if found is None:
        raise ConfigError(
            f"`policy` should be one of {', '.join(POLICIES)}, or a Policy, but got {policy!r:.80}. "
            f"{suggest(str(policy), POLICIES)}".rstrip()
        )
    return found
