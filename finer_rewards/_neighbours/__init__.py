"""Neighbours: small databases with the schema of a given one, on which a match has to hold as well.

A query that matches the gold by luck on the one database rarely does on its neighbours. They are built for each gold
(`building.py`) out of real and changed rows (`instances.py`), such that near misses of the gold (`mutants.py`) fail on
them; `finding.py` returns them to the scorer, from the disk or after building them.
"""

from finer_rewards._neighbours.building import INSTANCES, build_neighbours
from finer_rewards._neighbours.finding import (
    find_siblings,
    has_siblings,
    neighbours_digest,
    neighbours_of,
    suite_of,
)
from finer_rewards._neighbours.suite_store import GoldReport, Neighbour, Suite, neighbours_folder

__all__ = [
    "INSTANCES",
    "GoldReport",
    "Neighbour",
    "Suite",
    "build_neighbours",
    "find_siblings",
    "has_siblings",
    "neighbours_digest",
    "neighbours_folder",
    "neighbours_of",
    "suite_of",
]
