# SPDX-License-Identifier: Apache-2.0
"""Recorded operations: the model tells its notifiers what the kernels told, and mistakes in its steps are found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from models.conform.judge_operation import judge_operation
from models.conform.judgement import Verdict
from models.conform.records import RecordedOperation, read_conform_recording
from models.conform.state import Machine, machine_of
from models.formats import EntryFormat
from models.hmm.fork import fork
from models.hmm.frames import Frames
from models.hmm.notifiers import IntervalNotifiers
from models.hmm.operations import advise, exclusive, merge, move, objects, protect, reclaim, unmap
from models.kernel_recording import KERNEL_DATA
from models.recorded_pages import recorded_format

FORK = sys.modules[fork.__module__]
FILES = {"old": KERNEL_DATA / "linux-6.1-hmm.jsonl.gz", "new": KERNEL_DATA / "linux-6.12-hmm.jsonl.gz"}
RULES = ("hugetlb_tells_twice", "swap_out_splits_first", "split_drops_zeros", "unmerge_unshares")


@cache
def operations(which: str) -> tuple[list[RecordedOperation], Machine, EntryFormat]:
    """The operations of a recording."""
    recording = read_conform_recording(FILES[which])
    found = [record.what for record in recording.records if isinstance(record.what, RecordedOperation)]
    return found, machine_of(recording), recorded_format(recording.information)


def first_wrong(which: str, machine: Machine | None = None, largest: int = 1 << 30) -> str:
    """What the recorded operations say against the model, "" for nothing."""
    records, known, fmt = operations(which)
    for record in records:
        if record.n > largest and len(record.ev) > 8:
            continue
        judgement = judge_operation(record, machine or known, fmt)
        if judgement.verdict is Verdict.WRONG:
            return f"{record.op}: {judgement.why}"
    return ""


@pytest.mark.parametrize("which", FILES)
def test_conform_operations_every_record(which: str) -> None:
    """
    Stimulus: Every recorded operation.
    Checking: None is wrong.
    Covers: CONFORM-OPERATIONS
    """
    assert len(operations(which)[0]) == 91
    assert first_wrong(which) == ""


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("which", FILES)
def test_conform_operations_rules_of_another_kernel_are_found(which: str, rule: str) -> None:
    """
    Stimulus: One rule is that of the other kernel.
    Checking: Some record is wrong.
    Covers: CONFORM-OPERATIONS, MUTANTS
    """
    machine = operations(which)[1]
    rules = replace(machine.rules, **{rule: not getattr(machine.rules, rule)})
    assert first_wrong(which, replace(machine, rules=rules))


async def _nothing(*arguments: Any, **named: Any) -> None:
    """Do nothing."""


def _whole_range(mm: Any, start: int, end: int) -> list[tuple[int, int]]:
    return [(start, end)]


def _upgrades(mm: Any, area: Any, flags: Any, pfn: int) -> bool:
    return False


def _always(*arguments: Any) -> bool:
    return True


def _never(*arguments: Any) -> bool:
    return False


def _counts_one(self: IntervalNotifiers) -> None:
    self.active -= 1
    if not self.active and self.seq % 2:
        self.seq += 3


async def _unmap_area_by_area(mm: Any, start: int, end: int) -> None:
    for area in mm.vmas.overlapping(start, end):
        await unmap.zap_told(mm, area, area.start, area.end)


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "a huge entry across the cut is not split": (unmap, "cut_area", None),
    "protection is told where nothing is mapped": (protect, "_told_ranges", _whole_range),
    "nothing becomes writable without a fault": (protect, "_may_upgrade", _upgrades),
    "unmapping is told as clearing": (unmap, "unmap_everything", None),
    "a mapping that moved is not unmapped": (move, "unmap", _nothing),
    "every area is copied by fork": (FORK, "_needs_copy", _always),
    "no area is copied by fork": (FORK, "_needs_copy", _never),
    "pages that go to swap are never one's own": (Frames, "is_exclusive", _never),
    "writing back tells nobody": (objects, "clean_entries", _nothing),
    "merging does not protect the pages first": (merge, "_write_protect", _nothing),
    "taking merged pages apart does nothing": (advise, "unmerge", _nothing),
    "pages that are lost stay mapped": (advise, "memory_failure", _nothing),
    "pages taken out of use do not move": (advise, "soft_offline", _nothing),
    "freeing does nothing": (advise, "_free", _nothing),
    "a device gets pages only for looking": (exclusive, "_take_away", lambda mm, va, entry: None),
    "nothing is reclaimed": (reclaim, "reclaim", _nothing),
    "a hole is not unmapped": (objects, "_unmap_pages", _nothing),
    "sequences grow by four": (IntervalNotifiers, "end", _counts_one),
}


async def _cut_without_split(mm: Any, va: int) -> None:
    mm.vmas.split(va)


def _planted(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    module, attribute, mistake = MUTANTS[name]
    if name == "a huge entry across the cut is not split":
        mistake = _cut_without_split
    if name == "unmapping is told as clearing":
        attribute, mistake = "unmap_everything", _unmap_everything_as_clear

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, attribute, mistake)
        if attribute == "unmap_everything":
            monkeypatch.setattr("models.hmm.memory_map.unmap_everything", mistake)

    return plant


async def _unmap_everything_as_clear(mm: Any) -> None:
    await _unmap_area_by_area(mm, 0, 1 << 47)


@pytest.mark.parametrize("name", MUTANTS)
def test_conform_operations_mistakes_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: One step of one operation is left out or done wrongly.
    Checking: Some recorded operation is wrong.
    Covers: CONFORM-OPERATIONS, MUTANTS
    """
    _planted(name)(monkeypatch)
    assert first_wrong("old", largest=512) or first_wrong("new", largest=512)
