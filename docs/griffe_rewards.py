"""Shows a reward as it is called: the decorator binds `evidence`, and what is returned is a `Reward`."""

from __future__ import annotations

from typing import Any

import griffe


class Rewards(griffe.Extension):
    """Takes the first parameter out of functions under `@reward`."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Mend the signature of one function."""
        if "evidence" in func.parameters and any("reward" in str(one.value) for one in func.decorators):
            del func.parameters["evidence"]
            func.returns = "Reward"
