"""`parse_completion`: finds the thought and the SQL of a completion, and the first rule of a policy that it breaks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from finer_rewards.parsing._families import with_common_tags, without_endings
from finer_rewards.parsing._prose import (
    begins_query,
    distinct_queries,
    find_query,
    first_word,
    is_one,
    is_one_query,
)
from finer_rewards.parsing._readable import unreadable
from finer_rewards.parsing._wrapped import wrapped_query
from finer_rewards.parsing.policy import AUTO, Policy, named_policy
from finer_rewards.types import Answer

_FENCE = "```"
# An empty thought of up to so many blank characters is no filler: templates without thinking write `<think>` and a few
# empty lines.
_BLANK_THOUGHT = 20
# Fences of more than three signs, of tildes, and with spaces before the name of the language.
_OTHER_FENCES = re.compile(
    r"`{3,}[ \t]+(?=(?i:\w{0,16}sql\w{0,16})[ \t]*$)|`{4,}|(?:^|(?<=>))[ \t]*~{3,}[ \t]*", re.MULTILINE
)
# Such words between two fences offer a choice between them; other words introduce a correction.
_OFFERED = re.compile(r"\W*(?:\Z|or\b|alternativ|another|otherwise|option)", re.IGNORECASE)
# A single final `;`. Of several none is cut off, because two are an error in BIRD's evaluator.
_END = re.compile(r"(?<![;\s])\s*;\Z")
_ANSWER_TAGS = ("answer", "solution", "final_answer", "sql", "query")
_LABEL = re.compile(r"(?!(?:select|with|values)\b)[a-z][\w+#.-]*(?!\S)", re.IGNORECASE)
_SQL_LABELS = frozenset({"bigquery", "duckdb", "oracle", "postgres", "snowflake"})


def parse_completion(completion: str, policy: Policy | str = AUTO, *, calls: Sequence[str] = ()) -> Answer:
    """Return the thought and the SQL of a completion, and which rule of the policy it breaks, if any.

    * The thought ends at the last closing tag; a thought that never ends leaves no SQL. SQL within the thought is
      never the answer.
    * Several different fenced queries after a thought are a hedge and no answer: no SQL. If no tags delimit the
      thought, the text before the last fence is the thought, and its fences are drafts.
    * In text without any mark, the query begins a line or follows a colon; a sentence before it and an explanation
      after it are left out. A comment alone is no SQL; comments in and before a query stay.
    * If none of that finds a query, the only query inside a JSON object, a tag of any name, or backticks in a sentence.
    * Two different queries are no answer, wherever they stand.
    * White space, the fence, the final `;` and end-of-turn tokens of chat templates are removed.

    Args:
        completion: what the model wrote; any string.
        policy: a `Policy`, or the name of one in `POLICIES`.
        calls: the queries that the model ran through a tool before; with some policies the last may be the answer.

    Returns:
        `Answer(thought, sql, problem)`; `problem` is empty when the policy is kept. The SQL may be there
        although the policy is broken.

    Raises:
        ConfigError: the policy is unknown; never because of the completion.

    Example:
        >>> parse_completion("<think>All of them.</think>\\n```sql\\nSELECT name FROM singer;\\n```")
        Answer(thought='All of them.', sql='SELECT name FROM singer', problem='')
        >>> parse_completion("Sure! <think>All of them.</think> SELECT 1", "think_answer").problem
        'there is text before `<think>`: Sure!'
    """
    policy = named_policy(policy)
    text = without_endings(completion)
    if policy.answer == "any":
        text = with_common_tags(text)
    if policy.fenced and any(sign in text for sign in ("````", "``` ", "~~~")):
        text = _OTHER_FENCES.sub(_FENCE, text)
    thinking = _thinking(text, policy)
    if policy.called and calls and "select" not in (thinking.rest or "").lower():
        return Answer(thinking.thought, calls[-1])
    if thinking.rest is None:
        return Answer(thinking.thought, None, thinking.problem)
    found = _answer(thinking.rest, policy, drafts=thinking.thought is None and not policy.need_thought)
    thought = thinking.thought if found.thought is None else found.thought
    sql, sql_problem = _statement(found.sql)
    if sql and thinking.between and not policy.observed and _differ(sql, thinking.between):
        sql, sql_problem = None, "an answer stands between two thoughts, and another one after them"
    problem = (
        thinking.problem
        or _thought_problem(thought, policy)
        or _tag_problem(text, policy)
        or found.problem
        or sql_problem
        or ("" if policy.outside else _shown("there is text beside the SQL", found.outside))
    )
    return Answer(thought, sql, problem)


class _Thinking(NamedTuple):
    """A completion cut into its thought and the rest; `between` is the text between several thoughts."""

    thought: str | None
    rest: str | None
    problem: str = ""
    between: str = ""


def _thinking(text: str, policy: Policy) -> _Thinking:
    """Cut the text at the last closing tag of a thought."""
    opening, closing = f"<{policy.thought}>", f"</{policy.thought}>"
    start, end = text.find(opening), text.rfind(closing)
    if not policy.thought or (start < 0 and end < 0):
        return _Thinking(None, text, f"there is no `{opening}`" if policy.need_thought else "")
    if end < 0 or text.find(opening, end) >= 0:
        return _Thinking(
            _without_tags(text, policy), None, f"`{opening}` is never closed, so there is no answer"
        )
    before, inner = ("", text[:end]) if not 0 <= start < end else (text[:start], text[start:end])
    thoughts = max(text.count(opening), text.count(closing))
    thought = _without_tags(inner, policy) if thoughts > 1 else inner.removeprefix(opening).strip()
    if start < 0 and not policy.prefilled:
        problem = f"`{opening}` is missing before `{closing}`"
    elif thoughts > 1 and not policy.several:
        problem = f"`{opening}` or `{closing}` stands {thoughts} times, and once is asked for"
    elif not (policy.filler or policy.need_thought or thought) and len(inner) > len(opening) + _BLANK_THOUGHT:
        problem = "the thought is filler: it holds nothing that can be read"
    else:
        problem = "" if policy.outside else _shown(f"there is text before `{opening}`", before)
    between = (piece.partition(opening)[0] for piece in inner.split(closing)[1:]) if thoughts > 1 else ()
    return _Thinking(thought, text[end + len(closing) :], problem, "\n".join(between))


def _without_tags(text: str, policy: Policy) -> str:
    return text.replace(f"<{policy.thought}>", "").replace(f"</{policy.thought}>", "").strip()


def _thought_problem(thought: str | None, policy: Policy) -> str:
    length = len(thought or "")
    if policy.need_thought and not length:
        return "the thought is empty"
    if length < policy.min_thought:
        return f"the thought has {length} characters, and at least {policy.min_thought} are asked for"
    return "" if policy.filler else unreadable(thought or "", policy.min_thought)


def _tag_problem(text: str, policy: Policy) -> str:
    if policy.answer not in ("any", "rest", "fence"):
        for tag in (f"<{policy.answer}>", f"</{policy.answer}>"):
            count = text.count(tag)
            if count > 1 or (count == 0 and not (policy.unclosed and tag.startswith("</"))):
                return f"`{tag}` stands {count} times, and once is asked for"
    if policy.observed:
        for piece in text.split("</observation>")[1:]:
            if not piece.lstrip().startswith(f"<{policy.thought}>"):
                return f"no `<{policy.thought}>` follows an `</observation>`"
    return ""


class _FoundAnswer(NamedTuple):
    """The text of the SQL, the text around it, a problem, and the thought if the tags did not mark one."""

    sql: str | None
    outside: str = ""
    problem: str = ""
    thought: str | None = None


def _answer(rest: str, policy: Policy, *, drafts: bool) -> _FoundAnswer:
    """Find the text of the SQL in what follows the thought."""
    if policy.answer == "any":
        tags = [tag for tag in _ANSWER_TAGS if f"<{tag}>" in rest] if "<" in rest and ">" in rest else []
        found = _tagged(rest, tags[0], policy) if tags else _unfenced(rest, policy, drafts=drafts)
        if found.sql is None or not begins_query(found.sql):
            inside = wrapped_query(rest)
            return found if inside is None else _FoundAnswer(inside)
        return found
    if policy.answer in ("rest", "fence"):
        return _unfenced(rest, policy, drafts=drafts)
    return _tagged(rest, policy.answer, policy)


def _tagged(rest: str, tag: str, policy: Policy) -> _FoundAnswer:
    """Find the SQL between tags of this name; several tags have to hold the same text."""
    before, *pieces = rest.split(f"<{tag}>")
    parts = [piece.partition(f"</{tag}>") for piece in pieces]
    contents = dict.fromkeys(inner.strip() for inner, _, _ in parts)
    if len(contents) != 1:
        problem = (
            f"there are {len(contents)} different `<{tag}>`"
            if contents
            else f"there is no `<{tag}>` with SQL"
        )
        return _FoundAnswer(None, problem=problem)
    found = _unfenced(next(iter(contents)), policy, drafts=False)
    outside = before + "".join(after for _, _, after in parts) + found.outside
    closed = policy.unclosed or all(closing for _, closing, _ in parts)
    return _FoundAnswer(found.sql, outside, found.problem or ("" if closed else f"`<{tag}>` is never closed"))


def _unfenced(text: str, policy: Policy, *, drafts: bool) -> _FoundAnswer:
    """Find the SQL in a code fence, or in the text if it has none.

    With `drafts`, only the last fence is the answer, and the text before it is the thought.
    """
    parts = text.split(_FENCE) if "`" in text else [text]
    if len(parts) > 1 and not policy.fenced:
        return _FoundAnswer(text, problem="the SQL stands in a code fence")
    if len(parts) == 1:
        return _unmarked(text, policy, drafts=drafts)
    opens = _LABEL.match(parts[1]) or begins_query(parts[1])
    if len(parts) % 2 == 0 and not opens and begins_query(parts[0]):
        # A fence on a line of its own closes one that the prompt opened; within a line it is part of the SQL.
        ends_line = parts[0].rstrip(" \t\r").endswith("\n")
        return _FoundAnswer(parts[0], "".join(parts[1:])) if ends_line else _FoundAnswer(text)
    blocks = _sql_blocks(parts)
    contents = list(dict.fromkeys(content for _, content in blocks))
    if not contents:
        return _FoundAnswer(None, problem="no code fence holds SQL")
    if len(contents) > 1 and not drafts:
        return _FoundAnswer(
            None, problem=f"there are {len(contents)} different fenced queries, so none is the answer"
        )
    last = blocks[-1][0]
    outside = "".join(part for index, part in enumerate(parts) if index % 2 == 0)
    beside = "".join(parts[last + 1 :: 2]) if drafts else outside
    if _differ(contents[-1], beside) or (
        len(contents) > 1 and _OFFERED.match("".join(parts[last - 1 : last]))
    ):
        return _FoundAnswer(None, problem="there are different queries to choose from, so none is the answer")
    problem = "" if policy.unclosed or len(parts) % 2 else "the code fence is never closed"
    thought = _FENCE.join(parts[:last]).strip() if drafts else ""
    return _FoundAnswer(contents[-1], outside, problem, thought or None)


def _unmarked(text: str, policy: Policy, *, drafts: bool) -> _FoundAnswer:
    """Find the SQL in text without a fence; with `drafts`, the text before it becomes the thought."""
    if policy.answer == "fence":
        return _FoundAnswer(text, problem="there is no code fence")
    if not policy.fenced or is_one_query(text):
        return _FoundAnswer(text)
    found = find_query(text)
    # A query is cut out of the text only if the explanation after it begins a new line and is no comment.
    if found is None or distinct_queries(text) > 1 or found.after.startswith(("--", "/*", ";")):
        return _FoundAnswer(text)
    return _FoundAnswer(
        found.sql, f"{found.before} {found.after}".strip(), "", (drafts and found.before) or None
    )


def _sql_blocks(parts: Sequence[str]) -> list[tuple[int, str]]:
    """Return the fenced blocks labelled as SQL, or the ones without a label when there are none."""
    labelled: list[tuple[int, str]] = []
    unlabelled: list[tuple[int, str]] = []
    for index in range(1, len(parts), 2):
        match = _LABEL.match(parts[index])
        label = match.group().lower() if match else ""
        content = parts[index][len(label) :].strip()
        if content and not label:
            unlabelled.append((index, content))
        elif content and ("sql" in label or label in _SQL_LABELS):
            labelled.append((index, content))
    return labelled or unlabelled


def _statement(text: str | None) -> tuple[str | None, str]:
    """Return the SQL without surrounding white space and final `;`, and what is wrong with it."""
    if text is None:
        return None, "there is no SQL"
    sql = text.strip("\ufeff \t\r\n\f\v")
    if sql.endswith(";"):
        sql = _END.sub("", sql)
    if not sql[:1].isalpha() and first_word(sql) >= len(sql):
        return None, "the answer holds no statement" if sql else "there is no SQL"
    if not begins_query(sql):
        return sql, _shown("the SQL does not begin with SELECT, WITH or VALUES", sql)
    several = not is_one(sql) and distinct_queries(sql) > 1
    return sql, "there are different queries, so none is the answer" if several else ""


def _differ(sql: str, beside: str) -> bool:
    """Return whether the text around a query holds another query."""
    if not beside.strip() and is_one(sql) and _FENCE not in sql:
        return False
    return distinct_queries(f"{sql};\n{beside}".replace(_FENCE, ";\n")) > 1


def _shown(what: str, text: str) -> str:
    text = " ".join(text[:400].split())
    return f"{what}: {text[:40]}{'...' if len(text) > 40 else ''}" if text else ""
