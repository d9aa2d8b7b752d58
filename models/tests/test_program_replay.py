# SPDX-License-Identifier: Apache-2.0
"""Recorded programs replayed on the golden device: every byte, every answer, every rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.errors import UserError
from models.program_recording import EventKind, MappingFlag, Protection, load_program
from models.program_replay import Operation, PlanOptions, make_plan
from models.program_replay.content import initial_page, stamps
from models.tests.program_bench import ProgramBench
from models.tests.program_recordings import every_call, page, random_recording, recording_of

READ, WRITE, MODIFY = EventKind.READ, EventKind.WRITE, EventKind.MODIFY
MMAP, MPROTECT, MREMAP = EventKind.MMAP, EventKind.MPROTECT, EventKind.MREMAP
ANONYMOUS, FILE = int(MappingFlag.ANONYMOUS), 0
R, RW = int(Protection.READ), int(Protection.READ | Protection.WRITE)
PROGRAMS = Path(__file__).parents[2] / "sim" / "data" / "programs"
OPTIONS = PlanOptions(lanes=4)


def test_program_plan_stores_and_pages() -> None:
    """Each load expects the last store of each byte, the page of the file, or zeros; moved pages keep theirs.

    Stimulus: a recording by hand with a file's mapping, anonymous memory, a move and a mapping in its old place.
    Checking: expected bytes against stamps and pages computed here.
    Covers: PROGRAM-PLAN
    """
    recording = recording_of(
        [
            (READ, page(0) + 100, 4),
            (MMAP, page(2), PAGE_BYTES, RW, ANONYMOUS),
            (WRITE, page(2) + 8, 8),
            (WRITE, page(2) + 12, 8),
            (READ, page(2) + 6, 14),
            (MREMAP, page(2), PAGE_BYTES, page(4), 2 * PAGE_BYTES),
            (MMAP, page(2), PAGE_BYTES, R, FILE),
            (READ, page(2) + 8, 4),
            (READ, page(4) + 8, 4),
            (READ, page(5), 8),
        ],
        [(page(0), PAGE_BYTES, R)],
    )
    plan = make_plan(recording, PlanOptions(lanes=1))
    assert plan.pieces.size == 7 and plan.refused_accesses == 0
    stores = stamps(np.arange(7, dtype=np.uint64))
    expected = [row[: piece["length"]] for row, piece in zip(plan.expected, plan.pieces, strict=True)]
    assert bool((expected[0] == initial_page(0, page(0) >> 12)[100:104]).all())
    assert bool((expected[3] == np.concatenate([[0, 0], stores[1, :4], stores[2, :8]])).all())
    assert bool((expected[4] == initial_page(3, page(2) >> 12)[8:12]).all()), "mappings 1 and 2: the mmap, the growth"
    assert bool((expected[5] == stores[1, :4]).all())
    assert not expected[6].any()
    assert [call.fills.tolist() for call in plan.calls] == [[], [], [page(2) >> 12]]
    assert [call.fills.tolist() for call in plan.initial] == [[page(0) >> 12]]


def test_program_plan_pieces() -> None:
    """Long accesses are cut at lines; what is modified is added to where it can be, else loaded and stored.

    Stimulus: accesses across lines, longer than lines, and modified ones, on three pages.
    Checking: operation, offset and length of each piece, and the lane of each page.
    Covers: PROGRAM-PLAN
    """
    first = 0x4000_0000
    shapes = ((READ, 60, 16), (WRITE, 10, 130), (MODIFY, 8, 8), (MODIFY, 61, 8), (MODIFY, 32, 66))
    accesses = [(kind, first + number * PAGE_BYTES + offset, length) for number in range(3)
                for kind, offset, length in shapes]  # fmt: skip
    recording = recording_of(accesses, [(first, 3 * PAGE_BYTES, RW)])
    plan = make_plan(recording, PlanOptions(lanes=3, engine_share=2))
    wanted = [
        ("READ", 60, 16), ("WRITE", 10, 54), ("WRITE", 64, 64), ("WRITE", 128, 12), ("ADD", 8, 8),
        ("READ", 61, 8), ("WRITE", 61, 8), ("READ", 32, 32), ("READ", 64, 34), ("WRITE", 32, 32), ("WRITE", 64, 34),
    ]  # fmt: skip
    for number, lane in enumerate((0, 1, 0)):
        rows = plan.pieces[plan.pieces["va"] // PAGE_BYTES == (first >> 12) + number]
        assert [(Operation(row["operation"]).name, row["va"] % PAGE_BYTES, row["length"]) for row in rows] == wanted
        assert set(rows["lane"]) == {lane}
    assert not (make_plan(recording, PlanOptions(atomics=False)).pieces["operation"] == Operation.ADD).any()


def test_program_plan_refuses() -> None:
    """What cannot be replayed is told in a sentence.

    Stimulus: no accesses; stores with a format that cannot grant writing; a call that cannot be.
    Checking: the error.
    Covers: PROGRAM-PLAN
    """
    with pytest.raises(UserError, match="nothing to replay"):
        make_plan(recording_of([(MMAP, page(0), PAGE_BYTES, RW, ANONYMOUS)]), OPTIONS)
    writes = recording_of([(WRITE, page(0), 8)], [(page(0), PAGE_BYTES, RW)])
    with pytest.raises(UserError, match="no bit that allows writing"):
        make_plan(writes, PlanOptions(writes=False))
    hole = recording_of([(MPROTECT, page(1), PAGE_BYTES, R), (READ, page(0), 8)], [(page(0), PAGE_BYTES, RW)])
    with pytest.raises(
        UserError, match=r"recorded mprotect of 0x1000 bytes at 0x3fffb000 cannot be performed \(ENOMEM"
    ):
        ProgramBench(make_plan(hole, OPTIONS)).run()


@pytest.mark.parametrize("every", [0, 2])
def test_program_every_call(every: int, seed: int) -> None:
    """Each kind of call, in each of its forms, with accesses before and after, undisturbed and under pressure.

    Stimulus: the recording every_call(), which has refused accesses too.
    Checking: bytes, answers, rules; the refused accesses are those that this test knows.
    Covers: PROGRAM-CALLS, PROGRAM-REFUSED
    """

    recording = every_call()
    plan = make_plan(recording, OPTIONS)
    assert plan.refused_accesses == 7
    bench = ProgramBench(plan, seed=seed, every=every)
    assert not bench.run()
    assert bench.replay.calls_made == recording.calls
    counters = bench.loop.driver.counters
    assert counters.cancels > 0 and counters.timeouts == 0
    if bench.pressure is not None:
        done = bench.pressure.counters
        assert done.forks and done.moves


@pytest.mark.parametrize("case", range(12))
def test_program_random(case: int, seed: int) -> None:
    """Drawn programs: many calls of every kind close together.

    Stimulus: 120 drawn events on 14 pages, under pressure, one to four lanes, with and without atomics, every other
    case in a format without a flag for device memory.
    Checking: bytes, answers, rules.
    Covers: PROGRAM-CALLS, RACE
    """
    rng = np.random.default_rng([seed, case])
    plan = make_plan(random_recording(rng, 120), PlanOptions(lanes=1 + case % 4, engine_share=1 + case % 3))
    bench = ProgramBench(plan, seed=seed + case, every=6, format_name=("hmm_2018_flags", "amdgpu")[case % 2])
    assert not bench.run()


@pytest.mark.parametrize(("name", "accesses"), [("gzip", 2500), ("sort", 2000), ("python3", 2000)])
def test_program_recorded(name: str, accesses: int, seed: int) -> None:
    """The beginnings of the real programs, with most of their calls, under pressure.

    Stimulus: the first accesses of a recording of the project.
    Checking: bytes, answers, rules; no access is refused; the device faulted, and was invalidated.
    Covers: PROGRAM-RECORDED
    """
    plan = make_plan(load_program(PROGRAMS / f"{name}.npz"), OPTIONS, first_accesses=accesses)
    bench = ProgramBench(plan, seed=seed, every=60)
    assert not bench.run()
    assert plan.refused_accesses == 0 and len(plan.calls) >= 15
    counters = bench.loop.driver.counters
    assert bench.pressure is not None
    assert bench.pressure.counters.moved_pages > 0 and bench.pressure.counters.reads > 0
    assert counters.records > 60 and counters.invalidations > 15 and counters.fences > 15 and counters.cancels == 0


def test_program_same_seed_same_run(seed: int) -> None:
    """What is drawn follows from the seed.

    Stimulus: one drawn program three times, twice with the same seed.
    Checking: the journals are the same, or not.
    Covers: DETERMINISM
    """
    plan = make_plan(random_recording(np.random.default_rng(seed), 80), OPTIONS)
    journals = []
    for run_seed in (5, 5, 6):
        bench = ProgramBench(plan, seed=run_seed, every=8)
        assert not bench.run()
        journals.append(bench.loop.journal.events)
    assert journals[0] == journals[1] != journals[2]
