# SPDX-License-Identifier: Apache-2.0
"""A whole machine with one mistake in host model, driver or device: the invariant that it breaks is named.

Mistakes of drivers in a race are in test_driver_planted.py; here are those that one short scenario shows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import models.golden_device as golden_device
from models.arrays import PAGE_BYTES, Flags, Words
from models.driver import Driver
from models.driver.device_memory import DeviceMemory
from models.hmm import Advice, HmmError, InvalidateEvent, MapFlags, MemoryMap, cpu_write
from models.hmm.look import Seen, Viewer
from models.hmm.notifiers import IntervalNotifiers, MmuIntervalNotifier, MmuNotifierRange
from models.hmm.page_table import EntryKind, Span
from models.hmm.page_walk import PageWalk
from models.invariants import INVARIANTS
from models.memory_events import IntervalsEnded
from models.structures import Access
from models.tests.closed_loop import ClosedLoop
from models.tests.planted_drivers import ClearsTooMuch, ForgetsDirty, KeepsReleased
from models.witness import Witness

PLACE = 0x4000_0000
PAGES = 8
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
Scenario = Callable[[ClosedLoop], Coroutine[Any, Any, None]]
Plant = Callable[[pytest.MonkeyPatch], None]


async def filled(loop: ClosedLoop) -> MemoryMap:
    """A bound address space whose pages the CPU wrote, and the device read and wrote."""
    mm = loop.space()
    await loop.driver.bind(1, mm)
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, flags=FIXED)
    for page in range(PAGES // 2):
        await cpu_write(mm, PLACE + page * PAGE_BYTES, b"data")
        await loop.device.read(1, PLACE + page * PAGE_BYTES)
        await loop.device.write(1, PLACE + page * PAGE_BYTES, page)
    return mm


async def drop_and_write(loop: ClosedLoop) -> None:
    """A page is given up; its place gets another one."""
    mm = await filled(loop)
    await mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED)
    await cpu_write(mm, PLACE + 6 * PAGE_BYTES, b"takes the page that was given up")
    await cpu_write(mm, PLACE, b"new")


async def look_around(loop: ClosedLoop) -> None:
    """A look at pages that are there, that are not, that another device has, and at what is not mapped."""
    mm = await filled(loop)
    assert await DeviceMemory(loop.foreign).take(mm, PLACE + PAGE_BYTES, PLACE + 2 * PAGE_BYTES) == 1
    await Witness(mm).look(PLACE, PAGES + 1)
    await Witness(mm).look(PLACE + 2 * PAGE_BYTES, PAGES - 1)


async def unmap_under_a_grant(loop: ClosedLoop) -> None:
    """A client holds a grant while its page is unmapped."""
    mm = await filled(loop)
    grant = await loop.device.translate(1, PLACE, Access.WRITE)
    thread = loop.start(mm.munmap(PLACE, PAGE_BYTES))
    await loop.scheduler.sleep(200)
    loop.device.release(grant)
    while not thread.done:
        await loop.scheduler.pause("test: wait")


async def unmap_one_page(loop: ClosedLoop) -> None:
    """One page is unmapped, which had been there and written."""
    mm = await filled(loop)
    await mm.munmap(PLACE, PAGE_BYTES)


async def nested(loop: ClosedLoop) -> None:
    """An invalidation inside another one, and somebody who reads meanwhile."""
    mm = await filled(loop)
    witness = Witness(mm)
    async with mm.invalidation(PLACE, PLACE + PAGE_BYTES, InvalidateEvent.CLEAR):
        async with mm.invalidation(PLACE + PAGE_BYTES, PLACE + 2 * PAGE_BYTES, InvalidateEvent.CLEAR):
            thread = loop.start(witness.look(PLACE, PAGES))
            await loop.scheduler.sleep(20)
        await loop.scheduler.sleep(20)
    while not thread.done:
        await loop.scheduler.pause("test: wait")


async def ends(loop: ClosedLoop) -> None:
    """An address space ends."""
    mm = await filled(loop)
    await mm.exit()


def tells_nobody(patch: pytest.MonkeyPatch) -> None:
    """Pages are given up without a word to the notifiers."""

    @asynccontextmanager
    async def silent(mm: MemoryMap, *arguments: Any, **options: Any) -> AsyncIterator[None]:
        yield

    patch.setattr(MemoryMap, "invalidation", silent)


def shows_foreign_pages_as_errors(patch: pytest.MonkeyPatch) -> None:
    """What another device has is shown as ERROR, and brought back all the same."""
    look = Viewer.look

    def wrong(viewer: Viewer, span: Span) -> Seen:
        seen = look(viewer, span)
        if span.table is None or not viewer.dialect.by_owner:
            return seen
        foreign = (span.table.kind[span.part] == EntryKind.DEVICE_PRIVATE) & ~seen.device_private
        return replace(seen, words=np.where(foreign, np.uint64(viewer.words.error), seen.words))

    patch.setattr(Viewer, "look", wrong)


def faults_unasked(patch: pytest.MonkeyPatch) -> None:
    """A walk faults whatever is not there."""

    def needs(walk: PageWalk, requests: Any, seen: Seen) -> tuple[Flags, Flags]:
        return ~seen.valid & ~seen.refused, np.zeros(seen.valid.size, dtype=np.bool_)

    patch.setattr(PageWalk, "_needs", needs)


def shifts_pages(patch: pytest.MonkeyPatch) -> None:
    """All entries but the first have the pfn of the next page."""
    mapped = Viewer._mapped

    def wrong(viewer: Viewer, pfn: Words, *properties: Flags) -> Words:
        return mapped(viewer, pfn + (np.arange(pfn.size) > 0).astype(np.uint64), *properties)

    patch.setattr(Viewer, "_mapped", wrong)


def tells_orders_of_small_pages(patch: pytest.MonkeyPatch) -> None:
    """Every page is told to be part of 2 MiB."""
    mapped = Viewer._mapped

    def wrong(viewer: Viewer, pfn: Words, valid: Flags, *properties: Flags) -> Words:
        words = mapped(viewer, pfn, valid, *properties)
        return words | np.where(valid, np.uint64(viewer.words.order(9)), np.uint64(0))

    patch.setattr(Viewer, "_mapped", wrong)


def fences_wait_for_nobody(patch: pytest.MonkeyPatch) -> None:
    """The device completes fences at once."""
    fence = golden_device._Fence
    patch.setattr(golden_device, "_Fence", lambda address, value, grants, number: fence(address, value, set(), number))


def inner_end_is_the_end(patch: pytest.MonkeyPatch) -> None:
    """The sequence of the space is even as soon as any invalidation ends."""

    def end(intervals: IntervalNotifiers) -> None:
        intervals.active -= 1
        intervals.seq += intervals.seq % 2
        intervals._journal.add(IntervalsEnded(intervals._space, intervals.seq))
        intervals._ended.set()

    patch.setattr(IntervalNotifiers, "end", end)


def keeps_its_sequence(patch: pytest.MonkeyPatch) -> None:
    """A notifier does not take the sequence that it is told."""

    async def told(witness: Witness, notifier: MmuIntervalNotifier, update: MmuNotifierRange, cur_seq: int) -> bool:
        return True

    patch.setattr(Witness, "_told", told)


def reads_at_once(patch: pytest.MonkeyPatch) -> None:
    """Reading does not wait for the end of invalidations."""

    async def wait(intervals: IntervalNotifiers, seq: int) -> None:
        return None

    patch.setattr(IntervalNotifiers, "_wait_while", wait)


def nothing(patch: pytest.MonkeyPatch) -> None:
    """The mistake is the driver's."""


