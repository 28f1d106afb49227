"""`finer-rewards preflight`: checks on one page whether a training run may begin."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from finer_rewards.cli.database_option import find_databases
from finer_rewards.cli.findings import COLUMNS, Finding, finding, lines_of
from finer_rewards.cli.options import (
    add_executor,
    add_output,
    add_parser,
    add_reward,
    chosen_executor,
    chosen_judge,
    chosen_memory,
    chosen_neighbours,
    chosen_reward,
    number,
)
from finer_rewards.cli.output import format_of, open_output, write_records
from finer_rewards.components import component_values, reason_of
from finer_rewards.types import Sample, Score, Status

if TYPE_CHECKING:
    from finer_rewards.executing import Executor
    from finer_rewards.reward import Reward
    from finer_rewards.scoring import Scorer

EXAMPLES = """\
  finer-rewards preflight rows/train.jsonl --db databases/
  finer-rewards preflight rows/train.parquet --db databases/ --tokenizer Qwen/Qwen3-4B --reward "finer(memory=False)"
  finer-rewards preflight rows/train.jsonl --db databases/ --completions rollouts.jsonl

ROWS is what a trainer reads, as `prepare` writes it. With --completions (JSONL with completion, gold and db: what your
model wrote for some rows) these are scored; without, the golds themselves in the forms that models write. With
--tokenizer they pass through its chat template first. Exit status: 0 go, 1 something should be mended first.
"""
#: The forms in which models write a query: a gold must be read and scored right in each.
FORMS = {
    "as bare SQL": "{sql}",
    "in a fence": "The answer:\n```sql\n{sql}\n```",
    "after a thought": "<think>\nThe question asks for rows of these tables. I write the one query that has them and "
    "no others, with the columns in the order asked for.\n</think>\n{sql}",
}
#: For each trainer, the first and the last tested version, and what to know of it.
TRAINERS = {
    "trl": (
        "0.29",
        "1.17",
        "None from one of several reward functions counts as 0: use TRLReward.components",
    ),
    "verl": (
        "0.9",
        "0.10",
        "keys without `reward.` in front are ignored in silence: finer-rewards doctor --verl FILE",
    ),
    "openrlhf": ("0.11", "0.12", "what cannot be scored is 0 there: leave unusable golds out"),
}
#: The share of golds that should be usable; below it, the advice is to leave the others out with `prepare`.
LEAST_USABLE = 0.9
#: Seconds for a completion from which scoring is called slow.
SLOW = 1.0
#: The share of right completions below which it is a risk to reward closeness in every group.
_SPARSE = 0.05


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers, "preflight", "Say whether a training run may begin, and what to mend first.", EXAMPLES
    )
    parser.add_argument("rows", metavar="ROWS", help="rows for a trainer: JSONL or Parquet")
    parser.add_argument(
        "--db", required=True, metavar="PATH", help="the folder of the databases, or one for all rows"
    )
    parser.add_argument(
        "--completions", metavar="FILE", help="what a model wrote, as JSONL with golds and databases"
    )
    parser.add_argument("--tokenizer", metavar="NAME", help="folder or hub name of the model's tokenizer")
    parser.add_argument(
        "--sample",
        type=number("--sample", int, "a positive whole number"),
        default=100,
        metavar="N",
        help="rows looked at, evenly over the file (100)",
    )
    add_reward(parser)
    add_executor(parser)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write a record for each check."""
    from finer_rewards._statement_records import sample_of
    from finer_rewards.adapters._training_rows import read_rows
    from finer_rewards.scoring import Scorer

    reward = chosen_reward(arguments)
    rows = list(read_rows(arguments.rows))
    samples = [
        sample_of({**row, "completion": ""}, f"Row {number} of {arguments.rows}")
        for number, row in enumerate(rows, 1)
    ]
    chosen = [samples[place] for place in range(0, len(samples), -(-len(samples) // arguments.sample))]
    named = [db for one in samples for db in one.dbs]
    databases = find_databases(arguments.db, named, arguments.rows, arguments.engine)
    single = databases.names[0] if databases.place.database else None
    chosen = chosen if single is None else [replace(one, db=single) for one in chosen]
    prompts = [row.get("prompt", row.get("input", "")) for row in rows]
    memory = chosen_memory(arguments, reward)
    judge = chosen_judge(arguments, reward)
    failed: list[str] = []

    def checked(scorer: Scorer, executor: Executor) -> Iterator[Finding]:
        template = _ChatTemplate(arguments.tokenizer)
        yield finding("rows", "rows", bool(rows), f"{len(rows)}; databases: {len(set(databases.names))}")
        yield from _golds(chosen, executor, scorer)
        yield from template.look(prompts)
        yield from _completions(arguments, scorer, chosen, prompts, template, single)
        yield from _trainers()

    def told(scorer: Scorer, executor: Executor) -> Iterator[Finding]:
        for one in checked(scorer, executor):
            if not one["ok"]:
                failed.append(one["name"])
            yield one

    kind = format_of(arguments.format, arguments.output)
    executor = chosen_executor(arguments, databases)
    # The scorer that the adapters of trainers make has neighbours, so this one has them too.
    neighbours = chosen_neighbours(arguments) or None
    with (
        Scorer(reward, executor, memory=memory, judge=judge, neighbours=neighbours) as scorer,
        open_output(arguments.output) as file,
    ):
        write_records(told(scorer, executor), kind, file, COLUMNS, lines_of)
    verdict = f"no go: {', '.join(failed)}" if failed else "go"
    print(f"finer-rewards preflight: {verdict}", file=sys.stderr)
    return int(bool(failed))


def _golds(samples: Sequence[Sample], executor: Executor, scorer: Scorer) -> Iterator[Finding]:
    from finer_rewards._auditing import Gold, audit_golds

    pairs = list(dict.fromkeys((gold, one.dbs[0], one.question) for one in samples for gold in one.golds))
    if not pairs:
        return
    found = audit_golds([Gold(*pair) for pair in pairs], executor)
    kinds = Counter(
        some[0].kind for some in found if some and some[0].kind not in ("duplicate", "contradiction")
    )
    usable = len(pairs) - kinds.total()
    why = "".join(f", {count} {kind}" for kind, count in kinds.most_common())
    yield finding(
        "rows", "golds that can be used", usable >= LEAST_USABLE * len(pairs), f"{usable} of {len(pairs)}{why}",
        "Leave the others out: finer-rewards check, finer-rewards prepare.",
    )  # fmt: skip
    pinned = scorer.build_neighbours(samples)
    if pinned is None:
        yield finding("rows", "golds pinned by neighbours", True, "not asked for by this reward and engine")
        return
    yield finding(
        "rows", "golds pinned by neighbours", 2 * pinned >= usable,
        f"{pinned} of {len({(gold, db) for gold, db, _ in pairs})}",
        "A lucky guess is paid where there are none: finer-rewards testsuite build says why.",
    )  # fmt: skip


class _ChatTemplate:
    """What a tokenizer's chat template does to prompts and completions; without a tokenizer they stay as they are."""

    def __init__(self, name: str | None) -> None:
        from finer_rewards.datasets.preparing import load_tokenizer

        self._tokenizer = load_tokenizer(name) if name else None

    def look(self, prompts: Sequence[Any]) -> Iterator[Finding]:
        """Yield the findings on the template and the prompts."""
        longest = max(prompts, key=lambda one: len(str(one)), default="")
        if self._tokenizer is None:
            yield finding(
                "template", "longest prompt", True, f"{len(str(longest))} characters (no --tokenizer)"
            )
            return
        begun = self._begun(longest)
        has = bool(getattr(self._tokenizer, "chat_template", None))
        yield finding(
            "template", "chat template", has or isinstance(longest, str), "there is one" if has else "none",
            "Prompts of messages need one: take the tokenizer of an instruct model.",
        )  # fmt: skip
        tokens = len(self._tokenizer(begun, add_special_tokens=False)["input_ids"])
        yield finding("template", "longest prompt", True, f"{tokens} tokens")
        if _begins_thought(begun):
            yield finding(
                "template", "the thought", True, "the template begins it: completions do not have its tag"
            )

    def turned(self, prompt: Any, text: str) -> str:
        """Return a completion as a trainer decodes it, with the changes that the template makes to the model's turn."""
        if self._tokenizer is None or not getattr(self._tokenizer, "chat_template", None):
            return text
        begun = self._begun(prompt)
        turn = [*_messages(prompt), {"role": "assistant", "content": text}]
        whole = str(self._tokenizer.apply_chat_template(turn, tokenize=False))
        text = (
            whole.removeprefix(begun) if whole.startswith(begun) else text + (self._tokenizer.eos_token or "")
        )
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        decoded = str(self._tokenizer.decode(ids, skip_special_tokens=True))
        return decoded.lstrip().removeprefix("<think>") if _begins_thought(begun) else decoded

    def _begun(self, prompt: Any) -> str:
        if isinstance(prompt, str) or self._tokenizer is None:
            return str(prompt)
        return str(
            self._tokenizer.apply_chat_template(_messages(prompt), tokenize=False, add_generation_prompt=True)
        )


def _messages(prompt: Any) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)


def _begins_thought(begun: str) -> bool:
    return begun.rstrip().endswith("<think>")


def _completions(
    arguments: argparse.Namespace,
    scorer: Scorer,
    rows: Sequence[Sample],
    prompts: Sequence[Any],
    template: _ChatTemplate,
    single: str | None,
) -> Iterator[Finding]:
    from finer_rewards.reporting.rollouts import read_rollouts

    if arguments.completions:
        rollouts = read_rollouts([arguments.completions]).rollouts[: arguments.sample * 8]
        yield from _scored("completions", scorer, [one.sample_on(single) for one in rollouts], written=True)
        return
    prompt = prompts[0] if prompts else ""
    for form, text in FORMS.items():
        samples = [
            replace(one, completion=template.turned(prompt, text.format(sql=one.golds[0])))
            for one in rows
            if one.golds
        ]
        yield from _scored(f"golds {form}", scorer, samples[:32], written=False)


def _scored(name: str, scorer: Scorer, samples: Sequence[Sample], *, written: bool) -> Iterator[Finding]:
    """Yield the findings on completions, which are a model's (`written`) or golds, which should all match."""
    if not samples:
        return
    scorer.build_neighbours(samples)
    began = time.monotonic()
    evidence = scorer.observe(samples)
    scores = scorer.grade(evidence, groups=[_prompt(one) for one in samples])
    seconds = (time.monotonic() - began) / len(samples)
    unread = Counter(one.answer.problem for one in evidence if one.answer.problem)
    read = len(samples) - unread.total()
    why = f", most often: {unread.most_common(1)[0][0]}" if unread else ""
    yield finding(
        name, "forms read", read > len(samples) / 2 if written else not unread, f"{read} of {len(samples)}{why}",
        "Ask for a form in the prompt, as `prepare` does, or take another policy=.",
    )  # fmt: skip
    values = [match for score in scores if (match := _match(scorer, score)) is not None]
    passed = sum(value >= 1 for value in values)
    reasons = Counter(reason_of(score) for score in scores if (_match(scorer, score) or 0) < 1)
    why = f", {len(scores) - len(values)} more not scored" if len(values) < len(scores) else ""
    why += f"; most often: {reasons.most_common(1)[0][0]}" if reasons else ""
    yield finding(
        name, "pass rate", bool(passed) if written else passed == len(values),
        f"{passed} of {len(values)} right{why}",
        "Nothing is right, so nothing is learned: warm the model up." if written else "A gold should match itself.",
    )  # fmt: skip
    if written and passed < _SPARSE * len(values):
        yield from _plain_f1(name, scorer)
    if written:
        yield from _groups(name, samples, scores)
    stopped = sum(one.predicted is not None and one.predicted.status is Status.timeout for one in evidence)
    yield finding(
        name, "time-outs", 10 * stopped <= len(samples), f"{stopped}", "Raise --timeout, or look at them."
    )
    yield finding(
        name,
        "time",
        seconds < SLOW,
        f"{1000 * seconds:.1f} ms a completion",
        "Add --workers, or lower --timeout.",
    )


def _plain_f1(name: str, scorer: Scorer) -> Iterator[Finding]:
    """Yield a finding if the reward pays for closeness in every group, a risk while almost nothing is right."""
    lost = {
        leaf for part in _all_parts(scorer.reward) if part.name == "in_lost_groups" for leaf in part.leaves()
    }
    for leaf in scorer.reward.leaves():
        if leaf.name == "atomic_f1" and leaf.params["beta"] <= 1 and leaf not in lost:
            yield finding(
                name, "plain F1", True,
                f"{leaf}: almost nothing is right yet, and it can pay for leaving out the clauses that are unsure. "
                "Watch `recall`, or take in_lost_groups(atomic_f1(beta=2, partial=0.5, shape=(0, 1, 8)))",
            )  # fmt: skip


def _all_parts(reward: Reward) -> Iterator[Reward]:
    yield reward
    for part in reward.parts():
        yield from _all_parts(part)


def _groups(name: str, samples: Sequence[Sample], scores: Sequence[Score]) -> Iterator[Finding]:
    groups: dict[Hashable, list[float]] = {}
    for sample, score in zip(samples, scores, strict=True):
        if score.value is not None:
            groups.setdefault(_prompt(sample), []).append(score.value)
    several = [values for values in groups.values() if len(values) > 1]
    if several:
        silent = sum(len(set(values)) == 1 for values in several)
        yield finding(
            name, "groups that teach", silent < len(several), f"{len(several) - silent} of {len(several)}",
            "All rewards of each group are equal: no gradient. Take a denser reward, or easier questions.",
        )  # fmt: skip


def _prompt(sample: Sample) -> Hashable:
    return sample.question, sample.db, sample.gold


def _match(scorer: Scorer, score: Score) -> float | None:
    values = component_values(scorer.reward, score)
    found = next((name for name in values if name.startswith("execution_match")), None)
    return score.value if found is None else None if score.value is None else values[found] or 0.0


def _trainers() -> Iterator[Finding]:
    for package, (least, most, trap) in TRAINERS.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            continue
        fits = _parts(least) <= _parts(found) < _parts(most)
        yield finding(
            "trainer",
            package,
            True,
            f"{found}{'' if fits else f' (tested: {least} to below {most})'}; {trap}",
        )


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
