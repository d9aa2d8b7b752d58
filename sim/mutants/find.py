# SPDX-License-Identifier: Apache-2.0
"""Every small change that can be made to a SystemVerilog file, found in its syntax tree (pyslang).

Only what runs is changed: not types, widths, parameters, ports, generate conditions, bounds of loops, nor assertions
and what only they read, nor what gives parameters their values, nor what nobody reads.
Each change can be chosen while the simulation runs (sim.mutants.schema), so it stands in an expression or a statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pyslang.syntax import SyntaxKind, SyntaxTree

SWAPS: dict[SyntaxKind, tuple[str, ...]] = {
    SyntaxKind.LogicalAndExpression: ("||",),
    SyntaxKind.LogicalOrExpression: ("&&",),
    SyntaxKind.EqualityExpression: ("!=",),
    SyntaxKind.InequalityExpression: ("==",),
    SyntaxKind.LessThanExpression: ("<=", ">"),
    SyntaxKind.LessThanEqualExpression: ("<", ">="),
    SyntaxKind.GreaterThanExpression: (">=", "<"),
    SyntaxKind.GreaterThanEqualExpression: (">", "<="),
    SyntaxKind.AddExpression: ("-",),
    SyntaxKind.SubtractExpression: ("+",),
    SyntaxKind.BinaryAndExpression: ("|",),
    SyntaxKind.BinaryOrExpression: ("&",),
    SyntaxKind.BinaryXorExpression: ("|",),
    SyntaxKind.LogicalShiftLeftExpression: (">>",),
    SyntaxKind.LogicalShiftRightExpression: ("<<",),
}
"""Operators and what they become."""
TERMS = {
    SyntaxKind.LogicalAndExpression,
    SyntaxKind.LogicalOrExpression,
    SyntaxKind.BinaryAndExpression,
    SyntaxKind.BinaryOrExpression,
}
"""Operators of which one side may be left out."""
NEGATIONS = {SyntaxKind.UnaryLogicalNotExpression, SyntaxKind.UnaryBitwiseNotExpression}
LEFT_ALONE = {
    SyntaxKind.SimpleRangeSelect,
    SyntaxKind.VariableDimension,
    SyntaxKind.ParameterValueAssignment,
    SyntaxKind.ParameterDeclarationStatement,
    SyntaxKind.ParameterPortList,
    SyntaxKind.ConcurrentAssertionMember,
    SyntaxKind.ImmediateAssertionMember,
    SyntaxKind.ImmediateAssertStatement,
    SyntaxKind.TypedefDeclaration,
    SyntaxKind.AnsiPortList,
    SyntaxKind.FunctionPrototype,
    SyntaxKind.EventControlWithExpression,
    SyntaxKind.ElabSystemTask,
    SyntaxKind.EnumType,
    SyntaxKind.StructType,
    SyntaxKind.InitialBlock,
    SyntaxKind.ForLoopStatement,
    SyntaxKind.DataDeclaration,
    SyntaxKind.LocalVariableDeclaration,
}
"""Parts of a file that are not changed, with all that is in them; of loops the body is."""
UNUSED = "unused_"
"""Signals of such names take what a unit does not need; nobody reads them."""
PROMISES = "// ---- Promises"
"""Behind this heading a file has only assertions, and what only they read."""
ASSIGNMENTS = {
    SyntaxKind.AssignmentExpression,
    SyntaxKind.NonblockingAssignmentExpression,
    SyntaxKind.OrAssignmentExpression,
}
PATTERNS = {SyntaxKind.AssignmentPatternExpression, SyntaxKind.StreamingConcatenationExpression}
BASES = {"b": (2, "b"), "d": (10, "d"), "h": (16, "x"), "o": (8, "o")}

Node = Any
"""A node of the syntax tree; pyslang gives each kind a class of its own."""
Enums = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Mutant:
    """One change of one file: the characters from `start` to `end` become `after`. Lines from 1."""

    file: str
    line: int
    operator: str
    start: int
    end: int
    before: str
    after: str
    statement: bool = False
    """A statement is exchanged, not an expression."""

    def apply(self, text: str) -> str:
        """The file with the change made."""
        return text[: self.start] + self.after + text[self.end :]


def enum_members(texts: Sequence[str]) -> Enums:
    """For each member of each enumeration, all members of it, from the declarations in some files."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        for node in syntax_nodes(SyntaxTree.fromText(text).root):
            if node.kind == SyntaxKind.EnumType:
                names = [each.name.rawText for each in syntax_nodes(node) if each.kind == SyntaxKind.Declarator]
                found.update({name: tuple(names) for name in names})
    return found


