# SPDX-License-Identifier: Apache-2.0
"""The protocols of populate and invalidate, stopped behind each of their steps while something else races by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.driver import AnswerPolicy, CommitPolicy, DriverOptions
from models.errors import UserError
from models.golden_device import DeviceAbort
from models.hmm import Advice, CpuAccessError, HmmError, MapFlags, MemoryMap, Prot, cpu_read, cpu_write, fork
from models.hmm.notifiers import InvalidateEvent
from models.hmm.operations.exclusive import make_device_exclusive_range
from models.physical_memory import Owner
from models.structures import Access
from models.tests.closed_loop import ClosedLoop

PLACE = 0x4000_0000 - 2 * PAGE_BYTES
"""Two pages lie before a 2 MiB boundary, two behind it."""
PAGES = 4
LENGTH = PAGES * PAGE_BYTES
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
STOPPED = 600
"""Steps for which a step is held up: long enough for everything that does not wait for it."""

POPULATE = [
    "port: records copied",
    "driver: before mmap lock",
    "driver: mmap lock taken",
    "hmm: range tracked",
    "hmm: walk next table",
    "fault: begin",
    "driver: before lock",
    "driver: before range done",
    "port: store",
    "driver: committed",
    "driver: before answer",
    "port: submitted",
]
INVALIDATE = [
    "mm: invalidate start",
    "driver: before invalidate",
    "driver: invalidate locked",
    "driver: entries cleared",
    "driver: invalidate commanded",
    "driver: fence complete",
    "driver: invalidate unlocked",
    "mm: invalidate started",
    "mm: invalidate end",
]
RACED = "driver: try again"
"""Where populate goes instead of committing."""

Operation = Callable[[ClosedLoop, MemoryMap], Awaitable[None]]


async def unmap_and_map(loop: ClosedLoop, mm: MemoryMap) -> None:
    """Other pages, all of zeros."""
    await mm.munmap(PLACE, LENGTH)
    await mm.mmap(PLACE, LENGTH, flags=FIXED)


async def throw_away(loop: ClosedLoop, mm: MemoryMap) -> None:
    """The same with MADV_DONTNEED."""
    await mm.madvise(PLACE, LENGTH, Advice.MADV_DONTNEED)


async def protect(loop: ClosedLoop, mm: MemoryMap) -> None:
    """Forbid writing, and allow it again."""
    await mm.mprotect(PLACE, LENGTH, Prot.PROT_READ)
    await mm.mprotect(PLACE, LENGTH, Prot.PROT_READ | Prot.PROT_WRITE)


async def share(loop: ClosedLoop, mm: MemoryMap) -> None:
    """A child that ends at once."""
    await (await fork(mm)).exit()


async def move_to_device(loop: ClosedLoop, mm: MemoryMap) -> None:
    """Into the device's memory."""
    await loop.driver.migrate_to_device(1, PLACE, PLACE + LENGTH)


async def write_by_cpu(loop: ClosedLoop, mm: MemoryMap) -> None:
    """Other words of the pages, from where they are."""
    for page in range(PAGES):
        await cpu_write(mm, PLACE + page * PAGE_BYTES + 8, b"the CPU")


async def make_exclusive(loop: ClosedLoop, mm: MemoryMap) -> None:
    """The CPU, and whoever mirrors it, loses its access for a while."""
    async with mm.mmap_lock.read():
        try:
            await make_device_exclusive_range(mm, PLACE, PLACE + LENGTH, loop.driver)
        except HmmError as error:
            assert error.errno == "EFAULT"


KEEPING: list[Operation] = [protect, share, move_to_device, write_by_cpu, make_exclusive]
THROWING: list[Operation] = [unmap_and_map, throw_away]
TELLING: list[Operation] = [unmap_and_map, throw_away, protect, share, move_to_device, make_exclusive]
"""Operations that invalidate what the device has."""


