"""The text of a query again and again, each time with one place changed: what stays is copied and written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite

#: What is done to a node; it may set arguments of the node, and replace it, but change nothing further down.
Change = Callable[[Any], None]


class TreeText:
    """A tree as text.

    Args:
        tree: a query; nobody else changes it.

    Attributes:
        tree: the tree.
        text: the statement.
    """

    def __init__(self, tree: exp.Query) -> None:
        self.tree = tree
        self._writer = _Writer()
        self.text: str = self._writer.generate(tree, copy=False)
        self._writer.keeps = False

    def with_change(self, node: Any, change: Change) -> str:
        """Return the text with a change at a node, and leave the tree as it was."""
        parent, name, index = node.parent, node.arg_key, node.index
        copy = type(node)(
            **{key: list(one) if isinstance(one, list) else one for key, one in node.args.items()}
        )
        copy.comments = node.comments
        if parent is None:
            change(copy)
            text = str(self._writer.generate(copy, copy=False))
        else:
            held = parent.args[name]
            kept = list(held) if isinstance(held, list) else held
            node.replace(copy)
            change(copy)
            text = self._writer.around(parent, self.tree)
            parent.set(name, kept)
            node.parent, node.arg_key, node.index = parent, name, index
        for one in [node, *node.iter_expressions()]:
            for key, value in list(one.args.items()):
                one.set(key, value)
        return text


def replaced(by: exp.Expression) -> Change:
    """Return the change that puts another node in the place of one."""
    return lambda place: place.replace(by.copy())


class _Writer(SQLite.Generator):  # type: ignore[misc, valid-type]  # where it is defined differs among sqlglot's versions
    """A generator that writes each node of a tree once, but for those around a change."""

    def __init__(self) -> None:
        super().__init__(dialect="sqlite")
        self.keeps = True
        self._kept: dict[int, str] = {}
        self._around: set[int] = set()

    def around(self, node: exp.Expression, tree: exp.Query) -> str:
        """Return the text of a tree in which something under the node changed."""
        place: Any = node
        while place is not None:
            self._around.add(id(place))
            place = place.parent
        try:
            return str(self.generate(tree, copy=False))
        finally:
            self._around.clear()

    def sql(self, expression: Any, key: str | None = None, comment: bool = True) -> str:
        """Return the text of a node, or of the one that it has under a key."""
        node = expression.args.get(key) if key and expression else expression
        if not node or isinstance(node, str):
            return node or ""
        number = id(node)
        if number in self._kept and number not in self._around and comment:
            return self._kept[number]
        text = str(super().sql(node, None, comment))
        if self.keeps and comment:
            self._kept[number] = text
        return text
