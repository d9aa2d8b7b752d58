# SPDX-License-Identifier: Apache-2.0
"""Single-line changes that a test should notice, for SystemVerilog and Python. Pure text in, text out.

Python is cut into tokens by its own tokenizer, SystemVerilog by a small one. Comments, strings, annotations,
declarations of parameters' types and assertions are left alone: a change there is either no change or weakens a check
instead of the thing that it checks.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

SWAPS = {
    "==": ("!=",),
    "!=": ("==",),
    "<": ("<=", ">"),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "<=": ("<", ">="),
    "&&": ("||",),
    "||": ("&&",),
    "+": ("-",),
    "-": ("+",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
    "^": ("|",),
}
PYTHON_SWAPS = {
    **{key: value for key, value in SWAPS.items() if key not in ("&&", "||")},
    "*": ("+",),
    "//": ("*",),
    "%": ("//",),
    "and": ("or",),
    "or": ("and",),
    "True": ("False",),
    "False": ("True",),
    "not": ("",),
    "~": ("",),
}


@dataclass(frozen=True)
class Mutation:
    """One change: line `number` (from 1) becomes `after`."""

    number: int
    operator: str
    before: str
    after: str

    def apply(self, text: str) -> str:
        """The text with the change made."""
        lines = text.splitlines(keepends=True)
        ending = lines[self.number - 1][len(lines[self.number - 1].rstrip("\r\n")) :]
        lines[self.number - 1] = self.after + ending
        return "".join(lines)


@dataclass(frozen=True)
class _Token:
    """A piece of a line that can be changed; columns from 0, end exclusive."""

    line: int
    start: int
    end: int
    text: str


def _replace(line: str, token: _Token, text: str) -> str:
    return line[: token.start] + text + line[token.end :]


def _numbers_nearby(text: str) -> list[str]:
    """Spellings of a number one above and one below, in the same base and width: 8, 4'd8, 12'hff, 0x1F, '0, 1'b1."""
    if text in ("'0", "'1"):
        return ["'1" if text == "'0" else "'0"]
    sized = re.fullmatch(r"(\d+)'([bdh])([0-9a-fA-F_]+)", text)
    if sized:
        width, base, digits = int(sized[1]), sized[2], sized[3].replace("_", "")
        value = int(digits, {"b": 2, "d": 10, "h": 16}[base])
        spelling = {"b": "b", "d": "d", "h": "x"}[base]
        near = {(value + 1) % (1 << width), (value - 1) % (1 << width)} - {value}
        return [f"{width}'{base}{number:{spelling}}" for number in sorted(near)]
    try:
        value = int(text, 0)
    except ValueError:
        return []
    spelling = "#x" if text.lower().startswith("0x") else "d"
    return [f"{number:{spelling}}" for number in (value - 1, value + 1) if number >= 0]


def _token_mutations(lines: list[str], tokens: list[_Token], swaps: dict[str, tuple[str, ...]]) -> Iterator[Mutation]:
    for token in tokens:
        line = lines[token.line - 1]
        for other in swaps.get(token.text, ()):
            name = f"{token.text} -> {other or 'nothing'}"
            yield Mutation(token.line, name, line, _replace(line, token, other))
        for other in _numbers_nearby(token.text):
            yield Mutation(token.line, f"{token.text} -> {other}", line, _replace(line, token, other))


# SystemVerilog ------------------------------------------------------------------------------------------------------

_SV_TOKEN = re.compile(
    r"\d+'[bdh][0-9a-fA-F_]+|'[01]\b|[A-Za-z_$][\w$]*|\d+|<<<|>>>|<=|>=|==|!=|&&|\|\||<<|>>|\|->|\|=>|->"
    r"|\+:|-:|\+\+|--|[+\-|&^]=|~[&|^]|::|[-+<>&|^!~()\[\]{}=,;:?.*/%#@']"
)
_SV_SKIPPED_LINE = re.compile(r"^\s*((import|package|endpackage|module|endmodule|typedef)\b|[`}]|//|assign unused)")
_SV_DECLARATION = re.compile(r"^\s*(input|output|inout|logic|bit|wire|int|genvar|enum|struct)\b(?!.*=)")
_SV_CHECK = re.compile(r"\b(assert|assume|cover|property|sequence|initial|\$error|\$fatal)\b")
_SV_ASSIGNMENT = re.compile(r"^\s*(assign\s+)?[A-Za-z_][\w.\[\]:$+\-' ]*?\s*(<=|=)\s*[^=].*;\s*(//.*)?$")
_SV_CONDITION = re.compile(r"\bif \(")


def _without_comments(line: str) -> str:
    """The line with comments and strings blanked, so that columns stay."""
    line = re.sub(r'"[^"]*"', lambda match: " " * len(match[0]), line)
    return re.sub(r"//.*$|/\*.*?\*/", lambda match: " " * len(match[0]), line)


def _sv_lines(lines: list[str]) -> Iterator[tuple[int, str]]:
    """(number, line without comments) of the lines that may be changed; checks are skipped up to their semicolon."""
    in_check = False
    for number, line in enumerate(lines, start=1):
        code = _without_comments(line)
        in_check = in_check or bool(_SV_CHECK.search(code))
        if in_check:
            in_check = ";" not in code
            continue
        if code.strip() and not _SV_SKIPPED_LINE.match(code) and not _SV_DECLARATION.match(code):
            yield number, code


def _sv_tokens(number: int, code: str) -> list[_Token]:
    tokens = [_Token(number, match.start(), match.end(), match[0]) for match in _SV_TOKEN.finditer(code)]
    # The first <= outside parentheses is an assignment, not a comparison.
    depth = 0
    kept = []
    assignment_seen = False
    for token in tokens:
        depth += (token.text in "([") - (token.text in ")]")
        if token.text == "<=" and depth == 0 and not assignment_seen:
            assignment_seen = True
            continue
        kept.append(token)
    return kept


def _inverted_condition(number: int, line: str, code: str) -> Iterator[Mutation]:
    for match in _SV_CONDITION.finditer(code):
        depth = 0
        for column in range(match.end() - 1, len(code)):
            depth += (code[column] == "(") - (code[column] == ")")
            if depth == 0:
                inside = line[match.end() : column]
                after = f"{line[: match.end()]}!({inside}){line[column:]}"
                yield Mutation(number, "inverted condition", line, after)
                break


def systemverilog_mutations(text: str) -> list[Mutation]:
    """Every change that can be made to a SystemVerilog file, in the order of its lines."""
    lines = text.splitlines()
    found: list[Mutation] = []
    for number, code in _sv_lines(lines):
        line = lines[number - 1]
        tokens = _sv_tokens(number, code)
        found.extend(_token_mutations(lines, tokens, SWAPS))
        inversions = [token for token in tokens if token.text in ("!", "~")]
        found.extend(Mutation(number, "inversion removed", line, _replace(line, token, "")) for token in inversions)
        found.extend(_inverted_condition(number, line, code))
        if _SV_ASSIGNMENT.match(line) and not re.match(r"^\s*(localparam|parameter|typedef)\b", line):
            found.append(Mutation(number, "assignment deleted", line, re.match(r"\s*", line)[0] + ";"))  # type: ignore[index]
    return found


# Python -------------------------------------------------------------------------------------------------------------


def _annotation_spans(tree: ast.AST) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Places of annotations and of imports, where a change of a token is no change of what runs."""
    spans = []
    for node in ast.walk(tree):
        quiet: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign | ast.arg):
            quiet = [node.annotation]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            quiet = [node.returns, *node.decorator_list]
        elif isinstance(node, ast.ClassDef):
            quiet = [*node.decorator_list]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            quiet = [node]
        for item in quiet:
            if isinstance(item, ast.expr | ast.stmt):
                spans.append(
                    ((item.lineno, item.col_offset), (item.end_lineno or item.lineno, item.end_col_offset or 0))
                )
    return spans


