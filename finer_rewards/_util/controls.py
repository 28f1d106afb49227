"""Text of strangers as text: what a terminal or a page would obey in it, escaped."""

from __future__ import annotations

import re
from typing import Final

#: Control characters but for the tab and the line feed, and marks that turn the direction of the text after them.
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    r"""Return text with control characters, and marks that turn its direction, as JSON escapes them.

    Tabs and line feeds stay.

    Example:
        >>> escape_controls("SELECT 1\x1b[2J")
        'SELECT 1\\u001b[2J'
    """
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
