# SPDX-License-Identifier: Apache-2.0
"""System calls of an address space one by one: results, areas, bytes, errno names."""

from __future__ import annotations

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.formats import format_by_name
from models.hmm import (
    Advice,
    CpuAccessError,
    EntryFlags,
    EntryKind,
    HmmError,
    MapFlags,
    Prot,
    RemapFlags,
    VmFlags,
    cpu_read,
    cpu_write,
    fork,
    hmm_vma_range_done,
    memory_failure,
)
from models.physical_memory import Owner
from models.tests.hmm_bench import PLACE, HmmBench


def test_hmm_system_calls_shared_memory_is_shared() -> None:
    """Shared memory is the same for parent and child; it is freed with its last area.

    Stimulus: shared pages, forked; writes on both sides; one side unmaps, protects, drops and moves.
    Checking: bytes on the other side; pages in use.
    Covers: MM-SHARED, MM-REFERENCES.
    """
    bench = HmmBench()

    async def scenario() -> None:
        mm = bench.mm
        va = await mm.mmap(0, 3 * PAGE_BYTES, flags=MapFlags.MAP_SHARED | MapFlags.MAP_ANONYMOUS)
        await cpu_write(mm, va, b"parent")
        child = await fork(mm)
        await cpu_write(child, va + PAGE_BYTES, b"child")
        assert await cpu_read(child, va, 6) == b"parent"
        assert await cpu_read(mm, va + PAGE_BYTES, 5) == b"child"
        await mm.mprotect(va, PAGE_BYTES, Prot.PROT_READ)
        await cpu_write(child, va, b"again.")
        assert await cpu_read(mm, va, 6) == b"again."
        await mm.mprotect(va, PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE)
        assert mm.page_table.lookup(va).writable
        await mm.madvise(va, 3 * PAGE_BYTES, Advice.MADV_DONTNEED)
        assert await cpu_read(mm, va + PAGE_BYTES, 5) == b"child"
        await mm.munmap(va + PAGE_BYTES, PAGE_BYTES)
        moved = await mm.mremap(va, PAGE_BYTES, 2 * PAGE_BYTES, RemapFlags.MREMAP_MAYMOVE)
        await cpu_write(child, va, b"moved.")
        assert await cpu_read(mm, moved, 6) == b"moved."
        await mm.exit()
        assert bench.frames.system.pages_in_use() > 1
        await child.exit()
        assert bench.frames.system.pages_in_use() == 1

    bench.scheduler.run(scenario())


def test_hmm_system_calls_brk_and_mremap() -> None:
    """The heap grows and shrinks; a mapping grows in place, shrinks, or moves with its bytes.

    Stimulus: brk() up, down and into another mapping; mremap() of each kind, across 2 MiB, with huge pages.
    Checking: addresses, bytes, areas, errno names.
    Covers: MM-BRK, MM-MREMAP, HMM-ERRNO.
    """
    bench = HmmBench(1 << 25)
    mm = bench.mm

    async def scenario() -> None:
        heap = await mm.brk(0)
        assert await mm.brk(heap + 3 * PAGE_BYTES + 5) == heap + 3 * PAGE_BYTES + 5
        await cpu_write(mm, heap + 3 * PAGE_BYTES, b"top")
        assert await mm.brk(heap + PAGE_BYTES) == heap + PAGE_BYTES
        with pytest.raises(CpuAccessError):
            await cpu_read(mm, heap + PAGE_BYTES, 1)
        fixed = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
        await mm.mmap(heap + 4 * PAGE_BYTES, PAGE_BYTES, Prot.PROT_READ, fixed)
        assert await mm.brk(heap + 5 * PAGE_BYTES) == heap + PAGE_BYTES

        with pytest.raises(HmmError, match="EEXIST"):
            await mm.mmap(heap, PAGE_BYTES, flags=MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED_NOREPLACE)
        huge = 0x6000_0000
        await mm.mmap(huge, 4 << 20, flags=fixed)
        await mm.madvise(huge, 4 << 20, Advice.MADV_HUGEPAGE)
        await cpu_write(mm, huge + 5 * PAGE_BYTES, b"huge")
        assert mm.page_table.lookup(huge).huge
        aligned = await mm.mremap(huge, 4 << 20, 4 << 20, RemapFlags(3), 0x7000_0000)
        assert mm.page_table.lookup(aligned).huge
        assert mm.page_table.lookup(huge).hole
        odd = 0x9000_0000 + 3 * PAGE_BYTES
        assert await mm.mremap(aligned, 4 << 20, 5 << 20, RemapFlags(3), odd) == odd
        assert await cpu_read(mm, odd + 5 * PAGE_BYTES, 4) == b"huge"
        assert not mm.page_table.lookup(odd).huge
        with pytest.raises(HmmError, match="ENOMEM"):
            await mm.mmap(odd + (5 << 20), PAGE_BYTES, flags=fixed)
            await mm.mremap(odd, 5 << 20, 6 << 20)
        assert await mm.mremap(odd, 5 << 20, 2 << 20) == odd
        assert await mm.mremap(odd, 2 << 20, 3 << 20) == odd
        with pytest.raises(HmmError, match="EFAULT"):
            await mm.mremap(odd, 8 << 20, 9 << 20)
        with pytest.raises(HmmError, match="EINVAL"):
            await mm.mremap(odd, PAGE_BYTES, 0)

    bench.scheduler.run(scenario())


