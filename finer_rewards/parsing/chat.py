"""The text of a completion in the shapes that trainers pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finer_rewards.errors import ConfigError

__all__ = ["completion_text"]


def completion_text(value: object) -> str:
    """Return the text of a completion as trainers pass it.

    A string is itself, `None` is empty. Of a list of chat messages, the last run of assistant messages is
    joined; `content` may be missing, `None`, text or a list of blocks, of which the text ones count. A
    message's `reasoning_content` is put back in front as `<think>...</think>`.

    Args:
        value: a string, a message, a list of messages, or `None`.

    Raises:
        ConfigError: anything else.

    Example:
        >>> completion_text([{"role": "assistant", "reasoning_content": "All.", "content": "SELECT 1"}])
        '<think>All.</think>SELECT 1'
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping):
        return _message_text(value)
    if not isinstance(value, Sequence) or isinstance(value, (bytes, bytearray)):
        raise _not_a_completion(value)
    texts: list[str] = []
    for message in reversed(value):
        if not isinstance(message, Mapping):
            raise _not_a_completion(value)
        if message.get("role", "assistant") == "assistant":
            texts.append(_message_text(message))
        elif texts:
            break
    return "".join(reversed(texts))


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
