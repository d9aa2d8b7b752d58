# SPDX-License-Identifier: Apache-2.0
"""Scenarios of the kernel's test of HMM: what hmm_range_fault() shows without faulting anything.

A page's protection is told by one byte as in the kernel's test driver: what may be done, how large the CPU's entry is,
and where the page lies. Source: the names and what they show, lib/test_hmm_uapi.h and
tools/testing/selftests/mm/hmm-tests.c of Linux; nothing of their text.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np

from models.arrays import PAGE_BYTES
from models.formats import format_by_name
from models.hmm import DevicePagemap, EntryKind, HmmError, MemoryMap, MmuNotifierRange, Prot
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.notifiers import MmuIntervalNotifier
from models.hmm.range_fault import NotifiedRange, hmm_range_fault
from models.tests.hmm_tests.anonymous import hugetlb_area
from models.tests.hmm_tests.machine import PLACE, Machine, at, cpu_load, cpu_store

LINUX = format_by_name("linux_5_8")
HUGE_ORDER = 9


class Protection(IntFlag):
    """One byte for each page (HMM_DMIRROR_PROT_*)."""

    NONE = 0
    READ = 0x01
    WRITE = 0x02
    PMD = 0x04
    ZERO = 0x10
    DEV_PRIVATE_LOCAL = 0x20
    DEV_PRIVATE_REMOTE = 0x30
    ERROR = 0xFF


async def _note(notifier: MmuIntervalNotifier, update: MmuNotifierRange, cur_seq: int) -> bool:
    notifier.set_seq(cur_seq)
    return True


async def snapshot(mm: MemoryMap, start: int, pages: int, own: DevicePagemap | None) -> list[Protection]:
    """What each page is, for the device with the memory `own`; under an interval notifier of its own."""
    end = start + pages * PAGE_BYTES
    notifier = MmuIntervalNotifier(start, end, _note)
    mm.intervals.insert(notifier)
    words = np.zeros(pages, dtype=np.uint64)
    while True:
        seq = await mm.intervals.read_begin(notifier)
        asked = NotifiedRange(notifier, seq, start, end, words, LINUX, dev_private_owner=own)
        async with mm.mmap_lock.read():
            try:
                await hmm_range_fault(mm, asked)
            except HmmError as error:
                assert error.errno == "EBUSY", error
                continue
        if not mm.intervals.read_retry(notifier, seq):
            break
    await mm.intervals.remove(notifier)
    return [_protection(mm, int(word), own) for word in words]


def _protection(mm: MemoryMap, word: int, own: DevicePagemap | None) -> Protection:
    """The byte of an entry (dmirror_mkentry())."""
    if word & LINUX.error:
        return Protection.ERROR
    if not word & LINUX.valid:
        return Protection.NONE
    pfn = (word & LINUX.pfn_mask) >> LINUX.pfn_shift
    pagemap = mm.frames.pagemap_of(pfn)
    found = Protection.WRITE if word & LINUX.write else Protection.READ
    if pagemap is not None:
        found |= Protection.DEV_PRIVATE_LOCAL if pagemap is own else Protection.DEV_PRIVATE_REMOTE
    elif pfn == mm.frames.zero_pfn:
        found |= Protection.ZERO
    if (word >> LINUX.order_shift) & ((1 << LINUX.order_width) - 1) == HUGE_ORDER:
        found |= Protection.PMD
    return found


async def snapshot_of_all_kinds(machine: Machine) -> None:
    """Seven pages: forbidden, not there, zeros, read-only, writable, on the device, on another device."""
    mm = await machine.buffer(7)
    await mm.mprotect(at(0), PAGE_BYTES, Prot.PROT_NONE)
    await mm.munmap(at(1), PAGE_BYTES)
    assert await cpu_load(mm, at(2)) == 0
    for page in (3, 4, 5, 6):
        await cpu_store(mm, at(page), page)
    await mm.mprotect(at(3), PAGE_BYTES, Prot.PROT_READ)
    assert await machine.to_device(mm, at(5), 1) == 1
    assert await machine.to_device(mm, at(6), 1, machine.other) == 1
    own = machine.driver.memory.pagemap
    assert await snapshot(mm, PLACE, 7, own) == [
        Protection.ERROR,
        Protection.ERROR,
        Protection.ZERO | Protection.READ,
        Protection.READ,
        Protection.WRITE,
        Protection.DEV_PRIVATE_LOCAL | Protection.WRITE,
        Protection.NONE,
    ]
    # Nothing was brought back, and the device finds what the pages hold.
    assert mm.page_table.count(EntryKind.DEVICE_PRIVATE) == 2
    for page in (3, 4, 5, 6):
        assert await machine.device.read(1, at(page)) == page


async def compound(machine: Machine) -> None:
    """A page of hugetlb memory shows its size at every place in it, writable and after mprotect()."""
    mm = await machine.space()
    hugetlb_area(mm)
    await cpu_store(mm, PLACE, 1)
    assert await snapshot(mm, PLACE, HUGE_PAGES, None) == [Protection.WRITE | Protection.PMD] * HUGE_PAGES
    await mm.mprotect(PLACE, HUGE_BYTES, Prot.PROT_READ)
    assert await snapshot(mm, PLACE, HUGE_PAGES, None) == [Protection.READ | Protection.PMD] * HUGE_PAGES


async def mixedmap(machine: Machine) -> None:
    """An ordinary page that a driver put into an area of its own is shown."""
    mm = await machine.space()
    page = mm.frames.system.allocate()
    await mm.map_pfns(PLACE, PAGE_BYTES, page, Prot.PROT_READ, mixed=True)
    mm.page_table.set(PLACE, EntryKind.PRESENT, page)
    assert await snapshot(mm, PLACE, 1, None) == [Protection.READ]
