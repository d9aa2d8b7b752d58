# SPDX-License-Identifier: Apache-2.0
"""Scenarios that find defects of drivers: each runs with a driver and returns what is wrong, if anything.

A line begins with the rule, the exception, or the name of the check that found it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from models.arrays import PAGE_BYTES
from models.driver import AnswerPolicy, Driver, DriverOptions
from models.errors import UserError
from models.formats import format_by_name
from models.golden_device import DeviceAbort, GoldenSettings
from models.hmm import Advice, EntryKind, HmmError, MapFlags, MemoryMap, MmuNotifierRange, Prot, cpu_read, cpu_write
from models.hmm.fork import fork
from models.hmm.notifiers import InvalidateEvent, MmuIntervalNotifier
from models.host_scheduler import StuckError
from models.structures import Access
from models.tests.closed_loop import ClosedLoop
from models.tests.hmm_bench import HmmBench
from models.tests.race_scenario import RaceSettings, run_race

PLACE = 0x4000_0000
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
FOR_EVER = 1 << 40
Scenario = Callable[[type[Driver]], list[str]]


def complaints(loop: ClosedLoop, scenario: Coroutine[Any, Any, list[str]]) -> list[str]:
    """What a scenario says, what goes wrong in it, and what the rules find."""
    loop.scheduler.step_limit = 20_000
    try:
        said: list[str] = loop.run(scenario)
        loop.scheduler.run_all()
        finished = True
    except (StuckError, RuntimeError, KeyError, UserError, AssertionError) as error:
        said, finished = [f"{type(error).__name__}: {error}"], False
        loop.scheduler.abandon()
    return loop.findings(finished=finished) + said


def machine(driver: type[Driver], *, serves: bool = True, **options: Any) -> ClosedLoop:
    """A machine whose device has memory."""
    options.setdefault("deadline", 4000)
    return ClosedLoop(driver=driver, device_pages=True, serves=serves, options=DriverOptions(**options))


async def space_with(loop: ClosedLoop, pages: int) -> MemoryMap:
    """A bound address space with pages that the CPU wrote, page n with n + 1."""
    mm = loop.space()
    await loop.driver.bind(1, mm)
    await mm.mmap(PLACE, pages * PAGE_BYTES, flags=FIXED)
    for page in range(pages):
        await cpu_write(mm, PLACE + page * PAGE_BYTES, (page + 1).to_bytes(8, "little"))
    return mm


async def read(loop: ClosedLoop, page: int, expected: int) -> list[str]:
    """What is wrong with a read of the device."""
    try:
        value = await loop.device.read(1, PLACE + page * PAGE_BYTES)
    except DeviceAbort as abort:
        return [f"read: page {page} was refused: {abort.reason.name}"]
    return [] if value == expected else [f"read: page {page} has {value}, not {expected}"]


def races(driver: type[Driver]) -> list[str]:
    """The race scenario, seeds from 0 on, until something is found."""
    for seed in range(12):
        loop = ClosedLoop(
            seed=seed, driver=driver, device_pages=True, settings=GoldenSettings(fault_ring_log2=2, fault_slots=8)
        )
        loop.scheduler.step_limit = 20_000
        settings = RaceSettings(accesses=10, keeps=seed % 2 == 0, device_memory=True)
        try:
            found = run_race(loop, settings, seed)
        except (StuckError, RuntimeError, KeyError, UserError) as error:
            found = [*loop.findings(finished=False), f"{type(error).__name__}: {error}"]
            loop.scheduler.abandon()
        if found:
            return found
    return []


def array_of_an_invalidated_range(driver: type[Driver]) -> list[str]:
    """A range is tracked, and its pages are thrown away: the words are still those that the caller got."""
    bench = HmmBench()

    async def scenario() -> list[str]:
        await bench.begin()
        await bench.mm.mmap(PLACE, PAGE_BYTES, flags=FIXED)
        await cpu_write(bench.mm, PLACE, b"data")
        hmm_range = bench.range(format_by_name("hmm_2018_flags"), PLACE, 1)
        await bench.snapshot(hmm_range)
        word = int(hmm_range.pfns[0])
        await bench.mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED)
        return [] if int(hmm_range.pfns[0]) == word else [f"array: {word:#x} became {int(hmm_range.pfns[0]):#x}"]

    return list(bench.scheduler.run(scenario()))


def unmaps_while_unbinding(driver: type[Driver]) -> list[str]:
    """The device holds a grant; its context is unbound, then the page unmapped; both must wait for the grant."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        grant = await loop.device.translate(1, PLACE, Access.WRITE)
        loop.start(loop.driver.unbind(1), "unbind")
        await loop.scheduler.sleep(100)
        unmapping = loop.start(mm.munmap(PLACE, PAGE_BYTES), "munmap")
        await loop.scheduler.sleep(300)
        done = unmapping.done
        loop.device.release(grant)
        return ["unbind: a page went while the device held a grant of it"] if done else []

    return complaints(loop, scenario())


