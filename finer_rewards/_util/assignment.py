"""Pairs two sides one to one: finds the largest total weight, or tells whether the allowed pairs suffice."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def best_pairs(weights: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of a one-to-one assignment of the largest total weight.

    The shorter side is paired completely. Shortest augmenting paths with potentials (the Hungarian
    method): n² m steps for the shorter side n and the longer m.

    Args:
        weights: a rectangle of numbers, `weights[row][column]`.

    Returns:
        The pairs, in order of the rows.

    Example:
        >>> best_pairs([[5, 4], [4, 0]])
        [(0, 1), (1, 0)]

    References:
        Kuhn, The Hungarian Method for the Assignment Problem, 1955; Jonker and Volgenant, 1987.
    """
    height = len(weights)
    width = len(weights[0]) if height else 0
    if height > width:
        turned = [[row[column] for row in weights] for column in range(width)]
        return sorted((row, column) for column, row in best_pairs(turned))
    infinity = float("inf")
    row_potential: list[float] = [0.0] * (height + 1)
    column_potential: list[float] = [0.0] * (width + 1)
    # Rows and columns are counted from 1; column 0 is where each search starts. owner[column] is the row paired with
    # a column, 0 for none.
    owner = [0] * (width + 1)
    for row in range(1, height + 1):
        owner[0] = row
        column = 0
        slack = [infinity] * (width + 1)
        came_from = [0] * (width + 1)
        visited = [False] * (width + 1)
        while owner[column]:
            visited[column] = True
            here = weights[owner[column] - 1]
            potential = row_potential[owner[column]]
            least, following = infinity, 0
            for other in range(1, width + 1):
                if visited[other]:
                    continue
                cost = -here[other - 1] - potential - column_potential[other]
                if cost < slack[other]:
                    slack[other] = cost
                    came_from[other] = column
                if slack[other] < least:
                    least, following = slack[other], other
            for other in range(width + 1):
                if visited[other]:
                    row_potential[owner[other]] += least
                    column_potential[other] -= least
                else:
                    slack[other] -= least
            column = following
        while column:
            owner[column] = owner[came_from[column]]
            column = came_from[column]
    return sorted((owner[column] - 1, column - 1) for column in range(1, width + 1) if owner[column])


def can_pair_up(partners: Sequence[Sequence[int]], spend: Callable[[int], None] = lambda steps: None) -> bool:
    """Return whether each row can have one of its partners for itself.

    Augmenting paths, without recursion.

    Args:
        partners: for each row, the columns that it may be paired with.
        spend: is called with the number of steps taken; it may raise to end the search.

    Example:
        >>> can_pair_up([[0, 1], [0]]), can_pair_up([[0], [0]])
        (True, False)

    References:
        Kuhn, The Hungarian Method for the Assignment Problem, 1955.
    """
    owner: dict[int, int] = {}
    owned: dict[int, int] = {}
    for start in range(len(partners)):
        reached_from: dict[int, int] = {}
        stack = [start]
        end = None
        while stack and end is None:
            here = stack.pop()
            spend(len(partners[here]) + 1)
            for other in partners[here]:
                if other not in reached_from:
                    reached_from[other] = here
                    if other not in owner:
                        end = other
                        break
                    stack.append(owner[other])
        while end is not None:
            here = reached_from[end]
            owner[end], owned[here], end = here, end, owned.get(here)
        if start not in owned:
            return False
    return True
