"""How a worker process starts: `python -I -S launch.py PROGRAM`, a file with a function `open_databases(settings)`.

The program is imported by its name, and so are the files of this package that it needs; but the packages around
them come bare, without what their `__init__` imports, so that a worker starts in a few milliseconds.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Without `os.path` and `importlib`: each import costs a start about as much as this file.
PACKAGE = __file__.rpartition("/executing/")[0]
ROOT, _, NAME = PACKAGE.rpartition("/")


class BarePackages:
    """Finds the packages of this library as folders of modules, and no more."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> object:
        """Return how a package is imported; `None` for what is none of ours."""
        folder = f"{ROOT}/{name.replace('.', '/')}"
        if name.partition(".")[0] != NAME or not os.path.isdir(folder):  # noqa: PTH112
            return None
        spec = type(sys.__spec__)(name, None, is_package=True)
        spec.submodule_search_locations = [folder]
        return spec


def load(program: str) -> Any:
    """Import a file by the name it has in this package, or by its own where it lies elsewhere."""
    sys.meta_path.insert(0, BarePackages)  # type: ignore[arg-type]
    folder, _, file = program.rpartition("/")
    name = file[: -len(".py")]
    if program.startswith(f"{PACKAGE}/"):
        name = program[len(ROOT) + 1 : -len(".py")].replace("/", ".")
    else:
        sys.path.insert(0, folder)
    __import__(name)
    if folder in sys.path:
        sys.path.remove(folder)
    return sys.modules[name]


if __name__ == "__main__":
    open_databases = load(sys.argv[1]).open_databases
    from finer_rewards.executing.worker import main

    main(open_databases)