def invalidation_is_refused(driver: type[Driver]) -> list[str]:
    """A caller that may not wait is refused; afterwards the range can be asked for as before."""
    bench = HmmBench()
    intervals = bench.mm.intervals

    async def refuse(notifier: MmuIntervalNotifier, update: MmuNotifierRange, seq: int) -> bool:
        return False

    async def scenario() -> list[str]:
        notifier = MmuIntervalNotifier(PLACE, PLACE + PAGE_BYTES, refuse)
        intervals.insert(notifier)
        try:
            async with bench.mm.invalidation(PLACE, PLACE + PAGE_BYTES, InvalidateEvent.CLEAR, blockable=False):
                return ["refused: the invalidation went on"]
        except HmmError:
            pass
        second = MmuIntervalNotifier(PLACE, PLACE + PAGE_BYTES, refuse)
        intervals.insert(second)
        await intervals.read_begin(second)
        return [] if intervals.seq % 2 == 0 and not intervals.active else ["refused: the sequence stays odd"]

    try:
        return list(bench.scheduler.run(scenario()))
    except StuckError as error:
        bench.scheduler.abandon()
        return [f"StuckError: {error}"]


def holes_beside_pages(driver: type[Driver]) -> list[str]:
    """Two pages are read with one between them that nobody has: that one is neither faulted in nor granted."""
    loop = machine(driver, serves=False)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 4)
        await mm.madvise(PLACE + PAGE_BYTES, PAGE_BYTES, Advice.MADV_DONTNEED)
        clients = [loop.start(read(loop, page, page + 1), "client") for page in (0, 2)]
        await loop.scheduler.sleep(100)
        loop.scheduler.start(loop.driver.run(), "driver", daemon=True)
        while not all(client.done for client in clients):
            await loop.scheduler.sleep(10)
        more = mm.page_table.lookup(PLACE + PAGE_BYTES).kind is not EntryKind.NONE
        asked = ["asked: for a page too many"] if more else []
        return [line for client in clients for line in client.result] + asked

    return complaints(loop, scenario())


def reads_neighbours(driver: type[Driver]) -> list[str]:
    """Pages of one 2 MiB have each its own bytes, and nothing behind the range is granted."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        await space_with(loop, 3)
        return [line for page in range(3) for line in await read(loop, page, page + 1)]

    return complaints(loop, scenario())


def own_page_stays(driver: type[Driver]) -> list[str]:
    """The device reads and writes pages of its own memory in place."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 2)
        await loop.driver.migrate_to_device(1, PLACE, PLACE + 2 * PAGE_BYTES)
        said = await read(loop, 0, 1)
        await loop.device.write(1, PLACE + PAGE_BYTES, 9)
        away = [mm.page_table.lookup(PLACE + page * PAGE_BYTES).kind is not EntryKind.DEVICE_PRIVATE for page in (0, 1)]
        return said + [f"own: page {page} left the device's memory" for page in (0, 1) if away[page]]

    return complaints(loop, scenario())


def stale_fault(driver: type[Driver]) -> list[str]:
    """A page is unmapped and mapped again between its fault and the driver's look at the record."""
    loop = machine(driver, serves=False, answer=AnswerPolicy.AMDKFD)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        client = loop.start(read(loop, 0, 0), "client")
        await loop.scheduler.sleep(100)
        await mm.munmap(PLACE, PAGE_BYTES)
        await mm.mmap(PLACE, PAGE_BYTES, flags=FIXED)
        loop.scheduler.start(loop.driver.run(), "driver", daemon=True)
        while not client.done:
            await loop.scheduler.sleep(10)
        return list(client.result)

    return complaints(loop, scenario())


def fault_behind_a_race(driver: type[Driver]) -> list[str]:
    """A fault races with an invalidation; the filter's window never ends."""
    loop = machine(driver, answer=AnswerPolicy.AMDKFD, filter_window=FOR_EVER)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        async with mm.invalidation(PLACE, PLACE + PAGE_BYTES, InvalidateEvent.CLEAR):
            client = loop.start(read(loop, 0, 1), "client")
            await loop.scheduler.sleep(300)
        await loop.scheduler.sleep(1000)
        return list(client.result) if client.done else ["filter: a fault is not heard"]

    return complaints(loop, scenario())


