"""Makes questions into rows to train on: audits the golds, writes the prompts, and lists what is left out and why."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from finer_rewards._auditing import KINDS, Gold, audit_golds
from finer_rewards._util.extras import extra
from finer_rewards.datasets.benchmark import Question
from finer_rewards.datasets.prompts import Message, Prompt, chat_prompt, named_prompt
from finer_rewards.datasets.schema_text import DescribedSchema, describe_database, quoted, schema_prompt
from finer_rewards.datasets.translating import TRANSLATIONS, translate_golds
from finer_rewards.errors import ConfigError, suggest

if TYPE_CHECKING:
    from finer_rewards.executing import Executor

#: Why a question can be left out: findings of the audit of golds, and faults of the prompt.
REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **KINDS,
        **TRANSLATIONS,
        "no_answer": "it has neither gold SQL nor an answer",
        "too_long": "its prompt is past the limit, however little of the schema is shown",
        "too_hard": "its pass rate in the score logs is below the band",
        "too_easy": "its pass rate in the score logs is above the band",
        "cut": "its gold reads a table for which the prompt has no room",
    }
)


@dataclass(frozen=True)
class TrainingRow:
    """A question to train on, whose `gold` holds only the golds that can be used, and its prompt with its length."""

    question: Question
    prompt: tuple[Message, ...]
    length: int


@dataclass(frozen=True)
class LeftOut:
    """A question that is not trained on: `kind` is one of `REASONS`, and `reason` says more about this question."""

    question_id: str
    db: str
    kind: str
    reason: str


@dataclass(frozen=True)
class PreparedRows:
    """What became of the questions: each is either a row or left out."""

    rows: tuple[TrainingRow, ...]
    left_out: tuple[LeftOut, ...]


def prepare_rows(
    questions: Sequence[Question],
    executor: Executor,
    *,
    prompt: Prompt | str = "finer",
    aggregate_first: bool = False,
    samples: int = 3,
    tables: str = "all",
    max_prompt: int | None = None,
    count: Callable[[Sequence[Message]], int] | None = None,
    audit: bool = True,
    keep: Collection[str] = (),
    written_for: Executor | None = None,
    on_done: Callable[[int], None] | None = None,
) -> PreparedRows:
    """Return the rows of a training set, in the order of the questions.

    Args:
        questions: the questions, with their golds.
        executor: the executor that knows the databases; the audit runs under its limits.
        prompt: the form of completion that is demanded; see `PROMPTS`.
        aggregate_first: see `chat_prompt`.
        samples: the number of sample values for each column.
        tables: `"all"` or `"question"`; see `schema_prompt`.
        max_prompt: the longest prompt, as `count` measures it. The schema is cut to fit; a question is left out if
            its prompt is still longer, or if its gold reads a table that was cut.
        count: measures the length of a prompt, in characters when left out. See `message_counter`.
        audit: whether to look for golds that cannot be used (as `finer-rewards check` does) and leave them out.
        keep: findings of the audit that are no reason to leave a gold out.
        written_for: the executor that runs the golds as they are written, if they are written for another engine
            than that of `executor`. They are then translated, and left out if they do not run or give another
            result there. See `translate_golds`.
        on_done: is called with how many more golds are audited, and later with how many more questions are done.

    Raises:
        ConfigError: a database is missing, or an argument cannot be used.
    """
    for kind in keep:
        if kind not in KINDS:
            raise ConfigError(
                f"`keep` should be what the audit finds ({', '.join(KINDS)}), but got {kind!r}. {suggest(kind, KINDS)}"
            )
    chosen = named_prompt(prompt) if isinstance(prompt, str) else prompt
    count = count or _characters
    translated = _translated(questions, written_for, executor) if written_for else list(questions)
    asked = [one for one in translated if not isinstance(one, LeftOut)]
    checked = iter(_audited(asked, executor, frozenset(keep), on_done) if audit else asked)
    audited = [one if isinstance(one, LeftOut) else next(checked) for one in translated]
    described: dict[str, DescribedSchema] = {}
    rows: list[TrainingRow] = []
    left_out: list[LeftOut] = []
    for one in audited:
        found: TrainingRow | LeftOut
        if isinstance(one, LeftOut):
            found = one
        elif not one.gold and one.answer is None:
            found = LeftOut(one.question_id, one.db, "no_answer", "its gold is empty")
        else:
            if one.db not in described:
                described[one.db] = describe_database(one.db, executor, samples=samples)
            hints = {"prompt": chosen, "evidence": one.evidence, "aggregate_first": aggregate_first}
            found = _row(one, described[one.db], hints, samples, tables, max_prompt, count)
        if isinstance(found, TrainingRow):
            rows.append(found)
        else:
            left_out.append(found)
        if on_done is not None:
            on_done(1)
    return PreparedRows(tuple(rows), tuple(left_out))


def split_by_database(
    rows: Sequence[TrainingRow], share: float, seed: int
) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """Return rows to train on and rows held out, which have no database in common.

    Databases are drawn at random until their rows are at least `share` of all.

    Args:
        rows: the rows to split.
        share: the share of the rows to hold out, above 0 and below 1.
        seed: the seed of the draw.

    Raises:
        ConfigError: the share is out of range, or the rows have fewer than two databases.
    """
    if not 0 < share < 1:
        raise ConfigError(f"`share` should be above 0 and below 1, but got {share!r}.")
    sizes = Counter(row.question.db for row in rows)
    if len(sizes) < 2:
        raise ConfigError(
            f"A split by database needs at least two databases, but the rows have {len(sizes)}. Leave it out."
        )
    names = sorted(sizes)
    random.Random(seed).shuffle(names)
    held: set[str] = set()
    while len(held) < len(names) - 1 and sum(sizes[name] for name in held) < share * len(rows):
        held.add(names[len(held)])
    return [row for row in rows if row.question.db not in held], [
        row for row in rows if row.question.db in held
    ]


def message_counter(tokenizer: Any) -> Callable[[Sequence[Message]], int]:
    """Return a function that counts the tokens of a prompt as a trainer will see it.

    Args:
        tokenizer: a tokenizer of `transformers` (its chat template is applied), its name or folder, or any
            function from a text to tokens or to their number (then the contents are counted).

    Raises:
        ConfigError: there is no such tokenizer.
        MissingExtraError: a name is given, but `transformers` is not installed.
    """
    if isinstance(tokenizer, str):
        tokenizer = load_tokenizer(tokenizer)
    if getattr(tokenizer, "chat_template", None):
        return lambda messages: len(
            tokenizer(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True),
                      add_special_tokens=False)["input_ids"]
        )  # fmt: skip
    if not callable(tokenizer):
        raise ConfigError(
            f"`tokenizer` should be a tokenizer, its name, or a function of a text, but got {tokenizer!r:.80}."
        )

    def counted(messages: Sequence[Message]) -> int:
        found = [tokenizer(message["content"]) for message in messages]
        found = [one["input_ids"] if isinstance(one, Mapping) else one for one in found]
        return sum(one if isinstance(one, int) else len(one) for one in found)

    return counted


def load_tokenizer(name: str) -> Any:
    """Return the tokenizer of a folder, or of that name on the hub.

    Raises:
        ConfigError: there is none.
        MissingExtraError: `transformers` is not installed.
    """
    with extra("prepare", "A tokenizer", "transformers"):
        from transformers import AutoTokenizer
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"`tokenizer` should be a folder or a name on the hub, but {name!r} cannot be loaded: "
            f"{str(error).splitlines()[0]}"
        ) from None


def _characters(messages: Sequence[Message]) -> int:
    return sum(len(message["content"]) for message in messages)


def _translated(
    questions: Sequence[Question], source: Executor, target: Executor
) -> list[Question | LeftOut]:
    """Return each question with the golds that mean the same on the target, or why it has no such gold."""
    golds = [(sql, question.db) for question in questions for sql in question.gold]
    translations = iter(translate_golds(golds, source, target))
    found: list[Question | LeftOut] = []
    for question in questions:
        own = [next(translations) for _ in question.gold]
        usable = tuple(one.sql for one in own if not one.problem)
        if usable or not own:
            found.append(replace(question, gold=usable))
        else:
            found.append(LeftOut(question.question_id, question.db, own[0].problem, own[0].reason))
    return found


def _audited(
    questions: Sequence[Question],
    executor: Executor,
    keep: frozenset[str],
    on_done: Callable[[int], None] | None,
) -> list[Question | LeftOut]:
    """Return each question with the golds that can be used, or why it has no such gold."""
    golds = [
        Gold(sql, question.db, "" if place else question.text)
        for question in questions
        for place, sql in enumerate(question.gold)
    ]
    findings = iter(audit_golds(golds, executor, on_done=on_done))
    audited: list[Question | LeftOut] = []
    for question in questions:
        bad = [
            [finding for finding in next(findings) if finding.kind not in keep] for _ in question.gold
        ]  # fmt: skip
        usable = tuple(sql for sql, found in zip(question.gold, bad, strict=True) if not found)
        if usable or not question.gold:
            audited.append(replace(question, gold=usable))
        else:
            audited.append(LeftOut(question.question_id, question.db, bad[0][0].kind, bad[0][0].reason))
    return audited


def _row(
    question: Question,
    described: DescribedSchema,
    hints: Mapping[str, Any],
    samples: int,
    tables: str,
    max_prompt: int | None,
    count: Callable[[Sequence[Message]], int],
) -> TrainingRow | LeftOut:
    def messages(schema: str) -> list[Message]:
        return chat_prompt(schema, question.text, **hints)

    text = schema_prompt(
        described,
        samples=samples,
        tables=tables,
        question=question.text + " " + question.evidence,
        budget=max_prompt,
        count=lambda schema: count(messages(schema)),
    )
    prompt = messages(text)
    length = count(prompt)
    if max_prompt is not None and length > max_prompt:
        reason = f"{length} for a limit of {max_prompt}"
        return LeftOut(question.question_id, question.db, "too_long", reason)
    hidden = [
        table.name
        for table in described.schema.tables
        if f"CREATE TABLE {quoted(table.name)} (\n" not in text
    ]
    for name in hidden:
        if any(name.lower() in _tables_of(sql) for sql in question.gold):
            return LeftOut(question.question_id, question.db, "cut", f"the table {name}")
    return TrainingRow(question, tuple(prompt), length)


def _tables_of(sql: str) -> frozenset[str]:
    from sqlglot import exp

    from finer_rewards.operations.guard import tree_of

    tree = tree_of(sql)
    return (
        frozenset() if tree is None else frozenset(table.name.lower() for table in tree.find_all(exp.Table))
    )
