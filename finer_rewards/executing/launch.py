"""The first file that a worker process runs: `python -I -S launch.py PROGRAM`.

PROGRAM is a file with a function `open_databases(settings)`. It and the files of this package that it needs are
imported by their usual names, but no `__init__.py` of this package runs: that way a worker starts in milliseconds.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# String operations instead of `pathlib` and `importlib`: importing either would cost as much as the rest of this file.
PACKAGE = __file__.rpartition("/executing/")[0]
ROOT, _, NAME = PACKAGE.rpartition("/")


class BarePackages:
    """An import finder that sees each package of this library as a bare folder, so that its `__init__` is not run."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> object:
        """Return the spec of a package of this library; `None` leaves any other name to the usual finders."""
        folder = f"{ROOT}/{name.replace('.', '/')}"
        if name.partition(".")[0] != NAME or not os.path.isdir(folder):  # noqa: PTH112
            return None
        spec = type(sys.__spec__)(name, None, is_package=True)
        spec.submodule_search_locations = [folder]
        return spec


def load(program: str) -> Any:
    """Import a worker program: by its full module name if it lies in this package, else by its file name."""
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
