# SPDX-License-Identifier: Apache-2.0
"""The driver against CPU threads that change the address space under it, in many orders."""

from __future__ import annotations

import pytest

from models.driver import AnswerPolicy, CommitPolicy, DriverOptions
from models.golden_device import GoldenSettings
from models.tests.closed_loop import ClosedLoop
from models.tests.race_scenario import RaceSettings, run_race

SEEDS = 6


@pytest.mark.parametrize("case", range(SEEDS))
@pytest.mark.parametrize("keeps", [True, False])
def test_driver_races_system_memory(case: int, keeps: bool, seed: int) -> None:
    """Accesses of device and CPU race protection changes, forks, unmapping; every value and every rule holds.

    Stimulus: three device clients, two CPU threads, one thread that changes the address space; policies, ring and
    buffer sizes by the case, the order of all steps by the seed.
    Checking: stamps of every read, children's bytes, all rules over the journal, one answer for each fault.
    Covers: RACE, I1, I2, I3, I5, I6, I7, I12, I13, I20.
    """
    answer, commit = list(AnswerPolicy)[case % 4], list(CommitPolicy)[case % 3 % 2]
    loop = ClosedLoop(
        seed=seed * 1000 + case,
        options=DriverOptions(answer=answer, commit=commit),
        settings=GoldenSettings(fault_ring_log2=case % 3, fault_slots=1 + case % 4, command_slots=1 + case % 3),
    )
    assert not run_race(loop, RaceSettings(keeps=keeps), seed * 1000 + case)
    counters = loop.device.faults.counters
    assert counters.faults == counters.recorded + counters.merged
    assert loop.device.faults.open == 0


@pytest.mark.parametrize("case", range(SEEDS))
@pytest.mark.parametrize("format_name", ["hmm_2018_flags", "amdgpu"])
def test_driver_races_device_memory(case: int, format_name: str, seed: int) -> None:
    """The same with pages that move into device memory and come back when the CPU wants them.

    Stimulus: as above, and a thread that migrates; a format with and one without the DEVICE_PRIVATE flag.
    Checking: stamps, rules; that pages really moved.
    Covers: RACE, MIGRATION.
    """
    loop = ClosedLoop(seed=seed * 1000 + case, format_name=format_name, device_pages=True, foreign_pages=True)
    settings = RaceSettings(keeps=case % 2 == 0, device_memory=True)
    assert not run_race(loop, settings, seed * 1000 + case)


@pytest.mark.parametrize("case", range(4))
def test_driver_races_two_contexts(case: int, seed: int) -> None:
    """Two address spaces at equal addresses share device, driver and ring; nothing of one shows in the other.

    Stimulus: the race in two contexts at once.
    Checking: stamps, rules.
    Covers: RACE, I20.
    """
    loop = ClosedLoop(seed=seed * 1000 + case, settings=GoldenSettings(fault_ring_log2=1))
    assert not run_race(loop, RaceSettings(clients=2, cpu_threads=1), seed * 1000 + case, pasids=(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("case", range(100, 124))
def test_driver_races_many_seeds(case: int, seed: int) -> None:
    """The races again, longer and in more orders, everything at once.

    Stimulus: as above; data kept or thrown away, device memory, two contexts, all by the case.
    Checking: stamps, rules.
    Covers: RACE, MIGRATION, I20.
    """
    options = DriverOptions(answer=list(AnswerPolicy)[case % 4], commit=list(CommitPolicy)[case // 4 % 2])
    rings = GoldenSettings(fault_ring_log2=case % 3, fault_slots=1 + case % 5, command_slots=1 + case % 4)
    devices = case % 3 > 0
    loop = ClosedLoop(
        seed=seed * 1000 + case, options=options, settings=rings, device_pages=devices, foreign_pages=devices
    )
    race = RaceSettings(accesses=30, disturbances=25, keeps=case % 4 < 2, device_memory=devices)
    assert not run_race(loop, race, seed * 1000 + case, pasids=(1, 2))