def fault_behind_an_unmapping(driver: type[Driver]) -> list[str]:
    """A page is read, thrown away, and read again; the filter's window never ends."""
    loop = machine(driver, answer=AnswerPolicy.AMDKFD, filter_window=FOR_EVER)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        said = await read(loop, 0, 1)
        await mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED)
        client = loop.start(read(loop, 0, 0), "client")
        await loop.scheduler.sleep(1000)
        return said + (list(client.result) if client.done else ["filter: a fault is not heard"])

    return complaints(loop, scenario())


def read_only_area(driver: type[Driver]) -> list[str]:
    """A page of an area that may only be read is read, then written: the write is refused."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        await mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_READ)
        said = await read(loop, 0, 1)
        try:
            await loop.device.write(1, PLACE, 7)
        except DeviceAbort:
            return said
        return [*said, "write: a page that may only be read was written"]

    return complaints(loop, scenario())


def write_during_migration(driver: type[Driver]) -> list[str]:
    """The device writes a page until it moves: what it wrote comes along."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        grant = await loop.device.translate(1, PLACE, Access.WRITE)
        loop.start(loop.driver.migrate_to_device(1, PLACE, PLACE + PAGE_BYTES), "migration")
        await loop.scheduler.sleep(100)
        # The invalidation waits for this grant, so the page may be written still.
        loop.memory.write_words(grant.translation.address, [77], shadow=False)
        loop.device.release(grant)
        await loop.scheduler.sleep(300)
        found = int.from_bytes(await cpu_read(mm, PLACE, 8), "little")
        return [] if found == 77 else [f"lost: 77 was written, {found} moved"]

    return complaints(loop, scenario())


def written_page_is_reclaimed(driver: type[Driver]) -> list[str]:
    """What only the device wrote survives swap."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        await loop.device.write(1, PLACE, 77)
        await mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_PAGEOUT)
        return await read(loop, 0, 77)

    return complaints(loop, scenario())


def page_comes_back(driver: type[Driver]) -> list[str]:
    """Pages come back from the device while others move there."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 4)
        said = []
        for _ in range(3):
            await loop.driver.migrate_to_device(1, PLACE, PLACE + 4 * PAGE_BYTES)
            other = loop.start(loop.driver.migrate_to_device(1, PLACE, PLACE + 2 * PAGE_BYTES), "migration")
            for page in range(4):
                value = int.from_bytes(await cpu_read(mm, PLACE + page * PAGE_BYTES, 8), "little")
                said += [] if value == page + 1 else [f"back: page {page} came back as {value}"]
            while not other.done:
                await loop.scheduler.sleep(10)
        return said

    return complaints(loop, scenario())


def context_goes_while_unmapping(driver: type[Driver]) -> list[str]:
    """A page is unmapped when the device has let go of the context, but its mirror is registered still."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        said = await read(loop, 0, 1)
        grant = await loop.device.translate(1, PLACE, Access.READ)
        loop.start(loop.driver.unbind(1), "unbind")
        await loop.scheduler.sleep(100)
        loop.start(mm.munmap(PLACE, PAGE_BYTES), "munmap")
        await loop.scheduler.sleep(100)
        loop.device.release(grant)
        await loop.scheduler.sleep(300)
        return said

    return complaints(loop, scenario())


def array_becomes_empty(driver: type[Driver]) -> list[str]:
    """The last page of an array is unmapped, then the context is unbound."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        said = await read(loop, 0, 1)
        await mm.munmap(PLACE, PAGE_BYTES)
        await loop.driver.unbind(1)
        return said

    return complaints(loop, scenario())


def one_of_many_fails(driver: type[Driver]) -> list[str]:
    """A page without memory stands among faults that can be served: those are, and it is refused."""
    loop = machine(driver, serves=False)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 4)
        loop.frames.system.poison(mm.page_table.lookup(PLACE).pfn)
        mm.page_table.set(PLACE, EntryKind.HWPOISON, mm.page_table.lookup(PLACE).pfn)
        clients = [loop.start(read(loop, page, page + 1), "client") for page in range(4)]
        await loop.scheduler.sleep(100)
        loop.scheduler.start(loop.driver.run(), "driver", daemon=True)
        while not all(client.done for client in clients):
            await loop.scheduler.sleep(10)
        refused = [] if clients[0].result else ["failure: a lost page was granted"]
        return [line for client in clients[1:] for line in client.result] + refused

    return complaints(loop, scenario())


def fault_that_invalidates(driver: type[Driver]) -> list[str]:
    """A write to a page that a child has too: the copy invalidates what the device reads."""
    loop = machine(driver)

    async def scenario() -> list[str]:
        mm = await space_with(loop, 1)
        child = await fork(mm)
        said = await read(loop, 0, 1)
        await loop.device.write(1, PLACE, 5)
        await child.exit()
        return said + await read(loop, 0, 5)

    return complaints(loop, scenario())
