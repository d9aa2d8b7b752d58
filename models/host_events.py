# SPDX-License-Identifier: Apache-2.0
"""What happened between host and device, as a list of events in their order; models/invariants/ judges it.

An event's place in the list is its time: what comes later happened later. Source: docs/host.md, "The journal".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from models.memory_events import (
    CallReturned,
    ErrorAsked,
    IntervalsEnded,
    IntervalsTold,
    Looked,
    NotifierInserted,
    NotifierTold,
    ReadAsked,
    ReadBegun,
    SpaceReleased,
)
from models.structures import Access


class AnswerKind(Enum):
    """How a fault was answered."""

    REPLAY = "replay"
    CANCEL = "cancel"


@dataclass(frozen=True)
class CpuMapping:
    """What a CPU page table says of one page: whether a page is mapped, its pfn, and whether it may be written."""

    mapped: bool
    pfn: int = 0
    writable: bool = False


@dataclass(frozen=True)
class Meaning:
    """What a live slot grants: nothing unless `valid`. `order`: of the block that it promises, where the directory
    entry vouches for it.
    """

    valid: bool
    pfn: int = 0
    write: bool = False
    order: int = 0


@dataclass(frozen=True)
class InvalidationStarted:
    """The notifiers of address space `space` were told of [start, end), before the CPU's page table changes."""

    number: int
    space: int
    start: int
    end: int


@dataclass(frozen=True)
class InvalidationAnswered:
    """Every notifier came back from the start of invalidation `number`: the device must not use the range any more."""

    number: int


@dataclass(frozen=True)
class InvalidationEnded:
    """Invalidation `number` is over: the CPU's page table has changed."""

    number: int


@dataclass(frozen=True)
class RangeBegun:
    """A driver asks HMM for [start, end) of a context."""

    pasid: int
    start: int
    end: int


@dataclass(frozen=True)
class CommitBegun:
    """The driver holds its lock and is about to store what it got for [start, end) of a context."""

    pasid: int
    start: int
    end: int


@dataclass(frozen=True)
class CommitEnded:
    """The stores of the commit of [start, end) are done."""

    pasid: int
    start: int
    end: int


@dataclass(frozen=True)
class SlotChanged:
    """A live slot means something else than before; `cpu` is the CPU's own page table at that moment."""

    pasid: int
    va: int
    old: Meaning
    new: Meaning
    cpu: CpuMapping


@dataclass(frozen=True)
class ContextBound:
    """A context of the device belongs to address space `space` from now on."""

    pasid: int
    space: int


@dataclass(frozen=True)
class ContextUnbound:
    """The context entry of a PASID was cleared: its tables mean nothing any more."""

    pasid: int


@dataclass(frozen=True)
class FaultRecorded:
    """The device put a fault into the ring."""

    tag: int
    pasid: int
    va: int
    access: Access
    answer_expected: bool


@dataclass(frozen=True)
class FaultTaken:
    """The driver took a fault record that expects an answer. `cpu_permits`: as in AnswerSubmitted, now already."""

    tag: int
    pasid: int
    va: int
    access: Access
    cycle: int
    cpu_permits: bool


@dataclass(frozen=True)
class AnswerSubmitted:
    """The driver commanded an answer to a fault. `cpu_permits`: the CPU could make the access possible right now."""

    tag: int
    kind: AnswerKind
    cycle: int
    cpu_permits: bool


@dataclass(frozen=True)
class FaultAnswered:
    """The device acted on an answer: the fault is over."""

    tag: int
    kind: AnswerKind


@dataclass(frozen=True)
class FaultDropped:
    """The fault ended without an answer: its context was unbound, or a soft reset came over it."""

    tag: int


@dataclass(frozen=True)
class AnswerIgnored:
    """The device got an answer to a tag that does not wait."""

    tag: int
    kind: AnswerKind


@dataclass(frozen=True)
class Accessed:
    """The device used a translation to `pfn` at its memory port; `walked_at`: how many events came before its walk."""

    pasid: int
    va: int
    access: Access
    pfn: int
    walked_at: int


@dataclass(frozen=True)
class ContextForgotten:
    """The driver has taken a context away: the device uses nothing of it any more."""

    pasid: int


@dataclass(frozen=True)
class WritableTaken:
    """A slot that granted writing to `pfn` was taken away. `dirty`: whether the page is marked as written by now."""

    pasid: int
    va: int
    pfn: int
    dirty: bool


@dataclass(frozen=True)
class TablesCompared:
    """The slots of a context in [start, end) beside the CPU's page table: `pages` have a page in both.

    `differing`: (address, pfn of the slot, pfn of the CPU) of those where it is not the same.
    """

    pasid: int
    start: int
    end: int
    pages: int
    differing: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class InvalidateTaken:
    """The device took a command to forget the bytes `first` to `last` of a context (None: of all)."""

    pasid: int | None
    first: int
    last: int


@dataclass(frozen=True)
class FenceTaken:
    """The device took fence `number`."""

    number: int


@dataclass(frozen=True)
class FenceCompleted:
    """Fence `number` is complete."""

    number: int


@dataclass(frozen=True)
class GrantGiven:
    """A client has grant `number` of a page; `walked_at`: how many events came before its walk."""

    number: int
    pasid: int
    va: int
    walked_at: int


@dataclass(frozen=True)
class GrantEnded:
    """The client has given grant `number` back."""

    number: int


HostEventRecord = (
    SpaceReleased
    | ContextForgotten
    | WritableTaken
    | TablesCompared
    | IntervalsTold
    | IntervalsEnded
    | NotifierInserted
    | NotifierTold
    | ReadAsked
    | ReadBegun
    | Looked
    | CallReturned
    | ErrorAsked
    | InvalidateTaken
    | FenceTaken
    | FenceCompleted
    | GrantGiven
    | GrantEnded
    | InvalidationStarted
    | InvalidationAnswered
    | InvalidationEnded
    | RangeBegun
    | CommitBegun
    | CommitEnded
    | SlotChanged
    | ContextBound
    | ContextUnbound
    | FaultRecorded
    | FaultTaken
    | AnswerSubmitted
    | FaultAnswered
    | FaultDropped
    | AnswerIgnored
    | Accessed
)


def _no_time() -> int:
    return 0


@dataclass
class Journal:
    """The events so far, and the time of each as `clock` told it. `listeners` are called behind each new event."""

    clock: Callable[[], int] = _no_time
    events: list[HostEventRecord] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    invalidations: int = 0
    listeners: list[Callable[[HostEventRecord], None]] = field(default_factory=list)

    def add(self, event: HostEventRecord) -> None:
        """Append an event."""
        self.events.append(event)
        self.times.append(self.clock())
        for listener in self.listeners:
            listener(event)

    def next_invalidation(self) -> int:
        """A number for a new invalidation."""
        self.invalidations += 1
        return self.invalidations
