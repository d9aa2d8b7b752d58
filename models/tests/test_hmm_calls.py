# SPDX-License-Identifier: Apache-2.0
"""The contracts of hmm_vma_get_pfns(), hmm_vma_fault() and hmm_vma_range_done(): requests, tracking, failures."""

from __future__ import annotations

import pytest

from models.arrays import PAGE_BYTES
from models.errors import UserError
from models.formats import format_by_name
from models.hmm import (
    Advice,
    EntryKind,
    HmmError,
    HmmRange,
    InvalidateEvent,
    MmuNotifierRange,
    Prot,
    cpu_read,
    cpu_write,
    fork,
    hmm_vma_fault,
    hmm_vma_get_pfns,
    hmm_vma_range_done,
    memory_failure,
)
from models.hmm.frames import HUGE_BYTES
from models.host_scheduler import run
from models.tests.hmm_bench import FIXED, PLACE, STATES, HmmBench

FORMAT = format_by_name("hmm_2018_flags")


def kinds(hmm_range: HmmRange) -> str:
    """The entries as letters: N none, R readable, W writable, E error, S special, ? anything else."""
    words = hmm_range.words()
    letters = []
    for entry in hmm_range.pfns:
        word = int(entry)
        named = {words.none: "N", words.error: "E", words.special: "S"}.get(word)
        if named is None:
            valid = word & words.valid == words.valid
            named = ("W" if word & words.write else "R") if valid else "?"
        letters.append(named)
    return "".join(letters)


def asking(bench: HmmBench, start: int, letters: str) -> HmmRange:
    """A range whose entries ask as the letters say: N nothing, R for the page, W for a writable page."""
    hmm_range = bench.range(FORMAT, start, len(letters))
    words = hmm_range.words()
    asked = {"N": words.none, "R": words.request(write=False), "W": words.request(write=True)}
    hmm_range.pfns[:] = [asked[letter] for letter in letters]
    return hmm_range


def test_hmm_calls_mixed_requests_over_fault() -> None:
    """From the first page that must be faulted on, its whole 2 MiB part of the range is faulted in the same way.

    Stimulus: ranges of untouched pages (in a hole, and beside a page that exists) with different requests per page.
    Checking: which entries came back readable or writable, by the rule; entries before the first fault only looked up.
    Covers: HMM-REQUESTS, HMM-OVER-FAULT.
    """

    async def scenario(asked: str, touched: bool, found: str) -> None:
        bench = HmmBench()
        await bench.begin()
        await bench.mm.mmap(PLACE, 32 * PAGE_BYTES, flags=FIXED)
        if touched:
            await cpu_write(bench.mm, PLACE + 31 * PAGE_BYTES, b"x")
        hmm_range = asking(bench, PLACE, asked)
        for _ in range(5):
            await bench.fault(hmm_range)
            if hmm_vma_range_done(hmm_range):
                break
            hmm_range.pfns[:] = asking(bench, PLACE, asked).pfns
        assert kinds(hmm_range) == found

    # Where a page-table page exists, entries before the first request are only looked up.
    run(scenario("NNRNN", True, "NNRRR"))
    run(scenario("NNWNR", True, "NNWWW"))
    run(scenario("NNNNN", True, "NNNNN"))
    # A hole is faulted as a whole, in the way of the first request in it.
    run(scenario("NNRNN", False, "RRRRR"))
    run(scenario("NNWNN", False, "WWWWW"))
    # A later write request is served when the walk comes back, from its place on.
    run(scenario("RNWNN", False, "RRWWW"))


