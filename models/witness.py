# SPDX-License-Identifier: Apache-2.0
"""A host thread that looks at an address space while others change it, as another device with notifiers would.

What it sees, and what its notifier is told, stands in the journal of the space: I8, I9, I10, I11, I16 and I17 are
judged there. It asks for nothing, so it disturbs nobody but by holding the mmap lock. Source: docs/invariants.md.
"""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_BYTES
from models.formats import format_by_name
from models.hmm.errors import HmmError
from models.hmm.memory_map import MemoryMap
from models.hmm.notifiers import LAST_BYTE, MmuIntervalNotifier, MmuNotifierRange
from models.hmm.range_fault import NotifiedRange, hmm_range_fault
from models.memory_events import ErrorAsked

LINUX = format_by_name("linux_5_8")
MOST_TRIES = 8
"""So often a page is asked for that others keep invalidating."""


class Witness:
    """One for an address space. `looks`: how many were made; `stale`: how many of them were overtaken."""

    def __init__(self, mm: MemoryMap) -> None:
        """Its notifier is told of every invalidation from now on."""
        self.looks = 0
        self.stale = 0
        self._mm = mm
        self._notifier = MmuIntervalNotifier(0, LAST_BYTE, self._told)
        mm.intervals.insert(self._notifier)

    async def look(self, start: int, pages: int) -> None:
        """Look at `pages` from `start` on; the first that is ERROR is asked for, which must fail."""
        mm, notifier = self._mm, self._notifier
        seq = await mm.intervals.read_begin(notifier)
        self.looks += 1
        async with mm.mmap_lock.read():
            words = np.zeros(pages, dtype=np.uint64)
            try:
                await hmm_range_fault(mm, NotifiedRange(notifier, seq, start, start + pages * PAGE_BYTES, words, LINUX))
                errors = np.flatnonzero((words & np.uint64(LINUX.error)) != 0)
                if errors.size:
                    await self._ask(start + int(errors[0]) * PAGE_BYTES)
            except HmmError as error:
                if error.errno != "EBUSY":
                    raise
        self.stale += mm.intervals.read_retry(notifier, seq)

    async def _ask(self, va: int) -> None:
        """Ask for a page that was ERROR. The mmap lock is held, so no area has changed or will.

        A fault of the call itself makes its sequence stale, so it is tried again as a driver does.
        """
        mm = self._mm
        for _ in range(MOST_TRIES):
            seq = await mm.intervals.read_begin(self._notifier)
            words = np.array([LINUX.valid], dtype=np.uint64)
            asked = NotifiedRange(self._notifier, seq, va, va + PAGE_BYTES, words, LINUX, pfn_flags_mask=LINUX.valid)
            errno = ""
            try:
                await hmm_range_fault(mm, asked)
            except HmmError as error:
                errno = error.errno
            if errno != "EBUSY":
                mm.journal.add(ErrorAsked(mm.number, va, errno))
                return

    async def _told(self, notifier: MmuIntervalNotifier, update: MmuNotifierRange, cur_seq: int) -> bool:
        notifier.set_seq(cur_seq)
        return True
