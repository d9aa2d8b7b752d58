# SPDX-License-Identifier: Apache-2.0
"""Drivers with one mistake each, on the RTL: the race of requests with changes of the address space finds them."""

from __future__ import annotations

import re
from contextlib import suppress

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES
from models.driver import Driver
from models.hmm import Advice, HmmError, MemoryMap, Prot
from models.structures import Access, Reason
from models.tests.page_kinds import PASID, PRIVATE
from models.tests.planted_drivers import (
    AnswersBeforeCommit,
    ClearsTooMuch,
    CommitsUnchecked,
    ForgetsDirty,
    ForgetsNone,
    InvalidatesWithoutFence,
    KeepsReleased,
    ReplaysCancelled,
    WrongRangeEnd,
)
from models.witness import Witness
from tb.host_script import make_requests
from tb.tests.driver_machine import RtlMachine

PAGES = 12
START = 0x4000_0000 - 6 * PAGE_BYTES
"""Half of the pages lie before a 2 MiB boundary, half behind it."""
BOUTS = 40
REQUESTS, DISTURBANCES = 40, 4
"""In each bout."""
PAGE = r"0x[0-9a-f]+000"
STILL_GRANTS = (
    rf"I1: the slot of {PAGE} of PASID 1 still grants access after the invalidation of \[{PAGE}, {PAGE}\) was answered"
)
PLANTED: dict[type[Driver], str] = {
    CommitsUnchecked: (
        rf"I3: \[{PAGE}, {PAGE}\) of PASID 1 was committed although it was invalidated since it was asked for"
    ),
    AnswersBeforeCommit: r"I7: the fault 0x[0-9a-f]+ at 0x[0-9a-f]+ was replayed before its slot grants access",
    InvalidatesWithoutFence: (
        rf"I1: pfn 0x[0-9a-f]+ at {PAGE} of PASID 1 was in use in cycles \d+ to \d+, "
        "after its invalidation was answered"
    ),
    WrongRangeEnd: STILL_GRANTS,
    ForgetsNone: STILL_GRANTS,
    ClearsTooMuch: rf"I15: the slot of {PAGE} of PASID 1 lost its page to the invalidation of \[{PAGE}, {PAGE}\)",
    ForgetsDirty: rf"I19: the slot of {PAGE} of PASID 1 granted writing to pfn 0x[0-9a-f]+, which was not marked dirty",
    ReplaysCancelled: r"I13: the fault 0x[0-9a-f]+ was answered 2 times",
}
"""The mistakes, and in which words each must be found."""
NAMES = {driver.__name__: driver for driver in PLANTED}


class PlantedRace:
    """A machine with a driver, bouts of requests and changes, and what is found after each."""

    def __init__(self, dut: SimHandleBase, driver: type[Driver]) -> None:
        self.machine = RtlMachine(dut, 7, driver=driver)
        self.rng = np.random.default_rng(7)
        self.witness: Witness | None = None

    async def start(self) -> MemoryMap:
        """Everything is on, and the driver serves even behind an error of its own."""
        await self.machine.start(serves=False)
        mm = self.machine.space()
        await self.machine.driver.bind(PASID, mm)
        await mm.mmap(START, PAGES * PAGE_BYTES, flags=PRIVATE)
        cocotb.start_soon(self._serve())
        return mm

    async def bout(self, mm: MemoryMap) -> list[str]:
        """Requests and changes; returns what is wrong by now."""
        rng, machine = self.rng, self.machine
        witness = self.witness = self.witness or Witness(mm)
        machine.device.ask(
            make_requests(
                START + rng.integers(0, PAGES, REQUESTS) * PAGE_BYTES + 8 * rng.integers(0, 512, REQUESTS),
                PASID,
                rng.integers(0, Access.PREFETCH, REQUESTS),
                pause=rng.integers(0, 80, REQUESTS),
                hold=rng.integers(0, 60, REQUESTS) * rng.choice([1, 1, 1, 20], REQUESTS),
            )
        )
        for _ in range(DISTURBANCES):
            with suppress(HmmError):
                await self._disturb(mm)
            await witness.look(START - PAGE_BYTES, PAGES + 2)
            await machine.device.cycles(int(rng.integers(500)))
        return machine.findings(PASID, finished=False)

    async def _disturb(self, mm: MemoryMap) -> None:
        rng = self.rng
        first = int(rng.integers(PAGES))
        start, length = START + first * PAGE_BYTES, (1 + int(rng.integers(PAGES - first))) * PAGE_BYTES
        match int(rng.integers(3)):
            case 0:
                await mm.munmap(start, length)
                await mm.mmap(start, length, flags=PRIVATE)
            case 1:
                await mm.mprotect(start, length, Prot.PROT_READ)
                await self.machine.device.cycles(int(rng.integers(200)))
                await mm.mprotect(start, length, Prot.PROT_READ | Prot.PROT_WRITE)
            case _:
                await mm.madvise(start, length, Advice.MADV_DONTNEED)

    async def _serve(self) -> None:
        while True:
            with suppress(RuntimeError):
                await self.machine.driver.run()


