# SPDX-License-Identifier: Apache-2.0
"""Historical defects of HMM, planted in the model: conformance to the recordings finds them, or a unit check does."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from models.conform import judge
from models.conform.judge import WaitsForeverError, judge_request, judge_stale
from models.conform.judgement import Verdict
from models.conform.records import (
    NumberedRecord,
    RecordedOperation,
    RecordedRequest,
    RecordedStale,
    read_conform_recording,
)
from models.conform.state import Machine, machine_of
from models.formats import EntryFormat
from models.hmm import HmmError, HmmPfnFlag, HmmRange, walk
from models.hmm.page_table import EntryKind
from models.host_scheduler import run
from models.kernel_recording import KERNEL_DATA
from models.recorded_pages import recorded_format
from models.tests.hmm_bench import PLACE as OLD_PLACE
from models.tests.hmm_bench import HmmBench
from models.tests.mutants import BY_RECORDINGS, BY_UNIT_TEST, Plant
from models.tests.present_bench import FAULT, PresentBench

LARGEST = 64
"""Records of larger ranges take longer and say nothing more here."""
FEW_PAUSES = 20_000


@cache
def different_records() -> tuple[list[NumberedRecord], Machine, EntryFormat]:
    """One record of each mixture of pages, areas and requests."""
    recording = read_conform_recording(KERNEL_DATA / "linux-6.1-hmm.jsonl.gz")
    chosen: dict[object, NumberedRecord] = {}
    for record in recording.records:
        what = record.what
        if isinstance(what, RecordedOperation) or what.n > LARGEST:
            continue
        pages = tuple(text for _, _, text in what.pages)
        asks = str(what.inputs) if isinstance(what, RecordedRequest) else "stale"
        areas = tuple(flags for _, _, flags in what.vmas)
        chosen.setdefault((pages, areas, what.default_flags, what.mask, what.owner, asks), record)
    return list(chosen.values()), machine_of(recording), recorded_format(recording.information)


def first_wrong() -> str:
    """What the recordings say against the model, "" for nothing."""
    records, machine, fmt = different_records()
    for record in records:
        what = record.what
        if isinstance(what, RecordedStale):
            judgement = judge_stale(what, machine, fmt)
        else:
            assert isinstance(what, RecordedRequest)
            judgement = judge_request(what, machine, fmt)
        if judgement.verdict is Verdict.WRONG:
            return f"line {record.line}: {judgement.why}"
    return ""


def test_mutants_none_planted() -> None:
    """
    Stimulus: Nothing is planted.
    Checking: No record is wrong, no unit check fails.
    Covers: MUTANTS
    """
    assert first_wrong() == ""
    assert unit_complaint() == ""


@pytest.mark.parametrize("name", BY_RECORDINGS)
def test_mutants_found_by_recordings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: One defect is planted.
    Checking: A recorded request or lost sequence comes out wrong.
    Covers: MUTANTS
    """
    monkeypatch.setattr(judge, "MOST_PAUSES", FEW_PAUSES)
    plant: Plant = BY_RECORDINGS[name]
    plant(monkeypatch)
    assert first_wrong() != ""


@pytest.mark.parametrize("name", BY_UNIT_TEST)
def test_mutants_found_by_unit_check(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: One defect is planted that no recording can show.
    Checking: A unit check complains.
    Covers: MUTANTS
    """
    plant: Plant = BY_UNIT_TEST[name]
    plant(monkeypatch)
    assert unit_complaint() != ""


def unit_complaint() -> str:
    """What the unit checks say against the model, "" for nothing."""
    return moving_complaint() or special_complaint() or none_complaint()


def moving_complaint() -> str:
    """A request for a page that is being moved waits; a look at moving pages overwrites what was in the entries."""
    bench = PresentBench()
    bench.area()
    bench.huge(EntryKind.MIGRATION)
    bench.frames.migrations[4096] = bench.mm.host.event()
    if [int(word) for word in bench.ask(2, 0, [5, 6])[1]] != [0, 0]:
        return "a look leaves entries of moving pages as they were"
    try:
        bench.ask(1, FAULT)
    except WaitsForeverError:
        return ""
    return "a request for a moving page does not wait"


def special_complaint() -> str:
    """hmm_vma_fault() of a special area is refused."""

    async def scenario() -> str:
        bench = HmmBench()
        await bench.begin()
        await bench.mm.map_pfns(OLD_PLACE, 4096, 0x100)
        hmm_range = _range(bench, (1, 2, 4, 8, 16, 0))
        async with bench.mm.mmap_lock.read():
            try:
                await walk.hmm_vma_fault(hmm_range, True)
            except HmmError as error:
                return "" if error.errno == "EINVAL" else error.errno
        return "a special area is served"

    return str(run(scenario()))


def none_complaint() -> str:
    """A format whose NONE is a flag of 0 can ask for pages."""

    async def scenario() -> str:
        bench = HmmBench()
        await bench.begin()
        await bench.mm.mmap(OLD_PLACE, 4096)
        place = next(iter(bench.mm.vmas)).start
        hmm_range = _range(bench, (1, 2, 4, 0, 16, 0), place)
        hmm_range.pfns[:] = 1 << HmmPfnFlag.HMM_PFN_FLAG_VALID
        async with bench.mm.mmap_lock.read():
            await walk.hmm_vma_fault(hmm_range, True)
        return "" if int(hmm_range.pfns[0]) & 1 else "the page did not come"

    return str(run(scenario()))


def _range(bench: HmmBench, flags: tuple[int, ...], place: int = OLD_PLACE) -> HmmRange:
    return HmmRange(bench.vma(place), place, place + 4096, np.zeros(1, dtype=np.uint64), flags, 12)
