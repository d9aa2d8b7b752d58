# SPDX-License-Identifier: Apache-2.0
"""The calls of 2018: hmm_vma_get_pfns(), hmm_vma_fault(), hmm_vma_range_done() (mm/hmm.c of Linux 4.17).

They keep the documented contract, not the early defects: a fault result is looked up again, an entry is judged by its
own request before it is overwritten, `block` has its documented effect, a write fault where writing is not allowed
ends with EPERM, an invalidated range keeps its words. Source: docs/host.md, "Asking HMM".
"""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.call_record import WatchedLook, effective_requests, record_call
from models.hmm.dialect import CALLS_OF_2018
from models.hmm.errors import HmmError
from models.hmm.look import Viewer
from models.hmm.mirror import Hmm
from models.hmm.page_walk import PageWalk
from models.hmm.range import HmmRange, Requests
from models.hmm.vma import VmFlags


async def hmm_vma_get_pfns(hmm_range: HmmRange) -> None:
    """Write what the CPU's page table says now into range.pfns; nothing is faulted. The mmap lock is held for reading.

    Afterwards the range is tracked, and the caller must call hmm_vma_range_done() exactly once.
    Errors: HmmError EINVAL (range not inside one area, no mirror; a special or hugetlb area: all entries SPECIAL),
    EPERM (the area may not be read: all entries NONE). Then the range is not tracked.
    """
    hmm, viewer = _begin(hmm_range)
    walk = PageWalk(hmm.mm, hmm_range.start, hmm_range.pfns, viewer, fault=False)
    await WatchedLook(hmm.mm, walk, hmm_range.start, hmm_range.end)
    if hmm_range.valid:
        nothing = np.zeros(hmm_range.pages, dtype=np.bool_)
        record_call(hmm.mm, hmm_range.start, Requests(nothing, nothing, nothing), viewer.words, hmm_range.pfns)


async def hmm_vma_fault(hmm_range: HmmRange, block: bool) -> None:
    """Make every requested page present, and writable where that was asked, and write what the page table says then.

    The mmap lock is held for reading. An entry with VALID on the way in asks for the page, VALID and WRITE for a
    writable page, DEVICE_PRIVATE besides for its return from device memory; any other entry asks for nothing, but
    shows the page table's state afterwards too. From the first page that must be faulted on, all pages up to the end of
    its 2 MiB (and of the range) are faulted alike. With `block` False it never waits for others.
    Afterwards the range is tracked as after hmm_vma_get_pfns().
    Errors: as hmm_vma_get_pfns(); EFAULT (a page cannot be had: its entry is ERROR), EPERM (a write fault in an area
    that may not be written), ENOMEM, EBUSY (it would have had to wait: the mmap lock was dropped). Then the range is
    not tracked, and entries that are not final are NONE.
    """
    hmm, viewer = _begin(hmm_range)
    await hmm.mm.host.pause("hmm: range tracked")
    walk = PageWalk(hmm.mm, hmm_range.start, hmm_range.pfns, viewer, fault=True, block=block)
    asked = effective_requests(hmm.mm, hmm_range.start, viewer.words.requests(hmm_range.pfns))
    try:
        await walk.run()
    except HmmError as error:
        hmm_range.pfns[walk.done :] = viewer.words.none
        if error.errno == "EFAULT" and error.va is not None:
            hmm_range.pfns[(error.va - hmm_range.start) // PAGE_BYTES] = viewer.words.error
        hmm.untrack(hmm_range)
        raise
    if hmm_range.valid:
        record_call(hmm.mm, hmm_range.start, asked, viewer.words, hmm_range.pfns)


def hmm_vma_range_done(hmm_range: HmmRange) -> bool:
    """Stop tracking; returns True if nothing in the range was invalidated since the call: then its words may be used.

    Call it under the lock that the driver's invalidation callback takes. Errors: UserError if the range is not tracked.
    """
    hmm = hmm_range.vma.mm.hmm
    assert hmm is not None
    return hmm.untrack(hmm_range)


def _begin(hmm_range: HmmRange) -> tuple[Hmm, Viewer]:
    """Check the range, and track it."""
    words = hmm_range.words()
    mm, vma = hmm_range.vma.mm, hmm_range.vma
    if not mm.mmap_lock.read_held:
        raise RuntimeError("hold the mmap lock for reading while you ask HMM")
    inside = hmm_range.start < hmm_range.end and vma.contains(hmm_range.start, hmm_range.end)
    if not inside or hmm_range.start % PAGE_BYTES or hmm_range.end % PAGE_BYTES:
        raise HmmError("EINVAL", "the range is not inside one area")
    if hmm_range.pfns.size != hmm_range.pages:
        raise HmmError("EINVAL", "pfns has another length than the range")
    if mm.hmm is None or not mm.hmm.mirrors:
        raise HmmError("EINVAL", "no mirror is registered")
    if vma.special or VmFlags.VM_HUGETLB in vma.flags:
        hmm_range.pfns[:] = words.special
        raise HmmError("EINVAL", "the area is special")
    if VmFlags.VM_READ not in vma.flags:
        hmm_range.pfns[:] = words.none
        raise HmmError("EPERM", "the area may not be read")
    mm.hmm.track(hmm_range)
    return mm.hmm, Viewer(words, CALLS_OF_2018, mm.frames.zero_pfn)
