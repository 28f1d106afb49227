"""`finer-rewards completion`: prints a script with which a shell completes verbs and options."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from finer_rewards._util.extras import extra
from finer_rewards.cli.options import add_parser

EXAMPLES = """\
  finer-rewards completion bash > ~/.local/share/bash-completion/completions/finer-rewards
  finer-rewards completion zsh > ~/.zfunc/_finer-rewards
  finer-rewards completion fish > ~/.config/fish/completions/finer-rewards.fish
"""
SHELLS = ("bash", "zsh", "fish")


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(subparsers, "completion", "Print a completion script for a shell.", EXAMPLES)
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def run(arguments: argparse.Namespace) -> int:
    """Write the script to standard output."""
    with extra("completion", "`finer-rewards completion`", "shtab"):
        import shtab
    print(shtab.complete(whole_parser(), shell=arguments.shell))
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser of every verb at once; the program itself loads only the verb that is used."""
    from finer_rewards.cli import VERBS

    parser = argparse.ArgumentParser(prog="finer-rewards")
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB")
    for verb in VERBS:
        import_module(f"finer_rewards.cli.{verb}").register(subparsers)
    return parser