def find_mutants(file: str, text: str, enums: Enums) -> list[Mutant]:
    """All changes of one file, by their places. `file` is only a name; `enums` those of packages."""
    root = SyntaxTree.fromText(text).root
    finder = _Finder(file, text, {**enums, **enum_members([text])}, _constant_functions(root))
    finder.visit(root, _Context())
    end = text.find(PROMISES)
    live = {mutant for mutant in finder.found if end < 0 or mutant.start < end}
    return sorted(live, key=lambda mutant: (mutant.start, mutant.end, mutant.operator, mutant.after))


def _constant_functions(root: Node) -> frozenset[str]:
    """Functions that give parameters their values: they run when the design is built, not in the simulation."""
    calls = (
        call
        for node in syntax_nodes(root)
        if node.kind == SyntaxKind.ParameterDeclarationStatement
        for call in syntax_nodes(node)
        if call.kind == SyntaxKind.InvocationExpression
    )
    return frozenset(str(call.left).strip() for call in calls)


def _is_node(item: object) -> bool:
    return hasattr(item, "sourceRange")


def _children(node: Node) -> list[Node]:
    return [node[index] for index in range(len(node)) if _is_node(node[index])]


def syntax_nodes(node: Node) -> Iterator[Node]:
    """A node of a syntax tree and all below it."""
    yield node
    for child in _children(node):
        yield from syntax_nodes(child)


@dataclass(frozen=True)
class _Context:
    """Where the walk is: in what kind of block, in the branch of a reset, in a place that the simulation runs."""

    block: str = ""
    reset: bool = False
    live: bool = False


