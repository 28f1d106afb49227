"""What the pages name is there: files, names, parameters, rewards and options."""

from __future__ import annotations

import argparse
import ast
import builtins
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from doc_pages import ROOT, every_page, fences, name_of, prose, spans

import finer_rewards as fr
from finer_rewards.cli.completion import whole_parser
from finer_rewards.presets import PRESETS
from finer_rewards.reward import known_rewards

SOURCES = ("finer_rewards", "examples", "tests", "benchmarks", "findings", "docs", ".ci", ".github")

ALIASES = {"fr": fr, "r": fr.rewards}
SUFFIXES = {"py", "md", "json", "jsonl", "sqlite", "html"}
CODE = (".py", ".sh", ".toml", ".yaml", ".yml", ".js", "run")
#: Files that a reader of a page writes, and names of trainers, servers and examples.
MADE_BY_THE_READER = {"train.py", "server.py", "my_modes.py"}
NAMES_OF_OTHERS = {
    "adamw_8bit",
    "clipped_ratio",
    "concert_2",
    "dr_grpo",
    "dynamic_filtering_enable",
    "filter_groups",
    "limit_concurrency",
    "my_judge",
    "my_score",
}
OPTIONS_OF_OTHERS = {"--beta", "--optim", "--rm-type", "--rm-url", "--custom-rm-path", "--group-rm"}


@cache
def repository() -> dict[str, str]:
    """The text of every file that a page may name, by its path; no text of one that is no text."""
    files = [file for file in ROOT.iterdir() if file.is_file()]
    for folder in SOURCES:
        files += [file for file in (ROOT / folder).rglob("*") if file.is_file() and file.suffix != ".pyc"]
    binary = {".png", ".sqlite"}
    return {
        name_of(file): "" if file.suffix in binary else file.read_text(encoding="utf-8", errors="replace")
        for file in files
        if file != Path(__file__)
    }


def code() -> list[str]:
    return [file for file in repository() if file.endswith(CODE)]


# ---- files


def is_there(path: str) -> bool:
    """Whether the repository has a file or a folder whose path ends so."""
    path = path.strip("/")
    names = [f"/{name}" for name in repository()]
    return any(name.endswith(f"/{path}") or f"/{path}/" in name for name in names) or path == str(
        Path(__file__).relative_to(ROOT)
    )


