# SPDX-License-Identifier: Apache-2.0
"""A driver that asks by hmm_range_fault(): it serves areas that the calls of 2018 refuse.

Source: docs/host.md, "Asking HMM"; Documentation/mm/hmm.rst of Linux 6.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.arrays import Words
from models.driver import DeviceContext, Driver, Work
from models.formats import format_by_name
from models.hmm import HmmError, MmuNotifierRange
from models.hmm.notifiers import LAST_BYTE, MmuIntervalNotifier
from models.hmm.range_fault import NotifiedRange, hmm_range_fault
from models.host_events import RangeBegun

LINUX = format_by_name("linux_5_8")


class PresentDriver(Driver):
    """Asks for each range under an interval notifier of its whole context, and writes the words in its own format."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As Driver."""
        super().__init__(*arguments, **options)
        self._notifiers: dict[DeviceContext, MmuIntervalNotifier] = {}
        self._sequences: dict[Work, int] = {}

    async def ask(self, work: Work) -> None:
        """hmm_range_fault() with a request for each page that the staging array asks for.

        Errors: HmmError as that; EBUSY: the mmap lock was dropped.
        """
        mm, asked = work.context.mm, work.hmm_range
        notifier = self._notifier(work.context)
        seq = notifier.seq
        if seq == mm.intervals.seq:
            mm.mmap_lock.release_read()
            await mm.intervals.read_begin(notifier)
            raise HmmError("EBUSY", "the range was being invalidated")
        requests = asked.words().requests(asked.pfns)
        words = np.where(requests.fault, np.uint64(LINUX.valid), np.uint64(0))
        words |= np.where(requests.write, np.uint64(LINUX.write), np.uint64(0))
        marks = LINUX.valid | LINUX.write
        made = NotifiedRange(notifier, seq, asked.start, asked.end, words, LINUX, 0, marks, self.memory.pagemap)
        self.counters.hmm_calls += 1
        self.journal.add(RangeBegun(work.context.pasid, asked.start, asked.end))
        try:
            await hmm_range_fault(mm, made)
        except HmmError as error:
            if error.errno == "EBUSY":
                mm.mmap_lock.release_read()
            raise
        self._sequences[work] = seq
        asked.pfns[:] = self._own_words(made.hmm_pfns)

    def still_valid(self, work: Work) -> bool:
        """mmu_interval_read_retry(), under the lock."""
        notifier = self._notifier(work.context)
        return not work.context.mm.intervals.read_retry(notifier, self._sequences.pop(work))

    def _own_words(self, words: Words) -> Words:
        """uint64[n] of Linux in the device's format."""
        fmt = self._fmt
        pfn = (words & np.uint64(LINUX.pfn_mask)) >> np.uint64(LINUX.pfn_shift)
        made = (pfn << np.uint64(fmt.pfn_shift)) | np.uint64(fmt.valid)
        made |= np.where((words & np.uint64(LINUX.write)) != 0, np.uint64(fmt.write), np.uint64(0))
        made |= np.where(self.memory.window.holds(pfn), np.uint64(fmt.device_private), np.uint64(0))
        valid = (words & np.uint64(LINUX.valid)) != 0
        return np.where(valid, made, np.uint64(self._none))

    def _notifier(self, context: DeviceContext) -> MmuIntervalNotifier:
        """The context's notifier, put in when it is needed first."""
        if context not in self._notifiers:
            self._notifiers[context] = MmuIntervalNotifier(0, LAST_BYTE, self._note)
            context.mm.intervals.insert(self._notifiers[context])
        return self._notifiers[context]

    async def _note(self, notifier: MmuIntervalNotifier, update: MmuNotifierRange, cur_seq: int) -> bool:
        """The range's words are not to be committed any more; the mirror takes the entries away."""
        if not update.blockable:
            return False
        async with self.lock:
            notifier.set_seq(cur_seq)
        return True