def test_hmm_calls_over_fault_stops_at_two_mebibytes() -> None:
    """The over-fault ends with the 2 MiB where a table of 2 MiB entries exists, and with the range.

    Stimulus: a range across a 2 MiB boundary; one request before it, none behind it; pages behind the range; something
    else is mapped in the same GiB.
    Checking: only pages of the first part came; pages outside the range are untouched.
    Covers: HMM-OVER-FAULT.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await bench.mm.mmap(PLACE, 4 * HUGE_BYTES, flags=FIXED)
        await cpu_write(bench.mm, PLACE + 3 * HUGE_BYTES, b"x")
        start = PLACE + HUGE_BYTES - 3 * PAGE_BYTES
        hmm_range = asking(bench, start, "NWNNN")
        await bench.fault(hmm_range)
        assert kinds(hmm_range) == "WWWNN"
        assert bench.mm.page_table.lookup(start - PAGE_BYTES).kind is EntryKind.NONE
        assert bench.mm.page_table.lookup(PLACE + HUGE_BYTES).hole
        assert hmm_vma_range_done(hmm_range)

    run(scenario())


def test_hmm_calls_over_fault_fills_a_larger_hole() -> None:
    """Where even the table of 2 MiB entries is missing, the whole hole is faulted, as far as the range goes.

    Stimulus: a range across a 2 MiB boundary in a GiB where nothing is mapped; one request before the boundary.
    Checking: all pages of the range came, none behind it.
    Covers: HMM-OVER-FAULT.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await bench.mm.mmap(PLACE, 2 * HUGE_BYTES, flags=FIXED)
        start = PLACE + HUGE_BYTES - 3 * PAGE_BYTES
        hmm_range = asking(bench, start, "NWNNN")
        await bench.fault(hmm_range)
        assert kinds(hmm_range) == "WWWWW"
        assert bench.mm.page_table.lookup(PLACE + HUGE_BYTES + 2 * PAGE_BYTES).kind is EntryKind.NONE
        assert hmm_vma_range_done(hmm_range)

    run(scenario())


def test_hmm_calls_fault_on_unrequested_neighbour() -> None:
    """A neighbour that cannot be had fails the call, although nobody asked for it; alone the page is served.

    Stimulus: five pages, the fourth lost to a memory error; a request for the second; then one for the second alone.
    Checking: EFAULT, ERROR exactly at the lost page, NONE after the last final entry, range not tracked; then success.
    Covers: HMM-OVER-FAULT, HMM-ERRNO, HMM-ERROR-CLEANUP.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await bench.mm.mmap(PLACE, 5 * PAGE_BYTES, flags=FIXED)
        await cpu_write(bench.mm, PLACE, b"first")
        await cpu_write(bench.mm, PLACE + 3 * PAGE_BYTES, b"lost")
        await memory_failure(bench.frames, bench.mm.page_table.lookup(PLACE + 3 * PAGE_BYTES).pfn)
        hmm_range = asking(bench, PLACE, "NRNNN")
        with pytest.raises(HmmError) as caught:
            await bench.fault(hmm_range)
        assert caught.value.errno == "EFAULT"
        assert kinds(hmm_range) == "WNNEN"
        with pytest.raises(UserError, match="each once"):
            hmm_vma_range_done(hmm_range)
        alone = asking(bench, PLACE + PAGE_BYTES, "R")
        await bench.fault(alone)
        assert kinds(alone) == "R"
        assert hmm_vma_range_done(alone)

    run(scenario())


def test_hmm_calls_snapshot_goes_on_behind_lost_page() -> None:
    """A look at a range shows a lost page as ERROR and goes on behind it.

    Stimulus: three pages, the middle one lost.
    Checking: all three entries; the call succeeds.
    Covers: HMM-STATES.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await bench.mm.mmap(PLACE, 3 * PAGE_BYTES, flags=FIXED)
        await cpu_write(bench.mm, PLACE, bytes(3 * PAGE_BYTES))
        await memory_failure(bench.frames, bench.mm.page_table.lookup(PLACE + PAGE_BYTES).pfn)
        hmm_range = bench.range(FORMAT, PLACE, 3)
        await bench.snapshot(hmm_range)
        assert kinds(hmm_range) == "WEW"
        assert hmm_vma_range_done(hmm_range)

    run(scenario())


