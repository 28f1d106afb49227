"""`redteam`: tries every attack and every law on one reward, and reports what came through."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.reward import Reward
from finer_rewards.testing.attacks import (
    ATTACKS,
    QUESTIONS,
    VERIFIED,
    Attack,
    AttackQuestion,
    build_attack_databases,
)
from finer_rewards.testing.isolated import IsolatedSubject
from finer_rewards.testing.law_check import TEMPLATE, broken_laws, laws_of
from finer_rewards.testing.observations import THOUGHT
from finer_rewards.testing.subjects import (
    CallError,
    Calls,
    Function,
    KnownThoughts,
    Subject,
    SubjectCase,
    as_subject,
)

Verdict = Literal["held", "accepted", "refused", "broken", "skipped"]
#: The kinds of attacks, and `law` for the laws.
KINDS: Final = (*dict.fromkeys(attack.kind for attack in ATTACKS), "law")
_FAILING: Final = "SELECT nothing FROM nowhere"
_SHOWN: Final = 200
#: A thought that resembles no other, so that a memory knows it only if an attack has put it there.
_PROBE: Final = (
    "Harbour masters write down arrivals, so departures cannot be asked for; sums go by crates, dates are texts, "
    "and whoever sorts has to say by what. I therefore start from what is counted."
)
#: How often an attack on chance is tried, to see whether its value changes.
_TRIES: Final = 8


@dataclass(frozen=True)
class Finding:
    """What became of one attack or law.

    Args:
        kind: the weakness that the attack tries; `law` for a law.
        title: what the attack does, or the name of the law.
        verdict: `held`; `accepted` (an attack was paid), `refused` (an honest answer was not paid), `broken` (a
            law); `skipped` if the reward has no value to compare with.
        reason: one sentence.
        completion: what was scored, cut to 200 characters.
    """

    kind: str
    title: str
    verdict: Verdict
    reason: str = ""
    completion: str = ""

    @property
    def held(self) -> bool:
        """True unless the reward failed this attack or law."""
        return self.verdict in ("held", "skipped")


@dataclass(frozen=True)
class Report:
    """All findings on one reward.

    Args:
        name: the reward.
        findings: one for each attack and law tried.
    """

    name: str
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that did not hold."""
        return tuple(finding for finding in self.findings if not finding.held)

    @property
    def score(self) -> float:
        """The share of the attacks and laws that held, without those skipped; 1 if none was tried."""
        tried = [finding for finding in self.findings if finding.verdict != "skipped"]
        return sum(finding.held for finding in tried) / len(tried) if tried else 1.0

    def kinds(self) -> dict[str, tuple[int, int]]:
        """Return for each kind how many held and how many were tried."""
        return {
            kind: (sum(one.verdict == "held" for one in some), sum(one.verdict != "skipped" for one in some))
            for kind in dict.fromkeys(finding.kind for finding in self.findings)
            for some in [[finding for finding in self.findings if finding.kind == kind]]
        }

    def lines(self) -> Iterator[str]:
        """Yield the report as text: the findings that did not hold, grouped by kind, and the score."""
        for kind, (held, tried) in self.kinds().items():
            skipped = sum(one.kind == kind and one.verdict == "skipped" for one in self.findings)
            yield f"{kind:16} {held:3} of {tried:3} held" + (f", {skipped} skipped" if skipped else "")
            for one in self.failures:
                if one.kind == kind:
                    first, *rest = one.reason.splitlines() or [""]
                    yield f"  {one.verdict}: {one.title}: {first}"
                    yield from (f"  {line}" for line in rest)
        tried = sum(tried for _, tried in self.kinds().values())
        yield f"score {self.score:.3f}: {tried - len(self.failures)} of {tried} held for {self.name}"


