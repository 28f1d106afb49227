"""Warning once when most completions break the form that the reward asks for.

All of them score 0 then, and a training run would go on without learning anything. `Scorer.grade` calls this.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from finer_rewards.parsing import POLICIES, parse_completion
from finer_rewards.reward import Reward
from finer_rewards.types import Evidence, Score

_LOGGER = logging.getLogger("finer_rewards")
# It looks at the last 64 completions, and says nothing before there are 8.
_FEWEST, _WINDOW = 8, 64


class FormWatch:
    """Remembers the form of the last completions, which may come in batches or, as in verl and OpenRLHF, one by one.

    Args:
        reward: the reward that scores them; without `well_formed` in it there is never a warning.
    """

    def __init__(self, reward: Reward) -> None:
        self._forms = {repr(leaf) for leaf in reward.leaves() if leaf.name == "well_formed"}
        # Completion, form, and the rule that it breaks (empty if none).
        self._last: deque[tuple[str, str, str]] = deque(maxlen=_WINDOW)

    def look(self, evidence: Sequence[Evidence], scores: Sequence[Score]) -> None:
        """Remember a batch, and log a warning if most of the last completions are malformed."""
        if not self._forms:
            return
        for one, score in zip(evidence[-_WINDOW:], scores[-_WINDOW:], strict=True):
            form = next((part for part in _parts(score) if part.name in self._forms), None)
            if form is not None:
                self._last.append((one.sample.completion, form.name, form.reason if form.value == 0 else ""))
        broken = [known for known in self._last if known[2]]
        if len(self._last) >= _FEWEST and 2 * len(broken) > len(self._last):
            self._forms = set()
            _LOGGER.warning(_told(broken, len(self._last)))


def _parts(score: Score) -> Iterator[Score]:
    yield score
    for _, part in score.parts:
        yield from _parts(part)


def _told(broken: Sequence[tuple[str, str, str]], of: int) -> str:
    """Return the warning: the commonest broken rule, and the policy that would read most of the completions."""
    form = broken[0][1]
    reason = _most(why.partition(":")[0] for _, _, why in broken)
    said = f"{len(broken)} of the last {of} completions are malformed by {form} (said once). Most often {reason}. "
    read = {
        name: sum(not parse_completion(completion, policy).problem for completion, _, _ in broken)
        for name, policy in POLICIES.items()
    }
    best = max(read, key=lambda name: read[name])
    if 2 * read[best] > len(broken):
        return f"{said}policy={best!r} reads {read[best]} of them."
    return (
        f"{said}No policy reads most of them: ask for a form in the prompt, as `finer-rewards prepare` does."
    )


def _most(reasons: Iterable[str]) -> str:
    return Counter(reasons).most_common(1)[0][0]
