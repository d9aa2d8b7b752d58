# SPDX-License-Identifier: Apache-2.0
"""`-k`: words with and, or, not and parentheses, as pytest has them. A word matches a part of a case's words."""

from __future__ import annotations

import re
from collections.abc import Callable

from models.errors import UserError

Matcher = Callable[[str], bool]
_TOKEN = re.compile(r"\s*(?:([()])|([^\s()]+))")


def compile_expression(text: str) -> Matcher:
    """A function of the words of a case. Errors: UserError if the expression is not one."""
    parser = _Parser(text)
    matcher = parser.alternatives()
    if parser.token:
        raise parser.error(f"{parser.token} does not belong there")
    return matcher


class _Parser:
    """Recursive descent; `token` is the next one, "" at the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [match[1] or match[2] for match in _TOKEN.finditer(text)]
        self._next = -1
        self.token = ""
        self._advance()

    def _advance(self) -> str:
        taken = self.token
        self._next += 1
        self.token = self._tokens[self._next] if self._next < len(self._tokens) else ""
        return taken

    def error(self, what: str) -> UserError:
        """What is wrong with the expression."""
        return UserError(f"-k {self._text!r} is no expression ({what}); write words with and, or, not and parentheses.")

    def alternatives(self) -> Matcher:
        """a or b or c."""
        parts = [self._conditions()]
        while self.token == "or":
            self._advance()
            parts.append(self._conditions())
        return lambda words: any(part(words) for part in parts)

    def _conditions(self) -> Matcher:
        parts = [self._negation()]
        while self.token == "and":
            self._advance()
            parts.append(self._negation())
        return lambda words: all(part(words) for part in parts)

    def _negation(self) -> Matcher:
        if self.token == "not":
            self._advance()
            inner = self._negation()
            return lambda words: not inner(words)
        if self.token == "(":
            self._advance()
            inside = self.alternatives()
            if self.token != ")":
                raise self.error("a parenthesis is not closed")
            self._advance()
            return inside
        if self.token in ("", ")", "and", "or"):
            raise self.error(f"a word is missing before {self.token}" if self.token else "a word is missing at the end")
        word = self._advance().lower()
        return lambda words: word in words