def test_hmm_system_calls_areas_split_and_merge() -> None:
    """Areas are cut where properties differ and become one again where they do not.

    Stimulus: mprotect() of the middle of an area and back; mmap() beside an equal area.
    Checking: number and bounds of areas; what may never be written.
    Covers: MM-AREAS, HMM-ERRNO.
    """
    bench = HmmBench()
    mm = bench.mm
    fixed = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED

    async def scenario() -> None:
        await mm.mmap(PLACE, 6 * PAGE_BYTES, flags=fixed)
        await mm.mmap(PLACE + 6 * PAGE_BYTES, 2 * PAGE_BYTES, flags=fixed)
        assert [(vma.start, vma.end) for vma in mm.vmas] == [(PLACE, PLACE + 8 * PAGE_BYTES)]
        await mm.mprotect(PLACE + 2 * PAGE_BYTES, PAGE_BYTES, Prot.PROT_READ)
        assert [(vma.end - vma.start) // PAGE_BYTES for vma in mm.vmas] == [2, 1, 5]
        await mm.mprotect(PLACE + 2 * PAGE_BYTES, PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE)
        assert len(mm.vmas) == 1
        await mm.mmap(PLACE, PAGE_BYTES, Prot.PROT_READ, fixed, may_write=False)
        with pytest.raises(HmmError, match="EACCES"):
            await mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE)
        with pytest.raises(HmmError, match="EACCES"):
            await mm.mmap(PLACE, PAGE_BYTES, Prot.PROT_WRITE, fixed, may_write=False)
        assert not mm.vmas.overlapping(0, PLACE)
        assert VmFlags.VM_MAYWRITE not in bench.vma(PLACE).flags
        for length, flags in ((0, fixed), (PAGE_BYTES, MapFlags.MAP_FIXED), (PAGE_BYTES, MapFlags(3))):
            with pytest.raises(HmmError, match="EINVAL"):
                await mm.mmap(PLACE, length, flags=flags)
        with pytest.raises(HmmError, match="EINVAL"):
            await mm.munmap(PLACE + 1, PAGE_BYTES)
        with pytest.raises(HmmError, match="ENOMEM"):
            await mm.mmap(0, 1 << 47)

    bench.scheduler.run(scenario())


def test_hmm_system_calls_huge_pages() -> None:
    """A 2 MiB page is written as one, split by what changes only a part of it, and copied page by page after a fork.

    Stimulus: huge pages; mprotect of a part; fork and writes; the huge zero page; no memory for another huge page.
    Checking: huge or not, bytes on both sides, writability, references.
    Covers: MM-HUGE, HMM-COW.
    """
    bench = HmmBench(12 << 20)
    mm = bench.mm

    async def scenario() -> None:
        fixed = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
        await mm.mmap(PLACE, 4 << 20, flags=fixed)
        await mm.madvise(PLACE, 4 << 20, Advice.MADV_HUGEPAGE)
        await cpu_read(mm, PLACE, 1)
        assert EntryFlags.SPECIAL in mm.page_table.lookup(PLACE).flags
        await cpu_write(mm, PLACE + PAGE_BYTES, b"one")
        entry = mm.page_table.lookup(PLACE)
        assert entry.huge and entry.writable and entry.kind is EntryKind.PRESENT
        await mm.mprotect(PLACE + PAGE_BYTES, PAGE_BYTES, Prot.PROT_READ)
        assert not mm.page_table.lookup(PLACE).huge
        assert mm.page_table.lookup(PLACE).writable
        assert not mm.page_table.lookup(PLACE + PAGE_BYTES).writable

        await cpu_write(mm, PLACE + (2 << 20), b"second")
        child = await fork(mm)
        assert child.page_table.lookup(PLACE + (2 << 20)).huge
        await cpu_write(child, PLACE + (2 << 20), b"SEC")
        assert not child.page_table.lookup(PLACE + (2 << 20)).huge
        assert mm.page_table.lookup(PLACE + (2 << 20)).huge
        assert await cpu_read(mm, PLACE + (2 << 20), 6) == b"second"
        assert await cpu_read(child, PLACE + (2 << 20), 6) == b"SECond"
        await child.exit()
        await mm.exit()

    bench.scheduler.run(scenario())


