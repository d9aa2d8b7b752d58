# SPDX-License-Identifier: Apache-2.0
"""What an address space tells those who mirror its page table (struct mmu_notifier, include/linux/mmu_notifier.h)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from models.hmm.errors import HmmError

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap


class InvalidateEvent(IntEnum):
    """Why a range is invalidated (enum mmu_notifier_event)."""

    UNMAP = 0
    CLEAR = 1
    PROTECTION_VMA = 2
    PROTECTION_PAGE = 3
    SOFT_DIRTY = 4
    RELEASE = 5
    MIGRATE = 6
    EXCLUSIVE = 7


@dataclass(frozen=True, eq=False)
class MmuNotifierRange:
    """One invalidation: the page-table entries of [start, end) are about to change."""

    mm: MemoryMap
    start: int
    end: int
    event: InvalidateEvent
    owner: object = None
    """Of MIGRATE and EXCLUSIVE: the device memory, or the driver, that causes it and may ignore it itself."""

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it has bytes of [start, end)."""
        return self.start < end and start < self.end


class MmuNotifier(Protocol):
    """Somebody who mirrors a page table."""

    async def invalidate_range_start(self, update: MmuNotifierRange) -> None:
        """Stop all use of the range, and return only then: the entries change next, and pages may be freed."""
        ...

    async def invalidate_range_end(self, update: MmuNotifierRange) -> None:
        """The entries have changed."""
        ...

    async def release(self, mm: MemoryMap) -> None:
        """The address space goes away: stop all use of it, and return only then."""
        ...


INVALIDATE = Callable[[MmuNotifierRange, int], None]


@dataclass(eq=False)
class MmuIntervalNotifier:
    """Somebody who mirrors [start, end) of a page table (struct mmu_interval_notifier).

    `invalidate(update, cur_seq)` is told of each invalidation that overlaps, after `seq` became `cur_seq`. `seq` is
    always odd; it differs from what read_begin() returned once the range was invalidated.
    """

    start: int
    end: int
    invalidate: INVALIDATE
    seq: int = 0


class IntervalNotifiers:
    """The interval notifiers of one address space (struct mmu_notifier_subscriptions).

    `seq` is even while no invalidation is open that any of them has to know of, and odd while one is.
    """

    def __init__(self, seq: int = 2) -> None:
        self.seq = seq
        self._active = 0
        self._notifiers: list[MmuIntervalNotifier] = []

    def insert(self, notifier: MmuIntervalNotifier) -> None:
        """Tell it of every invalidation from now on (mmu_interval_notifier_insert())."""
        if notifier.start >= notifier.end:
            raise HmmError("EOVERFLOW", "an interval that is not empty is needed")
        # What is open now may have passed this range already: the notifier begins as one that is being invalidated.
        if self._active:
            self.seq |= 1
        notifier.seq = self.seq - 1 if self.seq % 2 == 0 else self.seq
        self._notifiers.append(notifier)

    def remove(self, notifier: MmuIntervalNotifier) -> None:
        """Tell it no more."""
        self._notifiers.remove(notifier)

    def begin(self, update: MmuNotifierRange) -> None:
        """An invalidation starts (mn_itree_inv_start_range()): whom it overlaps is told, in the order of insertion."""
        self._active += 1
        overlapped = [notifier for notifier in self._notifiers if update.overlaps(notifier.start, notifier.end)]
        if overlapped:
            self.seq |= 1
        for notifier in overlapped:
            notifier.seq = self.seq
            notifier.invalidate(update, self.seq)

    def end(self) -> None:
        """An invalidation ends; once none is open the sequence is even again (mn_itree_inv_end())."""
        self._active -= 1
        if self._active == 0 and self.seq % 2:
            self.seq += 1

    def read_begin(self, notifier: MmuIntervalNotifier) -> int:
        """The sequence to ask HMM with (mmu_interval_read_begin()). Call it while no invalidation is open."""
        return notifier.seq

    def read_retry(self, notifier: MmuIntervalNotifier, seq: int) -> bool:
        """Whether the range was invalidated since `seq` was read: then what was asked must be dropped."""
        return notifier.seq != seq
