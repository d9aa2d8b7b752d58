# SPDX-License-Identifier: Apache-2.0
"""Many changes in one source: each stands beside what it replaces, and a number chosen when the simulator starts says
which is in force. So one build serves them all; the number 0 is the design as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sim.mutants.find import Mutant

PACKAGE = """\
package hmm_mutant_pkg;
  function automatic int unsigned chosen();
    int unsigned number;
    if (!$value$plusargs("mutant=%d", number)) number = 0;
    return number;
  endfunction
  int unsigned selected = chosen();
endpackage
"""
SELECTED = "hmm_mutant_pkg::selected"


def choose_argument(number: int) -> str:
    """The simulator's argument that puts one change into force."""
    return f"+mutant={number}"


@dataclass
class _Span:
    """A part of the text that changes, with the changes of it and the changing parts inside it."""

    start: int
    end: int
    statement: bool
    mutants: list[tuple[int, Mutant]] = field(default_factory=list)
    inside: list[_Span] = field(default_factory=list)


def with_mutants(text: str, mutants: Mapping[int, Mutant]) -> str:
    """One file's text with all of its changes, by number. Lines keep their numbers up to the first changed statement.

    Errors: ValueError if two changes overlap without one being inside the other.
    """
    spans: dict[tuple[int, int], _Span] = {}
    for number, mutant in sorted(mutants.items()):
        span = spans.setdefault((mutant.start, mutant.end), _Span(mutant.start, mutant.end, mutant.statement))
        if span.statement != mutant.statement:
            raise ValueError(f"change {number} is not of the kind of the others at its place")
        span.mutants.append((number, mutant))
    root = _Span(0, len(text), statement=False)
    open_spans = [root]
    for span in sorted(spans.values(), key=lambda each: (each.start, -each.end)):
        while span.start >= open_spans[-1].end:
            open_spans.pop()
        if span.end > open_spans[-1].end:
            raise ValueError(f"the changes at {span.start} and {open_spans[-1].start} overlap")
        open_spans[-1].inside.append(span)
        open_spans.append(span)
    return _content(text, root)


def _content(text: str, span: _Span) -> str:
    """The text of a span with everything inside it made choosable."""
    parts = []
    place = span.start
    for inner in span.inside:
        parts += [text[place : inner.start], _choice(text, inner)]
        place = inner.end
    return "".join([*parts, text[place : span.end]])


def _choice(text: str, span: _Span) -> str:
    result = _content(text, span)
    for number, mutant in span.mutants:
        if span.statement:
            result = f"if ({SELECTED} == {number}) begin {mutant.after}\nend else begin {result}\nend"
        else:
            result = f"(({SELECTED} == {number}) ? ({mutant.after}) : ({result}))"
    return result


def number_all(mutants: Sequence[Mutant]) -> dict[int, Mutant]:
    """Numbers from 1 on, in the order given."""
    return dict(enumerate(mutants, start=1))
