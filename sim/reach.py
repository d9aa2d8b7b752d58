# SPDX-License-Identifier: Apache-2.0
"""Which test files can notice a change of a Python file: those from which a chain of uses leads to it.

A module uses what it imports, anywhere in it, and whatever its strings name: a module that it hands to the simulator
(`"tb.run_cases"`; one that ends with a dot stands for the whole package), a data file or the folder of some
(`"regressions"`), in which modules may be named again. Tests and scripts also start commands (`-m sim`); elsewhere such
words are told to people. Docstrings are no strings. This finds too much rather than too little: what is left out cannot
run the changed line, so a survivor passed all that could.
"""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPT_SUFFIXES = (".sh", "")
"""Of files with commands; "" for Makefile and .ci/run."""
DATA_SUFFIXES = (".yaml", ".toml", ".json", *SCRIPT_SUFFIXES)
"""Of files in which modules may be named."""
LARGEST_DATA_BYTES = 1 << 18
"""Larger ones are recordings."""
COMMAND_FILES = {"make": "Makefile"}
"""Commands that run what a file of this name says."""
CONFTEST = "conftest.py"
BUILD_FOLDER = "build"
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*\.?")
_STARTED = re.compile(r"-m (\w+)")


@dataclass(frozen=True)
class Graph:
    """`uses`: for each file of a tree what it uses; `imports`: what it imports. Names are relative to the root."""

    uses: Mapping[str, frozenset[str]]
    imports: Mapping[str, frozenset[str]]


def build_graph(root: Path) -> Graph:
    """Who uses whom in a tree: its Python files and the small data files beside them. Build output is left out."""
    files = sorted(
        path.relative_to(root)
        for path in root.rglob("*")
        if path.suffix in (".py", *DATA_SUFFIXES) and not _is_output(path.relative_to(root)) and path.is_file()
    )
    modules = {_module_name(path): path.as_posix() for path in files if path.suffix == ".py"}
    data: dict[str, set[str]] = {}
    for path in files:
        if path.suffix != ".py" and (root / path).stat().st_size <= LARGEST_DATA_BYTES:
            for name in filter(None, (path.name, path.stem, path.parent.name)):
                data.setdefault(name, set()).add(path.as_posix())
    uses: dict[str, frozenset[str]] = {}
    imports: dict[str, frozenset[str]] = {}
    for path in files:
        text = (root / path).read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".py":
            tree = ast.parse(text)
            imports[path.as_posix()] = frozenset(_imported(tree, modules))
            strings = _strings(tree)
            starts = "tests" in path.parts or path.match("test_*.py")
            uses[path.as_posix()] = imports[path.as_posix()] | _named(strings, modules, data, starts)
        elif (root / path).stat().st_size <= LARGEST_DATA_BYTES:
            started = _started(text, modules) if path.suffix in SCRIPT_SUFFIXES else set()
            uses[path.as_posix()] = frozenset(_modules_in(text, modules) | started)
    return Graph(uses, imports)


def distances(graph: Graph, start: str) -> dict[str, int]:
    """Everything that a file reaches, with the number of steps to it; itself with 0."""
    return _walk(graph.uses, start)


def reaching_tests(graph: Graph, folders: Iterable[str], changed: Iterable[str]) -> list[str]:
    """The test files below `folders` that reach one of the changed files, nearest first.

    All of them, if the conftest.py that every test runs under imports a changed file.
    """
    targets = set(changed)
    # It imports, and its strings are plugins that are imported.
    shared = any(targets & _walk(graph.imports, name).keys() for name in graph.uses.get(CONFTEST, ()))
    found = []
    for name in graph.uses:
        if not name.startswith(tuple(f"{folder}/" for folder in folders)) or not Path(name).match("test_*.py"):
            continue
        steps = [steps for reached, steps in distances(graph, name).items() if reached in targets]
        if steps or shared:
            found.append((min(steps, default=len(graph.uses)), name))
    return [name for _, name in sorted(found)]


def _walk(edges: Mapping[str, frozenset[str]], start: str) -> dict[str, int]:
    steps = {start: 0}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        for other in edges.get(name, frozenset()):
            if other not in steps:
                steps[other] = steps[name] + 1
                waiting.append(other)
    return steps


def _is_output(path: Path) -> bool:
    return path.parts[0] == BUILD_FOLDER or any(part in (".git", ".venv", "__pycache__") for part in path.parts)


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _with_packages(name: str, modules: Mapping[str, str]) -> set[str]:
    """The files that run when a module is imported: its own and those of the packages around it; or none."""
    if name not in modules:
        return set()
    parts = name.split(".")
    return {modules[each] for size in range(1, len(parts) + 1) if (each := ".".join(parts[:size])) in modules}


def _imported(tree: ast.Module, modules: Mapping[str, str]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found |= _with_packages(alias.name, modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= _with_packages(node.module, modules)
            for alias in node.names:
                found |= _with_packages(f"{node.module}.{alias.name}", modules)
    return found


def _strings(tree: ast.Module) -> list[str]:
    """Every string that is not a docstring, or another string that stands for itself."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    ]


def _modules_in(text: str, modules: Mapping[str, str]) -> set[str]:
    """The files of the modules that a text names in full."""
    found: set[str] = set()
    for word in _DOTTED.findall(text):
        if word.endswith("."):
            found |= {path for name, path in modules.items() if word != "." and name.startswith(word)}
        elif "." in word:
            found |= _longest(word, modules)
    return found


def _started(text: str, modules: Mapping[str, str]) -> set[str]:
    """The files of the packages that a text starts with -m."""
    names = (f"{package}.__main__" for package in _STARTED.findall(text))
    return {path for name in names for path in _with_packages(name, modules)}


def _longest(word: str, modules: Mapping[str, str]) -> set[str]:
    """The module that a dotted name begins with; the rest is something in it."""
    parts = word.split(".")
    for size in range(len(parts), 1, -1):
        if found := _with_packages(".".join(parts[:size]), modules):
            return found
    return set()


def _named(strings: Iterable[str], modules: Mapping[str, str], data: Mapping[str, set[str]], starts: bool) -> set[str]:
    """Everything that strings of a module name; `starts`: they may be commands."""
    found: set[str] = set()
    by_path = set(modules.values())
    for text in strings:
        found |= _modules_in(text, modules)
        for word in text.split() if starts else [text]:
            found |= {word} & by_path
            found |= data.get(word.rsplit("/", 1)[-1], set())
        if starts:
            found |= _started(text, modules) | _with_packages(f"{text}.__main__", modules)
            found |= data.get(COMMAND_FILES.get(text, ""), set())
    return found