@cocotb.test()
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in NAMES])
async def test_planted_mistake_is_found(dut: SimHandleBase, name: str) -> None:
    """
    Stimulus: bouts of 40 requests against changes of the address space, with a driver that has one mistake, until
    something is found.
    Checking: it is found, and a line says what the mistake is, word by word.
    Covers: PLANTED, I1, I3, I7, I13, I15, I19
    """
    race = PlantedRace(dut, NAMES[name])
    mm = await race.start()
    for number in range(BOUTS):
        found = await race.bout(mm)
        if found:
            cocotb.log.info("bout %d: %s", number, found[0])
            assert any(re.match(PLANTED[NAMES[name]], line) for line in found), found[0]
            return
    raise AssertionError(f"{name} was not found in {BOUTS} bouts")


@cocotb.test()
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in ("Driver", "KeepsReleased")])
async def test_planted_release(dut: SimHandleBase, name: str) -> None:
    """
    Stimulus: an address space ends, and the device asks once more; with the right driver, and with one that does not
    let go.
    Checking: with that one I18 is named, by the slots and by the translation in the log; else nothing is found.
    Covers: PLANTED, I18
    """
    keeps = name == "KeepsReleased"
    machine = RtlMachine(dut, 3, driver=KeepsReleased if keeps else Driver)
    await machine.start()
    mm = machine.space()
    await machine.driver.bind(PASID, mm)
    await mm.mmap(START, PAGES * PAGE_BYTES, flags=PRIVATE)
    assert (await machine.ask(PASID, START, Access.WRITE)).writable
    await mm.exit()
    # The page is free by now: nothing is moved under the grant.
    seen = await machine.ask(PASID, START, Access.WRITE)
    found = machine.findings(finished=False)
    if not keeps:
        assert seen.reason is Reason.NO_CONTEXT and not found, found
        return
    assert seen.reason is Reason.NONE
    assert any(re.match(rf"I18: the slot of {PAGE} of PASID 1 still grants access", line) for line in found), found
    assert any(re.match(rf"I18: {PAGE} of PASID 1 was translated in cycle \d+, after the", line) for line in found), (
        found
    )


@cocotb.test()
async def test_planted_nothing(dut: SimHandleBase) -> None:
    """
    Stimulus: all the bouts with the right driver.
    Checking: nothing is found, and the driver had much to do of every kind.
    Covers: PLANTED
    """
    race = PlantedRace(dut, Driver)
    mm = await race.start()
    for _ in range(BOUTS // 2):
        found = await race.bout(mm)
        assert not found, found[0]
    counters = race.machine.driver.counters
    assert min(counters.replays, counters.cancels, counters.retries, counters.invalidations) > 5, f"{counters}"
