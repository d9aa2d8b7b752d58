# SPDX-License-Identifier: Apache-2.0
"""The driver on the golden device, one thing at a time: batches, ranges, requests, commits, answers, contexts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.arrays import PAGE_BYTES, Words
from models.driver import AnswerPolicy, CommitPolicy, Driver, DriverOptions, Work
from models.driver.batch import PageFault, page_faults
from models.errors import UserError
from models.fault_records import FaultRecord
from models.formats import load_formats
from models.golden_device import DeviceAbort
from models.hmm import MapFlags, MemoryMap, Prot, cpu_read, cpu_write, memory_failure
from models.structures import Access, Reason
from models.tests.closed_loop import ClosedLoop

PLACE = 0x4000_0000
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
RECORD = FaultRecord(1, 1, PLACE, Access.READ, Reason.NOT_PRESENT, True, True, 0, 1)


class NotingDriver(Driver):
    """A driver that writes down what it asked HMM for, and what HMM said."""

    asked: list[tuple[int, list[int]]]
    found: list[Words]

    async def ask(self, work: Work) -> None:
        """Note requests and results."""
        if not hasattr(self, "asked"):
            self.asked, self.found = [], []
        self.asked.append((work.hmm_range.start, [int(word) for word in work.hmm_range.pfns]))
        await super().ask(work)
        self.found.append(work.hmm_range.pfns.copy())


async def space_with(loop: ClosedLoop, pages: int, start: int = PLACE, pasid: int = 1) -> MemoryMap:
    """A bound address space with one area."""
    mm = loop.space()
    await loop.driver.bind(pasid, mm)
    await mm.mmap(start, pages * PAGE_BYTES, flags=FIXED)
    return mm


def record(tag: int, page: int, access: Access, pasid: int = 1) -> FaultRecord:
    """A record of a fault at PLACE + page."""
    return FaultRecord(tag, pasid, PLACE + page * PAGE_BYTES + 8 * tag, access, Reason.NOT_PRESENT, True, True, 0, 1)


async def refused(loop: ClosedLoop, va: int, access: Access, pasid: int = 1) -> Reason:
    """The reason with which the device's access ends. Errors: AssertionError if it does not."""
    try:
        if access is Access.READ:
            await loop.device.read(pasid, va)
        elif access is Access.WRITE:
            await loop.device.write(pasid, va, 1)
        else:
            await loop.device.atomic_add(pasid, va, 1)
    except DeviceAbort as abort:
        return abort.reason
    raise AssertionError(f"{access.name} of {va:#x} was served")


