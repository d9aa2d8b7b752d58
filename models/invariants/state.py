# SPDX-License-Identifier: Apache-2.0
"""What is true at one place in a journal; every check that needs it follows the events with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.arrays import PAGE_BYTES
from models.host_events import (
    ContextBound,
    ContextUnbound,
    HostEventRecord,
    InvalidationAnswered,
    InvalidationEnded,
    InvalidationStarted,
    Meaning,
    SlotChanged,
)

Events = Sequence[HostEventRecord]
NOTHING = Meaning(False)


@dataclass
class State:
    """What is true at one place in the journal: whose contexts are bound, open invalidations, what slots grant."""

    spaces: dict[int, int] = field(default_factory=dict)
    open: dict[int, InvalidationStarted] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    slots: dict[tuple[int, int], Meaning] = field(default_factory=dict)

    def follow(self, event: HostEventRecord) -> None:
        """Take an event into account."""
        match event:
            case ContextBound():
                self.spaces[event.pasid] = event.space
            case ContextUnbound():
                self.slots = {key: slot for key, slot in self.slots.items() if key[0] != event.pasid}
            case InvalidationStarted():
                self.open[event.number] = event
            case InvalidationAnswered():
                self.answered.add(event.number)
            case InvalidationEnded():
                self.open.pop(event.number, None)
                self.answered.discard(event.number)
            case SlotChanged():
                self.slots[event.pasid, event.va] = event.new

    def open_over(self, pasid: int, start: int, end: int, *, answered: bool = False) -> list[InvalidationStarted]:
        """Open invalidations (or only those already answered) of the context's space that overlap [start, end)."""
        space = self.spaces.get(pasid)
        return [
            each
            for number, each in self.open.items()
            if each.space == space and overlap(each, start, end) and (number in self.answered or not answered)
        ]

    def pages_in(self, space: int, start: int, end: int) -> list[tuple[int, int]]:
        """The (PASID, page) whose slots were ever used, of a space and range."""
        pasids = [pasid for pasid, owner in self.spaces.items() if owner == space]
        if (end - start) // PAGE_BYTES * len(pasids) < len(self.slots):
            pages = range(start // PAGE_BYTES * PAGE_BYTES, end, PAGE_BYTES)
            return [(pasid, va) for pasid in pasids for va in pages if (pasid, va) in self.slots]
        return [key for key in self.slots if key[0] in pasids and start <= key[1] < end]


def overlap(invalidation: InvalidationStarted, start: int, end: int) -> bool:
    """Whether an invalidation has bytes of [start, end)."""
    return invalidation.start < end and start < invalidation.end


def page_of(va: int) -> int:
    """The first address of the page of `va`."""
    return va // PAGE_BYTES * PAGE_BYTES
