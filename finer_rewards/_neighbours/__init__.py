"""Neighbour databases: siblings of a database that tell a lucky guess from a right query."""

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
