"""The special tokens and tags that model families write around turns, thoughts and answers; known only here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

# Most families write tokens between bars: `<|im_end|>`, `<|END_OF_TURN_TOKEN|>`, DeepSeek's with full-width bars,
# Llama's and Phi's tool tokens, those of gpt-oss. No SQL ends like that. The pattern is written backwards, because
# texts are matched from their end, so that a long text costs no more than a short one.
_BARRED = r">[|｜][^<>\s|｜]{1,40}[|｜]<"
_OTHERS = (
    "</s>", "<s>", "<eos>", "<bos>", "<pad>", "<end_of_turn>", "<start_of_turn>", "<turn|>", "<end_of_utterance>",
    "<eoa>", "<seed:eos>", "[|endofturn|]", "[EOS]", "[PAD]",
)  # fmt: skip

# How thoughts begin and end in families that do not use <think>: instruct models asked for tags, Magistral, Kimi,
# Seed-OSS, Command A, Gemma 4, and the channels of gpt-oss, whose answer is a channel too. GLM boxes its answer.
_TAGS = re.compile(
    r"(?P<opens><(?:thinking|thought|reasoning|seed:think)>|\[THINK\]|◁think▷|<\|START_THINKING\|>"
    r"|<\|channel>thought\b|(?:<\|start\|>assistant)?<\|channel\|>analysis<\|message\|>)"
    r"|(?P<closes></(?:thinking|thought|reasoning|seed:think)>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<channel\|>"
    r"|<\|end\|>\s*<\|start\|>assistant<\|channel\|>final<\|message\|>)"
    r"|<\|START_RESPONSE\|>|<\|(?:begin|end)_of_box\|>|(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>"
)


# Models trained on mathematics write their answer in LaTeX's \boxed{}; no SQL contains braces.
_BOX = re.compile(
    r"\\boxed\s*\{(?:\s*\\(?:text|math)\w{0,8}\s*\{)?(?=\s*(?:select|with|values)\b)([^{}]*)\}+",
    re.IGNORECASE,
)

_NAMES = ("thinking", "thought", "reasoning", "seed:think")
# All endings nearly always lie within so many last characters, so these are matched first.
_TAIL = 200


def without_endings(text: str, more: Iterable[str] = ()) -> str:
    """Return a text without the end-of-turn and padding tokens, and the white space, at its end.

    Args:
        text: what a model wrote.
        more: further tokens to cut, such as a tokenizer's `all_special_tokens`.

    Example:
        >>> without_endings("SELECT 1<|eot_id|> <|end_of_text|>")
        'SELECT 1'
        >>> without_endings("SELECT 1<halt>", ["<halt>"])
        'SELECT 1'
    """
    pattern = _pattern(tuple(sorted(set(more)))) if more else _PATTERN
    found = None if more else pattern.match(text[: -_TAIL - 1 : -1])
    # A match that long may go on beyond the last characters, perhaps in the middle of a token.
    if more or (found is not None and found.end() > _TAIL // 2):
        found = pattern.match(text[::-1])
    return text[: len(text) - found.end()] if found else text


def with_common_tags(text: str) -> str:
    """Return a text with thoughts in `<think>` and a boxed query in `<answer>`, whatever the family writes.

    Example:
        >>> with_common_tags("[THINK]All of them.[/THINK]SELECT 1")
        '<think>All of them.</think>SELECT 1'
        >>> with_common_tags(r"It is $\\boxed{SELECT 1}$")
        'It is $<answer>SELECT 1</answer>$'
    """
    if "\\boxed" in text:
        text = _BOX.sub(r"<answer>\1</answer>", text)
    # Every tag has one of these signs. Most texts have none of them, and need not be searched.
    barred = "|" in text and ("<|" in text or "channel|>" in text)
    bracketed = "▷" in text or ("]" in text and "THINK]" in text)
    if not (barred or bracketed or any(piece.endswith(_NAMES) for piece in text.split(">"))):
        return text
    return _TAGS.sub(lambda tag: "<think>" if tag["opens"] else "</think>" if tag["closes"] else "", text)


@lru_cache(maxsize=64)
def _pattern(more: tuple[str, ...]) -> re.Pattern[str]:
    backwards = sorted((token[::-1] for token in {*_OTHERS, *more} if token.strip()), key=len, reverse=True)
    return re.compile("(?:" + "|".join((r"\s", _BARRED, *map(re.escape, backwards))) + ")+")


_PATTERN = _pattern(())
