# SPDX-License-Identifier: Apache-2.0
"""The driver on the RTL: a page of every kind, pages that move while the device asks, a context that goes away."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES
from models.hmm import HmmError, cpu_read, cpu_write
from models.hmm.page_table import EntryKind
from models.structures import Access, Reason
from models.tests.page_kinds import KINDS, PASID, PLACE, PRIVATE, Seen, run_kind
from tb.host_script import make_requests
from tb.records import EventKind
from tb.tests.driver_machine import RtlMachine

PAGES = 8
REQUESTS = 200
ROUNDS = 24


@cocotb.test()
@cocotb.parametrize(kind=[cocotb.Param(kind, kind) for kind in KINDS])
async def test_page_kind(dut: SimHandleBase, kind: str) -> None:
    """
    Stimulus: the CPU brings a page into its state, the device asks for it through the driver, the CPU changes it, the
    device asks again: the scenarios that the golden device plays in plain pytest.
    Checking: address, memory, permission and data against the CPU's page table; refusals; the rules; nothing left.
    Covers: PAGE-KINDS, DEVICE-WINDOW, MIGRATION, FOREIGN, HMM-COW
    """
    machine = RtlMachine(dut, 1)
    await machine.start()
    await run_kind(machine, kind)
    await machine.finish()


@cocotb.test()
async def test_pages_move_while_the_device_asks(dut: SimHandleBase) -> None:
    """
    Stimulus: 200 drawn requests with holds; meanwhile pages move into the device's memory, and come back because the
    CPU reads or writes them.
    Checking: every answer is a page that was committed and not yet invalidated, in the right memory; answers from both
    memories come; rules; the CPU finds its bytes; what is left in device memory at the end is what the page table says.
    Covers: MIGRATION, DEVICE-WINDOW, LOOP-RACE, INV-I1
    """
    machine = RtlMachine(dut, 5)
    await machine.start()
    rng = np.random.default_rng(5)
    mm = machine.space()
    await machine.driver.bind(PASID, mm)
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, flags=PRIVATE)
    for page in range(PAGES):
        await cpu_write(mm, PLACE + page * PAGE_BYTES, bytes([page + 1]))
    places = machine.device.ask(
        make_requests(
            PLACE + rng.integers(0, PAGES, REQUESTS) * PAGE_BYTES + 8 * rng.integers(0, 512, REQUESTS),
            PASID,
            rng.integers(0, Access.PREFETCH, REQUESTS),
            pause=rng.integers(0, 150, REQUESTS),
            hold=rng.integers(0, 80, REQUESTS),
        )
    )
    moved = 0
    for number in range(ROUNDS):
        first = int(rng.integers(PAGES))
        start, end = PLACE + first * PAGE_BYTES, PLACE + (first + 1 + int(rng.integers(PAGES - first))) * PAGE_BYTES
        try:
            moved += await machine.driver.migrate_to_device(PASID, start, end)
        except HmmError as error:
            assert error.errno in ("EFAULT", "EINVAL")
        await machine.device.cycles(int(rng.integers(900)))
        page = int(rng.integers(PAGES))
        assert await cpu_read(mm, PLACE + page * PAGE_BYTES, 1) == bytes([page + 1])
        if number % 3 == 0:
            await cpu_write(mm, PLACE + page * PAGE_BYTES, bytes([page + 1]))
    responses = (await machine.device.answered(places)).copy()
    assert not responses["status"].any()
    assert moved > ROUNDS
    assert np.bincount(responses["memory"], minlength=2).min() > REQUESTS // 10
    await machine.finish(pasid=PASID)
    assert machine.pagemap.pool.pages_in_use() == mm.page_table.count(EntryKind.DEVICE_PRIVATE)


@cocotb.test()
async def test_unbind_while_faults_wait(dut: SimHandleBase) -> None:
    """
    Stimulus: five requests of one context and one of another wait for a driver that does not serve yet; the first
    context is unbound; the driver begins to serve; the PASID is bound again, to another address space.
    Checking: the five end with NO_CONTEXT and their records are not served; the other is; the new space's page is its
    own; unbinding waits for no fault.
    Covers: FAULT-UNBIND, DRIVER-BIND, LOOP-SERVE
    """
    machine = RtlMachine(dut, 2)
    await machine.start(serves=False)
    gone, other = machine.space(), machine.space()
    for pasid, mm in ((PASID, gone), (PASID + 1, other)):
        await machine.driver.bind(pasid, mm)
        await mm.mmap(PLACE, PAGES * PAGE_BYTES, flags=PRIVATE)
    places = [machine.ask_later(PASID, PLACE + page * PAGE_BYTES, Access.WRITE) for page in range(5)]
    stays = machine.ask_later(PASID + 1, PLACE, Access.WRITE)
    await machine.device.cycles(1000)
    assert not any(machine.device.is_answered(place) for place in [*places, stays])
    await machine.driver.unbind(PASID)
    assert [await machine.answered(place) for place in places] == [Seen(Reason.NO_CONTEXT)] * 5
    cocotb.start_soon(machine.driver.run())
    seen = await machine.answered(stays)
    assert seen.pfn == other.page_table.lookup(PLACE).pfn
    assert (await machine.ask(PASID, PLACE, Access.READ)).reason is Reason.NO_CONTEXT
    fresh = machine.space()
    await machine.driver.bind(PASID, fresh)
    await fresh.mmap(PLACE, PAGE_BYTES, flags=PRIVATE)
    again = await machine.ask(PASID, PLACE, Access.WRITE)
    assert again.pfn == fresh.page_table.lookup(PLACE).pfn != seen.pfn
    await machine.finish()
    counters = machine.driver.counters
    assert counters.stale_records == 5 and counters.reports == 1
    recorded = machine.device.log()["kind"] == EventKind.FAULT_RECORD
    assert int(recorded.sum()) == counters.records
