"""`Mode`, the settings by which two results are compared; the shipped ones are in `named.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module
from typing import Any, Literal

from finer_rewards.comparing.ordering import ordering_of
from finer_rewards.comparing.rewriting import rewrite
from finer_rewards.comparing.rules import find_rule
from finer_rewards.errors import ConfigError, suggest

RowOrder = Literal["never", "text", "query", "always"]
EmptyGold = Literal["mask", "zero", "accept"]
Repeats = Literal["count", "distinct", "ignore"]
Ties = Literal["mask", "choices", "accept"]
Undecodable = Literal["keep", "drop", "error"]
Swapped = Literal["zero", "accept"]
_CHOICES: dict[str, tuple[str, ...]] = {
    "row_order": ("never", "text", "query", "always"),
    "empty_gold": ("mask", "zero", "accept"),
    "repeats": ("count", "distinct", "ignore"),
    "ties": ("mask", "choices", "accept"),
    "swapped_columns": ("zero", "accept"),
    "undecodable": ("keep", "drop", "error"),
    "rewriting": ("none", "repair", "repair_and_drop_distinct", "drop_distinct"),
}
# Fields that do not concern the rule: the code around it reads them. Any other field has to be one that the rule reads,
# or setting it would have no effect.
_EVERY_RULE_READS = frozenset(
    {
        "name",
        "rule",
        "rewriting",
        "as_written",
        "undecodable",
        "max_rows",
        "require_base_table",
        "empty_gold",
        "ties",
        "swapped_columns",
        "description",
        "source",
    }
)


@dataclass(frozen=True)
class Mode:
    """How two results are compared: a value that prints, compares, hashes and pickles.

    Make your own with `dataclasses.replace(modes()["strict"], name="mine", absolute_tolerance=1e-6)`, and
    pass it wherever a mode is asked for: `execution_match(mode=mine)`. After `register_mode(mine)` its name works too,
    also on the command line. A field that the rule does not read cannot be set.

    Args:
        name: its name in a spec, a log and a signature.
        rule: the algorithm: `aligned` for this library's own modes, that of a published evaluator, or one of yours
            (see `rule`).
        row_order: when the order of rows counts: `never`; `text`, when the letters ORDER BY occur in the
            gold SQL; `query`, when the gold query has a top-level ORDER BY; `always`.
        repeats: whether repeated rows count: `count`, they do; `ignore`, they do not; `distinct`, they do not if either
            statement says DISTINCT or groups without an aggregate, and do otherwise.
        one_of_best: if gold asks for `= (SELECT MAX(...))`, or MIN, and returns at most this many rows, a prediction
            with LIMIT 1 that returns one of them matches; 0 for never.
        permute_columns: one reordering of the predicted columns, the same for all rows, is allowed.
        extra_columns: the prediction may have columns that gold does not have.
        relative_tolerance: two numbers, of which at least one is a float, are equal within this share of the larger,
        absolute_tolerance: or within this distance.
        numeric_text: text that spells a number equals the number.
        fold_text: case and spaces of text do not count.
        accept_truncated: a result cut by the row limit is compared as far as it goes; otherwise it never matches.
        accept_empty: two empty results match.
        condition_columns: gold columns that count, by position; empty for all.
        null_is_zero: NULL is read as 0.
        undecodable: how text with bytes that are not UTF-8 is compared: `keep`, byte by byte; `drop`, without these
            bytes, as the test-suite evaluator does; `error`, a result with such text never matches, as in BIRD's.
        max_rows: rows beyond this many are not looked at; `None` for all.
        rewriting: what happens to both statements before they run (see `prepare`).
        as_written: rewards also accept a match of the statements as written, not only of the rewritten ones.
        require_base_table: the rewards' default: a prediction has to read a base table; the other guards of
            `execution_match` (random values, the clock, cut results) follow it.
        empty_gold: the rewards' default for an empty gold result: `mask` (no score), `zero`, `accept`.
        ties: the rewards' default for a gold with several right results, as when its LIMIT cuts through a tie: `mask`,
            no score; `choices`, every right result matches, and one that may be right has no score; `accept`, only
            the result that the gold happened to return matches.
        swapped_columns: the rewards' default when two columns of similar values have changed places: `zero`, `accept`.
        description: the rule in one sentence.
        source: where it was published.

    Raises:
        ConfigError: a field has a value it cannot have, or one that the rule would ignore.
    """

    name: str
    rule: str = "aligned"
    row_order: RowOrder = "never"
    repeats: Repeats = "count"
    one_of_best: int = 0
    permute_columns: bool = False
    extra_columns: bool = False
    relative_tolerance: float = 0.0
    absolute_tolerance: float = 0.0
    numeric_text: bool = False
    fold_text: bool = False
    accept_truncated: bool = False
    accept_empty: bool = True
    condition_columns: tuple[int, ...] = ()
    null_is_zero: bool = False
    undecodable: Undecodable = "keep"
    max_rows: int | None = None
    rewriting: Literal["none", "repair", "repair_and_drop_distinct", "drop_distinct"] = "none"
    as_written: bool = False
    require_base_table: bool = True
    empty_gold: EmptyGold = "mask"
    ties: Ties = "mask"
    swapped_columns: Swapped = "zero"
    description: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"`Mode(name=...)` should be text, but got {self.name!r:.80}.")
        reads = find_rule(self.rule).reads
        object.__setattr__(self, "condition_columns", tuple(self.condition_columns))
        for name, choices in _CHOICES.items():
            got = getattr(self, name)
            if got not in choices:
                raise ConfigError(
                    f"`Mode({name}=...)` should be one of {', '.join(choices)}, but got {got!r}. "
                    f"{suggest(str(got), choices)}"
                )
        for name in ("relative_tolerance", "absolute_tolerance"):
            got = getattr(self, name)
            if not isinstance(got, (int, float)) or not 0 <= got < float("inf"):
                raise ConfigError(
                    f"`Mode({name}=...)` should be a number from 0 up, but got {got!r}. "
                    "Pass for instance 1e-9."
                )
        if self.max_rows is not None and self.max_rows < 1:
            raise ConfigError(
                f"`Mode(max_rows=...)` should be a positive number of rows or None, "
                f"but got {self.max_rows!r}. Pass None to compare all rows."
            )
        ignored = [
            field.name
            for field in fields(self)
            if field.name not in reads | _EVERY_RULE_READS and getattr(self, field.name) != field.default
        ]
        if ignored:
            raise ConfigError(
                f"`Mode({ignored[0]}=...)` should be left out with rule {self.rule!r}, which does not "
                f"read it, but got {getattr(self, ignored[0])!r}. Use rule 'aligned', or drop the argument."
            )

    @property
    def prepare(self) -> Callable[[str], str]:
        """The rewriting of each statement that has to happen before it runs: `mode.prepare(sql)`.

        Most modes run the SQL as it is. The test-suite evaluators run another text than they are given:
        they mend `> =`, replace YEAR(CURDATE()) and, unless told to keep it, strip every DISTINCT.
        """
        return _Rewriter(self.rewriting)

    def counts_order(self, gold_sql: str | None) -> bool:
        """Whether the order of rows counts; without the gold SQL it does only under `always`.

        Example:
            >>> Mode("mine", row_order="query").counts_order("SELECT a FROM (SELECT a FROM t ORDER BY a)")
            False
        """
        if self.row_order == "text":
            return "order by" in (gold_sql or "").lower()
        if self.row_order == "query":
            return ordering_of(gold_sql).present
        return self.row_order == "always"

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name not in ("description", "source") and getattr(self, field.name) != field.default
        ]
        return f"Mode({', '.join(shown)})"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Mode) and (self is other or self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Callable[[str, Mapping[str, Any]], Mode], tuple[str, dict[str, Any]]]:
        # The process that unpickles this must first import the module of the rule, which may be a user's own.
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return _restore, (find_rule(self.rule).module, values)

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        # Modes that differ only in their description do the same.
        return tuple(
            getattr(self, field.name) for field in fields(self) if field.name not in ("description", "source")
        )


def _restore(module: str, values: Mapping[str, Any]) -> Mode:
    import_module(module)
    return Mode(**values)


@dataclass(frozen=True)
class _Rewriter:
    rewriting: str

    def __call__(self, sql: str) -> str:
        return rewrite(sql, self.rewriting)