class _Finder:
    """Walks one tree."""

    def __init__(self, file: str, text: str, enums: Enums, constant: frozenset[str]) -> None:
        self.found: list[Mutant] = []
        self._file = file
        self._text = text
        self._enums = enums
        self._constant = constant

    def _source(self, node: Node) -> str:
        return self._text[node.sourceRange.start.offset : node.sourceRange.end.offset]

    def _add(self, node: Node, operator: str, after: str, *, statement: bool = False) -> None:
        start, end = node.sourceRange.start.offset, node.sourceRange.end.offset
        before = self._text[start:end]
        if after != before:
            line = self._text.count("\n", 0, start) + 1
            self.found.append(Mutant(self._file, line, operator, start, end, before, after, statement))

    def visit(self, node: Node, context: _Context) -> None:
        """Collects the changes of a node and of all below it."""
        kind = node.kind
        if kind == SyntaxKind.ForLoopStatement:
            self.visit(node.statement, context)
            return
        if kind in LEFT_ALONE or (kind == SyntaxKind.FunctionDeclaration and self._name_of(node) in self._constant):
            return
        if kind == SyntaxKind.ContinuousAssign and self._source(node).split()[1].startswith(UNUSED):
            return
        if kind == SyntaxKind.AlwaysCombBlock:
            context = _Context("always_comb", live=True)
        elif kind == SyntaxKind.AlwaysFFBlock:
            context = _Context("always_ff", live=True)
        elif kind == SyntaxKind.FunctionDeclaration:
            context = _Context("function", live=True)
        elif kind in (SyntaxKind.ContinuousAssign, SyntaxKind.NamedPortConnection):
            context = _Context("assign", live=True)
        elif kind in (SyntaxKind.IfGenerate, SyntaxKind.LoopGenerate):
            block = node.block
            self.visit(block, context)
            if kind == SyntaxKind.IfGenerate and node.elseClause is not None:
                self.visit(node.elseClause, context)
            return
        if context.live:
            self._here(node, context)
        for child, inside in self._below(node, context):
            self.visit(child, inside)

    def _below(self, node: Node, context: _Context) -> Iterator[tuple[Node, _Context]]:
        """The parts of a node that may be changed, each with where it is."""
        kind = node.kind
        if kind in ASSIGNMENTS:
            yield node.right, context
        elif kind in (SyntaxKind.AscendingRangeSelect, SyntaxKind.DescendingRangeSelect):
            yield node.left, context
        elif kind == SyntaxKind.CastExpression:
            yield node.right, context
        elif kind == SyntaxKind.MultipleConcatenationExpression:
            yield node.concatenation, context
        elif kind == SyntaxKind.StandardCaseItem:
            yield node.clause, context
        elif kind == SyntaxKind.InvocationExpression:
            if node.arguments is not None and not self._source(node.left).startswith("$"):
                yield node.arguments, context
        elif kind == SyntaxKind.ConditionalStatement and context.block == "always_ff" and self._is_reset(node):
            yield node.statement, _Context(context.block, reset=True, live=True)
            if node.elseClause is not None:
                yield node.elseClause, context
        else:
            for child in _children(node):
                yield child, context

    def _name_of(self, function: Node) -> str:
        return str(function.prototype.name).strip()

    def _is_reset(self, node: Node) -> bool:
        return self._source(node.predicate).replace(" ", "") in ("!rst_ni", "!rst_n", "!inner_rst_ni")

    def _here(self, node: Node, context: _Context) -> None:
        """The changes of this very node."""
        kind = node.kind
        if kind == SyntaxKind.ConditionalPredicate:
            self._add(node, "negated condition", f"!({self._source(node)})")
        elif kind in SWAPS:
            self._binary(node, kind)
        elif kind in NEGATIONS:
            self._add(node, "negation removed", f"({self._source(node.operand)})")
        elif kind == SyntaxKind.IntegerVectorExpression:
            self._sized(node, context)
        elif kind == SyntaxKind.IntegerLiteralExpression:
            value = int(self._source(node).replace("_", ""))
            for near in (value + 1, value - 1):
                if near >= 0:
                    self._add(node, "constant off by one", str(near))
        elif kind == SyntaxKind.UnbasedUnsizedLiteralExpression:
            other = {"'0": "'1", "'1": "'0"}.get(self._source(node))
            if other:
                self._add(node, "wrong reset value" if context.reset else "constant inverted", other)
        elif kind in (SyntaxKind.IdentifierName, SyntaxKind.ScopedName):
            self._member(node, context)
        elif kind == SyntaxKind.CaseStatement:
            self._case(node)
        elif kind in ASSIGNMENTS:
            self._assignment(node, context)

    def _binary(self, node: Node, kind: SyntaxKind) -> None:
        left, right = self._source(node.left), self._source(node.right)
        operator = node.operatorToken.rawText
        for other in SWAPS[kind]:
            self._add(node, f"{operator} became {other}", f"({left}) {other} ({right})")
        if kind in TERMS:
            self._add(node, "term dropped", f"({left})")
            self._add(node, "term dropped", f"({right})")

    def _sized(self, node: Node, context: _Context) -> None:
        size, rest = self._source(node).split("'")
        base, digits = rest[0].lower(), rest[1:].replace("_", "").strip()
        if base not in BASES:
            return
        radix, spelling = BASES[base]
        try:
            width, value = int(size), int(digits, radix)
        except ValueError:
            return
        operator = "wrong reset value" if context.reset else "constant off by one"
        for near in sorted({(value + 1) % (1 << width), (value - 1) % (1 << width)} - {value}):
            self._add(node, operator, f"{width}'{base}{near:{spelling}}")

    def _member(self, node: Node, context: _Context) -> None:
        name = self._source(node)
        prefix, _, member = name.rpartition("::")
        others = self._enums.get(member, ())
        if len(others) > 1:
            other = others[(others.index(member) + 1) % len(others)]
            operator = "wrong reset value" if context.reset else "other enum member"
            self._add(node, operator, f"{prefix}::{other}" if prefix else other)

    def _case(self, node: Node) -> None:
        items = [item for item in _children(node.items) if item.kind == SyntaxKind.StandardCaseItem]
        origin = node.sourceRange.start.offset
        whole = self._source(node)
        for first, second in pairwise(items):
            a, b = first.clause.sourceRange, second.clause.sourceRange
            spans = [(a.start.offset - origin, a.end.offset - origin), (b.start.offset - origin, b.end.offset - origin)]
            (s0, e0), (s1, e1) = spans
            swapped = whole[:s0] + whole[s1:e1] + whole[e0:s1] + whole[s0:e0] + whole[e1:]
            self._add(node, "case bodies swapped", swapped, statement=True)

    def _assignment(self, node: Node, context: _Context) -> None:
        if context.block == "assign":
            if node.right.kind not in PATTERNS:
                for stuck in ("'0", "'1"):
                    self._add(node.right, f"stuck at {stuck}", stuck)
        elif not context.reset and node.parent is not None and node.parent.kind == SyntaxKind.ExpressionStatement:
            self._add(node.parent, "assignment dropped", ";", statement=True)
