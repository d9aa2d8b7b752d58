# SPDX-License-Identifier: Apache-2.0
"""The present call: hmm_range_fault() as since Linux 5.8, with the kernel's own entry format.

Source: docs/host.md, "Asking HMM"; mm/hmm.c and include/linux/hmm.h of Linux 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.arrays import PAGE_BYTES, Words
from models.errors import UserError
from models.formats import EntryFormat
from models.hmm.call_record import WatchedLook, effective_requests, record_call
from models.hmm.dialect import PRESENT_CALL
from models.hmm.errors import HmmError
from models.hmm.frames import DevicePagemap
from models.hmm.look import Viewer
from models.hmm.memory_map import MemoryMap
from models.hmm.notifiers import MmuIntervalNotifier
from models.hmm.page_walk import PageWalk
from models.hmm.range import EntryWords

WORD_BITS = 64


@dataclass(eq=False)
class NotifiedRange:
    """struct hmm_range of the present call; the fields keep the kernel's names.

    `hmm_pfns` uint64[pages]: requests on the way in (VALID: the page; VALID and WRITE: a writable page), of which
    only the bits in `pfn_flags_mask` count; `default_flags` are asked for every page. Results on the way out. `fmt`:
    the kernel's format. `dev_private_owner`: the device memory whose pages are to be shown; others are brought back.
    """

    notifier: MmuIntervalNotifier
    notifier_seq: int
    start: int
    end: int
    hmm_pfns: Words
    fmt: EntryFormat
    default_flags: int = 0
    pfn_flags_mask: int = 0
    dev_private_owner: DevicePagemap | None = None

    def words(self) -> EntryWords:
        """The format's words. Bits that are neither flags of HMM nor pfn nor order belong to the driver, and stay."""
        known = self.fmt.valid | self.fmt.write | self.fmt.error
        orders = ((1 << self.fmt.order_width) - 1) << self.fmt.order_shift
        return EntryWords(
            valid=self.fmt.valid,
            write=self.fmt.write,
            device_private=0,
            error=self.fmt.error,
            none=0,
            special=self.fmt.error,
            marks_are_values=True,
            pfn_shift=self.fmt.pfn_shift,
            order_shift=self.fmt.order_shift,
            default_flags=self.default_flags,
            pfn_flags_mask=self.pfn_flags_mask,
            marks_ask=True,
            sticky=((1 << WORD_BITS) - 1) ^ self.fmt.pfn_mask ^ (known | orders),
        )


async def hmm_range_fault(mm: MemoryMap, hmm_range: NotifiedRange) -> None:
    """Make every requested page present, and writable where that was asked, and write what the page table says then.

    The mmap lock is held for reading. The range may hold gaps and areas of any kind: ERROR, if nobody asks for them.
    Errors: HmmError EINVAL (an empty range), EBUSY (the range was invalidated since `notifier_seq` was read, maybe by a
    fault of this very call), EPERM (a write where the area may not be written), EFAULT (a page cannot be had), ENOMEM.
    Then entries before the page where it arose are results, from there on they are as they came: give the requests
    anew before another try. UserError if the array does not fit the range.
    """
    if hmm_range.start % PAGE_BYTES or hmm_range.end % PAGE_BYTES:
        raise UserError("Give hmm_range_fault() a range of whole pages.")
    if hmm_range.start >= hmm_range.end:
        raise HmmError("EINVAL", "the range is empty")
    if hmm_range.hmm_pfns.size * PAGE_BYTES != hmm_range.end - hmm_range.start:
        raise UserError("Give hmm_range_fault() one entry for each page of the range.")
    if not mm.mmap_lock.read_held:
        raise RuntimeError("hold the mmap lock for reading while you ask HMM")

    def still_good() -> None:
        if mm.intervals.read_retry(hmm_range.notifier, hmm_range.notifier_seq):
            raise HmmError("EBUSY", "the range was invalidated since the sequence was read")

    own = hmm_range.dev_private_owner.window if hmm_range.dev_private_owner is not None else None
    viewer = Viewer(hmm_range.words(), PRESENT_CALL, mm.frames.zero_pfn, own, mm.rules.foreign_memory_faults)
    asked = effective_requests(mm, hmm_range.start, viewer.words.requests(hmm_range.hmm_pfns))
    walk = PageWalk(mm, hmm_range.start, hmm_range.hmm_pfns, viewer, fault=True, still_good=still_good)
    if asked.fault.any():
        await walk.run()
    else:
        await WatchedLook(mm, walk, hmm_range.start, hmm_range.end)
    if not mm.intervals.read_retry(hmm_range.notifier, hmm_range.notifier_seq):
        record_call(mm, hmm_range.start, asked, viewer.words, hmm_range.hmm_pfns)
