# SPDX-License-Identifier: Apache-2.0
"""A machine whose device is the RTL, with one recorded program on it: everything that a replay needs, and its verdict.

Source: docs/programs.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.device_tables import DeviceTables
from models.driver import Driver, DriverOptions
from models.entries import none_word
from models.formats import EntryFormat
from models.hmm import DevicePagemap, Frames, MemoryMap
from models.pages import Window
from models.physical_memory import PhysicalMemory
from models.program_replay import Pressure, Replay, ReplayPlan, find_mismatches
from models.registers import Register
from models.table_watch import TableWatch
from tb.case import MemorySettings
from tb.engine_port import EnginePort
from tb.environment import hash_events
from tb.invariants import RtlRun, check_run
from tb.live_device import LiveDevice
from tb.program_lanes import RtlLanes
from tb.rtl_device_port import PortSettings, RtlDevicePort, random_delays

PASID = 1
CONTEXTS = 8
DEVICE_PAGES = 512
SMALLEST_MEMORY = 1 << 26
LONGEST_DELAY = 24
"""Cycles that host code is held up at most wherever a kernel could be preempted."""
DEADLINE = 1 << 40
"""Nothing is given up: a fault that is never served shows as a program that stands still."""
WATCHDOG_CYCLES = 200_000
RINGS = PortSettings(command_log2=4, fault_log2=4)
ENGINE_LOG2 = 7
MEMORY = MemorySettings(read_latency=(1, 8), write_latency=(1, 8), ar_pause=1, r_pause=1, aw_pause=1, w_pause=1)
COUNTERS = (
    Register.COUNTER_REQUESTS,
    Register.COUNTER_HITS,
    Register.COUNTER_SHARED_HITS,
    Register.COUNTER_WALKS,
    Register.COUNTER_WALK_READS,
    Register.COUNTER_ABORTED,
    Register.COUNTER_INVALIDATIONS,
    Register.COUNTER_FENCES,
    Register.COUNTER_DROPPED_WALKS,
    Register.COUNTER_RECORDS,
    Register.COUNTER_MERGED,
    Register.COUNTER_REPLAYS,
    Register.COUNTER_IGNORED,
)


@dataclass(frozen=True)
class ProgramSettings:
    """`seed` of everything that is drawn; `every`: about one disturbance in so many pieces, 0 none."""

    seed: int
    fmt: EntryFormat
    every: int


def memory_size(pages: int) -> int:
    """Bytes of system memory for a program of that many pages, wherever they lie; what is not used costs nothing."""
    needed = 16 * pages * PAGE_BYTES
    size = SMALLEST_MEMORY
    while size < needed:
        size *= 2
    return size


class ProgramMachine:
    """One for a cocotb test. `driver` may be a subclass, to plant a mistake; so may `lanes` and `replay`."""

    def __init__(
        self,
        dut: SimHandleBase,
        plan: ReplayPlan,
        settings: ProgramSettings,
        *,
        driver: type[Driver] = Driver,
        lanes: type[RtlLanes] = RtlLanes,
        replay: type[Replay] = Replay,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Errors: UserError if the driver cannot use the format."""
        self.plan = plan
        self.settings = settings
        self._rng = np.random.default_rng([settings.seed, 1])
        self.memory = PhysicalMemory(memory_size(plan.pages.size))
        self.device_memory = PhysicalMemory(DEVICE_PAGES << PAGE_SHIFT)
        self.frames = Frames(self.memory)
        # Its pages get the first pfns that no system page has.
        self.window = Window(self.memory.size >> PAGE_SHIFT, DEVICE_PAGES)
        pagemap = DevicePagemap(self.device_memory, self.window)
        self.frames.add_pagemap(pagemap)
        fmt = settings.fmt
        self.tables = DeviceTables(self.memory, context_count=CONTEXTS, none_word=none_word(fmt))
        self.device = LiveDevice(dut)
        self.device.memory = self.memory
        self.port = RtlDevicePort(self.device, RINGS, delay=random_delays(settings.seed, LONGEST_DELAY))
        self.engine = EnginePort(self.device, log2=ENGINE_LOG2)
        self.journal = self.port.journal()
        self.options = DriverOptions(deadline=DEADLINE)
        self.driver = driver(self.port, self.tables, fmt, options=self.options, journal=self.journal, pagemap=pagemap)
        self.port.watch = TableWatch(self.journal, self.tables, fmt, self.window, self._space_of)
        self.mm = MemoryMap(self.port, self.frames, self.journal)
        self.pressure: Pressure | None = None
        if settings.every:
            self.pressure = Pressure(self.driver, PASID, self.mm, plan.pages, self._rng, every=settings.every)
        self.lanes = lanes(self.device, self.engine, plan, PASID, self._rng)
        self.replay = replay(plan, self.mm, self.lanes, pressure=self.pressure, progress=progress)

    async def run(self) -> dict[str, Any]:
        """The whole program, from reset; returns the verdict (see verdict()). Errors: as LiveDevice.finish()."""
        await self.device.start(
            self.memory,
            MEMORY,
            device_memory=self.device_memory,
            seed=self.settings.seed,
            most_requests=self.plan.pieces.size,
            watchdog_cycles=WATCHDOG_CYCLES,
        )
        await self.port.enable(
            self.settings.fmt, context_base=self.tables.context_base, context_count=CONTEXTS, window=self.window
        )
        await self.engine.enable()
        await self.driver.bind(PASID, self.mm)
        await self.replay.load()
        cocotb.start_soon(self.driver.run())
        self.lanes.start()
        disturbing = cocotb.start_soon(self.pressure.run()) if self.pressure is not None else None
        await self.replay.run()
        if disturbing is not None:
            await disturbing
        self.lanes.stop()
        self.driver.stop()
        await self.device.cycles(2 * self.options.poll)
        cycles = self.device.now()
        await self.device.write_register(Register.COUNTER_LATCH, 1)
        counters = {register.name: await self.device.read_register(register) for register in COUNTERS}
        events = await self.device.finish()
        return {**self.verdict(counters, cycles), "event_hash": hash_events(events), "events": len(events)}

    def verdict(self, counters: dict[str, int], cycles: int) -> dict[str, Any]:
        """What was done, and what is wrong: `mismatches` with the first of them, `broken` rules and counts."""
        wrong, mismatches = find_mismatches(self.plan, self.lanes.results)
        recording, did = self.plan.recording, self.driver.counters
        disturbed = self.pressure.counters if self.pressure is not None else None
        return {
            "accesses_raw": recording.raw_accesses,
            "accesses": recording.accesses,
            "pieces": int(self.plan.pieces.size),
            "calls": self.replay.calls_made,
            "refused_accesses": self.plan.refused_accesses,
            "cycles": cycles,
            "counters": counters,
            "fault_reasons": {reason.name: count for reason, count in sorted(did.reasons.items())},
            "driver": {name: value for name, value in vars(did).items() if name != "reasons"},
            "pressure": vars(disturbed) if disturbed is not None else {},
            "mismatches": wrong,
            "mismatch_lines": [{"cycle": mismatch.cycle, "text": mismatch.text} for mismatch in mismatches],
            "broken": self.broken_rules(counters),
        }

    def broken_rules(self, counters: dict[str, int]) -> list[str]:
        """Rules of the journal that do not hold, and counts of device and driver that disagree."""
        did = self.driver.counters
        assert self.port.watch is not None
        self.port.watch.compare_all()
        run = RtlRun(self.journal, self.device.log(), self.window)
        found = check_run(run, deadline=self.options.deadline, promises=self.options.answer.promises)
        pairs = {
            "fault records": (counters[Register.COUNTER_RECORDS.name], did.records),
            "I13: answers that found nobody": (counters[Register.COUNTER_IGNORED.name], 0),
            "I13: answers": (did.replays + did.cancels, did.records - did.reports - did.stale_records),
            "calls": (self.replay.calls_made, len(self.plan.calls)),
        }
        found += [f"{what}: {came}, expected {wanted}" for what, (came, wanted) in pairs.items() if came != wanted]
        return found

    def _space_of(self, pasid: int) -> MemoryMap | None:
        context = self.driver.contexts.get(pasid)
        return context.mm if context is not None else None
