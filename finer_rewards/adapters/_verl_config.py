"""Checking a verl configuration before training, for `finer-rewards preflight`: ignored keys, names that do not exist.

verl 0.9.0 and 0.9.1 accept the keys of older versions and ignore them; training then runs with verl's own reward, or
ends at the first sample whose `data_source` it does not know.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from finer_rewards.errors import ConfigError, suggest

#: Keys of verl up to 0.7.0 -> their names since.
MOVED: Final[Mapping[str, str]] = {
    "custom_reward_function": "reward.custom_reward_function",
    "reward_model.reward_manager": "reward.reward_manager.name",
    "reward_model.reward_loop_source": "reward.reward_manager.source",
    "reward_model.reward_loop_module_path": "reward.reward_manager.module.path",
    "reward_model.reward_loop_class_name": "reward.reward_manager.name",
    "reward_model.num_workers": "reward.num_workers",
    "reward_model.reward_kwargs": "reward.reward_kwargs",
    "sandbox_fusion": "reward.sandbox_fusion",
}
MANAGERS: Final = ("naive", "dapo", "gdpo", "rate_limited", "remote")
FUNCTION: Final = "reward.custom_reward_function"
#: Keys that verl's own configuration does not have, so that Hydra needs a `+` in front of them.
ADDED: Final = (
    f"{FUNCTION}.reward_kwargs",
    "reward.reward_kwargs",
    "reward.timeout",
    "reward.max_concurrent",
)
_SETTING = re.compile(r"^(\+{0,2}|~)([A-Za-z_][\w./]*)=(.*)$", re.DOTALL)


class CheckedSetting(NamedTuple):
    """A setting that was checked.

    Attributes:
        key: the key.
        ok: false when training would not do what the configuration says.
        found: the value.
        advice: what to write instead; empty if all is well.
    """

    key: str
    ok: bool
    found: str
    advice: str = ""


def read_settings(path: Path) -> dict[str, str]:
    """Return the settings of a launch script (`key=value` words) or of a YAML configuration, by dotted key.

    Keys that Hydra has to add keep the `+` that they have in a script; from YAML, which needs none, they get one here.

    Raises:
        ConfigError: the file cannot be read, or is YAML and PyYAML is not installed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", error)
        raise ConfigError(
            f"`--verl FILE` should be a script or a configuration, but {path} cannot be read: {why}."
        ) from None
    if path.suffix in (".yaml", ".yml"):
        flat = _flat(_yaml(text, path), "")
        return {f"+{key}" if key.startswith(ADDED) else key: value for key, value in flat}
    return dict(_words(text))


def check_settings(settings: Mapping[str, str]) -> Iterator[CheckedSetting]:
    """Yield what is wrong, and at the end whether the reward function is set.

    Args:
        settings: as `read_settings` returns them.

    Example:
        >>> first, _ = check_settings({"custom_reward_function.path": "pkg://finer_rewards.adapters.verl"})
        >>> first.ok, first.advice
        (False, 'Write reward.custom_reward_function.path: verl 0.9 ignores the old key.')
    """
    plain = {key.lstrip("+"): value for key, value in settings.items()}
    for key, value in plain.items():
        old = next((old for old in MOVED if key == old or key.startswith(old + ".")), None)
        if old is not None:
            new = MOVED[old] + key[len(old) :]
            yield CheckedSetting(key, False, value, f"Write {new}: verl 0.9 ignores the old key.")
    for key, value in settings.items():
        if key.startswith(ADDED):
            yield CheckedSetting(
                key, False, value, f"Write +{key}: verl's configuration does not have the key."
            )
    yield from _manager(plain)
    yield from _function(plain)


def _manager(plain: Mapping[str, str]) -> Iterator[CheckedSetting]:
    key = "reward.reward_manager.name"
    name, source = plain.get(key), plain.get("reward.reward_manager.source", "register")
    if name is not None and source == "register":
        advice = f"Use one of {', '.join(MANAGERS)}. {suggest(name, MANAGERS)}".strip()
        yield CheckedSetting(key, name in MANAGERS, name, "" if name in MANAGERS else advice)
    if source == "importlib" and not plain.get("reward.reward_manager.module.path"):
        advice = "Set it: a manager from a module needs the module."
        yield CheckedSetting("reward.reward_manager.module.path", False, "nothing", advice)


def _function(plain: Mapping[str, str]) -> Iterator[CheckedSetting]:
    path = plain.get(f"{FUNCTION}.path")
    if not path or path == "null":
        advice = "Set it, or verl scores with its own function. `overrides(...)` writes it."
        yield CheckedSetting(f"{FUNCTION}.path", False, "nothing", advice)
        return
    file = path.removeprefix("file://")
    there = "$" in path or path.startswith("pkg://") or Path(file).is_file()
    yield CheckedSetting(f"{FUNCTION}.path", there, path, "" if there else "There is no such file here.")
    options = _options(plain)
    if path.removeprefix("pkg://").replace("/", ".") == "finer_rewards.adapters.verl" and options:
        yield _scorer(options)


def _options(plain: Mapping[str, str]) -> dict[str, str]:
    start = f"{FUNCTION}.reward_kwargs."
    return {key.removeprefix(start): value for key, value in plain.items() if key.startswith(start)}


def _scorer(options: Mapping[str, str]) -> CheckedSetting:
    """Build the reward and look for the folder, as training would at its first sample."""
    from finer_rewards.presets import PRESETS, preset
    from finer_rewards.spec import parse_reward

    spec, root = options.get("spec", "execution_match()"), options.get("root", ".")
    if "$" not in spec:
        try:
            preset(spec) if spec in PRESETS else parse_reward(spec)
        except ConfigError as error:
            return CheckedSetting(f"{FUNCTION}.reward_kwargs.spec", False, spec, str(error))
    if "$" not in root and not Path(root).is_dir():
        return CheckedSetting(f"{FUNCTION}.reward_kwargs.root", False, root, "There is no such folder here.")
    return CheckedSetting(
        f"{FUNCTION}.reward_kwargs", True, ", ".join(f"{k}={v}" for k, v in options.items())
    )


def _words(text: str) -> Iterator[tuple[str, str]]:
    lines = (line for line in text.replace("\\\n", " ").splitlines() if not line.lstrip().startswith("#"))
    for line in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            # A quote is not closed on this line, so it is part of some longer construct of the script.
            words = line.split()
        for word in words:
            found = _SETTING.match(word)
            if found and "." in found[2]:
                yield ("+" if "+" in found[1] else "") + found[2], _unquoted(found[3])


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1].replace(f"\\{value[0]}", value[0])
    return value


def _yaml(text: str, path: Path) -> Any:
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        raise ConfigError(
            f"Reading {path.name} needs PyYAML, which comes with verl: pip install pyyaml"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"`--verl FILE` should be YAML, but {path} is not: {error}") from None


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{prefix}.{name}" if prefix else str(name))
    elif value is not None:
        yield prefix, str(value)