def test_hmm_calls_several_ranges_tracked() -> None:
    """An invalidation makes exactly the tracked ranges not valid that it overlaps, and leaves their words alone.

    Stimulus: four ranges of one area tracked at once; one page invalidated.
    Checking: valid and hmm_vma_range_done() of each; words as before; ending twice is refused.
    Covers: HMM-TRACKING.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await bench.mm.mmap(PLACE, 8 * PAGE_BYTES, flags=FIXED)
        await cpu_write(bench.mm, PLACE, bytes(8 * PAGE_BYTES))
        ranges = [
            bench.range(FORMAT, PLACE, 8),
            bench.range(FORMAT, PLACE, 2),
            bench.range(FORMAT, PLACE + 2 * PAGE_BYTES, 1),
            bench.range(FORMAT, PLACE + 3 * PAGE_BYTES, 5),
        ]
        for hmm_range in ranges:
            await bench.snapshot(hmm_range)
            assert hmm_range.valid
        words = [hmm_range.pfns.copy() for hmm_range in ranges]
        await bench.mm.madvise(PLACE + 2 * PAGE_BYTES, PAGE_BYTES, Advice.MADV_DONTNEED)
        assert [hmm_range.valid for hmm_range in ranges] == [False, True, False, True]
        assert [hmm_vma_range_done(hmm_range) for hmm_range in ranges] == [False, True, False, True]
        for hmm_range, before in zip(ranges, words, strict=True):
            assert (hmm_range.pfns == before).all()
            with pytest.raises(UserError, match="each once"):
                hmm_vma_range_done(hmm_range)

    run(scenario())


def test_hmm_calls_range_asked_inside_open_invalidation() -> None:
    """A range that is asked for while an invalidation of it is open is never valid; one beside it is.

    Stimulus: a MADV_DONTNEED stopped between start and end; looks at its page and at the next.
    Checking: hmm_vma_range_done() false for the one, true for the other; true for the page after the end.
    Covers: HMM-TRACKING, I2.
    """
    bench = HmmBench()

    async def begin() -> None:
        await bench.begin()
        await bench.mm.mmap(PLACE, 2 * PAGE_BYTES, flags=FIXED)
        await cpu_write(bench.mm, PLACE, bytes(2 * PAGE_BYTES))

    async def look(va: int) -> bool:
        hmm_range = bench.range(FORMAT, va, 1)
        await bench.snapshot(hmm_range)
        return hmm_vma_range_done(hmm_range)

    def done_alone(va: int) -> bool:
        task = bench.scheduler.start(look(va))
        assert bench.scheduler.run_task(task)
        return bool(task.result)

    run(begin(), bench.scheduler)
    drop = bench.scheduler.start(bench.mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED))
    for label in ("mm: invalidate started", "mm: zap next table", "mm: invalidate end"):
        assert bench.scheduler.run_until(drop, label)
        assert not done_alone(PLACE)
        assert done_alone(PLACE + PAGE_BYTES)
    assert bench.scheduler.run_task(drop)
    assert done_alone(PLACE)


def test_hmm_calls_breaking_copy_on_write_invalidates_itself() -> None:
    """A write request that breaks copy-on-write invalidates its own range: the words may not be used, the next may.

    Stimulus: a write request on a page shared with a child, twice.
    Checking: false, then true; exactly one invalidation, of that page; parent and child have pages of their own.
    Covers: HMM-TRACKING, HMM-COW.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await STATES["writable"](bench)
        child = await fork(bench.mm)
        bench.mirror.updates.clear()
        hmm_range = asking(bench, PLACE, "W")
        await bench.fault(hmm_range)
        assert kinds(hmm_range) == "W"
        assert not hmm_vma_range_done(hmm_range)
        assert [(update.start, update.end, update.event) for update in bench.mirror.updates] == [
            (PLACE, PLACE + PAGE_BYTES, InvalidateEvent.CLEAR)
        ]
        again = asking(bench, PLACE, "W")
        await bench.fault(again)
        assert hmm_vma_range_done(again)
        assert bench.mm.page_table.lookup(PLACE).pfn != child.page_table.lookup(PLACE).pfn
        assert await cpu_read(child, PLACE, 4) == await cpu_read(bench.mm, PLACE, 4) == b"data"

    run(scenario())


