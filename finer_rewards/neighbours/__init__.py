"""Neighbour databases: siblings of a database that tell a lucky guess from a right query."""

from finer_rewards.neighbours.building import STEPS, build_neighbours
from finer_rewards.neighbours.finding import find_siblings, has_siblings, neighbours_digest
from finer_rewards.neighbours.suite import (
    GoldReport,
    Neighbour,
    Suite,
    neighbours_folder,
    neighbours_of,
    read_suite,
    suites_digest,
)

__all__ = [
    "STEPS",
    "GoldReport",
    "Neighbour",
    "Suite",
    "build_neighbours",
    "find_siblings",
    "has_siblings",
    "neighbours_digest",
    "neighbours_folder",
    "neighbours_of",
    "read_suite",
    "suites_digest",
]