def test_driver_service_batch_sorts_and_drops_duplicates() -> None:
    """Records become one fault for each page and access, by context and address.

    Stimulus: records of two contexts in disorder, some for one page.
    Checking: order, records of each fault.
    Covers: DRIVER-BATCH.
    """
    records = [
        record(1, 5, Access.WRITE),
        record(2, 3, Access.READ, pasid=2),
        record(3, 1, Access.READ),
        record(4, 5, Access.READ),
        record(5, 1, Access.READ),
    ]
    found = page_faults(records, lambda record: 77)

    def summary(faults: list[PageFault]) -> list[tuple[int, Access, list[int]]]:
        return [
            ((fault.page - PLACE) // PAGE_BYTES, fault.access, [each.tag for each in fault.records]) for fault in faults
        ]

    assert list(found) == [1, 2]
    assert summary(found[1]) == [(1, Access.READ, [3, 5]), (5, Access.READ, [4]), (5, Access.WRITE, [1])]
    assert summary(found[2]) == [(3, Access.READ, [2])]
    assert all(fault.deadline == 77 for faults in found.values() for fault in faults)


def test_driver_service_one_call_for_each_range() -> None:
    """Faults of one area and one 2 MiB are one call with a request for each page; others get calls of their own.

    Stimulus: a batch over two areas, two 2 MiB and two contexts, with reads and writes and duplicates.
    Checking: start and entries of every call; the live words are the words that HMM wrote, bit by bit.
    Covers: DRIVER-MERGE, DRIVER-REQUESTS, DRIVER-COMMIT.
    """
    loop = ClosedLoop(driver=NotingDriver)

    async def scenario() -> None:
        mm = await space_with(loop, 1024)
        await mm.mprotect(PLACE + 8 * PAGE_BYTES, 2 * PAGE_BYTES, Prot.PROT_READ)
        await space_with(loop, 4, pasid=2)
        await loop.driver.service(
            [
                record(1, 1, Access.READ),
                record(2, 3, Access.WRITE),
                record(3, 3, Access.READ),
                record(4, 1, Access.READ),
                record(5, 9, Access.READ),
                record(6, 600, Access.WRITE),
                record(7, 3, Access.READ, pasid=2),
            ]
        )
        driver = loop.driver
        assert isinstance(driver, NotingDriver)
        valid, write, none = 1, 2, 8
        assert driver.asked == [
            # The hole is read-faulted first; breaking copy-on-write then invalidates the range: it is asked anew.
            (PLACE + PAGE_BYTES, [valid, none, valid | write]),
            (PLACE + PAGE_BYTES, [valid, none, valid | write]),
            (PLACE + 9 * PAGE_BYTES, [valid]),
            (PLACE + 600 * PAGE_BYTES, [valid | write]),
            (PLACE + 3 * PAGE_BYTES, [valid]),
        ]
        assert (driver.counters.hmm_calls, driver.counters.retries) == (5, 1)
        assert driver.counters.duplicates == 1
        assert driver.counters.replays == 7
        live = driver.tables.live_words(1, PLACE)
        assert (live[1:4] == driver.found[1]).all()
        assert (live[9:10] == driver.found[2]).all()
        assert (np.delete(live, [1, 2, 3, 9]) == none).all()

    loop.run(scenario())


@pytest.mark.parametrize("commit", CommitPolicy)
def test_driver_service_commit_keeps_the_other_slots(commit: CommitPolicy) -> None:
    """A commit changes only the slots of its range; a replaced array is freed, and only after a fence.

    Stimulus: three services in one 2 MiB, one of them of a page that is there already.
    Checking: live words, the live array's address, memory in use, fences, promised order.
    Covers: DRIVER-COMMIT.
    """
    loop = ClosedLoop(driver=NotingDriver, options=DriverOptions(commit=commit))

    async def scenario() -> None:
        await space_with(loop, 16)
        driver = loop.driver
        assert isinstance(driver, NotingDriver)
        in_use, addresses, expected = set(), [], np.full(512, 8, dtype=np.uint64)
        for pages in ((1, 3), (9, 9), (3, 3)):
            await driver.service([record(page, page, Access.READ) for page in pages])
            expected[pages[0] : pages[-1] + 1] = driver.found[-1]
            assert (driver.tables.live_words(1, PLACE) == expected).all()
            addresses.append(driver.tables.array_of(1, PLACE))
            in_use.add(len(loop.memory.allocations()))
        assert len(in_use) == 1
        swaps = commit is CommitPolicy.SWAP
        assert (len(set(addresses)) > 1) is swaps
        assert driver.counters.fences == (2 if swaps else 0)
        link = loop.tables.find_array(1, PLACE)
        assert link is not None
        assert (link.address, link.max_order, link.page_shift) == (addresses[-1], 0, 12)

    loop.run(scenario())


@pytest.mark.parametrize("commit", CommitPolicy)
@pytest.mark.parametrize("answer", AnswerPolicy)
@pytest.mark.parametrize(
    "format_name", [fmt.name for fmt in load_formats().values() if fmt.name != "example_read_only"]
)
def test_driver_service_every_format_and_policy(format_name: str, answer: AnswerPolicy, commit: CommitPolicy) -> None:
    """Reads, writes and atomics work in every entry format, with both ways to commit and to answer.

    Stimulus: the device reads CPU data, writes, adds; the CPU reads back; then the area goes away.
    Checking: values; NOT_PRESENT after munmap; rules; all memory is free at the end.
    Covers: DRIVER-FORMATS, DRIVER-POLICIES.
    """
    loop = ClosedLoop(format_name=format_name, options=DriverOptions(answer=answer, commit=commit))

    async def scenario() -> None:
        before = len(loop.memory.allocations())
        mm = await space_with(loop, 600)
        for va in (PLACE + 8, PLACE + 599 * PAGE_BYTES):
            await cpu_write(mm, va, (55).to_bytes(8, "little"))
            assert await loop.device.read(1, va) == 55
            await loop.device.write(1, va, 66)
            if loop.format.atomic:
                assert await refused(loop, va, Access.ATOMIC) is Reason.ATOMIC_DENIED
            else:
                assert await loop.device.atomic_add(1, va, 11) == 66
            assert int.from_bytes(await cpu_read(mm, va, 8), "little") == (66 if loop.format.atomic else 77)
        await mm.munmap(PLACE, 600 * PAGE_BYTES)
        # Where tables tell of failures, the device finds the ERROR entry.
        told_by_entry = answer is AnswerPolicy.AMDKFD and (loop.format.error_is_value or loop.format.error)
        reason = Reason.POISON if told_by_entry else Reason.NOT_PRESENT
        assert await refused(loop, PLACE, Access.READ) is reason
        await mm.exit()
        assert not loop.driver.contexts
        pool_chunks = [size for _, size in loop.memory.allocations() if size == 1 << 21]
        assert len(loop.memory.allocations()) - len(pool_chunks) == before - 1
        assert loop.frames.system.pages_in_use() == 1

    loop.run(scenario())
    loop.finish()


def test_driver_service_format_without_write() -> None:
    """Where the format cannot say WRITE, reads are served and writes are cancelled.

    Stimulus: a format with a zero WRITE mask.
    Checking: value; WRITE_PROTECT.
    Covers: DRIVER-FORMATS.
    """
    loop = ClosedLoop(format_name="example_read_only")

    async def scenario() -> None:
        mm = await space_with(loop, 2)
        await cpu_write(mm, PLACE, (9).to_bytes(8, "little"))
        assert await loop.device.read(1, PLACE) == 9
        assert await refused(loop, PLACE, Access.WRITE) is Reason.WRITE_PROTECT

    loop.run(scenario())
    loop.finish()


def test_driver_service_refuses_what_the_area_forbids() -> None:
    """No area, a special one, one that may not be read, a write where it is forbidden: cancelled, the rest is served.

    Stimulus: device accesses to each, and to pages beside them in the same batch.
    Checking: the reason of each abort; that reads beside them work; rules.
    Covers: DRIVER-CANCEL, I12.
    """
    loop = ClosedLoop()

    async def scenario() -> None:
        mm = await space_with(loop, 8)
        await mm.munmap(PLACE + PAGE_BYTES, PAGE_BYTES)
        await mm.map_pfns(PLACE + PAGE_BYTES, PAGE_BYTES, 0x100)
        await mm.mprotect(PLACE + 2 * PAGE_BYTES, PAGE_BYTES, Prot.PROT_NONE)
        await mm.mprotect(PLACE + 3 * PAGE_BYTES, PAGE_BYTES, Prot.PROT_READ)
        attempts = [
            (refused(loop, PLACE + 9 * PAGE_BYTES, Access.READ), Reason.NOT_PRESENT),
            (refused(loop, PLACE + PAGE_BYTES, Access.READ), Reason.NOT_PRESENT),
            (refused(loop, PLACE + 2 * PAGE_BYTES, Access.READ), Reason.NOT_PRESENT),
            (refused(loop, PLACE + 3 * PAGE_BYTES, Access.WRITE), Reason.NOT_PRESENT),
            (loop.device.write(1, PLACE + 4 * PAGE_BYTES, 1), None),
            (loop.device.read(1, PLACE + 5 * PAGE_BYTES + 8), 0),
        ]
        tasks = [loop.start(attempt) for attempt, _ in attempts]
        await loop.scheduler.sleep(500)
        assert [task.result for task in tasks] == [expected for _, expected in attempts]
        assert await loop.device.read(1, PLACE + 3 * PAGE_BYTES) == 0
        assert await refused(loop, PLACE + 3 * PAGE_BYTES, Access.WRITE) is Reason.WRITE_PROTECT

    loop.run(scenario())
    loop.finish()


def test_driver_service_lost_page_among_others() -> None:
    """A page lost to a memory error is cancelled; the pages around it, served one by one, are not.

    Stimulus: three pages of one range faulted in one batch, the middle one lost.
    Checking: one abort, two values; the lost page's data is never given out.
    Covers: DRIVER-CANCEL, DRIVER-APART, I6.
    """
    loop = ClosedLoop()

    async def scenario() -> None:
        mm = await space_with(loop, 3)
        for page in range(3):
            await cpu_write(mm, PLACE + page * PAGE_BYTES, bytes([page + 1]))
        await memory_failure(loop.frames, mm.page_table.lookup(PLACE + PAGE_BYTES).pfn)
        tasks = [
            loop.start(loop.device.read(1, PLACE)),
            loop.start(refused(loop, PLACE + PAGE_BYTES, Access.READ)),
            loop.start(loop.device.read(1, PLACE + 2 * PAGE_BYTES)),
        ]
        await loop.scheduler.sleep(500)
        assert [task.result for task in tasks] == [1, Reason.NOT_PRESENT, 3]

    loop.run(scenario())
    loop.finish()


def test_driver_service_lost_page_read_and_written() -> None:
    """Two faults of one lost page, a read and a write, are both cancelled, at once.

    Stimulus: both records in one batch, beside one of a good page.
    Checking: two cancels and one replay, after three calls: the range, and each page by itself.
    Covers: DRIVER-CANCEL, DRIVER-APART.
    """
    loop = ClosedLoop(driver=NotingDriver)

    async def scenario() -> None:
        mm = await space_with(loop, 2)
        await cpu_write(mm, PLACE, bytes(2 * PAGE_BYTES))
        await memory_failure(loop.frames, mm.page_table.lookup(PLACE + PAGE_BYTES).pfn)
        await loop.driver.service([record(1, 1, Access.WRITE), record(2, 0, Access.READ), record(3, 1, Access.READ)])
        counters = loop.driver.counters
        assert (counters.cancels, counters.replays, counters.hmm_calls) == (2, 1, 3)
        driver = loop.driver
        assert isinstance(driver, NotingDriver)
        assert driver.asked == [(PLACE, [1, 3]), (PLACE, [1]), (PLACE + PAGE_BYTES, [3])]

    loop.run(scenario())


def test_driver_service_contexts() -> None:
    """Contexts are apart; a PASID can be bound again to another address space; faults of an unbound one are aborted.

    Stimulus: two spaces at equal addresses; one unbound with a fault waiting, its memory changed, another bound.
    Checking: values by context; NO_CONTEXT; old records are not served; rules.
    Covers: DRIVER-BIND, I20, I18.
    """
    loop = ClosedLoop()

    async def scenario() -> None:
        one, two = await space_with(loop, 2), await space_with(loop, 2, pasid=2)
        await cpu_write(one, PLACE, b"1")
        await cpu_write(two, PLACE, b"2")
        assert [await loop.device.read(pasid, PLACE) for pasid in (1, 2)] == [ord("1"), ord("2")]
        with pytest.raises(UserError, match="bound already"):
            await loop.driver.bind(1, two)
        await loop.driver.unbind(1)
        with pytest.raises(UserError, match="Bind PASID 1"):
            await loop.driver.unbind(1)
        assert await refused(loop, PLACE, Access.READ) is Reason.NO_CONTEXT
        await one.munmap(PLACE, 2 * PAGE_BYTES)
        three = await space_with(loop, 1)
        await cpu_write(three, PLACE, b"3")
        assert [await loop.device.read(pasid, PLACE) for pasid in (1, 2)] == [ord("3"), ord("2")]
        await two.exit()
        assert await refused(loop, PLACE, Access.READ, pasid=2) is Reason.NO_CONTEXT
        await loop.scheduler.sleep(100)
        assert loop.driver.counters.reports == 2

    loop.run(scenario())
    loop.finish()


def test_driver_service_no_memory() -> None:
    """When the host has no page left, the fault is cancelled instead of tried for ever.

    Stimulus: a machine of four pages, all of them written by the CPU; a device write to a fresh page.
    Checking: the abort; that reads of existing pages still work.
    Covers: DRIVER-CANCEL, HMM-ERRNO.
    """
    loop = ClosedLoop(page_limit=4)

    async def scenario() -> Any:
        mm = await space_with(loop, 1000)
        await cpu_write(mm, PLACE + 900 * PAGE_BYTES, b"first")
        assert await loop.device.read(1, PLACE + 900 * PAGE_BYTES) == int.from_bytes(b"first", "little")
        await cpu_write(mm, PLACE, bytes(2 * PAGE_BYTES))
        assert await refused(loop, PLACE + 901 * PAGE_BYTES, Access.WRITE) is Reason.NOT_PRESENT
        return await loop.device.read(1, PLACE + 900 * PAGE_BYTES)

    assert loop.run(scenario()) == int.from_bytes(b"first", "little")


def test_driver_service_options_that_cannot_be() -> None:
    """Impossible options are refused.

    Stimulus: a negative deadline, an empty batch, no time to poll.
    Checking: UserError.
    Covers: DRIVER-OPTIONS.
    """
    for wrong in ({"deadline": -1}, {"batch": 0}, {"poll": 0}):
        with pytest.raises(UserError, match="Give the driver"):
            DriverOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ({"deadline": 0, "batch": 1, "poll": 1}, True),
        ({"deadline": -1}, False),
        ({"batch": 0}, False),
        ({"poll": 0}, False),
    ],
)
def test_driver_options_smallest(options: dict[str, Any], good: bool) -> None:
    """
    Stimulus: the smallest numbers that make sense, and each one smaller.
    Checking: taken; refused in one sentence.
    Covers: DRIVER-OPTIONS
    """
    if good:
        assert DriverOptions(**options).poll == 1
    else:
        with pytest.raises(UserError, match="deadline of 0 or more"):
            DriverOptions(**options)