@every_page
def test_files_and_modules(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    folders = "|".join(re.escape(folder) for folder in (*SOURCES, "results"))
    named = set(re.findall(rf"(?<![\w./:-])(?:{folders})/[\w./-]*[\w/]", text))
    named |= set(re.findall(r"(?<![\w./(-])[\w-]+\.md\b", prose(page)))
    named |= {file for span in spans(page) for file in re.findall(r"(?<![\w./-])[\w/]+\.py\b", span)}
    # `python -m benchmarks.gates`, `::: finer_rewards.agents.SQLTool`: a module, and perhaps a name in it.
    for dotted in re.findall(r"(?<![\w.])(?:benchmarks|finer_rewards)(?:\.\w+)+", text):
        parts = dotted.split(".")
        module = next(
            ("/".join(parts[:length]) for length in range(len(parts), 0, -1) if is_module(parts[:length])), ""
        )
        rest = parts[module.count("/") + 1 :]
        there = not rest or rest[0] in words(module_file(module)) or dotted in package()
        assert there, f"{dotted}: {module} has no {rest[0]}"
    missing = {
        file
        for file in named - MADE_BY_THE_READER
        if not is_there(file) and not re.search(r"\b[A-Z]+\b", Path(file).stem)
    }
    assert not missing, f"the repository has no {sorted(missing)}"


def test_pages_that_the_code_names() -> None:
    named = set(re.findall(r"(?<![\w/])docs/[\w/.-]*\w", "\n".join(repository()[file] for file in code())))
    assert named and not [page for page in named if not is_there(page)]


def is_module(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()


def module_file(module: str) -> str:
    return f"{module}/__init__.py" if (ROOT / module).is_dir() else f"{module}.py"


@cache
def package() -> str:
    return "\n".join(text for file, text in repository().items() if file.startswith("finer_rewards/"))


@cache
def words(file: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", repository().get(file, "")))


# ---- names and parameters


class Known:
    """Every function and class of the package by its name: its parameters, and what a class has."""

    def __init__(self) -> None:
        self.parameters: dict[str, set[str]] = defaultdict(set)
        self.members: dict[str, set[str]] = defaultdict(set)
        self.bases: dict[str, set[str]] = defaultdict(set)
        for file, text in repository().items():
            if file.startswith("finer_rewards/") and file.endswith(".py"):
                for node in ast.walk(ast.parse(text)):
                    self.add(node)

    def add(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.parameters[node.name] |= parameters(node)
        if isinstance(node, ast.ClassDef):
            self.bases[node.name] |= {ast.unparse(base).split(".")[-1].split("[")[0] for base in node.bases}
            for part in ast.walk(node):
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                    self.members[node.name].add(part.name)
                    if part.name == "__init__":
                        self.parameters[node.name] |= parameters(part)
                elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                    self.members[node.name].add(part.target.id)
                    self.parameters[node.name].add(part.target.id)
                elif isinstance(part, ast.Assign):
                    self.members[node.name] |= {ast.unparse(target).split(".")[-1] for target in part.targets}

    def of(self, table: dict[str, set[str]], name: str) -> set[str]:
        """What a class has, with what it inherits."""
        above = [base for base in self.bases.get(name, ()) if base != name]
        return table.get(name, set()).union(*(self.of(table, base) for base in above))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    names = function.args
    every = {one.arg for one in (*names.posonlyargs, *names.args, *names.kwonlyargs)}
    return every | {"**"} if names.kwarg else every


@cache
def known() -> Known:
    return Known()


def code_of(page: Path) -> Iterator[ast.AST]:
    """Python of a page: its blocks, and what stands between backquotes and can be read."""
    for text in [code for language, code in fences(page) if language == "python"] + spans(page):
        try:
            yield ast.parse(text)
        except SyntaxError:
            continue


def of_others(tree: ast.AST) -> set[str]:
    """Names that a block imports from elsewhere or makes itself, and Python's own."""
    names = {*dir(builtins), "functools"}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names |= {node.name, *parameters(node)}
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("finer_rewards"):
            names |= {one.asname or one.name for one in node.names}
    return names


def has(owner: str, member: str) -> bool:
    """Whether the package, a class or a file of that name has the member; true of what is none of these."""
    if owner in ALIASES:
        return hasattr(ALIASES[owner], member)
    there = known().of(known().members, owner)
    files = [file for file in repository() if re.match(rf"finer_rewards/(.*/)?{owner}(\.py|/)", file)]
    return member in there if there else not files or any(member in words(file) for file in files)


@every_page
def test_parameters_and_members(page: Path) -> None:
    wrong = []
    for tree in code_of(page):
        skipped = of_others(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                owner, _, name = ast.unparse(node.func).rpartition(".")
                there = known().of(known().parameters, name)
                if there and "**" not in there and name not in skipped and owner.split("(")[0] not in skipped:
                    given = [one.arg for one in node.keywords if one.arg]
                    wrong += [f"{name}({one}=)" for one in given if one not in there]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                owner, member = node.value.id, node.attr
                if owner not in skipped and member not in SUFFIXES and not has(owner, member):
                    wrong.append(f"{owner}.{member}")
    assert not wrong, f"not in the code: {wrong}"


@every_page
def test_names(page: Path) -> None:
    """A name of several words, between backquotes, is one of the code's."""
    named = {
        name
        for span in spans(page)
        for name in re.findall(r"(?<![\w-])[A-Za-z]\w*_\w+|\b[A-Z][a-z]+[A-Z]\w+", span)
    }
    assert not named - every_word(), f"nothing is called {sorted(named - every_word())}"


@cache
def every_word() -> frozenset[str]:
    stems = {Path(__file__).stem, *(Path(file).stem for file in repository())}
    return frozenset(NAMES_OF_OTHERS | stems).union(*map(words, code()))


@every_page
def test_rewards(page: Path) -> None:
    """A reward that is written out, with arguments or in a sum, can be read."""
    known_names = {*known_rewards(), *PRESETS}
    text = page.read_text(encoding="utf-8")
    for spec in [*spans(page), *re.findall(r'(?:--reward |parse_reward\()"([^"]+)"', text)]:
        try:
            tree = ast.parse(spec, mode="eval")
        except SyntaxError:
            continue
        nodes = list(ast.walk(tree))
        called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        # `gate()` in a text is its name; `each_call(reward)` and `finer(policy=...)` are no rewards yet.
        if (
            names
            and names == called <= known_names
            and "..." not in spec
            and not re.fullmatch(r"\w+\(\)", spec)
        ):
            fr.parse_reward(spec)


# ---- options


@cache
def options() -> dict[str, set[str]]:
    """The options of every verb, those of the verbs below it included."""
    (verbs,) = (one for one in whole_parser()._actions if isinstance(one, argparse._SubParsersAction))
    return {verb: set(options_of(parser)) for verb, parser in verbs.choices.items()}


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options_of(below)


def commands(page: Path) -> Iterator[list[str]]:
    """Every command of a page, in words; a span such as `evaluate --paired` is one too."""
    blocks = [code for language, code in fences(page) if language == "sh"]
    indented = re.findall(r"^    (\S.*)$", prose(page), re.M)
    for text in (
        [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        + indented
        + spans(page)
    ):
        try:
            line = shlex.split(text, comments=True)
        except ValueError:
            continue
        start = 0
        for place, word in enumerate([*line, "|"]):
            if word in {"|", "&&", ";", ">"}:
                yield line[start:place]
                start = place + 1


@every_page
def test_options(page: Path) -> None:
    wrong = []
    for command in commands(page):
        given = {word.split("=")[0] for word in command if re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word)}
        verb = next((word for word in command if word != "finer-rewards"), None)
        module = next((word for word in command if re.fullmatch(r"benchmarks(\.\w+)*", word)), None)
        script = next((word for word in command if re.fullmatch(r"examples/.*\.py", word)), None)
        if verb in options():
            there = options()[verb]
        elif module or script:
            file = script or module_file(str(module).replace(".", "/")).replace("__init__", "__main__")
            there = {f"--{word}" for word in words(file)}
        elif command and command[0].startswith("--"):
            there = anywhere()
        else:
            continue
        wrong += [f"{' '.join(command[:3])} ... {option}" for option in given - there]
    assert not wrong, f"no such option: {wrong}"


@cache
def anywhere() -> set[str]:
    """Every option of a verb, of a script of ours, and of those others' programs that a page speaks of."""
    scripts = "\n".join(
        repository()[file] for file in repository() if file.startswith(("examples", "benchmarks"))
    )
    return set().union(*options().values(), OPTIONS_OF_OTHERS, re.findall(r"--[a-z][a-z-]*", scripts))


@every_page
def test_extras(page: Path) -> None:
    named = re.findall(r"(?:finer-rewards|\"\.)\[([\w,]+)\]", page.read_text(encoding="utf-8"))
    extras = repository()["pyproject.toml"].split("[project.optional-dependencies]")[1].split("\n[")[0]
    there = set(re.findall(r"^(\w+) = ", extras, re.M))
    assert {extra for some in named for extra in some.split(",")} <= there