def _python_tokens(text: str, tree: ast.AST) -> list[_Token]:
    spans = _annotation_spans(tree)
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (tokenize.OP, tokenize.NUMBER, tokenize.NAME):
            continue
        if any(start <= token.start < end for start, end in spans):
            continue
        tokens.append(_Token(token.start[0], token.start[1], token.end[1], token.string))
    return tokens


def _deleted_statements(lines: list[str], tree: ast.AST) -> Iterator[Mutation]:
    for node in ast.walk(tree):
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.If | ast.For | ast.While | ast.With)
        if not inside:
            continue
        for child in ast.iter_child_nodes(node):
            single = isinstance(child, ast.Assign | ast.AugAssign) and child.lineno == child.end_lineno
            if single and isinstance(child, ast.stmt):
                line = lines[child.lineno - 1]
                after = line[: child.col_offset] + "pass"
                yield Mutation(child.lineno, "assignment deleted", line, after)


def python_mutations(text: str) -> list[Mutation]:
    """Every change that can be made to a Python file, in the order of its lines. Errors: SyntaxError."""
    tree = ast.parse(text)
    lines = text.splitlines()
    found = list(_token_mutations(lines, _python_tokens(text, tree), PYTHON_SWAPS))
    found.extend(_deleted_statements(lines, tree))
    return sorted(set(found), key=lambda mutation: (mutation.number, mutation.operator, mutation.after))
