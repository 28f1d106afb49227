"""The shipped modes by name, and the registry for further ones.

`answer`, `strict`, `lenient` and their variants are this library's own; the others reproduce published evaluators.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from finer_rewards.comparing import column_order  # noqa: F401 - importing a rule registers it
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.published import defog, frames, pandas, row_rules  # noqa: F401
from finer_rewards.comparing.rules import find_rule
from finer_rewards.errors import ConfigError, suggest

_TEST_SUITE = (
    "Zhong, Yu and Klein, Semantic Evaluation for Text-to-SQL with Distilled Test Suites, EMNLP 2020"
)
_DEFOG = "defog.ai, sql-eval, 2023, eval/eval.py"
_IBM = "IBM, text2sql-eval-toolkit 1.6.0, 2025"

# Published evaluators only compare results, so this library's additional guards are off.
_Published = partial(
    Mode,
    require_base_table=False,
    empty_gold="accept",
    ties="accept",
    swapped_columns="accept",
    undecodable="drop",
)

_MODES = (
    Mode(
        "answer",
        row_order="query",
        repeats="ignore",
        one_of_best=5,
        permute_columns=True,
        relative_tolerance=1e-9,
        absolute_tolerance=1e-12,
        ties="choices",
        description="As strict, but repeated rows do not count, every valid choice among rows that tie at a "
        "LIMIT matches, and so do all of them together, or one of at most 5 rows that share the greatest or "
        "least value where gold asks for it with = (SELECT MAX(...)).",
        source="finer-rewards",
    ),
    Mode(
        "strict",
        row_order="query",
        permute_columns=True,
        relative_tolerance=1e-9,
        absolute_tolerance=1e-12,
        description="Equal width; equal bags of rows under one reordering of the columns; in gold's "
        "order, up to ties of its sort keys, when gold has a top-level ORDER BY. Floats "
        "within 1e-9 of each other are equal, integers only exactly; NULL equals only NULL; "
        "text is never a number.",
        source="finer-rewards",
    ),
    Mode(
        "answer_distinct",
        row_order="query",
        repeats="distinct",
        one_of_best=5,
        permute_columns=True,
        relative_tolerance=1e-9,
        absolute_tolerance=1e-12,
        ties="choices",
        description="As answer, but repeated rows count unless either statement says DISTINCT or groups "
        "without an aggregate.",
        source="finer-rewards",
    ),
    Mode(
        "bird_train",
        row_order="query",
        repeats="ignore",
        relative_tolerance=1e-9,
        absolute_tolerance=1e-12,
        empty_gold="accept",
        ties="accept",
        description="For training towards BIRD: equal sets of rows, columns in gold's order, rows in gold's "
        "order up to ties when gold has a top-level ORDER BY; two empty results match. A prediction has to "
        "read a table.",
        source="finer-rewards, after BIRD",
    ),
    Mode(
        "spider_train",
        row_order="query",
        permute_columns=True,
        relative_tolerance=1e-9,
        absolute_tolerance=1e-12,
        rewriting="drop_distinct",
        as_written=True,
        ties="accept",
        swapped_columns="accept",
        description="For training towards Spider: equal bags of rows under one reordering of the columns, as "
        "written or with every DISTINCT dropped from both statements; in gold's order up to ties. A "
        "prediction has to read a table, and an empty gold result has no score.",
        source="finer-rewards, after the test-suite evaluator",
    ),
    Mode(
        "lenient",
        row_order="query",
        permute_columns=True,
        extra_columns=True,
        relative_tolerance=1e-9,
        absolute_tolerance=1e-2,
        numeric_text=True,
        fold_text=True,
        description="As strict, but extra predicted columns, differences up to 0.01, numbers spelled as "
        "text, and case and spaces of text do not count. Rows still have to agree as a whole.",
        source="finer-rewards",
    ),
    _Published(
        "bird",
        rule="row_set",
        undecodable="error",
        description="set(gold) == set(predicted) in Python: duplicates, row order and names do not count,"
        " column order does; two empty results match. Also the rule of SkyRL-SQL, CSC-SQL, "
        "OmniSQL and Arctic.",
        source="Li et al., BIRD, NeurIPS 2023, evaluation_ex.py",
    ),
    _Published(
        "bird_nonempty",
        rule="row_set",
        undecodable="error",
        accept_empty=False,
        max_rows=5000,
        description="As bird over the first 5,000 rows, and neither result may be empty.",
        source="Pourreza et al., Reasoning-SQL, 2025, released code",
    ),
    _Published(
        "test_suite",
        rule="test_suite",
        row_order="text",
        rewriting="repair_and_drop_distinct",
        description="Equal bags of rows under one reordering of the columns, equal lists when the letters"
        " ORDER BY occur in the gold SQL; every DISTINCT is stripped from both statements "
        "before they run. Two empty results match, and (1, 10) does not match (1.0, 10).",
        source=_TEST_SUITE,
    ),
    _Published(
        "test_suite_keep_distinct",
        rule="test_suite",
        row_order="text",
        rewriting="repair",
        description="As test_suite, with every DISTINCT left where it is (--keep_distinct).",
        source=_TEST_SUITE,
    ),
    _Published(
        "spider2",
        rule="spider2",
        row_order="always",
        null_is_zero=True,
        description="Both results pass through CSV; every gold column equals some predicted column within"
        " 0.01, NULL being 0; extra predicted columns are free. With row_order='never' each "
        "column is sorted on its own.",
        source="Lei et al., Spider 2.0, ICLR 2025, spider2-lite/evaluation_suite/evaluate.py",
    ),
    _Published(
        "defog_exact",
        rule="defog_exact",
        description="Equal values under numpy's broadcasting, or after duplicate rows are dropped, "
        "columns sorted by name and rows sorted. row_order='always' stands for the category "
        "order_by.",
        source=_DEFOG,
    ),
    _Published(
        "defog_subset",
        rule="defog_subset",
        description="Every gold column has a predicted column of its own with the same values, and the "
        "rows of these columns agree, without duplicates and sorted; floats within 1e-5. An "
        "empty gold never matches.",
        source=_DEFOG,
    ),
    _Published(
        "qatch_ex",
        rule="qatch",
        description="Equally many rows, and equal sets of rows after the cells of each row are sorted.",
        source="Papicchio et al., QATCH, NeurIPS 2023",
    ),
    _Published(
        "ibm_exec",
        rule="ibm_exec",
        row_order="text",
        description="Equal shapes; all cells as text, sorted within each row, then within each column, or"
        " row by row when ORDER BY occurs in the gold SQL outside quotes.",
        source=_IBM,
    ),
    _Published(
        "ibm_subset",
        rule="ibm_subset",
        row_order="text",
        description="Row by row, the cells of the narrower result are among those of the wider one, "
        "numbers in 15 digits, every column sorted on its own unless gold has ORDER BY; "
        "nothing may be empty.",
        source=_IBM,
    ),
    _Published(
        "llmsql",
        rule="sorted_rows",
        description="sorted(gold) == sorted(predicted) in Python; rows that Python cannot sort, such as "
        "NULL beside a number, never match.",
        source="LLMSQL benchmark 0.1.16, 2025",
    ),
    _Published(
        "typed",
        rule="typed_rows",
        row_order="query",
        description="Equal bags of typed rows, 1 is not 1.0, column order counts; equal lists when gold "
        "has a top-level ORDER BY.",
        source="attestql 0.4.0, 2026",
    ),
    _Published(
        "finer_reference",
        rule="dict_rows",
        max_rows=10_000,
        description="Equal sets of rows read as dictionaries, so of two columns with one name only the "
        "last counts, and NULL equals the empty text. SQL that does not begin with SELECT, "
        "WITH or EXPLAIN never matches. (The published service also runs LIKE case-"
        "sensitively.)",
        source="Hoang et al., FINER-SQL, ICDE 2026, released code",
    ),
)
SHIPPED: Mapping[str, Mode] = MappingProxyType({mode.name: mode for mode in _MODES})
_BY_NAME: dict[str, Mode] = dict(SHIPPED)


def modes() -> Mapping[str, Mode]:
    """Return every mode that has a name, shipped ones first, in the order they are listed to people.

    Example:
        >>> list(modes())[:3]
        ['answer', 'strict', 'answer_distinct']
    """
    return MappingProxyType(_BY_NAME)


def register_mode(mode: Mode) -> Mode:
    """Make a mode of your own known by its name, and return it.

    Args:
        mode: the mode. Registering an equal mode again changes nothing.

    Raises:
        ConfigError: another mode has that name.

    Example:
        >>> from dataclasses import replace
        >>> cents = register_mode(replace(modes()["strict"], name="cents", absolute_tolerance=0.01))
        >>> find_mode("cents") is cents
        True
    """
    if not isinstance(mode, Mode):
        raise ConfigError(f"`register_mode(mode)` should be a Mode, but got {mode!r:.80}.")
    known = _BY_NAME.setdefault(mode.name, mode)
    if known != mode:
        raise ConfigError(
            f"`register_mode(mode)` should get a new name, but {mode.name!r} is {known!r:.200}. "
            "Give yours another name."
        )
    return known


#: Names that users know evaluators by -> their names here, for suggestions in messages.
_ALSO_CALLED = {"spider": "test_suite", "spider1": "test_suite", "exec": "test_suite", "ex": "answer"}


def find_mode(mode: str | Mode) -> Mode:
    """Return a mode by its name; a `Mode` is returned as it is.

    Raises:
        ConfigError: there is no mode of that name.

    Example:
        >>> find_mode("bird").rule
        'row_set'
    """
    if isinstance(mode, Mode):
        return mode
    if isinstance(mode, str) and mode in _BY_NAME:
        return _BY_NAME[mode]
    near = suggest(_ALSO_CALLED.get(str(mode), str(mode)), _BY_NAME)
    raise ConfigError(
        f"`mode` should be one of {', '.join(_BY_NAME)} or a Mode of your own, but got {mode!r:.80}. "
        f"{near}Run `finer-rewards modes` for what each does; one of your own is known "
        "by name after `register_mode`."
    )


def canonical_mode(mode: str | Mode) -> str | Mode:
    """Return the name of a shipped mode, any other mode as a `Mode`, so that its `repr` can be read in any process.

    Raises:
        ConfigError: there is no mode of that name.
        MissingExtraError: the mode runs on a package that is not installed.
    """
    record = find_mode(mode)
    find_rule(record.rule).check_installed()
    return record.name if SHIPPED.get(record.name) == record else record