def test_hmm_calls_without_blocking() -> None:
    """With block false a call that would have to wait drops the mmap lock and fails with EBUSY.

    Stimulus: a page that is being moved, requested without blocking, directly and by over-fault.
    Checking: EBUSY, the lock is free, the range is not tracked, its entries are NONE.
    Covers: HMM-BLOCK, HMM-ERRNO.
    """
    bench = HmmBench()

    async def begin() -> None:
        await bench.begin()
        await bench.mm.mmap(PLACE, 2 * PAGE_BYTES, flags=FIXED)
        await cpu_write(bench.mm, PLACE + PAGE_BYTES, b"moves")

    async def attempt(letters: str) -> None:
        hmm_range = asking(bench, PLACE, letters)
        await bench.mm.mmap_lock.acquire_read()
        with pytest.raises(HmmError) as caught:
            await hmm_vma_fault(hmm_range, block=False)
        assert caught.value.errno == "EBUSY"
        assert kinds(hmm_range)[-1] == "N"
        with pytest.raises(UserError):
            hmm_vma_range_done(hmm_range)

    run(begin(), bench.scheduler)
    migration = bench.scheduler.start(bench.to_device(PLACE + PAGE_BYTES, PLACE + 2 * PAGE_BYTES))
    assert bench.scheduler.run_until(migration, "migrate: copy")
    for letters in ("NR", "RN"):
        task = bench.scheduler.start(attempt(letters))
        assert bench.scheduler.run_task(task)
    assert bench.scheduler.run_task(migration)
    assert not bench.mm.mmap_lock.read_held


def test_hmm_calls_refused_without_mirror_or_lock() -> None:
    """Without a mirror a call fails with EINVAL; without the mmap lock it is a mistake of the caller.

    Stimulus: calls before a mirror is registered, after the address space was released, and without the lock.
    Checking: EINVAL twice; RuntimeError.
    Covers: HMM-ERRNO.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await STATES["writable"](bench)
        hmm_range = bench.range(FORMAT, PLACE, 1)
        with pytest.raises(HmmError, match="EINVAL: no mirror"):
            await bench.snapshot(hmm_range)
        await bench.begin()
        with pytest.raises(RuntimeError, match="mmap lock"):
            await hmm_vma_get_pfns(hmm_range)
        await bench.snapshot(hmm_range)
        assert bench.mm.hmm is not None
        await bench.mm.hmm.release(bench.mm)
        assert bench.mirror.released
        assert not hmm_vma_range_done(hmm_range)
        with pytest.raises(HmmError, match="EINVAL: no mirror"):
            await bench.fault(hmm_range)

    run(scenario())


def test_hmm_calls_told_of_every_change_before_it_happens() -> None:
    """A mirror hears of an invalidation while the page is still mapped and held.

    Stimulus: munmap, mprotect, MADV_DONTNEED, mremap, fork, a memory error and copy-on-write of one page.
    Checking: in the callback the entry is still the old one and its page has a reference; event names.
    Covers: HMM-NOTIFIER-ORDER.
    """
    seen: list[tuple[InvalidateEvent, bool]] = []

    async def scenario(change: str) -> None:
        bench = HmmBench()
        await bench.begin()
        await STATES["copy_on_write" if change == "cow" else "writable"](bench)
        entry = bench.mm.page_table.lookup(PLACE)

        async def note(update: MmuNotifierRange) -> None:
            same = bench.mm.page_table.lookup(PLACE) == entry
            seen.append((update.event, same and bench.frames.references(entry.pfn) > 0))

        bench.mirror.on_update = note
        if change == "munmap":
            await bench.mm.munmap(PLACE, PAGE_BYTES)
        elif change == "mprotect":
            await bench.mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_READ)
        elif change == "dontneed":
            await bench.mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED)
        elif change == "fork":
            await fork(bench.mm)
        elif change == "poison":
            await memory_failure(bench.frames, entry.pfn)
        elif change == "migrate":
            await bench.to_device(PLACE, PLACE + PAGE_BYTES)
        else:
            await cpu_write(bench.mm, PLACE, b"new")
        assert bench.mm.page_table.lookup(PLACE) != entry

    for change in ("munmap", "mprotect", "dontneed", "fork", "poison", "migrate", "cow"):
        run(scenario(change))
    assert seen == [
        (InvalidateEvent.UNMAP, True),
        (InvalidateEvent.PROTECTION_VMA, True),
        (InvalidateEvent.CLEAR, True),
        (InvalidateEvent.PROTECTION_PAGE, True),
        (InvalidateEvent.CLEAR, True),
        (InvalidateEvent.MIGRATE, True),
        (InvalidateEvent.CLEAR, True),
    ]
