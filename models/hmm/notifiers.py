# SPDX-License-Identifier: Apache-2.0
"""What an address space tells those who mirror its page table: notifiers of intervals, and plain ones.

Source: docs/host.md, "Invalidation"; mm/mmu_notifier.c and include/linux/mmu_notifier.h of Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from models.hmm.errors import HmmError
from models.host_events import Journal
from models.memory_events import IntervalsEnded, IntervalsTold, NotifierInserted, NotifierTold, ReadAsked, ReadBegun

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap
    from models.preemption import HostEvent, Preemption

LAST_BYTE = (1 << 64) - 1
"""Where ranges that are about a whole address space end (ULONG_MAX)."""


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
    blockable: bool = True
    """Whether callbacks may wait; else they say so and nothing changes."""

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it has bytes of [start, end)."""
        return self.start < end and start < self.end


class MmuNotifier(Protocol):
    """Somebody who mirrors a page table."""

    async def invalidate_range_start(self, update: MmuNotifierRange) -> bool | None:
        """Stop all use of the range, and return only then: the entries change next, and pages may be freed.

        False, and only where `update.blockable` is false: it would have had to wait, so nothing may change.
        """
        ...

    async def invalidate_range_end(self, update: MmuNotifierRange) -> None:
        """The entries have changed."""
        ...

    async def release(self, mm: MemoryMap) -> None:
        """The address space goes away: stop all use of it, and return only then."""
        ...


INVALIDATE = Callable[["MmuIntervalNotifier", MmuNotifierRange, int], Awaitable[bool]]


@dataclass(eq=False)
class MmuIntervalNotifier:
    """Somebody who mirrors [start, end) of a page table (struct mmu_interval_notifier).

    `invalidate(notifier, update, cur_seq)` is called for each invalidation that overlaps: it takes its user's lock,
    calls set_seq(cur_seq), stops all use of the range and returns True; False only where `update.blockable` is false
    and it would have had to wait. `seq` is odd once it was inserted; it differs from what read_begin() returned when
    the range was invalidated.
    """

    start: int
    end: int
    invalidate: INVALIDATE
    seq: int = 0
    inserted: bool = False
    """Whether it is told of invalidations (or waits for its turn to be)."""
    number: int = 0
    """Tells the notifiers of one address space apart in a journal."""

    def set_seq(self, cur_seq: int) -> None:
        """The range is being invalidated (mmu_interval_set_seq()); under the lock that read_retry() is called under.

        Errors: RuntimeError if `cur_seq` is even: it is not one that was given to invalidate().
        """
        if cur_seq % 2 == 0:
            raise RuntimeError(f"{cur_seq} is no sequence of an invalidation")
        self.seq = cur_seq


