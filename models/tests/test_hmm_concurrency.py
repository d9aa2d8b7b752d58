# SPDX-License-Identifier: Apache-2.0
"""Two changes of one page at the same time, one placed exactly between two steps of the other."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from models.arrays import PAGE_BYTES
from models.driver.device_memory import DeviceMemory
from models.hmm import (
    Advice,
    CpuAccessError,
    EntryKind,
    HmmError,
    MapFlags,
    MemoryMap,
    cpu_read,
    cpu_write,
    fork,
    memory_failure,
    migrate_vma,
)
from models.hmm.frames import HUGE_BYTES
from models.host_scheduler import Task
from models.tests.hmm_bench import PLACE, HmmBench

FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
LAST = PLACE + PAGE_BYTES


class TwoThreads:
    """A bench, and one thread that stands still at a label while others run to their end."""

    def __init__(self, memory_size: int = 1 << 24) -> None:
        self.bench = HmmBench(memory_size)
        self.mm = self.bench.mm

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run one thread to its end while all others stand still."""
        task = self.bench.scheduler.start(coroutine)
        assert self.bench.scheduler.run_task(task), f"it waits at {task.label}"
        return task.result

    def stop_at(self, coroutine: Coroutine[Any, Any, Any], label: str) -> Task:
        """Run a thread up to a label."""
        task = self.bench.scheduler.start(coroutine, "stopped")
        assert self.bench.scheduler.run_until(task, label)
        return task

    def finish(self, task: Task) -> Any:
        """Run a stopped thread to its end."""
        assert self.bench.scheduler.run_task(task)
        return task.result

    def page(self, data: bytes = b"old", shared: bool = False) -> MemoryMap | None:
        """One written page at PLACE; with `shared` a child has it too, and is returned."""
        self.run(self.bench.begin())
        self.run(self.mm.mmap(PLACE, PAGE_BYTES, flags=FIXED))
        self.run(cpu_write(self.mm, PLACE, data))
        child: MemoryMap | None = self.run(fork(self.mm)) if shared else None
        return child

    def check_all_free(self, *others: MemoryMap | None) -> None:
        """End all spaces: no page is left in use anywhere."""
        for mm in (self.mm, *others):
            if mm is not None:
                self.run(mm.exit())
        assert self.bench.frames.system.pages_in_use() == 1
        assert self.bench.pagemap.pool.pages_in_use() == 0
        assert not self.bench.frames.migrations


@pytest.mark.parametrize("label", ["fault: copy", "mm: invalidate start", "mm: invalidate started"])
def test_hmm_concurrency_page_dropped_while_it_is_copied(label: str) -> None:
    """A page that is thrown away while a write copies it stays thrown away: the write finds zeros.

    Stimulus: a copy-on-write stopped at each of its waits; MADV_DONTNEED of the page meanwhile.
    Checking: the written byte over zeros, not over the old bytes; references.
    Covers: HMM-COW, CONCURRENT.
    """
    threads = TwoThreads()
    child = threads.page(b"old data", shared=True)
    write = threads.stop_at(cpu_write(threads.mm, PLACE, b"N"), label)
    threads.run(threads.mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED))
    threads.finish(write)
    assert threads.run(cpu_read(threads.mm, PLACE, 8)) == b"N" + bytes(7)
    assert child is not None
    assert threads.run(cpu_read(child, PLACE, 8)) == b"old data"
    threads.check_all_free(child)


def test_hmm_concurrency_huge_zero_page_dropped_while_it_is_replaced() -> None:
    """The huge page of zeros that is dropped while a write replaces it: the write starts anew.

    Stimulus: a write to a huge zero entry stopped inside its invalidation; MADV_DONTNEED and a write meanwhile.
    Checking: bytes; nothing is lost.
    Covers: MM-HUGE, CONCURRENT.
    """
    threads = TwoThreads(1 << 25)
    mm = threads.mm
    threads.run(mm.mmap(PLACE, HUGE_BYTES, flags=FIXED))
    threads.run(mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_HUGEPAGE))
    threads.run(cpu_read(mm, PLACE, 1))
    write = threads.stop_at(cpu_write(mm, PLACE, b"N"), "mm: invalidate started")
    threads.run(mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_DONTNEED))
    threads.run(cpu_write(mm, PLACE + 1, b"X"))
    threads.finish(write)
    assert threads.run(cpu_read(mm, PLACE, 3)) == b"NX\0"
    before = threads.bench.frames.system.pages_in_use()
    threads.run(mm.exit())
    assert threads.bench.frames.system.pages_in_use() == before - 512


