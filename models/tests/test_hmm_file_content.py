# SPDX-License-Identifier: Apache-2.0
"""The bytes of a file's pages when these leave the page cache and come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from models.arrays import PAGE_BYTES
from models.hmm import Vma, VmFlags, cpu_read, cpu_write, memory_failure
from models.hmm.operations.objects import drop_clean_pages, punch_hole, truncate, write_back
from models.hmm.vma import Backing, SharedObject
from models.tests.hmm_bench import PLACE, HmmBench
from models.tests.present_bench import READ_WRITE

PAGES = 4
Leave = Callable[[HmmBench, SharedObject], Awaitable[None]]


def file_bench() -> tuple[HmmBench, SharedObject]:
    """A file of 4 pages, mapped shared from PLACE on; its first write to a clean page is seen."""
    bench = HmmBench()
    store = SharedObject(kind=Backing.FILE, size=PAGES, lasts=True)
    flags = READ_WRITE | VmFlags.VM_SHARED
    area = Vma(bench.mm, PLACE, PLACE + PAGES * PAGE_BYTES, flags, store, watches_writes=True)
    bench.mm.vmas.insert(area)
    return bench, store


async def _dropped(bench: HmmBench, store: SharedObject) -> None:
    await bench.mm.munmap(PLACE, PAGE_BYTES)
    drop_clean_pages(bench.frames)


async def _lost(bench: HmmBench, store: SharedObject) -> None:
    await memory_failure(bench.frames, store.pages[0])


async def _written_again_and_lost(bench: HmmBench, store: SharedObject) -> None:
    await cpu_write(bench.mm, PLACE, b"newer")
    await memory_failure(bench.frames, store.pages[0])


@pytest.mark.parametrize("leave", [_dropped, _lost, _written_again_and_lost])
def test_file_content_comes_back(leave: Leave) -> None:
    """A page that left the cache is read again from the disk, with what was written back last.

    Stimulus: a write to a shared mapping, written back; then the page leaves the cache: dropped as clean, lost as clean,
    lost after another write.
    Checking: the page is not in the cache; another mapping reads the bytes that were written back.
    Covers: HMM-FAULT-FILE.
    """
    bench, store = file_bench()

    async def scenario() -> None:
        await bench.begin()
        await cpu_write(bench.mm, PLACE, b"older")
        await write_back(bench.frames, store)
        await leave(bench, store)
        assert 0 not in store.pages
        flags = READ_WRITE | VmFlags.VM_SHARED
        other = PLACE + PAGES * PAGE_BYTES
        bench.mm.vmas.insert(Vma(bench.mm, other, other + PAGE_BYTES, flags, store))
        assert await cpu_read(bench.mm, other, 5) == b"older"

    bench.scheduler.run(scenario())


@pytest.mark.parametrize("hole", [True, False])
def test_file_content_cut_off_is_gone(hole: bool) -> None:
    """What was cut off a file is zeros when the file grows again, and where a hole was punched.

    Stimulus: two pages written and written back; the second is punched out, or the file is made one page long and two
    again.
    Checking: the first page's bytes; zeros in the second.
    Covers: HMM-FAULT-FILE.
    """
    bench, store = file_bench()

    async def scenario() -> None:
        await bench.begin()
        for page in (0, 1):
            await cpu_write(bench.mm, PLACE + page * PAGE_BYTES, b"bytes")
        await write_back(bench.frames, store)
        if hole:
            await punch_hole(bench.frames, store, 1, 2)
        else:
            await truncate(bench.frames, store, 1)
            await truncate(bench.frames, store, 2)
        assert await cpu_read(bench.mm, PLACE, 5) == b"bytes"
        assert await cpu_read(bench.mm, PLACE + PAGE_BYTES, 5) == bytes(5)

    bench.scheduler.run(scenario())
