"""The option `--import`: loads modules of the user, whose modes, rewards and engines the other options may name."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from finer_rewards.errors import ConfigError, FinerError


def import_named(given: Sequence[str]) -> None:
    """Import what `--import` names, before any other option is read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--import", dest="places", action="append", default=[])
    try:
        places = parser.parse_known_args(given)[0].places
    except argparse.ArgumentError as error:
        raise ConfigError(
            "`--import` should be followed by a module or a .py file, but nothing comes."
        ) from error
    for place in places:
        import_place(place)


def import_place(place: str) -> ModuleType:
    """Import a module by its name, or by its file, as `python -m` would from the working folder.

    Raises:
        ConfigError: the module is not there, or fails while it is imported.
    """
    try:
        if not place.endswith(".py"):
            sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(place)
        path = Path(place).resolve()
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise ConfigError(f"There is no file {place!r}.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        sys.path.insert(0, str(path.parent))
        spec.loader.exec_module(module)
        return module
    except FinerError:
        raise
    except Exception as error:
        raise ConfigError(f"{place!r} cannot be imported: {type(error).__name__}: {error}.") from error
