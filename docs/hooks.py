"""What is made from the code each time the documentation is built: the command line, the presets, the modes, and
which rewards a family has.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import Any

from finer_rewards.cli.completion import whole_parser
from finer_rewards.cli.presets import describe
from finer_rewards.comparing import modes
from finer_rewards.reward import known_rewards

#: Characters of code that fit beside the two columns of links on a screen of 1,280 pixels.
WIDTH = 80


def on_config(config: Any) -> Any:
    """List the pages of the design, one a decision, in the navigation."""
    pages = sorted(Path(config["docs_dir"]).glob("design/*.md"))
    config["nav"].append({"Design": [f"design/{page.name}" for page in pages]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    for name, page in (("cli.md", cli_page), ("presets.md", presets_page), ("modes.md", modes_page)):
        files.append(File.generated(config, name, content=page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the rewards of the families named in the place of a line `::: rewards of FAMILY, FAMILY`."""
    return re.sub(r"(?m)^::: rewards of (.+)$", lambda line: _families(line[1].split(", ")), markdown)


def _families(families: list[str]) -> str:
    modules = [
        "finer_rewards.reward" if one == "composition" else f"finer_rewards.rewards.{one}" for one in families
    ]
    return "\n".join(
        f"::: finer_rewards.rewards.{name}"
        for module in modules
        for name, factory in known_rewards().items()
        if factory.__module__ == module
    )


def cli_page() -> str:
    """Return the help of every verb."""
    lines = [
        "# Command line",
        "",
        "`finer-rewards VERB`, or `python -m finer_rewards VERB`. Data goes to standard output, talk to standard",
        "error; `-` is standard input. Exit status: 0 done; 1 below `--fail-under`, or the system failed, or (with",
        "`--strict-golds`) a gold cannot be used, or a verb that looks for faults (`check`, `preflight`, `redteam`,",
        "`doctor`) found one; 2 wrong usage; 130 interrupted.",
        "Colours and progress bars appear on a terminal only.",
        "",
    ]
    (verbs,) = (
        action for action in whole_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    for verb, parser in verbs.choices.items():
        lines += [f"## {verb}", "", *_help(parser)]
    return "\n".join(lines)


def _help(parser: argparse.ArgumentParser) -> list[str]:
    parser.formatter_class = _Plain
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    lines = ["``` {.text .help}", parser.format_help().rstrip(), "```", ""]
    for action in nested:
        for name, below in action.choices.items():
            lines += [f"### {parser.prog.split()[-1]} {name}", "", *_help(below)]
    return lines


class _Plain(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=WIDTH)


def presets_page() -> str:
    """Return every preset: its formula, known faults and source, and what it is made of."""
    lines = [
        "# Presets",
        "",
        "A preset is a visible composition of rewards, so it can be read, copied and changed: `fr.presets.finer()`,",
        '`fr.preset("sql_r1")`, `--preset NAME`. In the formulas M is an execution match, X says that the query runs,',
        "F that the completion is well formed. A name with `_reference` reproduces published code, faults included.",
        "",
    ]
    for record in describe():
        if record["kind"] == "preset":
            lines += [f"## {record['name']}", "", record["summary"], ""]
            for title, name in (
                ("Formula", "formula"),
                ("Known to pay wrongly for", "wrongly"),
                ("Source", "source"),
            ):
                if record[name]:
                    lines += [f"**{title}.** {record[name]}", ""]
            lines += ["```text", *textwrap.wrap(record["reward"], WIDTH), "```", ""]
    return "\n".join(lines)


def modes_page() -> str:
    """Return the table of the modes."""
    lines = [
        "# Comparing results",
        "",
        "`execution_match(mode=...)`, `fr.compare(gold, predicted, mode=...)` and `--mode` take these. `answer` is the",
        "default. Those whose source is a paper or a release reproduce that evaluator, errors included, and were",
        "checked against the original code on real predictions.",
        "[Which mode when](rewards/execution.md#which-mode-when) says which one to choose.",
        "",
        "| mode | two results match when | source |",
        "| --- | --- | --- |",
    ]
    for name, mode in modes().items():
        cells = (f"`{name}`", mode.description, mode.source)
        lines.append(
            f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
        )
    return "\n".join(lines) + "\n"