def redteam(
    reward: Reward | str | Callable[..., Any],
    *,
    calls: Calls | None = None,
    columns: Mapping[str, str] | None = None,
    template: str = TEMPLATE,
    kinds: Collection[str] = KINDS,
    databases: int = 1,
    lo: float = -math.inf,
    hi: float = math.inf,
    timeout: float = 5.0,
    examples: int = 25,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Try every attack and every law on a reward.

    A function is called in a process of its own, which is killed if it does not return.

    Args:
        reward: a `Reward`, the text of one, or a function as TRL, verl or OpenRLHF call it.
        calls: `trl`, `trl_chat`, `verl` or `openrlhf`; recognised by the parameters when left out.
        columns: as for `check_reward`.
        template: how a completion is written, with `{thought}` and `{sql}`.
        kinds: which kinds of attacks, out of `KINDS`.
        databases: how many instances of the schema a sample names, 1 or 2. A lucky guess is often right on one
            instance and rarely on both. The command line tries 1 and 2.
        lo: the smallest value, for the law `range`.
        hi: the largest value.
        timeout: the seconds that a query (of a `Reward`) or a call (of a function) may take.
        examples: the number of examples of each law.
        progress: is called with the number of attacks that are done, and of all attacks.

    Returns:
        What held and what came through.

    Raises:
        ConfigError: an argument cannot be used.

    Example:
        >>> from finer_rewards import rewards as r
        >>> redteam(r.execution_match(), kinds=("multi_statement",)).score
        1.0
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(
                f"There is no kind of attack {kind!r}. {suggest(kind, KINDS)}Known: {', '.join(KINDS)}."
            )
    if databases not in (1, 2):
        raise ConfigError(f"`redteam(databases=...)` should be 1 or 2, but got {databases!r}.")
    subject = as_subject(
        reward,
        calls=calls,
        columns=columns,
        several=databases == 2,
        memory=KnownThoughts(frozenset((VERIFIED,))),
        timeout=timeout,
    )
    if isinstance(subject, Function):
        subject = IsolatedSubject(subject, timeout)
    chosen = [attack for attack in ATTACKS if attack.kind in kinds]
    findings: list[Finding] = []
    with contextlib.closing(subject), tempfile.TemporaryDirectory(prefix="finer-rewards-") as folder:
        paths = build_attack_databases(Path(folder))
        used = paths[:databases]
        field = _AttackRun(subject, template, tuple(map(str, used)), Path(folder), timeout)
        for number, attack in enumerate(chosen):
            progress(number, len(chosen))
            findings.append(field.judge(attack))
        progress(len(chosen), len(chosen))
    if "law" in kinds:
        findings += _laws(subject, template=template, lo=lo, hi=hi, examples=examples)
    return Report(subject.name, tuple(findings))


def _laws(subject: Subject, **options: Any) -> Iterator[Finding]:
    broken = {error.law: str(error) for error in broken_laws(subject, **options)}
    for name in dict.fromkeys((*laws_of(subject), *broken)):
        if name in broken:
            yield Finding("law", name, "broken", broken[name])
        else:
            yield Finding("law", name, "held")


class _AttackRun:
    """Judges one attack after another, by comparing its value with those of honest answers on the same databases."""

    def __init__(
        self, subject: Subject, template: str, dbs: tuple[str, ...], folder: Path, timeout: float
    ) -> None:
        self.subject = subject
        self.template = template
        self.dbs = dbs
        self.folder = folder
        # A query that is late on a busy machine runs once more, and a worker may have to be started.
        self.patience = 2 * timeout + 5
        self.files = self._snapshot()
        self.honest: dict[tuple[str, str], float | CallError | None] = {}

    def judge(self, attack: Attack) -> Finding:
        """Return whether the reward held against an attack."""
        text = self._text(attack)
        verdict, reason = self._verdict(attack, text)
        changed = self._restore()
        if changed:
            verdict, reason = "accepted", f"files were changed: {', '.join(changed)}"
        shown = "" if verdict == "held" else text[:_SHOWN]
        return Finding(attack.kind, attack.title, verdict, reason, shown)

    def _verdict(self, attack: Attack, text: str) -> tuple[Verdict, str]:
        question = QUESTIONS[attack.question]
        try:
            right, wrong, failing = self._honest(attack.question)
        except CallError as error:
            return "refused", f"an honest answer cannot be scored: {error}"
        gold = question.gold if attack.gold is None else attack.gold
        if attack.thought == VERIFIED:
            self._values([self._case(attack.question, self._write(question.gold, VERIFIED))])
        started = time.monotonic()
        try:
            if attack.rule == "unchanged":
                return self._unchanged(attack, text)
            tries = _TRIES if attack.kind == "nondeterminism" else 1
            values = [self._values([self._case(attack.question, text, gold)])[0] for _ in range(tries)]
        except CallError as error:
            return "accepted", str(error)
        if time.monotonic() - started > self.patience * tries:
            return "accepted", f"it took {time.monotonic() - started:.0f} seconds"
        if len(set(values)) > 1:
            told = " and ".join(map(_number, dict.fromkeys(values)))
            return "accepted", f"the same completion had {told}"
        value = values[0]
        if attack.rule == "unusable_tie" and self.subject.takes_ties:
            return "skipped", "its mode takes any of the tied rows for an answer"
        if attack.rule in ("unusable", "unusable_tie"):
            return self._unusable(value, failing)
        if right is None or self._passes_over(right, failing):
            return "skipped", "the right answer has no value"
        if attack.rule == "counts_repeats" and self.subject.overlooks_repeats:
            return "skipped", "its mode says that repeated rows do not count"
        if attack.rule == "as_right":
            told = f"it has {_number(value)}, and the gold itself {_number(right)}"
            return ("held", "") if value == right else ("refused", told)
        return _compared(attack, value, right, wrong, failing)

    def _unusable(self, value: float | None, failing: float | None) -> tuple[Verdict, str]:
        if value is None or (not self.subject.abstains and failing is not None and value <= failing):
            return "held", ""
        return "accepted", f"it has {_number(value)}, though the gold says nothing"

    def _passes_over(self, right: float, failing: float | None) -> bool:
        """Return whether a function that cannot give None gives the right answer no more than SQL that fails.

        Such a function says in this way that it cannot judge the question, if on the question `count` it does give
        the right answer more.
        """
        first, _, worst = self._honest("count")
        tells = first is not None and worst is not None and first > worst
        return tells and not self.subject.abstains and failing is not None and right <= failing

    def _unchanged(self, attack: Attack, text: str) -> tuple[Verdict, str]:
        """Score an honest mistake before and after the attack: the attack must not have changed its value.

        Both are written with the same new thought, so that a reward with a memory could be taught by the attack.
        """
        question = QUESTIONS[attack.question]
        thought = f"It says {attack.title}. {_PROBE}"
        probe = self._case(attack.question, self._write(question.wrong, thought))
        before = self._values([probe])[0]
        self._values([self._case(attack.question, text.replace(THOUGHT, thought))] * 2)
        after = self._values([probe])[0]
        if before == after:
            return "held", ""
        return "accepted", f"a wrong answer had {_number(before)} before it and {_number(after)} after it"

    def _honest(self, name: str) -> tuple[float | None, float | None, float | None]:
        """Return the values of the right answer, of an honest mistake, and of SQL that fails.

        All mistakes are scored before the first right answer, since a reward with a memory may learn from that one.
        """
        if not self.honest:
            for question in QUESTIONS.values():
                for sql in (_FAILING, question.wrong):
                    self.honest[question.text, sql] = self._attempt(question, sql)
            for question in QUESTIONS.values():
                self.honest[question.text, question.gold] = self._attempt(question, question.gold)
        question = QUESTIONS[name]
        values = [self.honest[question.text, sql] for sql in (question.gold, question.wrong, _FAILING)]
        for value in values:
            if isinstance(value, CallError):
                raise value
        right, wrong, failing = values
        return right, wrong, failing  # type: ignore[return-value]

    def _attempt(self, question: AttackQuestion, sql: str) -> float | CallError | None:
        case = SubjectCase(self._write(sql, THOUGHT), question.gold, self.dbs, question.text)
        try:
            return self._values([case])[0]
        except CallError as error:
            return error

    def _values(self, cases: Sequence[SubjectCase]) -> list[float | None]:
        values = self.subject.score(cases)
        for value in values:
            if value is not None and not math.isfinite(value):
                raise CallError(f"{self.subject.name} gave {value}")
        return values

    def _case(self, name: str, text: str, gold: str | None = None) -> SubjectCase:
        question = QUESTIONS[name]
        return SubjectCase(text, question.gold if gold is None else gold, self.dbs, question.text)

    def _text(self, attack: Attack) -> str:
        if attack.text is not None:
            return attack.text
        sql = attack.sql.replace("{folder}", str(self.folder))
        return self._write(sql, THOUGHT if attack.thought is None else attack.thought)

    def _write(self, sql: str, thought: str) -> str:
        return self.template.replace("{thought}", thought).replace("{sql}", sql)

    def _snapshot(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}

    def _restore(self) -> list[str]:
        """Put back the files that an attack changed, and return their names."""
        found = self._snapshot()
        if found == self.files:
            return []
        changed = [path for path in {**found, **self.files} if found.get(path) != self.files.get(path)]
        # Workers may have the changed files open; they are started again when they are needed.
        self.subject.close()
        for path in changed:
            if path in self.files:
                path.write_bytes(self.files[path])
            else:
                path.unlink()
        return [path.name for path in changed]


def _compared(
    attack: Attack, value: float | None, right: float, wrong: float | None, failing: float | None
) -> tuple[Verdict, str]:
    """Compare a value with those of the honest answers that the rule names; no value is never too much."""
    has = f"it has {_number(value)}"
    if attack.rule == "as_wrong" and value != wrong:
        return "accepted", f"{has}, and without the comment {_number(wrong)}"
    if value is None:
        return "held", ""
    if value >= right:
        return "accepted", f"{has}, and the right answer {_number(right)}"
    if attack.rule == "not_above_failing" and failing is not None and value > failing:
        return "accepted", f"{has}, and SQL that fails {_number(failing)}"
    if attack.rule == "not_above_wrong" and wrong is not None and value > wrong:
        return "accepted", f"{has}, and an honest mistake {_number(wrong)}"
    return "held", ""


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:.4g}"