def test_hmm_concurrency_page_that_is_copied_does_not_move() -> None:
    """A page that somebody holds stays where it is.

    Stimulus: a copy-on-write stopped while it holds the old page; a migration of the page by the other space.
    Checking: nothing moved, in no space; bytes.
    Covers: MIGRATION, CONCURRENT.
    """
    threads = TwoThreads()
    child = threads.page(b"old data", shared=True)
    assert child is not None
    write = threads.stop_at(cpu_write(threads.mm, PLACE, b"N"), "fault: copy")
    assert threads.run(threads.bench.to_device(PLACE, LAST, child)) == 0
    assert child.page_table.lookup(PLACE).kind is EntryKind.PRESENT
    threads.finish(write)
    assert threads.run(cpu_read(threads.mm, PLACE, 8)) == b"Nld data"
    assert threads.run(cpu_read(child, PLACE, 8)) == b"old data"
    threads.check_all_free(child)


def test_hmm_concurrency_shared_page_moves_for_everybody() -> None:
    """A page of two spaces moves in both at once; either side brings it back for both.

    Stimulus: a shared page moved by the parent; read by the child; written by the parent.
    Checking: entries of both after each step; bytes.
    Covers: MIGRATION.
    """
    threads = TwoThreads()
    child = threads.page(b"old data", shared=True)
    assert child is not None
    assert threads.run(threads.bench.to_device(PLACE, LAST)) == 1
    entries = [mm.page_table.lookup(PLACE) for mm in (threads.mm, child)]
    assert entries[0] == entries[1]
    assert (entries[0].kind, entries[0].writable) == (EntryKind.DEVICE_PRIVATE, False)
    assert threads.run(cpu_read(child, PLACE, 8)) == b"old data"
    assert threads.mm.page_table.lookup(PLACE).kind is EntryKind.PRESENT
    threads.run(cpu_write(threads.mm, PLACE, b"N"))
    assert threads.run(cpu_read(child, PLACE, 8)) == b"old data"
    threads.check_all_free(child)


@pytest.mark.parametrize(
    "label", ["migrate: collect next table", "mm: invalidate end", "migrate: copy", "migrate: finish"]
)
def test_hmm_concurrency_two_migrations_of_one_page(label: str) -> None:
    """Two spaces that share a page move it at the same time: one does, the other leaves it.

    Stimulus: the parent's migration stopped at each of its waits; the child's from start to end meanwhile.
    Checking: moved once; bytes; nothing is lost.
    Covers: MIGRATION, CONCURRENT.
    """
    threads = TwoThreads()
    child = threads.page(b"old data", shared=True)
    migration = threads.stop_at(threads.bench.to_device(PLACE, LAST), label)
    assert threads.run(threads.bench.to_device(PLACE, LAST, child)) == 0
    assert threads.finish(migration) == 1
    assert child is not None
    for mm in (threads.mm, child):
        assert threads.run(cpu_read(mm, PLACE, 8)) == b"old data"
    threads.check_all_free(child)


@pytest.mark.parametrize("label", ["migrate: copy", "migrate: finish"])
def test_hmm_concurrency_page_dropped_while_it_moves(label: str) -> None:
    """A page that is thrown away while it moves is gone; its old and new places are free.

    Stimulus: a migration stopped after the page was cut off, or after it was copied; MADV_DONTNEED.
    Checking: zeros; no page in use.
    Covers: MIGRATION, CONCURRENT.
    """
    threads = TwoThreads()
    threads.page()
    migration = threads.stop_at(threads.bench.to_device(PLACE, LAST), label)
    threads.run(threads.mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED))
    threads.finish(migration)
    assert threads.bench.pagemap.pool.pages_in_use() == 0
    assert threads.run(cpu_read(threads.mm, PLACE, 3)) == bytes(3)
    threads.check_all_free()


