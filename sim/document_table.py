# SPDX-License-Identifier: Apache-2.0
"""Tables in the documents that a command writes, each between two marks. Pure text in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import UserError

END = "<!-- end of table -->"


def begin_mark(command: str) -> str:
    """What stands in front of the table that `command` writes."""
    return f"<!-- table: {command} -->"


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as Markdown: the first is the head; all columns but the first are numbers."""
    rows = [lines[0], ("---", *["---:"] * (len(lines[0]) - 1)), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def table_parts(text: str, command: str) -> tuple[str, str, str]:
    """(before, table, after) of a document. Errors: UserError if it has no place for the table of that command."""
    before, begin, rest = text.partition(begin_mark(command))
    table, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"The document has no place for the table: put {begin_mark(command)} and {END} there.")
    return before, table, after


def with_table(text: str, command: str, table: str) -> str:
    """A document with another table. Errors: as table_parts()."""
    before, _, after = table_parts(text, command)
    return f"{before}{begin_mark(command)}\n{table}\n{END}{after}"
