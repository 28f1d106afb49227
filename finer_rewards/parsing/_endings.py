"""The tokens that end a turn, which some trainers decode into the text: the one place that knows them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["without_endings"]

# Most families write them between bars: `<|im_end|>`, `<|END_OF_TURN_TOKEN|>`, DeepSeek's with full-width bars,
# Llama's and Phi's tool tokens, those of gpt-oss. No SQL ends so.
_BARRED = (
    r">[|｜][^<>\s|｜]{1,40}[|｜]<"  # backwards, as all is matched from the end: a long text costs no more
)
_OTHERS = (
    "</s>", "<s>", "<eos>", "<bos>", "<pad>", "<end_of_turn>", "<start_of_turn>", "<turn|>", "<end_of_utterance>",
    "<eoa>", "<seed:eos>", "[|endofturn|]", "[EOS]", "[PAD]",
)  # fmt: skip


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
    found = _pattern(tuple(sorted(set(more)))).match(text[::-1])
    return text[: len(text) - found.end()] if found else text


@lru_cache(maxsize=64)
def _pattern(more: tuple[str, ...]) -> re.Pattern[str]:
    backwards = sorted((token[::-1] for token in {*_OTHERS, *more} if token.strip()), key=len, reverse=True)
    return re.compile("(?:" + "|".join((r"\s", _BARRED, *map(re.escape, backwards))) + ")+")
