# SPDX-License-Identifier: Apache-2.0
"""Storms of faults through rings of one and two records, with a host that takes its time: none is lost."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.registers import Register
from models.structures import Reason
from tb.case import MemorySettings
from tb.records import EventKind
from tb.tests.fault_bench import WORDS, FaultBench
from tb.tests.fault_storm import COMMAND_LOG2, GROUP_PAGES, GROUPS, Storm
from tb.tests.small_case import FIRST_PFN, PAGE_BYTES

LONG, SHORT = 10_000, 1_000
"""Faults that must come at least."""


async def storm(dut: SimHandleBase, ring_log2: int, faults: int) -> None:
    """One storm, and everything that can be counted of it."""
    bench = FaultBench(dut, "storm", fault_log2=ring_log2, command_log2=COMMAND_LOG2)
    for page in range(GROUPS * GROUP_PAGES):
        bench.set_entry(page, WORDS[Reason.NOT_PRESENT])
    await bench.start(MemorySettings(read_latency=(0, 2), write_latency=(0, 12)), seed=ring_log2 + 1)
    run = Storm(bench, ring_log2, faults * 2 // 5, ring_log2 + 1)
    await run.run()
    responses = (await bench.device.answered(run.places)).copy()
    await bench.quiet()
    full = await bench.causes() & registers.INTERRUPT_CAUSE_FAULT_FULL.mask
    counters = await bench.counters()
    walks = await bench.device.read_register(Register.COUNTER_WALKS)
    events = await bench.finish()
    model = run.model
    cocotb.log.info("cycles %d, %d faults, %s, %s", bench.port.now(), model.produced, dict(run.kinds), counters)

    assert model.produced >= faults, f"only {model.produced} faults came; ask for more"
    assert model.produced == counters["records"] + counters["merged"], f"{model.produced} faults, {counters}"
    logged = events["extra"][events["kind"] == EventKind.FAULT_RECORD].tolist()
    assert counters["records"] == len(run.taken)
    assert logged == [record.tag for record in run.taken], "records were not taken in the order of their writes"
    assert len(set(logged)) == len(logged), "a tag was recorded twice"
    assert counters["ignored"] == counters["unrecorded"] == 0, f"{counters}"
    assert full, "the ring was never full"
    assert walks >= model.produced

    ends_well = np.array([model.outcomes[place] for place in range(len(run.places))])
    assert bool((responses["status"] == np.where(ends_well, 0, 1)).all())
    assert bool((responses["reason"] == np.where(ends_well, Reason.NONE, Reason.NOT_PRESENT)).all())
    pages = np.array(model.pages, dtype=np.uint64)
    expected = np.where(ends_well, (np.uint64(FIRST_PFN) + np.uint64(2) * pages) * np.uint64(PAGE_BYTES), np.uint64(0))
    assert bool((responses["pa"] == expected).all())
    answered = np.isin(events["kind"], [EventKind.TRANSLATION, EventKind.FAULT])
    assert int(answered.sum()) == len(run.places), "a request was answered twice"
    assert min(run.kinds[kind] for kind in ("replay all", "cancel range", "replay", "cancel", "repair")) > 5


@cocotb.test()
@cocotb.parametrize(ring_log2=[0, 1])
async def test_storm_long(dut: SimHandleBase, ring_log2: int) -> None:
    """
    Stimulus: 10,000 faults through a ring of one, or two, records: requests of three accesses for missing pages, held
    up at the port when all places wait; a slow host replays, cancels, repairs, by tag, by range, all, or later.
    Checking: the faults that a model counts from requests and answers alone are those recorded and those merged, by the
    device's counters; records counted, logged and taken are the same, in order, none twice; every request has the one
    answer that the model says; the ring was full; no answer found nobody.
    Covers: FAULT-STORM, FAULT-RING-FULL, FAULT-RING-ONE, FAULT-MERGE
    """
    await storm(dut, ring_log2, LONG)


@cocotb.test()
@cocotb.parametrize(ring_log2=[0, 1])
async def test_storm_short(dut: SimHandleBase, ring_log2: int) -> None:
    """
    Stimulus: as test_storm_long, 1,000 faults, for the build with assertions.
    Checking: as there.
    Covers: FAULT-STORM
    """
    await storm(dut, ring_log2, SHORT)