def test_hmm_concurrency_migration_whose_copy_fails() -> None:
    """When the driver's copy fails the page is back in its old place, and who waited goes on.

    Stimulus: a migration whose copy raises, with a reader waiting.
    Checking: the error comes out; bytes; nothing is lost.
    Covers: MIGRATION.
    """
    threads = TwoThreads()
    threads.page()
    mm = threads.mm

    async def fails(pfns: list[int]) -> dict[int, int]:
        await mm.host.pause("copy")
        raise HmmError("EIO", "the device does not answer")

    async def migrate() -> None:
        async with mm.mmap_lock.read():
            area = threads.bench.vma(PLACE)
            with pytest.raises(HmmError, match="EIO"):
                await migrate_vma(mm, area, PLACE, LAST, lambda entry: True, fails)

    migration = threads.stop_at(migrate(), "copy")
    reader = threads.bench.scheduler.start(cpu_read(mm, PLACE, 3))
    assert not threads.bench.scheduler.run_task(reader)
    threads.finish(migration)
    assert threads.finish(reader) == b"old"
    threads.check_all_free()


@pytest.mark.parametrize("label", ["mm: invalidate start", "mm: invalidate started", "mm: invalidate end"])
def test_hmm_concurrency_memory_error_and_other_changes(label: str) -> None:
    """A memory error in the middle of other changes poisons exactly what still maps the page.

    Stimulus: a memory error stopped at its waits; the page dropped and written anew meanwhile; one during a migration.
    Checking: the new page works; the moved page is in its new place, and the lost one is never used again.
    Covers: MM-POISON, CONCURRENT.
    """
    threads = TwoThreads()
    threads.page()
    lost = threads.mm.page_table.lookup(PLACE).pfn
    failure = threads.stop_at(memory_failure(threads.bench.frames, lost), label)
    threads.run(threads.mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED))
    threads.run(cpu_write(threads.mm, PLACE, b"new"))
    assert threads.mm.page_table.lookup(PLACE).pfn != lost
    threads.finish(failure)
    assert threads.run(cpu_read(threads.mm, PLACE, 3)) == b"new"

    moving = threads.mm.page_table.lookup(PLACE).pfn
    migration = threads.stop_at(threads.bench.to_device(PLACE, LAST), "migrate: copy")
    failure = threads.bench.scheduler.start(memory_failure(threads.bench.frames, moving))
    assert not threads.bench.scheduler.run_task(failure)
    threads.finish(migration)
    assert threads.finish(failure) == 0
    assert threads.run(cpu_read(threads.mm, PLACE, 3)) == b"new"
    threads.check_all_free()


def test_hmm_concurrency_device_that_gives_nothing_back() -> None:
    """A page that its device never gives back ends in a signal, not in an endless wait.

    Stimulus: a device page without migrate_to_ram; with one that fails; CPU accesses.
    Checking: SIGBUS.
    Covers: MIGRATION.
    """
    threads = TwoThreads()
    threads.page()
    threads.run(threads.bench.to_device(PLACE, LAST))

    async def fails(mm: MemoryMap, vma: object, page: int) -> None:
        raise HmmError("EIO", "the device does not answer")

    for handler in (None, fails):
        threads.bench.pagemap.migrate_to_ram = handler
        with pytest.raises(CpuAccessError, match="SIGBUS"):
            threads.run(cpu_read(threads.mm, PLACE, 3))


def test_hmm_concurrency_page_asked_back_by_two() -> None:
    """Two spaces that want a shared page back from a device at the same time: one moves it, the other waits for that.

    Stimulus: the parent's read stopped before the child's entry is cut off; a read of the child.
    Checking: the child waits, and does not turn in circles; bytes; the page moved once.
    Covers: MIGRATION, CONCURRENT.
    """
    threads = TwoThreads()
    DeviceMemory(threads.bench.pagemap)
    child = threads.page(b"old data", shared=True)
    assert child is not None
    threads.run(threads.bench.to_device(PLACE, LAST))
    first = threads.stop_at(cpu_read(threads.mm, PLACE, 8), "migrate: collect next table")
    second = threads.bench.scheduler.start(cpu_read(child, PLACE, 8), "second")
    for _ in range(20):
        if not second.blocked:
            threads.bench.scheduler.step(second)
    assert second.blocked
    assert threads.finish(first) == b"old data"
    assert threads.finish(second) == b"old data"
    assert child.page_table.lookup(PLACE) == threads.mm.page_table.lookup(PLACE)
    threads.check_all_free(child)
