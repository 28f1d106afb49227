"""Comparing two runs: which questions changed most, and whether both were scored in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finer_rewards.reporting.log_figures import Run

MOST = 40


def compare_runs(run: Run, other: Run) -> dict[str, Any]:
    """Return the questions that both runs have, those that changed most first, and how the signatures differ."""

    def means(one: Run) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        return {(row["question"], row["db"], row["gold"]): row for row in one.questions}

    ours, theirs = means(run), means(other)
    changed = [
        {
            "question": key[0],
            "db": key[1],
            "gold": key[2],
            "before": theirs[key]["mean"],
            "after": row["mean"],
            "change": row["mean"] - theirs[key]["mean"],
        }
        for key, row in ours.items()
        if key in theirs and row["mean"] is not None and theirs[key]["mean"] is not None
    ]
    changed.sort(key=lambda row: (-abs(row["change"]), str(row["question"])))
    contents = [one.signatures[-1]["content"] if one.signatures else None for one in (other, run)]
    return {
        "questions": changed[:MOST],
        "shared": len(changed),
        "only_here": len(ours.keys() - theirs.keys()),
        "only_there": len(theirs.keys() - ours.keys()),
        "signature": list(signature_changes(*contents)) if all(contents) else [],
    }


def signature_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the differences between the contents of two signatures, as `name: before → after`.

    Example:
        >>> list(signature_changes({"executor": {"timeout": 30}}, {"executor": {"timeout": 5}}))
        ['executor.timeout: 30 → 5']
    """
    names = dict.fromkeys((*(before or {}), *(after or {})))
    for name in names:
        old, new = (before or {}).get(name), (after or {}).get(name)
        if old == new or name == "version":
            continue
        if name == "reward" and isinstance(old, Mapping) and isinstance(new, Mapping):
            yield f"reward: {old.get('text')} → {new.get('text')}"
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from (f"{name}.{change}" for change in signature_changes(old, new))
        else:
            yield f"{name}: {old} → {new}"
