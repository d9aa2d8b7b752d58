# SPDX-License-Identifier: Apache-2.0
"""HMM's share in one address space: devices that mirror it, ranges that are tracked (struct hmm, struct hmm_mirror).

Source: mm/hmm.c of Linux 4.17 to 5.1; docs/host.md, "Invalidation". Unlike the first kernels, mirrors are told at the
start of an invalidation, and a range is not valid if it is asked for while one that overlaps it is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from models.errors import UserError
from models.hmm.errors import HmmError
from models.hmm.notifiers import MmuNotifierRange
from models.hmm.range import HmmRange
from models.host_events import InvalidationAnswered, InvalidationEnded, InvalidationStarted

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap


class HmmMirror(Protocol):
    """A device's side of an address space (struct hmm_mirror_ops)."""

    async def sync_cpu_device_pagetables(self, update: MmuNotifierRange) -> None:
        """Take the range out of the device's page table and caches; return only when the device cannot use it."""
        ...

    async def release(self) -> None:
        """The address space goes away: stop all use of it; return only when the device cannot use it."""
        ...


class Hmm:
    """Ranges and mirrors of one address space (models.hmm.notifiers.MmuNotifier)."""

    def __init__(self, mm: MemoryMap) -> None:
        self.mm = mm
        self.mirrors: list[HmmMirror] = []
        self._ranges: list[HmmRange] = []
        self._numbers: dict[MmuNotifierRange, int] = {}

    def track(self, hmm_range: HmmRange) -> None:
        """Watch a range: it is valid until an invalidation overlaps it."""
        open_now = self.mm.open_invalidations
        hmm_range.valid = not any(update.overlaps(hmm_range.start, hmm_range.end) for update in open_now)
        self._ranges.append(hmm_range)

    def untrack(self, hmm_range: HmmRange) -> bool:
        """Stop watching; returns whether the range is still valid. Errors: UserError if it is not tracked."""
        if hmm_range not in self._ranges:
            raise UserError("End only ranges that are tracked, and each once.")
        self._ranges.remove(hmm_range)
        return hmm_range.valid

    async def invalidate_range_start(self, update: MmuNotifierRange) -> None:
        """Overlapping ranges are not valid any more; mirrors stop using them."""
        number = self.mm.journal.next_invalidation()
        self._numbers[update] = number
        self.mm.journal.add(InvalidationStarted(number, self.mm.number, update.start, update.end))
        for hmm_range in self._ranges:
            if update.overlaps(hmm_range.start, hmm_range.end):
                hmm_range.valid = False
        for mirror in list(self.mirrors):
            await mirror.sync_cpu_device_pagetables(update)
        self.mm.journal.add(InvalidationAnswered(number))

    async def invalidate_range_end(self, update: MmuNotifierRange) -> None:
        """The page table has changed."""
        self.mm.journal.add(InvalidationEnded(self._numbers.pop(update)))

    async def release(self, mm: MemoryMap) -> None:
        """The address space goes away: nothing in it is valid, and mirrors let go."""
        for hmm_range in self._ranges:
            hmm_range.valid = False
        mirrors, self.mirrors = self.mirrors, []
        for mirror in mirrors:
            await mirror.release()


async def hmm_mirror_register(mirror: HmmMirror, mm: MemoryMap) -> None:
    """Let `mirror` follow `mm`. Takes the mmap lock for writing. Errors: HmmError EINVAL if it follows already."""
    async with mm.mmap_lock.write():
        if mm.hmm is None:
            mm.hmm = Hmm(mm)
            mm.register_notifier(mm.hmm)
        if mirror in mm.hmm.mirrors:
            raise HmmError("EINVAL", "the mirror is registered already")
        mm.hmm.mirrors.append(mirror)


async def hmm_mirror_unregister(mirror: HmmMirror, mm: MemoryMap) -> None:
    """Let `mirror` follow `mm` no more. Takes the mmap lock for writing. Errors: HmmError EINVAL if it does not."""
    async with mm.mmap_lock.write():
        if mm.hmm is None or mirror not in mm.hmm.mirrors:
            raise HmmError("EINVAL", "the mirror is not registered")
        mm.hmm.mirrors.remove(mirror)
