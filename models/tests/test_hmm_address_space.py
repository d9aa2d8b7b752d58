# SPDX-License-Identifier: Apache-2.0
"""Address spaces under random system calls: bytes against a plain dictionary, and at every single step what a mirror
may rely on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.hmm import (
    Advice,
    CpuAccessError,
    EntryFlags,
    EntryKind,
    HmmError,
    MapFlags,
    MemoryMap,
    MmuNotifierRange,
    Prot,
    RemapFlags,
    cpu_read,
    cpu_write,
    fork,
    hmm_mirror_register,
)
from models.hmm.page_table import holds_reference
from models.hmm.vma import SharedObject
from models.tests.hmm_bench import PLACE, HmmBench

PAGES = 24
SPREAD = 1 << 20
"""Distance between the pages that are used, so that they lie in several page-table pages."""


class FollowingMirror:
    """Mirrors everything it sees, and forgets only what it is told to: what it has must stay true."""

    def __init__(self, mm: MemoryMap) -> None:
        self.mm = mm
        self.seen: dict[int, tuple[int, bool]] = {}

    async def sync_cpu_device_pagetables(self, update: MmuNotifierRange) -> None:
        """Forget, slowly."""
        await self.mm.host.pause("mirror: forget")
        self.seen = {va: entry for va, entry in self.seen.items() if not update.overlaps(va, va + PAGE_BYTES)}

    async def release(self) -> None:
        """Forget everything."""
        self.seen.clear()

    def look(self) -> None:
        """Take over the page table where no invalidation is open."""
        for span in self.mm.page_table.mapped_spans(0, 1 << 47):
            assert span.table is not None
            for index in np.flatnonzero(np.isin(span.table.kind, (EntryKind.PRESENT, EntryKind.DEVICE_PRIVATE))):
                va = span.start + int(index) * PAGE_BYTES
                if not any(update.overlaps(va, va + PAGE_BYTES) for update in self.mm.open_invalidations):
                    writable = bool(span.table.flags[index] & EntryFlags.WRITABLE)
                    self.seen[va] = int(span.table.pfn[index]), writable

    def check(self) -> None:
        """What was seen and not invalidated is still so, and the pages are still held."""
        for va, (pfn, writable) in self.seen.items():
            entry = self.mm.page_table.lookup(va)
            assert entry.pfn == pfn, f"{va:#x} changed its page without an invalidation"
            assert entry.kind in (EntryKind.PRESENT, EntryKind.DEVICE_PRIVATE)
            assert entry.writable or not writable, f"{va:#x} lost its write permission without an invalidation"
            assert self.mm.frames.references(pfn) > 0, f"the page of {va:#x} was freed without an invalidation"


def check_references(bench: HmmBench) -> None:
    """Every page has as many references as entries and shared objects hold (when nobody is in the middle of a call)."""
    held: Counter[int] = Counter([bench.frames.zero_pfn])
    objects: dict[int, SharedObject] = {}
    for mm in bench.frames.spaces:
        for span in mm.page_table.mapped_spans(0, 1 << 47):
            assert span.table is not None
            counted = holds_reference(span.table.kind[span.part], span.table.flags[span.part])
            held.update(int(pfn) for pfn in span.table.pfn[span.part][counted])
        for vma in mm.vmas:
            if vma.shared is not None:
                objects[id(vma.shared)] = vma.shared
    for shared in objects.values():
        held.update(shared.pages.values())
    if bench.frames._huge_zero_pfn is not None:
        held.update(range(bench.frames._huge_zero_pfn, bench.frames._huge_zero_pfn + 512))
    for pfn, count in held.items():
        assert bench.frames.references(pfn) == count, f"page {pfn:#x}"
    pools = (bench.frames.system, bench.pagemap.pool)
    assert sum(pool.pages_in_use() for pool in pools) == len(held)


class Process:
    """One address space and what it should hold: for each page its last first byte, and what is allowed."""

    def __init__(self, mm: MemoryMap, mirror: FollowingMirror) -> None:
        self.mm = mm
        self.mirror = mirror
        self.bytes: dict[int, int] = {}
        self.prot: dict[int, Prot] = {}


class RandomCalls:
    """Draws system calls and CPU accesses, and keeps the books."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.bench = HmmBench(1 << 25)
        self.processes: list[Process] = []

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run one call step by step, every mirror looking and checking after each step."""
        task = self.bench.scheduler.start(coroutine)
        while not task.done:
            assert not task.blocked
            self.bench.scheduler.step(task)
            for process in self.processes:
                process.mirror.check()
                process.mirror.look()
        return task.result

    def add(self, mm: MemoryMap) -> Process:
        """A process with a mirror of its own."""
        process = Process(mm, FollowingMirror(mm))
        self.run(hmm_mirror_register(process.mirror, mm))
        self.processes.append(process)
        return process

    def place(self) -> int:
        """The address of one of the pages that are used."""
        return PLACE + int(self.rng.integers(PAGES)) * SPREAD // PAGE_BYTES * PAGE_BYTES

    def step(self) -> None:
        """One drawn call of one drawn process."""
        process = self.processes[int(self.rng.integers(len(self.processes)))]
        calls = [
            self.map,
            self.map,
            self.unmap,
            self.protect,
            self.write,
            self.write,
            self.write,
            self.read,
            self.read,
            self.drop,
            self.move,
            self.to_device,
            self.to_device,
            self.fork,
            self.end,
        ]
        calls[int(self.rng.integers(len(calls)))](process)

    def map(self, process: Process) -> None:
        """Map a page, maybe over another one."""
        va = self.place()
        flags = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
        self.run(process.mm.mmap(va, PAGE_BYTES, flags=flags))
        process.bytes[va], process.prot[va] = 0, Prot.PROT_READ | Prot.PROT_WRITE

    def unmap(self, process: Process) -> None:
        """Unmap everything from one page to another."""
        start, end = sorted((self.place(), self.place()))
        self.run(process.mm.munmap(start, end + PAGE_BYTES - start))
        for va in [va for va in process.bytes if start <= va <= end]:
            del process.bytes[va], process.prot[va]

    def protect(self, process: Process) -> None:
        """Change the protection of a page."""
        va = self.place()
        prot = (Prot.PROT_NONE, Prot.PROT_READ, Prot.PROT_READ | Prot.PROT_WRITE)[int(self.rng.integers(3))]
        if va in process.bytes:
            self.run(process.mm.mprotect(va, PAGE_BYTES, prot))
            process.prot[va] = prot
        else:
            with pytest.raises(HmmError, match="ENOMEM"):
                self.run(process.mm.mprotect(va, PAGE_BYTES, prot))

    def write(self, process: Process) -> None:
        """Write a byte, or be refused."""
        va, value = self.place(), int(self.rng.integers(256))
        if Prot.PROT_WRITE in process.prot.get(va, Prot.PROT_NONE):
            self.run(cpu_write(process.mm, va, bytes([value])))
            process.bytes[va] = value
        else:
            with pytest.raises(CpuAccessError, match="SIGSEGV"):
                self.run(cpu_write(process.mm, va, bytes([value])))

    def read(self, process: Process) -> None:
        """Read a byte, or be refused."""
        va = self.place()
        if Prot.PROT_READ in process.prot.get(va, Prot.PROT_NONE):
            assert self.run(cpu_read(process.mm, va, 1))[0] == process.bytes[va]
        else:
            with pytest.raises(CpuAccessError, match="SIGSEGV"):
                self.run(cpu_read(process.mm, va, 1))

    def drop(self, process: Process) -> None:
        """Give a page back: it reads as zeros again."""
        va = self.place()
        if va in process.bytes:
            self.run(process.mm.madvise(va, PAGE_BYTES, Advice.MADV_DONTNEED))
            process.bytes[va] = 0

    def move(self, process: Process) -> None:
        """Move a page over another place."""
        old, new = self.place(), self.place()
        if old in process.bytes and old != new:
            flags = RemapFlags.MREMAP_MAYMOVE | RemapFlags.MREMAP_FIXED
            assert self.run(process.mm.mremap(old, PAGE_BYTES, PAGE_BYTES, flags, new)) == new
            process.bytes[new], process.prot[new] = process.bytes.pop(old), process.prot.pop(old)

    def to_device(self, process: Process) -> None:
        """Move some pages to device memory; the CPU brings them back when it needs them."""
        va = self.place()
        vma = process.mm.vmas.find(va)
        if vma is not None:
            self.run(self.bench.to_device(va, vma.end, process.mm))

    def fork(self, process: Process) -> None:
        """A child with the same bytes."""
        if len(self.processes) < 4:
            child = self.add(self.run(fork(process.mm)))
            child.bytes, child.prot = dict(process.bytes), dict(process.prot)

    def end(self, process: Process) -> None:
        """End a process, if it is not the last."""
        if len(self.processes) > 1:
            self.processes.remove(process)
            self.run(process.mm.exit())


@pytest.mark.parametrize("case", range(10))
def test_hmm_address_space_random_calls(case: int, seed: int) -> None:
    """Any sequence of calls leaves the right bytes, and a mirror that forgets only what it is told stays right.

    Stimulus: 300 drawn calls of up to four processes that fork from each other, pages over many 2 MiB, some of them
        in device memory at times.
    Checking: bytes and refusals by a dictionary; after every step the mirrors' entries against the page tables; page
    references by counting; at the end all pages are free.
    Covers: MM-BYTES, HMM-NOTIFIER-ORDER, MM-REFERENCES, I4.
    """
    calls = RandomCalls(seed * 100 + case)
    calls.add(calls.bench.mm)
    for _ in range(300):
        calls.step()
        check_references(calls.bench)
    for process in list(calls.processes):
        calls.processes.remove(process)
        calls.run(process.mm.exit())
    assert calls.bench.frames.system.pages_in_use() == 1


def test_hmm_address_space_cpu_accesses_across_pages() -> None:
    """
    Stimulus: the CPU writes from the middle of a page to that of the next but one, and reads other parts of that.
    Checking: the bytes read, and those in each page, whose neighbours in memory stay as they were.
    Covers: MM-CPU
    """
    bench = HmmBench()
    mm = bench.mm
    data = np.random.default_rng(1).integers(1, 256, size=2 * PAGE_BYTES, dtype=np.uint8).tobytes()
    half = PAGE_BYTES // 2

    async def scenario() -> None:
        va = await mm.mmap(0, 4 * PAGE_BYTES)
        # Backwards, so that pages that follow each other here do not do so in memory.
        for page in (3, 2, 1, 0):
            await cpu_write(mm, va + page * PAGE_BYTES, bytes(1))
        pfns = [mm.page_table.lookup(va + page * PAGE_BYTES).pfn for page in range(4)]
        assert pfns[1] != pfns[0] + 1
        await cpu_write(mm, va + half, data)
        assert await cpu_read(mm, va + half, len(data)) == data
        assert await cpu_read(mm, va + half + 100, len(data) - 200) == data[100:-100]
        expected = bytes(half) + data + bytes(half + PAGE_BYTES)
        for page, pfn in enumerate(pfns):
            content = bench.frames.words(pfn).tobytes()
            assert content == expected[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]

    bench.scheduler.run(scenario())
