"""The table of verdicts: what each mode may refuse and pay on real predictions, and how far it agrees with experts."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.verdicts import flex, kappa, measure


def test_experts_agree_with_the_default(shared_data: Path) -> None:
    assert kappa(flex(shared_data, "answer")) >= 0.785 > kappa(flex(shared_data, "bird"))


def test_kappa_is_agreement_beyond_chance() -> None:
    assert kappa([(True, True), (False, False)]) == 1
    assert kappa([(True, True), (True, False), (False, True), (False, False)]) == 0
    assert kappa([(True, False), (False, True)]) == -1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most", "unscored"),
    [
        ("BIRD", {"answer": (0.1, 0.8), "bird_train": (0.1, 0.2), "bird": (0, 0)}, 0),
        ("Spider", {"answer": (1.2, 3.9), "spider_train": (0.05, 0.8), "test_suite": (0, 0)}, 42),
    ],
)
def test_modes_refuse_and_pay_no_more_than_this(
    shared_data: Path, name: str, most: dict[str, tuple[float, float]], unscored: int
) -> None:
    found = measure(shared_data, name, None, neighbours=0)
    for mode, (refused, paid) in most.items():
        counts = found.alone[mode]
        assert 100 * counts.refused / counts.right <= refused, (mode, str(counts))
        assert 100 * counts.paid / counts.wrong <= paid, (mode, str(counts))
    assert found.unscored["answer"][0] == unscored