def test_hmm_system_calls_lost_page_of_shared_memory() -> None:
    """A lost page of shared memory is lost for everybody, also for who maps it later; a private one until unmapped.

    Stimulus: a shared page mapped by two spaces is lost; accesses; the private page's place is mapped anew.
    Checking: SIGBUS in both; entries become poison in both; zeros in the new page; it is never handed out again.
    Covers: MM-POISON, MM-SHARED.
    """
    bench = HmmBench()

    async def scenario() -> None:
        mm = bench.mm
        shared = await mm.mmap(0, PAGE_BYTES, flags=MapFlags.MAP_SHARED)
        private = await mm.mmap(0, PAGE_BYTES)
        await cpu_write(mm, shared, b"s")
        await cpu_write(mm, private, b"p")
        child = await fork(mm)
        await cpu_read(child, shared, 1)
        lost = [mm.page_table.lookup(va).pfn for va in (shared, private)]
        assert [await memory_failure(bench.frames, pfn) for pfn in lost] == [2, 2]
        for space in (mm, child):
            for va in (shared, private):
                assert space.page_table.lookup(va).kind is EntryKind.HWPOISON
                with pytest.raises(CpuAccessError, match="SIGBUS"):
                    await cpu_read(space, va, 1)
            await space.madvise(shared, PAGE_BYTES, Advice.MADV_DONTNEED)
            with pytest.raises(CpuAccessError, match="SIGBUS"):
                await cpu_write(space, shared, b"x")
            await space.madvise(private, PAGE_BYTES, Advice.MADV_DONTNEED)
            assert await cpu_read(space, private, 1) == bytes(1)
            await cpu_write(space, private, b"n")
        await child.exit()
        await mm.exit()
        assert bench.frames.system.pages_in_use() == 1
        taken = {bench.frames.system.allocate() for _ in range(511 - len(lost))}
        assert not taken & set(lost)

    bench.scheduler.run(scenario())


