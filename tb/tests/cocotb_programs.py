# SPDX-License-Identifier: Apache-2.0
"""Recorded programs on the RTL: small ones made by hand and by chance, and with mistakes planted on the host's side."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import patch

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES, Bytes
from models.driver import Answer, DeviceContext, Driver
from models.fault_records import resume_command
from models.formats import format_by_name
from models.program_recording import ProgramRecording
from models.program_replay import Operation, PlanOptions, Replay, host_calls, make_plan
from models.program_replay.content import initial_page
from models.program_replay.plan import Call
from models.tests.program_recordings import every_call, page, random_recording, remapped
from tb.program_bench import ProgramMachine, ProgramSettings
from tb.program_lanes import RtlLanes

FORMAT = "hmm_2018_flags"
FORMATS = (FORMAT, "amdgpu", "nouveau", FORMAT, "linux_5_8", FORMAT)


async def replayed(
    dut: SimHandleBase,
    recording: ProgramRecording,
    *,
    seed: int = 1,
    every: int = 0,
    format_name: str = FORMAT,
    options: PlanOptions | None = None,
    driver: type[Driver] = Driver,
    lanes: type[RtlLanes] = RtlLanes,
    replay: type[Replay] = Replay,
) -> dict[str, Any]:
    """The verdict on a recording."""
    fmt = format_by_name(format_name)
    plan = make_plan(recording, options or PlanOptions(atomics=fmt.atomic == 0))
    settings = ProgramSettings(seed, fmt, every)
    machine = ProgramMachine(dut, plan, settings, driver=driver, lanes=lanes, replay=replay)
    verdict = await machine.run()
    assert verdict["pieces"] == plan.pieces.size
    return verdict


def passed(verdict: dict[str, Any]) -> None:
    """Errors: AssertionError with the first thing that is wrong."""
    lines = [each["text"] for each in verdict["mismatch_lines"]] + verdict["broken"]
    assert not lines and not verdict["mismatches"], lines[0]


@cocotb.test()
@cocotb.parametrize(every=[0, 3])
async def test_program_every_call(dut: SimHandleBase, every: int) -> None:
    """
    Stimulus: every kind of call with accesses around it, undisturbed and disturbed.
    Checking: bytes, answers, rules; the refused accesses are cancelled, and nothing else is.
    Covers: PROGRAM-CALLS, PROGRAM-REFUSED
    """
    verdict = await replayed(dut, every_call(), every=every)
    passed(verdict)
    assert verdict["refused_accesses"] == 7
    assert verdict["counters"]["COUNTER_ABORTED"] >= 7 and verdict["driver"]["cancels"] >= 7
    if every:
        assert verdict["pressure"]["forks"] and verdict["pressure"]["moves"]


@cocotb.test()
@cocotb.parametrize(case=range(len(FORMATS)))
async def test_program_random(dut: SimHandleBase, case: int) -> None:
    """
    Stimulus: drawn programs of 150 events on 14 pages, disturbed, in formats with and without flags for device memory
    and atomics; all work on one port, on the engine alone, and spread.
    Checking: bytes, answers, rules.
    Covers: PROGRAM-CALLS, PROGRAM-RACE
    """
    name = FORMATS[case]
    recording = random_recording(np.random.default_rng(100 + case), 150)
    atomics = format_by_name(name).atomic == 0
    options = PlanOptions(lanes=(3, 1, 2)[case % 3], engine_share=2 + case % 3, atomics=atomics)
    passed(await replayed(dut, recording, seed=10 + case, every=8, format_name=name, options=options))


@cocotb.test()
@cocotb.parametrize(engine=[False, True])
async def test_program_lost_store(dut: SimHandleBase, engine: bool) -> None:
    """
    Stimulus: the first store of a client port, or of the engine, goes 8 bytes too far.
    Checking: it is told by the next load of its place, with the event that stored.
    Covers: PROGRAM-CHECKS
    """

    class ClientAstray(RtlLanes):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.moved = int(np.flatnonzero(self._requests["access"] == 1)[0])
            self._requests["va"][self.moved] += 8

    class EngineAstray(RtlLanes):
        def _descriptors(self, pieces: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
            if not self._engine_done and bool((self.plan.pieces["operation"][pieces] == Operation.WRITE).any()):
                self.plan.pieces["va"][pieces[self.plan.pieces["operation"][pieces] == Operation.WRITE][0]] += 8
            return super()._descriptors(pieces)

    verdict = await replayed(dut, remapped(), lanes=EngineAstray if engine else ClientAstray)
    first = verdict["mismatch_lines"][0]
    pattern = (
        r"READ of 8 bytes at 0x\w+ \(event \d+, after \d calls, lane \d\): came [0-9a-f]{16} \([^)]+\), "
        r"expected [0-9a-f]{16} \(stored by event \d+\)"
    )
    assert re.fullmatch(pattern, first["text"]), first
    assert first["cycle"] > 0 and ("lane 0" in first["text"]) == engine, first


@cocotb.test()
async def test_program_stale_page(dut: SimHandleBase) -> None:
    """
    Stimulus: a driver that clears entries but sends no INVALIDATE when more than one page is unmapped.
    Checking: a load finds the bytes of a file that got the page meanwhile.
    Covers: PROGRAM-CHECKS
    """

    class Forgets(Driver):
        async def invalidate_device(self, context: DeviceContext, start: int, end: int) -> None:
            if end - start <= PAGE_BYTES:
                await super().invalidate_device(context, start, end)

    verdict = await replayed(dut, remapped(), driver=Forgets)
    stale = [each["text"] for each in verdict["mismatch_lines"] if "expected 0000000000000000" in each["text"]]
    assert stale and "mapping 2 made it" in stale[0], verdict["mismatch_lines"]


@cocotb.test()
async def test_program_wrong_initial_page(dut: SimHandleBase) -> None:
    """
    Stimulus: a loader that is wrong by one page.
    Checking: the load that finds it names the page as it was mapped.
    Covers: PROGRAM-CHECKS
    """

    def wrong(mapping: int, number: int) -> Bytes:
        return initial_page(mapping, number + 1)

    with patch.object(host_calls, "initial_page", wrong):
        verdict = await replayed(dut, remapped())
    assert verdict["mismatches"] == 4
    text = verdict["mismatch_lines"][0]["text"]
    assert f"{page(0) + 32:#x}" in text and "(never stored: the page as it was mapped, offset 0x20)" in text


@cocotb.test()
async def test_program_call_too_early(dut: SimHandleBase) -> None:
    """
    Stimulus: a host that makes every call without waiting for the accesses before it.
    Checking: stores meet the address space of later, so that loads of it find what must be gone.
    Covers: PROGRAM-CHECKS
    """

    class Hasty(Replay):
        async def wait_before(self, call: Call, posted: int) -> None:
            return None

    verdict = await replayed(dut, remapped(), replay=Hasty)
    assert verdict["mismatches"] > 0
    found = [each["text"] for each in verdict["mismatch_lines"]]
    assert any("(the store of event" in text and "expected 0000000000000000" in text for text in found), found


@cocotb.test()
async def test_program_answered_twice(dut: SimHandleBase) -> None:
    """
    Stimulus: a driver that answers each fault twice.
    Checking: the bytes are right all the same; the count of answers that found nobody tells it.
    Covers: PROGRAM-CHECKS
    """

    class Repeats(Driver):
        async def answer(self, answers: list[Answer]) -> None:
            await super().answer(answers)
            await self.port.submit(np.stack([resume_command(each.record.tag, cancel=False) for each in answers]))

    verdict = await replayed(dut, remapped(), driver=Repeats)
    assert not verdict["mismatches"], verdict["mismatch_lines"]
    assert any(re.fullmatch(r"I13: answers that found nobody: \d+, expected 0", line) for line in verdict["broken"])
