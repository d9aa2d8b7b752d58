# SPDX-License-Identifier: Apache-2.0
"""Which descriptors of a stream must be ordered, because one that may still go on touches the same bytes.

The access engine performs descriptors at the same time unless it is told otherwise. Source: docs/engine.md, "What is
ordered".
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Bytes [first, last] that a descriptor reads, or writes."""

    first: int
    last: int
    writes: bool


def span(first: int, length: int, *, writes: bool) -> Span:
    """`length` bytes from `first` on."""
    return Span(first, first + length - 1, writes)


class EngineOrder:
    """Watches one stream of descriptors, in ring order."""

    def __init__(self, slots: int) -> None:
        """`slots` of the ring: a descriptor that is so far back is complete."""
        self._open: deque[tuple[Span, ...]] = deque(maxlen=slots)

    def must_wait(self, *spans: Span) -> bool:
        """Whether the next descriptor, which touches `spans`, must be ordered."""
        found = any(
            mine.first <= other.last and other.first <= mine.last and (mine.writes or other.writes)
            for earlier in self._open
            for other in earlier
            for mine in spans
        )
        if found:
            # All before it are complete when it begins.
            self._open.clear()
        self._open.append(spans)
        return found