PLANTED: list[tuple[str, Scenario, Plant, type[Driver]]] = [
    ("I4", drop_and_write, tells_nobody, Driver),
    ("I8", look_around, shows_foreign_pages_as_errors, Driver),
    ("I9", look_around, faults_unasked, Driver),
    ("I10", look_around, shifts_pages, Driver),
    ("I11", look_around, tells_orders_of_small_pages, Driver),
    ("I14", unmap_under_a_grant, fences_wait_for_nobody, Driver),
    ("I15", unmap_one_page, nothing, ClearsTooMuch),
    ("I16", nested, inner_end_is_the_end, Driver),
    ("I16", nested, keeps_its_sequence, Driver),
    ("I17", nested, reads_at_once, Driver),
    ("I18", ends, nothing, KeepsReleased),
    ("I19", unmap_one_page, nothing, ForgetsDirty),
]


def found_in(scenario: Scenario, driver: type[Driver]) -> list[str]:
    """What the invariants find behind a scenario."""
    loop = ClosedLoop(driver=driver, device_pages=True, foreign_pages=True)
    loop.scheduler.step_limit = 20_000
    with suppress(HmmError):  # What a broken call of HMM raises is not what is looked for.
        loop.run(scenario(loop))
    return loop.findings(finished=False)


@pytest.mark.parametrize(("name", "scenario", "plant", "driver"), PLANTED)
def test_invariants_planted_mistake_is_named(
    name: str, scenario: Scenario, plant: Plant, driver: type[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Stimulus: one scenario without a mistake, then with one.
    Checking: nothing is found without it; with it the invariant is found by its name.
    Covers: PLANTED, INVARIANTS
    """
    assert found_in(scenario, Driver) == []
    plant(monkeypatch)
    found = found_in(scenario, driver)
    assert any(line.startswith(f"{name}: ") for line in found), found


def test_invariants_every_name_has_a_planted_mistake() -> None:
    """
    Stimulus: the registry; the names that mistakes here and in test_driver_planted.py break.
    Checking: none is missing.
    Covers: PLANTED, INVARIANTS
    """
    from models.tests.test_driver_planted import PLANTED as IN_RACES

    named = {row[0] for row in PLANTED} | {message.split(":")[0].removeprefix(r"\[") for _, _, message in IN_RACES}
    assert named >= INVARIANTS.keys(), INVARIANTS.keys() - named
