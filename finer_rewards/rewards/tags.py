"""The format checks of published systems, as their code reads them; train with `well_formed`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Literal

from finer_rewards.errors import ConfigError
from finer_rewards.reward import reward
from finer_rewards.types import Evidence, Score


def between(text: str, opening: str, closing: str) -> list[str]:
    """Return what stands between each opening mark and the first closing one after it, in linear time.

    Example:
        >>> between("<a>1</a> <a>2<a>3</a>", "<a>", "</a>")
        ['1', '2<a>3']
    """
    found = []
    start = text.find(opening)
    while start >= 0:
        start += len(opening)
        end = text.find(closing, start)
        if end < 0:
            break
        found.append(text[start:end])
        start = text.find(opening, end + len(closing))
    return found


def _sql_r1(text: str) -> str:
    tags = ("<think>", "</think>", "<answer>", "</answer>")
    for tag in tags:
        if text.count(tag) != 1:
            return f"`{tag}` stands {text.count(tag)} times, and once is asked for"
    if sorted(tags, key=text.find) != list(tags):
        return "the tags are out of order"
    answer = text[text.find("<answer>") + len("<answer>") : text.find("</answer>")]
    fences = between(answer, "```sql", "```")
    return "" if fences and fences[-1].strip() else "the answer holds no ```sql fence with SQL"


def _skyrl(text: str) -> str:
    before, _, after = text.partition("<solution>")
    if text.count("<solution>") != 1 or after.count("</solution>") != 1:
        return "one `<solution>` and one `</solution>` after it are asked for"
    if re.search(r"</?(think|sql|observation)\b", after.partition("</solution>")[0], re.IGNORECASE):
        return "there is another tag in the solution"
    if not between(text, "<think>", "</think>"):
        return "there is no thought"
    for observation in re.finditer(r"</observation>", before, re.IGNORECASE):
        if not before[observation.end() :].lstrip().lower().startswith("<think>"):
            return "no thought follows an observation"
    return ""


_SELECT = re.compile(r"select\s+\S", re.IGNORECASE)


def _two_tags(thought: str) -> Callable[[str], str]:
    opening = re.compile(rf"<{thought}>", re.IGNORECASE)
    turn = re.compile(rf"</{thought}>\s*<answer>", re.IGNORECASE)
    closing = re.compile(r"</answer>\Z", re.IGNORECASE)

    def check(text: str) -> str:
        text = text.strip()
        start, end = opening.match(text), closing.search(text)
        middle = turn.search(text, start.end()) if start else None
        if end and middle and middle.end() <= end.start():
            return ""
        return f"not a `<{thought}>` and then an `<answer>` alone"

    return check


def _arctic(text: str) -> str:
    if not text.count("<think>") == text.count("</think>") == 1 or text.find("</think>") < text.find(
        "<think>"
    ):
        return "not one `<think>` before one `</think>`"
    answer = text.partition("</think>")[2]
    blocks = (piece.partition("```") for piece in answer.split("```sql")[1:])
    fenced = any(closing and len(block.strip()) > 6 for block, closing, _ in blocks)
    return "" if fenced or _SELECT.search(answer) else "no SQL after the thought"


_CHECKS: Final[Mapping[str, Callable[[str], str]]] = {
    "arctic": _arctic,
    "sql_r1": _sql_r1,
    "skyrl": _skyrl,
    "think2sql": _two_tags("reasoning"),
    "think_answer": _two_tags("think"),
}


@reward()
def published_format(
    evidence: Evidence,
    *,
    system: Literal["arctic", "sql_r1", "skyrl", "think2sql", "think_answer"] = "think_answer",
) -> Score:
    """1 when the completion passes the format check of a published system's code, else 0.

    * `arctic`: one `<think>` before one `</think>`, and SQL after it, in a fence or not.
    * `sql_r1`: `<think>`, `</think>`, `<answer>`, `</answer>` once each and in order, any text around them, a
      fence marked sql in the answer.
    * `skyrl`: one `<solution>`, a thought, a thought after every observation before the solution.
    * `think2sql`: `<reasoning>` and then `<answer>`, nothing around them; tags may repeat inside.
    * `think_answer`: the same with `<think>`.

    Known to pay for: tags around anything; only `arctic` looks whether there is SQL in the answer.

    Args:
        system: whose check.

    Example:
        >>> published_format(system="skyrl")
        published_format(system='skyrl')

    References:
        DataArcTech/SQL-R1, `synsql.py`; NovaSky-AI/SkyRL, `skyrl_gym/envs/sql/utils.py`;
        spapicchio/Think2SQL, `rewards_reasoning_content.py`; all 2025; NovaSky-AI/SkyRL, `bird_reward.py`, 2026.
    """
    problem = _CHECKS[system](evidence.sample.completion)
    return Score(0.0, problem) if problem else Score(1.0, f"in the form of {system}")


@reward()
def tag_count(
    evidence: Evidence, *, thought: str = "think", answer: str = "answer", trailing: float = 0.0
) -> Score:
    r"""A quarter for each of four tags that stands once on its own line, in [0, 1] when `trailing` is 0.

    Formula: 0.25 for each of `<think>\n`, `\n</think>\n`, `\n<answer>\n`, `\n</answer>` that occurs once;
    minus `trailing` for each character after the answer, counted twice as the code does.

    Known to pay for: four empty tags. With `trailing` there is no lower bound, and a missing newline at the
    end of the answer costs the whole length of the text.

    Args:
        thought: name of the first tag.
        answer: name of the second.
        trailing: price of a character after the answer; 0.002 in Reasoning-SQL, on this scale.

    Example:
        >>> tag_count(thought="reasoning", trailing=0.002)
        tag_count(thought='reasoning', trailing=0.002)

    References:
        W. Brown, GRPO demo, 2025 (xmlcount); Think2SQL and Reasoning-SQL use it.
    """
    text = evidence.sample.completion
    count = 0.25 * (text.count(f"<{thought}>\n") == 1) + 0.25 * (text.count(f"\n</{thought}>\n") == 1)
    if text.count(f"\n<{answer}>\n") == 1:
        count += 0.25 - trailing * len(text.split(f"\n</{answer}>\n")[-1])
    if text.count(f"\n</{answer}>") == 1:
        count += 0.25 - trailing * (len(text.split(f"\n</{answer}>")[-1]) - 1)
    return Score(count)


def _check_repetitive(n: int, threshold: float) -> None:
    if n < 1 or not 0 < threshold <= 1:
        raise ConfigError(
            "`repetitive(n=..., threshold=...)` should have n from 1 and threshold in (0, 1], "
            f"but got {n!r} and {threshold!r}."
        )


@reward(check=_check_repetitive)
def repetitive(evidence: Evidence, *, n: int = 5, threshold: float = 0.5) -> Score:
    """1 when the completion repeats itself, else 0; stand it in a reward with a negative weight.

    Formula: [distinct n-grams / n-grams < threshold], over words between white space; 0 below n words.
    Think2SQL counts tokens of its own tokenizer.

    Args:
        n: words in an n-gram.
        threshold: share of distinct n-grams below which a text repeats itself.

    Raises:
        ConfigError: a parameter is out of range.

    Example:
        >>> -1 * repetitive()
        -repetitive()

    References:
        Papicchio et al., Think2SQL, 2025, code (`penalty_repetitions`: 5, 0.5, -1).
    """
    words = evidence.sample.completion.split()
    grams = Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
    total = sum(grams.values())
    share = len(grams) / total if total else 1.0
    return Score(float(share < threshold), f"{share:.0%} of the sequences of {n} words are distinct")
