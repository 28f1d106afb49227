"""Reads a chat as trainers pass it: what the model wrote last, and the queries that it ran before.

A model runs a query through a tool: the message has it in `tool_calls`, as in the OpenAI interface, or in its text, as
`<tool_call>{"name": ..., "arguments": {"sql": ...}}</tool_call>`. Reading never raises for anything that a model wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from finer_rewards._util.lossless_json import parse_json
from finer_rewards.errors import ConfigError

#: The names that tools give to the argument with the SQL.
_SQL = ("sql", "query", "sql_query", "statement")
_CALL, _REPLY = "tool_call", "tool_response"


class Chat(NamedTuple):
    """What a model did in one rollout.

    Args:
        text: the text that it wrote last, without calls of tools.
        calls: the queries that it asked a tool to run, in order.
        turns: the number of its turns, the last included.
    """

    text: str
    calls: tuple[str, ...] = ()
    turns: int = 1


def completion_text(value: object) -> str:
    """Return the text of a completion as trainers pass it.

    A string is returned as it is, `None` as the empty text. Of a list of chat messages, the last assistant messages
    are joined; `content` may be missing, `None`, text or a list of blocks, of which those with text count. A
    message's `reasoning_content` is put back in front as `<think>...</think>`.

    Args:
        value: a string, a message, a list of messages, or `None`.

    Raises:
        ConfigError: anything else.

    Example:
        >>> completion_text([{"role": "assistant", "reasoning_content": "All.", "content": "SELECT 1"}])
        '<think>All.</think>SELECT 1'
    """
    return read_chat(value).text


def read_chat(value: object, *, tag: str = _CALL) -> Chat:
    """Return what a model did, from a completion as trainers pass it: text, a message, messages, `None`.

    Args:
        value: as for `completion_text`.
        tag: the tag around a call in the text of a message: JSON, or SQL as it is.

    Raises:
        ConfigError: anything else.

    Example:
        >>> call = {"function": {"name": "run_sql", "arguments": {"sql": "SELECT 1"}}}
        >>> asked = {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}
        >>> told = {"role": "tool", "content": "1"}
        >>> read_chat([asked, told, {"role": "assistant", "content": "SELECT 2"}])
        Chat(text='SELECT 2', calls=('SELECT 1',), turns=2)
    """
    if value is None or isinstance(value, str):
        return Chat(value or "")
    messages = [value] if isinstance(value, Mapping) else value
    if not isinstance(messages, Sequence) or isinstance(messages, (bytes, bytearray)):
        raise _not_a_completion(value)
    calls: list[str] = []
    texts: list[str] = []
    turns, speaking = 0, False
    for message in messages:
        if not isinstance(message, Mapping):
            raise _not_a_completion(value)
        if message.get("role", "assistant") != "assistant":
            speaking = False
            continue
        if not speaking:
            texts, turns, speaking = [], turns + 1, True
        text = _message_text(message)
        if f"<{tag}>" in text:
            text, asked = _without_calls(text, tag)
            calls += asked
        texts.append(text)
        calls += _calls(message.get("tool_calls"))
    return Chat("".join(texts), tuple(calls), max(turns, 1))


def read_transcript(text: str) -> Chat:
    """Return what a model did, from the decoded text of all turns, with the tools' replies in `<tool_response>` tags.

    Example:
        >>> call = '<tool_call>{"name": "run_sql", "arguments": {"sql": "SELECT 1"}}</tool_call>'
        >>> read_transcript(call + "\\nuser\\n<tool_response>\\n1\\n</tool_response>\\nassistant\\nSELECT 2")
        Chat(text='SELECT 2', calls=('SELECT 1',), turns=2)
    """
    opening, closing = f"<{_REPLY}>", f"</{_REPLY}>"
    messages: list[dict[str, str]] = []
    start = 0
    while (end := text.find(opening, start)) >= 0:
        messages += _spoken(text[start:end], first=not messages)
        messages.append({"role": "tool", "content": ""})
        closed = text.find(closing, end)
        start = len(text) if closed < 0 else closed + len(closing)
    if not messages:
        messages = [{"role": "assistant", "content": text}]
    else:
        messages += _spoken(text[start:], first=False)
    return read_chat(messages)


def read_response(text: str) -> Chat:
    """Return what a model did, from the decoded text of its response, which may hold one turn or several.

    Example:
        >>> read_response("SELECT 1")
        Chat(text='SELECT 1', calls=(), turns=1)
    """
    return read_transcript(text) if f"<{_REPLY}>" in text else Chat(text)


def _spoken(text: str, *, first: bool) -> list[dict[str, str]]:
    """Return the model's text between replies of tools, without the names of roles that templates write."""
    shown = f"\n{text.strip()}\n"
    for role in ("user", "tool"):
        shown = shown.removesuffix(f"\n{role}\n")
    if not first:
        shown = shown.removeprefix("\nassistant\n")
    return [{"role": "assistant", "content": shown.strip()}] if shown.strip() else []


def _without_calls(text: str, tag: str) -> tuple[str, list[str]]:
    """Return a text without its calls of tools, and the queries of these calls."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    kept: list[str] = []
    calls: list[str] = []
    start = 0
    while (found := text.find(opening, start)) >= 0:
        kept.append(text[start:found])
        end = text.find(closing, found)
        inner = text[found + len(opening) : len(text) if end < 0 else end].strip()
        calls += _calls([_json(inner)] if inner.startswith("{") else [{"arguments": {"sql": inner}}])
        start = len(text) if end < 0 else end + len(closing)
    kept.append(text[start:])
    return "".join(kept).strip(), calls


def _calls(asked: object) -> Iterator[str]:
    for call in asked if isinstance(asked, (list, tuple)) else ():
        function = call.get("function", call) if isinstance(call, Mapping) else None
        given = function.get("arguments") if isinstance(function, Mapping) else None
        given = _json(given) if isinstance(given, str) else given
        if isinstance(given, Mapping):
            sql = next((given[name] for name in _SQL if name in given), None)
            if isinstance(sql, str) and sql.strip():
                yield sql


def _json(text: str) -> object:
    try:
        return parse_json(text)
    except ValueError:
        return None


def _message_text(message: Mapping[Any, Any]) -> str:
    if not {"role", "content", "tool_calls", "reasoning_content"} & set(message):
        raise _not_a_completion(message)
    reasoning, content = message.get("reasoning_content"), message.get("content")
    if content is not None and not isinstance(content, str):
        if not isinstance(content, (list, tuple)):
            raise _not_a_completion(message)
        blocks = (block if isinstance(block, str) else _block_text(block) for block in content)
        content = "".join(blocks)
    thought = f"<think>{reasoning}</think>" if isinstance(reasoning, str) and reasoning else ""
    return thought + (content or "")


def _block_text(block: object) -> str:
    if not isinstance(block, Mapping):
        raise _not_a_completion(block)
    text = block.get("text")
    return text if isinstance(text, str) else ""


def _not_a_completion(value: object) -> ConfigError:
    return ConfigError(
        f"A completion should be text, a chat message or a list of them, but got {value!r:.80} "
        f"({type(value).__name__}). Pass the model's text."
    )
