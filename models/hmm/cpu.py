# SPDX-License-Identifier: Apache-2.0
"""Loads and stores of CPU threads: bytes through the page table, with faults as they come."""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.errors import CpuAccessError, Signal
from models.hmm.fault import FaultResult, handle_mm_fault
from models.hmm.memory_map import MemoryMap
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import Backing, Vma, VmFlags

SIGNALS = {
    FaultResult.SIGSEGV: Signal.SIGSEGV,
    FaultResult.SIGBUS: Signal.SIGBUS,
    FaultResult.HWPOISON: Signal.SIGBUS,
    FaultResult.OOM: Signal.SIGBUS,
}


async def cpu_read(mm: MemoryMap, va: int, length: int) -> bytes:
    """The bytes [va, va + length) as the CPU reads them, each page at one moment. Errors: CpuAccessError."""
    parts = []
    while length > 0:
        part = min(length, PAGE_BYTES - va % PAGE_BYTES)
        pfn = await _page_for(mm, va, write=False)
        offset = va % PAGE_BYTES
        parts.append(mm.frames.words(pfn).view(np.uint8)[offset : offset + part].tobytes())
        va, length = va + part, length - part
    return b"".join(parts)


async def cpu_write(mm: MemoryMap, va: int, data: bytes) -> None:
    """Write `data` to [va, va + len(data)) as the CPU does, each page at one moment. Errors: CpuAccessError."""
    while data:
        part = min(len(data), PAGE_BYTES - va % PAGE_BYTES)
        pfn = await _page_for(mm, va, write=True)
        offset = va % PAGE_BYTES
        content = mm.frames.words(pfn).copy()
        content.view(np.uint8)[offset : offset + part] = np.frombuffer(data[:part], dtype=np.uint8)
        mm.frames.pool_of(pfn).store(pfn, content)
        va, data = va + part, data[part:]


async def _page_for(mm: MemoryMap, va: int, *, write: bool) -> int:
    """The pfn to use right now, without any wait between this and the access."""
    needed = VmFlags.VM_WRITE if write else VmFlags.VM_READ
    while True:
        await mm.host.pause("cpu: access")
        pfn = _mapped(mm, va, write, needed)
        if pfn is not None:
            return pfn
        async with mm.mmap_lock.read():
            vma = mm.vmas.find(va)
            if vma is None or needed not in vma.flags:
                raise CpuAccessError(Signal.SIGSEGV, va)
            result = await handle_mm_fault(mm, vma, va, write=write)
        if result in SIGNALS:
            raise CpuAccessError(SIGNALS[result], va)


def _mapped(mm: MemoryMap, va: int, write: bool, needed: VmFlags) -> int | None:
    entry = mm.page_table.lookup(va)
    vma = mm.vmas.find(va)
    if vma is None or needed not in vma.flags:
        return None
    if VmFlags.VM_HUGETLB in vma.flags:
        first = va // vma.huge_bytes * vma.huge_bytes
        large = mm.page_table.large.get(first)
        if large is None or large.kind is not EntryKind.PRESENT or EntryFlags.PROTNONE in large.flags:
            return None
        return large.pfn + (va - first) // PAGE_BYTES if EntryFlags.WRITABLE in large.flags or not write else None
    if entry.kind is not EntryKind.PRESENT or EntryFlags.PROTNONE in entry.flags or (write and not entry.writable):
        return None
    if write:
        _note_write(mm, vma, va, entry.pfn)
    return entry.pfn


def _note_write(mm: MemoryMap, vma: Vma, va: int, pfn: int) -> None:
    """The processor marks the entry as written; a page of a file will have to be written back."""
    mm.page_table.mark_dirty(va)
    mm.frames.fills.pop(pfn, None)
    if vma.is_shared and vma.shared is not None and vma.shared.kind is Backing.FILE:
        vma.shared.dirty.add(vma.object_page(va))
