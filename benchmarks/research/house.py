"""How the code is cut and written, beside four packages that read well: files, functions, docstrings, comments, names.

    python -m benchmarks.research.house [NAME=FOLDER ...] [--write]

Each FOLDER is the package folder of another library, of a checkout; without any, only this package is measured.
Complexity is radon's, and left out where radon is not installed. Prints a table, and with `--write` keeps it in
results/house.md.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import tokenize
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "house.md"
#: Pronouns and participles in the place of a noun; the list is that of the first measurement, as far as it was kept.
VAGUE = frozenset(
    ("one", "ones", "other", "others", "another", "both", "all", "each", "own", "ours", "theirs", "rest", "same",
     "such", "thing", "things", "found", "known", "asked", "given", "wanted", "taken", "made", "kept", "seen", "said",
     "told", "read", "written", "drawn", "built", "left", "held", "met", "tried", "judged")
)  # fmt: skip


def quantile(values: Sequence[int], share: float) -> int:
    """Return the value below which a share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Module:
    """One file, parsed once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        self.lines = self.text.count("\n")
        nodes = list(ast.walk(self.tree))
        self.functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        self.classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self.documented = [*self.functions, *self.classes]
        self.docstrings = [
            node.body[0].end_lineno - node.body[0].lineno + 1
            for node in [self.tree, *self.documented]
            if ast.get_docstring(node) and node.body[0].end_lineno
        ]
        self.bound = [
            node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ] + [node.arg for node in nodes if isinstance(node, ast.arg)]
        self.subscripts = sum(isinstance(node, ast.Subscript) and _is_integer(node.slice) for node in nodes)
        self.exported = sum(
            len(node.value.elts)
            for node in self.tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets)
            and isinstance(node.value, ast.List | ast.Tuple)
        )
        self.comments, self.code = _comments_and_code(self.text)
        self.code -= sum(self.docstrings)


def _is_integer(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int


def _comments_and_code(text: str) -> tuple[int, int]:
    """Return how many lines hold a comment alone, and how many hold code or a docstring."""
    comments, code = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.string.strip():
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(comments - code), len(code)


def _complexity(modules: Iterable[Module]) -> str:
    try:
        from radon.complexity import cc_visit
    except ModuleNotFoundError:
        return "-"
    blocks = [block for module in modules for block in cc_visit(module.text)]
    worst = sum(block.complexity > 20 for block in blocks)
    return f"{statistics.fmean(block.complexity for block in blocks):.1f}; {worst}"


def column(folder: Path) -> dict[str, str]:
    """Return what is measured of a package, by what it is called."""
    modules = [Module(path) for path in sorted(folder.rglob("*.py"))]
    lines = [module.lines for module in modules if module.lines]
    total, code = sum(lines), sum(module.code for module in modules)
    lengths = [
        (node.end_lineno or node.lineno) - node.lineno + 1 for module in modules for node in module.functions
    ]
    documented = [node for module in modules for node in module.documented if not node.name.startswith("_")]
    docstrings = [count for module in modules for count in module.docstrings]
    bound = [name for module in modules for name in module.bound]
    names = Counter(module.path.name for module in modules if module.path.stem.strip("_") != "init")
    classes = Counter(node.name for module in modules for node in module.classes)
    private = sum(
        any(
            part.startswith("_") and not part.startswith("__")
            for part in module.path.relative_to(folder).parts
        )
        for module in modules
    )
    return {
        "files": f"{len(modules)}",
        "lines / lines of code": f"{total:,} / {code:,}",
        "lines a file: median, 90 %, most": f"{int(statistics.median(lines))}, {quantile(lines, 0.9)}, {max(lines)}",
        "functions": f"{len(lengths):,}",
        "lines a function: median, 95 %, most": (
            f"{int(statistics.median(lengths))}, {quantile(lengths, 0.95)}, {max(lengths)}"
        ),
        "complexity: mean; blocks above 20": _complexity(modules),
        "docstrings, share of lines": f"{100 * sum(docstrings) / total:.1f} %",
        "lines of a docstring, median": f"{int(statistics.median(docstrings))}",
        "public functions and classes with one": (
            f"{100 * sum(bool(ast.get_docstring(node)) for node in documented) / len(documented):.0f} %"
        ),
        "lines with a comment alone": f"{100 * sum(module.comments for module in modules) / total:.1f} %",
        "names bound that are pronouns or participles": (
            f"{100 * sum(name.strip('_') in VAGUE for name in bound) / len(bound):.1f} %"
        ),
        "private modules": f"{private} of {len(modules)}",
        "names in `__all__`": f"{sum(module.exported for module in modules)}",
        "file names that recur": f"{sum(count > 1 for count in names.values())}",
        "class names that recur": f"{sum(count > 1 for count in classes.values())}",
        "integer subscripts in 1,000 lines": f"{1000 * sum(module.subscripts for module in modules) / total:.0f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("others", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.name}")
    options = parser.parse_args()
    package = ROOT / "finer_rewards"
    columns = {"finer_rewards": column(package), "its operations/": column(package / "operations")}
    for other in options.others:
        name, _, folder = other.partition("=")
        columns[name] = column(Path(folder))
    rows = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    rows += [
        f"| {what} | {' | '.join(measured[what] for measured in columns.values())} |"
        for what in columns["finer_rewards"]
    ]
    text = "\n".join(
        [
            "# The code beside others",
            "",
            f"`python -m benchmarks.research.house`, {date.today()}.",
            "",
            *rows,
            "",
        ]
    )
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
