# SPDX-License-Identifier: Apache-2.0
"""Mistakes planted into a replay: each is found, by a line that says what is wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest

from models.arrays import PAGE_BYTES, Bytes
from models.driver import DeviceContext, Driver
from models.program_recording import Array, EventKind, MappingFlag, Protection
from models.program_replay import Operation, PlanOptions, Replay, host_calls, make_plan
from models.program_replay.content import initial_page
from models.program_replay.plan import Call
from models.tests.program_bench import GoldenLanes, ProgramBench
from models.tests.program_recordings import page, recording_of, remapped

READ, WRITE, MODIFY = EventKind.READ, EventKind.WRITE, EventKind.MODIFY
ANONYMOUS = int(MappingFlag.ANONYMOUS)
RW = int(Protection.READ | Protection.WRITE)


def bench_of(
    *, driver: type[Driver] = Driver, lanes: type[GoldenLanes] = GoldenLanes, replay: type[Replay] = Replay
) -> ProgramBench:
    """The program remapped() on a machine with a mistake."""
    plan = make_plan(remapped(), PlanOptions(lanes=4))
    return ProgramBench(plan, driver=driver, lanes=lanes, replay=replay)


def test_program_unbroken() -> None:
    """Without a mistake nothing is found.

    Stimulus: the program of this file.
    Checking: no finding.
    Covers: PROGRAM-CHECKS
    """
    assert not bench_of().run()


def test_program_lost_store() -> None:
    """A store that goes elsewhere is found by the next load, which names both.

    Stimulus: lanes that store 8 bytes too far, once.
    Checking: the line.
    Covers: PROGRAM-CHECKS
    """

    class Astray(GoldenLanes):
        async def perform(self, index: int, piece: Array) -> None:
            if index == 1:
                piece = piece.copy()
                piece["va"] += 8
            await super().perform(index, piece)

    found = bench_of(lanes=Astray).run()
    assert len(found) == 1
    first = initial_page(0, page(0) >> 12)[32:40].tobytes().hex()
    pattern = rf"READ of 8 bytes at {page(0) + 32:#x} \(event 3, after 1 calls, lane \d\): came {first} "
    pattern += rf"\(page {page(0):#x} as mapping 0 made it\), expected "
    assert re.fullmatch(pattern + r"[0-9a-f]{16} \(stored by event 2\)", found[0]), found[0]


def test_program_stale_page() -> None:
    """A driver that does not make the device forget is found by rule and by bytes.

    Stimulus: a driver that clears entries but sends no INVALIDATE when more than a page is unmapped.
    Checking: a load after the new mapping finds other bytes than zeros, and the rule I1 is broken.
    Covers: PROGRAM-CHECKS, I1
    """

    class Forgets(Driver):
        async def invalidate_device(self, context: DeviceContext, start: int, end: int) -> None:
            if end - start <= PAGE_BYTES:
                await super().invalidate_device(context, start, end)

    found = bench_of(driver=Forgets).run()
    assert any(line.startswith("I1:") for line in found), found
    stale = [line for line in found if f"READ of 8 bytes at {page(3) + 32:#x}" in line]
    assert stale and re.search(r"came [0-9a-f]{16} \(page 0x\w+ as mapping 2 made it\), expected 0{16}", stale[0]), (
        found
    )


def test_program_wrong_initial_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loader that fills a page with the bytes of its neighbour is found.

    Stimulus: the loader's page number is wrong by one.
    Checking: the line names a page as it was mapped.
    Covers: PROGRAM-CHECKS
    """

    def wrong(mapping: int, number: int) -> Bytes:
        return initial_page(mapping, number + 1)

    monkeypatch.setattr(host_calls, "initial_page", wrong)
    found = bench_of().run()
    assert len(found) == 4, "two pages each of two mappings"
    assert f"READ of 8 bytes at {page(0) + 32:#x}" in found[0]
    assert found[0].endswith("(never stored: the page as it was mapped, offset 0x20)")


def test_program_call_too_early() -> None:
    """A call that does not wait for the accesses before it is found: they meet the address space of later.

    Stimulus: a host that makes every call at once.
    Checking: accesses before the munmap are refused or find nothing.
    Covers: PROGRAM-CHECKS
    """

    class Hasty(Replay):
        async def wait_before(self, call: Call, posted: int) -> None:
            return None

    found = bench_of(replay=Hasty).run()
    assert found
    assert any("after 1 calls" in line and "expected" in line for line in found), found


def test_program_refused_access_performed() -> None:
    """An access that must be refused and is not is found.

    Stimulus: a program that stores into a read-only page; lanes that read instead.
    Checking: the line.
    Covers: PROGRAM-CHECKS, PROGRAM-REFUSED
    """

    class Reads(GoldenLanes):
        async def perform(self, index: int, piece: Array) -> None:
            piece = piece.copy()
            piece["operation"] = Operation.READ
            await super().perform(index, piece)

    recording = recording_of([(WRITE, page(0), 4)], [(page(0), PAGE_BYTES, int(Protection.READ))])
    found = ProgramBench(make_plan(recording, PlanOptions()), lanes=Reads).run()
    wanted = "came OK, expected ABORTED because the mappings of its time do not allow it"
    assert len(found) == 1 and found[0].endswith(wanted)


def test_program_wrong_sum() -> None:
    """An atomic addition that is lost is found.

    Stimulus: a word that is modified twice; lanes that leave the first out.
    Checking: the second finds the old value.
    Covers: PROGRAM-CHECKS
    """

    class Skips(GoldenLanes):
        async def perform(self, index: int, piece: Array) -> None:
            if index == 0:
                self.results.found[0] = self.plan.expected[0]
                return
            await super().perform(index, piece)

    recording = recording_of([(MODIFY, 0x4000_0000, 8)] * 2, [(0x4000_0000, PAGE_BYTES, RW)])
    found = ProgramBench(make_plan(recording, PlanOptions()), lanes=Skips).run()
    assert len(found) == 1 and found[0].startswith("ADD of 8 bytes") and "(stored by event 0)" in found[0]
    assert np.all(make_plan(recording, PlanOptions()).pieces["operation"] == Operation.ADD)
