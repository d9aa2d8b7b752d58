# SPDX-License-Identifier: Apache-2.0
"""The cocotb module that lets one fault happen to the RTL, with the driver of the models, and writes its life down.

Every step has its cycles from the event log, from the record of the request, or, for what only the host knows, from the
driver's journal. The file life.json in $HMM_OUT holds what Life.as_data() gives.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES
from models.device_tables import DeviceTables
from models.driver import Driver, Work
from models.entries import none_word
from models.fault_records import FaultRecord
from models.formats import format_by_name
from models.hmm import Frames, MapFlags, MemoryMap, cpu_write
from models.host_events import CommitBegun, CommitEnded
from models.physical_memory import PhysicalMemory
from models.registers import Register
from models.structures import Access, Opcode
from tb.case import MemorySettings
from tb.host_script import make_requests
from tb.live_device import LiveDevice
from tb.records import ActionKind, EventKind, Events
from tb.rtl_device_port import RtlDevicePort

LIFE_FILE = "life.json"
PLACE = 0x4000_0000
PASID = 1
FAULTING_PAGE = 2
HOLD_CYCLES = 40
PREEMPTED_CYCLES = 12
"""Cycles that host code is held up wherever a kernel could be preempted."""
BUS = MemorySettings(read_latency=(8, 8), write_latency=(8, 8))


@dataclass(frozen=True)
class Step:
    """Something that took from cycle `begin` to `end`, counted from the cycle in which the request was accepted."""

    lane: str
    name: str
    begin: int
    end: int


@dataclass
class Life:
    """One fault from its request to its release. `facts`: numbers worth telling, as text by name."""

    steps: list[Step] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {"steps": [asdict(step) for step in self.steps], "facts": self.facts}

    @staticmethod
    def of_data(data: dict[str, Any]) -> Life:
        """The inverse of as_data()."""
        return Life([Step(**step) for step in data["steps"]], dict(data["facts"]))


class NotingDriver(Driver):
    """A driver that notes when it had a record, when it asked HMM, and what came."""

    taken: int = 0
    asked: tuple[int, int] = (0, 0)
    word: int = 0
    record: FaultRecord | None = None

    async def service(self, records: Sequence[FaultRecord]) -> None:
        """Since when."""
        self.taken = self.port.now()
        await super().service(records)

    async def ask(self, work: Work) -> None:
        """From when to when."""
        begin = self.port.now()
        await super().ask(work)
        self.asked = begin, self.port.now()
        self.record = work.faults[0].records[0]
        self.word = int(work.hmm_range.pfns[0])


@cocotb.test()
async def fault_life(dut: SimHandleBase) -> None:
    """
    Stimulus: a process whose pages the CPU wrote; the device writes to one of them, which makes the driver build its
    tables, then to another: that fault is looked at.
    Checking: both are answered with the page that the CPU has; every step of the second is found, in this order.
    Covers: LOOP-SERVE, FAULT-LIFE
    """
    memory = PhysicalMemory(1 << 23)
    fmt = format_by_name("hmm_2018_flags")
    tables = DeviceTables(memory, context_count=8, none_word=none_word(fmt))
    device = LiveDevice(dut)
    device.memory = memory
    port = RtlDevicePort(device, delay=lambda label: PREEMPTED_CYCLES)
    journal = port.journal()
    frames = Frames(memory)
    driver = NotingDriver(port, tables, fmt, journal=journal)
    mm = MemoryMap(port, frames, journal)
    await device.start(memory, BUS)
    await port.enable(fmt, context_base=tables.context_base, context_count=8)
    await driver.bind(PASID, mm)
    await mm.mmap(PLACE, 4 * PAGE_BYTES, flags=MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED)
    await cpu_write(mm, PLACE, bytes(4 * PAGE_BYTES))
    cocotb.start_soon(driver.run())
    for page in (0, FAULTING_PAGE):
        va = PLACE + page * PAGE_BYTES + 0x128
        (place,) = device.ask(make_requests(va, PASID, Access.WRITE, hold=HOLD_CYCLES))
        (response,) = await device.answered([place])
        assert not response["status"] and int(response["pa"]) // PAGE_BYTES == mm.page_table.lookup(va).pfn
    await device.cycles(2 * HOLD_CYCLES)
    driver.stop()
    await device.cycles(2 * driver.options.poll)
    events = await device.finish()
    assert driver.record is not None
    commits = [
        time
        for event, time in zip(journal.events, journal.times, strict=True)
        if isinstance(event, CommitBegun | CommitEnded)
    ]
    life = life_of(
        events,
        accepted=int(device.responses["accept_cycle"][place]),
        record=driver.record,
        taken=driver.taken,
        asked=driver.asked,
        commit=(commits[-2], commits[-1]),
    )
    life.facts |= {
        "request": f"WRITE {va:#x} of PASID {PASID}",
        "entry": f"{driver.word:#x}",
        "answer": f"OK, address {int(response['pa']):#x}",
    }
    (Path(os.environ["HMM_OUT"]) / LIFE_FILE).write_text(json.dumps(life.as_data(), indent=1) + "\n", encoding="utf-8")


def life_of(
    events: Events,
    *,
    accepted: int,
    record: FaultRecord,
    taken: int,
    asked: tuple[int, int],
    commit: tuple[int, int],
) -> Life:
    """The steps, from the log `events`, the cycle in which the request was accepted, its record, and the cycles in
    which the driver had taken the record, asked HMM, and committed.

    Errors: AssertionError if the steps do not follow one another.
    """
    log = events[events["cycle"] >= accepted]

    def cycle(kind: EventKind, **columns: int) -> int:
        chosen = log["kind"] == kind
        for column, value in columns.items():
            chosen &= log[column] == value
        assert chosen.any(), f"the log has no {kind.name} with {columns}"
        return int(log["cycle"][chosen][0])

    walked = record.timestamp
    recorded = cycle(EventKind.FAULT_RECORD, extra=record.tag)
    interrupt = cycle(EventKind.INTERRUPT)
    resumed = cycle(EventKind.COMMAND, code=Opcode.RESUME, va=record.tag)
    told = max(
        int(row["cycle"])
        for row in log[(log["kind"] == EventKind.ACTION) & (log["code"] == ActionKind.WRITE_REGISTER)]
        if int(row["va"]) == Register.COMMAND_TAIL and int(row["cycle"]) <= resumed
    )
    answered = cycle(EventKind.TRANSLATION, va=record.va)
    released = cycle(EventKind.GRANT_END, va=record.va)
    steps = [
        ("client", "the request is accepted", accepted, accepted),
        ("walk", "the walk finds NONE", accepted, walked),
        ("fault ring", "the record is written to memory", walked, recorded),
        ("fault ring", "the interrupt line rises", interrupt, interrupt),
        ("driver", "the driver takes the record", interrupt, taken),
        ("HMM", "HMM is asked, into a staging array", *asked),
        ("driver", "the entry is stored, the same word", *commit),
        ("driver", "RESUME is put into the ring", commit[1], told),
        ("command ring", "RESUME is read, and takes effect", told, resumed),
        ("walk", "the walk again, to a translation", resumed, answered),
        ("client", "the answer begins a grant", answered, answered),
        ("client", "the client releases it", released, released),
    ]
    moments = [step[2] for step in steps]
    assert moments == sorted(moments), f"steps are out of order: {steps}"
    assert all(begin <= end for _, _, begin, end in steps), f"a step ends before it begins: {steps}"
    life = Life([Step(lane, name, begin - accepted, end - accepted) for lane, name, begin, end in steps])
    life.facts["fault"] = f"{record.reason.name}, tag {record.tag:#x}"
    return life
