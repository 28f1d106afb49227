"""Escapes what a terminal or a web page would obey in text that others wrote, such as a model or a database."""

from __future__ import annotations

import re
from typing import Final

#: Control characters except the tab and the line feed, and marks that change the direction of the text after them.
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    r"""Return text in which control characters, and marks that change its direction, are escaped as in JSON.

    Tabs and line feeds stay.

    Example:
        >>> escape_controls("SELECT 1\x1b[2J")
        'SELECT 1\\u001b[2J'
    """
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
