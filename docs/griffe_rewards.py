"""Shows a reward as it is called, and every example as code.

The decorator binds `evidence`, and what is returned is a `Reward`. Of `Example:` griffe makes a box of prose; a section
with code in it is called `Examples:`.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class Rewards(griffe.Extension):
    """Takes the first parameter out of functions under `@reward`, and names examples as griffe does."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mend the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.M)

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Mend the signature of one function."""
        if "evidence" in func.parameters and any("reward" in str(one.value) for one in func.decorators):
            del func.parameters["evidence"]
            func.returns = "Reward"