class Gate:
    """Holds up whoever comes to a label first, until it is opened."""

    def __init__(self, loop: ClosedLoop, label: str) -> None:
        self.reached = loop.scheduler.event()
        self._open = loop.scheduler.event()
        self._loop = loop
        pause = loop.scheduler.pause

        async def gated(where: str) -> None:
            if where == label and not self.reached.is_set():
                self.reached.set()
                await self._open.wait()
            await pause(where)

        loop.scheduler.pause = gated  # type: ignore[method-assign,assignment]

    def race(self, other: Awaitable[None]) -> bool:
        """Let `other` run while somebody is held up, then let go; returns whether it was done by then."""
        self._loop.run(self.reached.wait())
        task = self._loop.start(_run(other), "racer")
        self._loop.run(self._loop.scheduler.sleep(STOPPED))
        done = task.done
        self._open.set()
        return done


async def _run(work: Awaitable[None]) -> None:
    await work


async def prepared(loop: ClosedLoop) -> MemoryMap:
    """A bound address space with pages that the CPU wrote."""
    mm = loop.space()
    await loop.driver.bind(1, mm)
    await mm.mmap(PLACE, LENGTH, flags=FIXED)
    for page in range(PAGES):
        await cpu_write(mm, PLACE + page * PAGE_BYTES, (100 + page).to_bytes(8, "little"))
    return mm


def machine(answer: AnswerPolicy, commit: CommitPolicy = CommitPolicy.STORE) -> ClosedLoop:
    """A machine whose device has memory."""
    options = DriverOptions(answer=answer, commit=commit, filter_window=300)
    return ClosedLoop(options=options, device_pages=True)


async def device_writes(loop: ClosedLoop) -> None:
    """The device writes a word of each page. Where that is refused the address space forbade it for a moment."""
    for page in range(PAGES):
        try:
            await loop.device.write(1, PLACE + page * PAGE_BYTES, 200 + page)
        except DeviceAbort:
            continue


async def values(mm: MemoryMap) -> list[int]:
    """The first word of each page, as the CPU sees it."""
    return [int.from_bytes(await cpu_read(mm, PLACE + page * PAGE_BYTES, 8), "little") for page in range(PAGES)]