class IntervalNotifiers:
    """The interval notifiers of one address space (struct mmu_notifier_subscriptions).

    `seq` is even while no invalidation is open that any of them has to know of, and odd while one is: until the last
    that is open ends, nested and overlapping ones share it. What is inserted or removed meanwhile waits for that end.
    """

    def __init__(self, host: Preemption, seq: int = 2, *, journal: Journal | None = None, space: int = 0) -> None:
        """`journal` is told what happens, with the number of the address space."""
        self.seq = seq
        self._journal = journal if journal is not None else Journal()
        self._space = space
        self._numbers = 0
        self.active = 0
        self._host = host
        self._tree: list[MmuIntervalNotifier] = []
        self._deferred: list[MmuIntervalNotifier] = []
        self._ended: HostEvent = host.event()

    @property
    def invalidating(self) -> bool:
        """Whether an invalidation is open that some notifier has to know of (mn_itree_is_invalidating())."""
        return self.seq % 2 == 1

    def insert(self, notifier: MmuIntervalNotifier) -> None:
        """Tell it of every invalidation from now on (mmu_interval_notifier_insert()).

        Errors: HmmError EOVERFLOW (an empty interval), RuntimeError if it is inserted already.
        """
        if notifier.start >= notifier.end or notifier.end > LAST_BYTE + 1:
            raise HmmError("EOVERFLOW", "an interval that is not empty and lies in the address space is needed")
        if notifier.inserted:
            raise RuntimeError("the notifier is inserted already")
        notifier.inserted = True
        self._numbers += 1
        notifier.number = self._numbers
        self._insert(notifier)
        self._journal.add(NotifierInserted(self._space, notifier.number, notifier.seq, self.seq))

    def _insert(self, notifier: MmuIntervalNotifier) -> None:
        # What is open now may have passed this range already, so the notifier begins as one that is being invalidated;
        # else with a sequence that is odd and long past.
        if not self.active:
            notifier.seq = self.seq - 1
            self._tree.append(notifier)
            return
        if self.invalidating:
            self._deferred.append(notifier)
        else:
            self.seq |= 1
            self._tree.append(notifier)
        notifier.seq = self.seq

    async def remove(self, notifier: MmuIntervalNotifier) -> None:
        """Tell it no more (mmu_interval_notifier_remove()): no callback of it runs any more when this returns.

        Do not call it from a callback, nor with the lock held that callbacks take. Errors: RuntimeError if it is out.
        """
        if not notifier.inserted:
            raise RuntimeError("the notifier is not inserted")
        notifier.inserted = False
        if notifier not in self._tree:
            self._deferred.remove(notifier)
            return
        if not self.invalidating:
            self._tree.remove(notifier)
            return
        self._deferred.append(notifier)
        await self._wait_while(self.seq)

    async def begin(self, update: MmuNotifierRange) -> bool:
        """An invalidation starts (mn_itree_invalidate()): whom it overlaps is told, one after the other.

        Returns False if somebody would have had to wait and may not: then it has ended already. Errors: RuntimeError if
        somebody refuses where he may wait.
        """
        self.active += 1
        told = self._overlapped(update)
        if told:
            self.seq |= 1
        cur_seq = self.seq
        self._journal.add(IntervalsTold(self._space, len(told), self.seq))
        for notifier in told:
            if await notifier.invalidate(notifier, update, cur_seq):
                self._journal.add(NotifierTold(self._space, notifier.number, cur_seq, notifier.seq))
                continue
            if update.blockable:
                raise RuntimeError("a notifier refused an invalidation that may wait")
            self.end()
            return False
        return True

    def end(self) -> None:
        """An invalidation ends (mn_itree_inv_end()); with the last one the sequence is even, and waiters go on."""
        if not self.active:
            raise RuntimeError("an invalidation ended that did not begin")
        self.active -= 1
        if self.active or not self.invalidating:
            self._journal.add(IntervalsEnded(self._space, self.seq))
            return
        self.seq += 1
        self._journal.add(IntervalsEnded(self._space, self.seq))
        for notifier in self._deferred:
            if notifier.inserted:
                self._tree.append(notifier)
            else:
                self._tree.remove(notifier)
        self._deferred.clear()
        self._ended.set()

    async def release(self, mm: MemoryMap) -> None:
        """The address space goes away (mn_itree_release()): everybody is told so, about all of it."""
        update = MmuNotifierRange(mm, 0, LAST_BYTE, InvalidateEvent.RELEASE)
        await self.begin(update)
        self.end()

    async def read_begin(self, notifier: MmuIntervalNotifier) -> int:
        """The sequence to ask HMM with (mmu_interval_read_begin()); waits while the range is being invalidated.

        It may be lost by the time this returns: read_retry() tells.
        """
        seq = notifier.seq
        self._journal.add(ReadAsked(self._space, notifier.number, seq, self.seq))
        if seq == self.seq:
            await self._wait_while(seq)
        self._journal.add(ReadBegun(self._space, notifier.number, seq))
        return seq

    def read_retry(self, notifier: MmuIntervalNotifier, seq: int) -> bool:
        """Whether the range was invalidated since `seq` was read, so that what was asked must be dropped.

        To be relied on only under the lock that the callback calls set_seq() under.
        """
        return notifier.seq != seq

    def check_retry(self, notifier: MmuIntervalNotifier, seq: int) -> bool:
        """The same without any lock (mmu_interval_check_retry()): True is sure, False is not."""
        return notifier.seq != seq

    def _overlapped(self, update: MmuNotifierRange) -> list[MmuIntervalNotifier]:
        overlapped = [notifier for notifier in self._tree if update.overlaps(notifier.start, notifier.end)]
        return sorted(overlapped, key=_first_byte)

    async def _wait_while(self, seq: int) -> None:
        while self.seq == seq:
            self._ended.clear()
            await self._ended.wait()


def _first_byte(notifier: MmuIntervalNotifier) -> int:
    return notifier.start