def test_hmm_system_calls_millions_of_pages() -> None:
    """Calls on huge ranges cost what is mapped in them.

    Stimulus: 64 TiB mapped, three pages written; look at 4 GiB of it; protect, fork, drop and unmap all of it.
    Checking: entries found, bytes in the child; page tables gone.
    Covers: MM-LARGE.
    """
    bench = HmmBench()
    mm = bench.mm

    async def scenario() -> None:
        await bench.begin()
        size, gibibyte = 64 << 40, 1 << 30
        start = await mm.mmap(0, size)
        start_of_look = -(-(start + (5 << 40)) // gibibyte) * gibibyte
        written = [start_of_look + offset for offset in (0, gibibyte, 4 * gibibyte - PAGE_BYTES)]
        for va in written:
            await cpu_write(mm, va, b"here")
        look = bench.range(format_by_name("hmm_2018_flags"), start_of_look, 4 * gibibyte // PAGE_BYTES)
        await bench.snapshot(look)
        found = np.flatnonzero(look.pfns != look.words().none)
        assert [start_of_look + int(place) * PAGE_BYTES for place in found] == written
        assert hmm_vma_range_done(look)
        await mm.mprotect(start, size, Prot.PROT_READ)
        child = await fork(mm)
        await mm.madvise(start, size, Advice.MADV_DONTNEED)
        await mm.munmap(start, size)
        assert [await cpu_read(child, va, 4) for va in written] == [b"here"] * 3
        assert not mm.page_table.mapped_spans(0, 1 << 47)

    bench.scheduler.run(scenario())


@pytest.mark.parametrize("pages", [1, 512])
def test_hmm_system_calls_write_to_page_nobody_shares(pages: int) -> None:
    """A page that was shared is written in place once nobody shares it any more, and no mirror is told.

    Stimulus: a page (of 4 KiB, of 2 MiB) forked; the child ends; a write, then again while a child lives.
    Checking: the same page, writable, no invalidation; then another page, with one.
    Covers: HMM-COW, HMM-NOTIFIER-ORDER.
    """
    bench = HmmBench()
    mm = bench.mm

    async def scenario() -> None:
        await bench.begin()
        await mm.mmap(PLACE, pages * PAGE_BYTES, flags=MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED)
        await mm.madvise(PLACE, pages * PAGE_BYTES, Advice.MADV_HUGEPAGE)
        await cpu_write(mm, PLACE, b"data")
        before = mm.page_table.lookup(PLACE)
        assert before.huge == (pages == 512)
        await (await fork(mm)).exit()
        assert not mm.page_table.lookup(PLACE).writable
        bench.mirror.updates.clear()
        await cpu_write(mm, PLACE, b"more")
        assert mm.page_table.lookup(PLACE) == before
        assert not bench.mirror.updates
        child = await fork(mm)
        bench.mirror.updates.clear()
        await cpu_write(mm, PLACE, b"else")
        assert mm.page_table.lookup(PLACE).pfn != before.pfn
        assert [(update.start, update.end) for update in bench.mirror.updates][-1] == (PLACE, PLACE + PAGE_BYTES)
        assert await cpu_read(child, PLACE, 4) == b"more"

    bench.scheduler.run(scenario())


def test_hmm_system_calls_owner_of_pages() -> None:
    """Memory that holds a page belongs to DATA as long as somebody maps it, and to nobody afterwards.

    Stimulus: a page written and unmapped; a page in device memory; a huge page.
    Checking: the owner map of both memories, up to the last word of a page and not behind it.
    Covers: OWNER, MM-REFERENCES.
    """
    bench = HmmBench()
    mm = bench.mm

    async def scenario() -> None:
        va = await mm.mmap(0, PAGE_BYTES)
        await cpu_write(mm, va, b"x")
        address = mm.page_table.lookup(va).pfn * PAGE_BYTES
        memory, device_memory = bench.frames.system.memory, bench.pagemap.pool.memory
        last = PAGE_BYTES - 8
        assert memory.owner_of(address) is memory.owner_of(address + last) is Owner.DATA
        assert memory.owner_of(address + PAGE_BYTES) is Owner.NONE
        huge = bench.frames.system.address(bench.frames.allocate_huge())
        assert memory.owner_of(huge) is memory.owner_of(huge + (2 << 20) - 8) is Owner.DATA
        await bench.to_device(va, va + PAGE_BYTES)
        assert memory.owner_of(address) is memory.owner_of(address + last) is Owner.NONE
        offset = bench.pagemap.pool.address(mm.page_table.lookup(va).pfn)
        assert device_memory.owner_of(offset) is Owner.DATA
        await mm.munmap(va, PAGE_BYTES)
        assert device_memory.owner_of(offset) is Owner.NONE
        assert memory.owner_of(0) is Owner.NONE
        assert mm.frames.zero_pfn != 0

    bench.scheduler.run(scenario())


@pytest.mark.parametrize("sharing", [MapFlags.MAP_PRIVATE, MapFlags.MAP_SHARED])
def test_hmm_system_calls_bytes_come_back_from_swap(sharing: MapFlags) -> None:
    """What goes to swap comes back with its bytes, to each who has it.

    Stimulus: written pages are paged out, read; paged out, forked, written by the child, read by both.
    Checking: bytes on both sides.
    Covers: MM-SWAP.
    """
    bench = HmmBench()

    async def scenario() -> None:
        mm = bench.mm
        va = await mm.mmap(0, 3 * PAGE_BYTES, flags=sharing | MapFlags.MAP_ANONYMOUS)
        await cpu_write(mm, va + PAGE_BYTES, b"stays")
        await mm.madvise(va, 3 * PAGE_BYTES, Advice.MADV_PAGEOUT)
        assert mm.page_table.lookup(va + PAGE_BYTES).kind is not EntryKind.PRESENT
        assert await cpu_read(mm, va + PAGE_BYTES, 5) == b"stays"
        await mm.madvise(va, 3 * PAGE_BYTES, Advice.MADV_PAGEOUT)
        child = await fork(mm)
        await cpu_write(child, va + PAGE_BYTES, b"child")
        expected = b"child" if sharing is MapFlags.MAP_SHARED else b"stays"
        assert await cpu_read(mm, va + PAGE_BYTES, 5) == expected
        assert await cpu_read(child, va + PAGE_BYTES, 5) == b"child"
        assert await cpu_read(mm, va, 5) == bytes(5)

    bench.scheduler.run(scenario())