@pytest.mark.parametrize("answer", AnswerPolicy)
@pytest.mark.parametrize("operation", [*KEEPING, *THROWING], ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("label", POPULATE)
def test_driver_steps_populate(label: str, operation: Operation, answer: AnswerPolicy) -> None:
    """
    Stimulus: a device write stops its driver behind one step of populate; an operation runs meanwhile, as far as it
    can. For the step of a page fault the pages were thrown away before.
    Checking: everybody ends; no page has a value that nobody wrote, none is lost but where pages are thrown away; all
    rules; the device reads what the CPU reads.
    Covers: PREEMPTION, RACE.
    """
    commit = list(CommitPolicy)[POPULATE.index(label) % 2]
    loop = machine(answer, commit)
    mm = loop.run(prepared(loop))
    zeros = operation in THROWING
    if label == "fault: begin":
        loop.run(throw_away(loop, mm))
        zeros = True
    gate = Gate(loop, label)
    loop.start(device_writes(loop), "client")
    gate.race(operation(loop, mm))
    loop.finish()
    found = loop.run(values(mm))
    for page, value in enumerate(found):
        assert value in {100 + page, 200 + page} | ({0} if zeros else set())
    assert [loop.run(loop.device.read(1, PLACE + page * PAGE_BYTES)) for page in range(PAGES)] == found
    loop.finish()


@pytest.mark.parametrize("answer", AnswerPolicy)
@pytest.mark.parametrize("operation", TELLING, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("label", INVALIDATE)
def test_driver_steps_invalidate(label: str, operation: Operation, answer: AnswerPolicy) -> None:
    """
    Stimulus: an operation stops behind one step of its invalidation; the device writes, and a CPU thread, meanwhile.
    Checking: as above; the device has no grant of a page behind the answer to the invalidation.
    Covers: PREEMPTION, RACE, I1, I2.
    """
    loop = machine(answer)
    mm = loop.run(prepared(loop))
    loop.run(device_writes(loop))

    async def both() -> None:
        async def by_cpu() -> None:
            try:
                await write_by_cpu(loop, mm)
            except CpuAccessError:
                return

        loop.start(by_cpu(), "cpu")
        for page in range(PAGES):
            try:
                await loop.device.write(1, PLACE + page * PAGE_BYTES + 16, 300 + page)
            except DeviceAbort:
                continue

    gate = Gate(loop, label)
    loop.start(_run(operation(loop, mm)), "operation")
    gate.race(both())
    loop.finish()
    found = loop.run(values(mm))
    for page, value in enumerate(found):
        assert value in {200 + page} | ({0} if operation in THROWING else set())
    assert [loop.run(loop.device.read(1, PLACE + page * PAGE_BYTES)) for page in range(PAGES)] == found
    loop.finish()


@pytest.mark.parametrize("label", ["hmm: range tracked", "hmm: walk next table", "driver: before lock"])
def test_driver_steps_an_invalidation_in_between_is_noticed(label: str) -> None:
    """
    Stimulus: pages are thrown away while populate stands between the range's tracking and its lock.
    Checking: the driver tries again, and does not commit what it was told before.
    Covers: PREEMPTION, I3.
    """
    loop = machine(AnswerPolicy.RESUME)
    mm = loop.run(prepared(loop))
    gate = Gate(loop, label)
    loop.start(device_writes(loop), "client")

    async def lose() -> None:
        # A page that is lost is not kept from going by the mmap lock.
        async with mm.invalidation(PLACE, PLACE + PAGE_BYTES, InvalidateEvent.CLEAR):
            pass

    assert gate.race(lose())
    loop.finish()
    assert loop.driver.counters.retries == 1


def test_driver_steps_all_are_passed_and_documented() -> None:
    """
    Stimulus: a service with a race, and an invalidation, on a machine that notes every pause; the table of steps.
    Checking: the steps come in the order of the lists; the document has these labels in this order and no other.
    Covers: PREEMPTION, DOCS.
    """
    loop = machine(AnswerPolicy.RESUME)
    mm = loop.run(prepared(loop))
    passed: list[str] = []
    pause = loop.scheduler.pause

    async def noting(label: str) -> None:
        passed.append(label)
        await pause(label)

    loop.scheduler.pause = noting  # type: ignore[method-assign]
    loop.run(loop.device.translate(1, PLACE + PAGE_BYTES, Access.READ))
    places = [passed.index(label) for label in POPULATE if label != "fault: begin"]
    assert places == sorted(places)
    passed.clear()
    loop.start(mm.madvise(PLACE, LENGTH, Advice.MADV_DONTNEED))
    loop.run(loop.scheduler.sleep(300))
    reached = [label for label in INVALIDATE if label in passed]
    assert reached == INVALIDATE[: INVALIDATE.index("driver: fence complete")], "the grant is open: no fence completes"
    text = (Path(__file__).parents[2] / "docs" / "host.md").read_text(encoding="utf-8")
    section = text.split("### Steps\n")[1].split("\n##")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("|")][2:]
    labels = [label for row in rows for label in row.replace("`", "").strip().split(", ")]
    assert labels == [*POPULATE[:-1], RACED, POPULATE[-1], *INVALIDATE]


@pytest.mark.parametrize("first", ["unbind", "exit"])
@pytest.mark.parametrize("delay", range(0, 60, 3))
def test_driver_steps_context_ends_twice(first: str, delay: int) -> None:
    """
    Stimulus: a context with a live page is unbound by two callers, or unbound while its address space ends, at every
    distance.
    Checking: one of two callers is told so, everybody ends, tables and pages are free; the PASID can be bound again.
    Covers: UNBIND, I18.
    """
    loop = machine(AnswerPolicy.RESUME)
    mm = loop.run(prepared(loop))
    loop.run(device_writes(loop))
    refused: list[str] = []

    async def unbind() -> None:
        try:
            await loop.driver.unbind(1)
        except UserError as error:
            refused.append(str(error))

    loop.start(unbind() if first == "unbind" else mm.exit(), "first")
    loop.run(loop.scheduler.sleep(delay))
    loop.start(unbind(), "second")
    loop.finish()
    assert first == "exit" or len(refused) == 1
    if first == "unbind":
        loop.run(mm.exit())
    assert not np.isin(loop.memory.owners, (Owner.ARRAY, Owner.DIRECTORY)).any()
    assert loop.frames.system.pages_in_use() == 1, "only the page of zeros is left"
    loop.run(loop.driver.bind(1, loop.space()))
    loop.finish()
