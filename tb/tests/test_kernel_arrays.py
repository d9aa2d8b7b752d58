# SPDX-License-Identifier: Apache-2.0
"""The kernel's arrays as a scenario: what is linked where, what is asked, what is never linked."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.device_tables import DeviceTables
from models.errors import UserError
from models.formats import format_by_name
from models.kernel_recording import read_recording, recordings
from models.physical_memory import PhysicalMemory
from models.structures import Access, Reason
from tb.case import Case, fill_memory
from tb.scenarios.kernel_arrays import kernel_arrays, part_of
from tb.scenarios.sampling import driver_format_runs, own_format_runs
from tb.scoreboard import check_case
from tb.tests.fake_device import Behaviour, run_fake

FIRST = recordings()[0]
VALID = 1 << 63


def small_recording(path: Path, lines: int = 40) -> Path:
    """The first records of a recording as a recording of its own."""
    with gzip.open(FIRST, "rt", encoding="utf-8") as stream:
        records = stream.readlines()
    path.write_text("".join([*records[:lines], records[-1]]), encoding="utf-8")
    return path


def test_sampling_own_format_takes_every_valid_entry() -> None:
    """
    Stimulus: An array with VALID entries, a run of 1000 zeros, two equal ERRORs, and different other words.
    Checking: All VALID ones; first, last and 62 of the long run; short runs whole; each different word.
    Covers: SAMPLE-OWN
    """
    words = np.concatenate([
        np.full(5, VALID + 7), np.zeros(1000), np.full(2, 1 << 61), np.arange(1, 4), np.full(64, 9),
    ]).astype(np.uint64)  # fmt: skip
    valid = words >= np.uint64(VALID)
    runs = own_format_runs(words, valid)
    chosen = runs.sample(np.random.default_rng(1))
    assert chosen.size == runs.sampled == 5 + 64 + 2 + 3 + 64
    assert (np.diff(chosen) > 0).all()
    assert set(chosen) >= {0, 1, 2, 3, 4, 5, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1073}
    again = runs.sample(np.random.default_rng(2))
    assert not np.array_equal(chosen, again)


def test_sampling_driver_format_takes_the_ends_of_runs() -> None:
    """
    Stimulus: Consecutive pages, a jump, equal pages, an equal page that then rises, other kinds.
    Checking: Runs begin where the step changes; first, last and two of each.
    Covers: SAMPLE-DRIVER
    """
    page = 1 << 12
    words = np.array(
        [*range(page, 101 * page, page), 500 * page, 700 * page, *[700 * page] * 9, 701 * page, 8, 8, 8, 16]
    )
    words = words.astype(np.uint64)
    valid = words % np.uint64(page) == 0
    runs = driver_format_runs(words, valid, page)
    assert runs.first.tolist() == [0, 100, 101, 111, 112, 115]
    assert runs.length.tolist() == [100, 1, 10, 1, 3, 1]
    chosen = runs.sample(np.random.default_rng(1))
    assert chosen.size == runs.sampled == 4 + 1 + 4 + 1 + 3 + 1
    assert set(chosen) >= {0, 99, 100, 101, 110, 111, 112, 113, 114, 115}


def tables_of(case: Case) -> DeviceTables:
    """The tables of a case's image."""
    memory = PhysicalMemory(case.memory.size, case.memory.base)
    fill_memory(memory, case.image)
    tables = DeviceTables(PhysicalMemory(1 << 20), context_count=case.context_count)
    tables.memory, tables.context_base = memory, case.context_base
    return tables


def test_kernel_arrays_words_are_linked_as_they_are(tmp_path: Path, seed: int) -> None:
    """
    Stimulus: A part of a recording in the kernel's own format.
    Checking: Each good array's words stand, unchanged, in the slots of its addresses in a context of its own; no other
        context is bound; every VALID entry is read and written.
    Covers: KERNEL-LINK
    """
    path = small_recording(tmp_path / "a.jsonl")
    recording = read_recording(path)
    case = kernel_arrays(seed, {"recording": str(path), "format": "linux_5_8"})
    tables = tables_of(case)
    asked = {
        (int(pasid), int(va) // PAGE_BYTES, int(access))
        for pasid, va, access in case.requests[["pasid", "va", "access"]].tolist()
    }
    found: set[int] = set()
    for array in recording.good_arrays:
        for pasid in sorted({pasid for pasid, page, _ in asked if page == array.address // PAGE_BYTES} - found):
            try:
                addresses = [tables.entry_address(pasid, array.address + PAGE_BYTES * i) for i in range(array.pages)]
            except UserError:
                continue
            words, _ = tables.memory.shadow_read(np.array(addresses, dtype=np.uint64))
            if np.array_equal(words, array.words):
                found.add(pasid)
                break
        else:
            pytest.fail(f"{array} is not linked")
        first = array.address // PAGE_BYTES
        for page in np.flatnonzero(array.words >> np.uint64(63)).tolist():
            assert {(pasid, first + page, Access.READ), (pasid, first + page, Access.WRITE)} <= asked
        assert (pasid, first - 1, Access.READ) in asked
        assert (pasid, first + array.pages, Access.READ) in asked
    assert case.parameters["arrays"] == len(recording.good_arrays) == len(found)
    assert case.parameters["entries"] == sum(array.pages for array in recording.good_arrays)
    assert len({int(pasid) for pasid in case.requests["pasid"]}) > len(found)


@pytest.mark.parametrize("name", ["linux_5_8", "hmm_2018_flags", "nouveau", "odp_rfc"])
def test_kernel_arrays_on_the_fake_device(tmp_path: Path, seed: int, name: str) -> None:
    """
    Stimulus: The first records in several formats on the fake device.
    Checking: Nothing is wrong, and the special pages of the recording answer as the format can tell them.
    Covers: KERNEL-FORMATS
    """
    path = small_recording(tmp_path / "a.jsonl", 24)
    case = kernel_arrays(seed, {"recording": str(path), "format": name})
    result = run_fake(case, Behaviour(caches=False))
    verdict = check_case(case, result)
    assert verdict.lines == []
    assert verdict.reasons["OK"] > 0
    assert verdict.reasons[Reason.NOT_PRESENT.name] > 0


def test_kernel_arrays_parts_are_the_whole() -> None:
    """
    Stimulus: The good arrays of a recording in four parts.
    Checking: Together they are all of them, in order, with about equal numbers of sampled entries.
    Covers: KERNEL-PARTS
    """
    recording = read_recording(FIRST)
    fmt = format_by_name("linux_5_8")
    parts = [part_of(recording, fmt, part, 4) for part in range(4)]
    assert [array for part in parts for array in part] == list(recording.good_arrays)
    assert min(len(part) for part in parts) > 30
    assert part_of(recording, fmt, 0, 1) == recording.good_arrays
    with pytest.raises(UserError, match="part from 0 to 3"):
        part_of(recording, fmt, 4, 4)


def test_kernel_arrays_same_seed_same_case(tmp_path: Path) -> None:
    """
    Stimulus: The scenario twice with one seed, and with another.
    Checking: The same requests and image; other requests.
    Covers: KERNEL-SEED
    """
    path = small_recording(tmp_path / "a.jsonl", 12)
    one, two, other = (kernel_arrays(each, {"recording": str(path), "format": "amdgpu"}) for each in (1, 1, 2))
    np.testing.assert_array_equal(one.requests, two.requests)
    assert [region.address for region in one.image] == [region.address for region in two.image]
    assert not np.array_equal(one.requests["va"], other.requests["va"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recording": "/nowhere/x.jsonl"}, "cannot be read"),
        ({"format": "no_such_format"}, "no_such_format"),
        ({"part": 3, "parts": 2}, "part from 0 to 1"),
        ({"parts": 0}, "parts"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_kernel_arrays_bad_parameters(change: dict[str, object], words: str) -> None:
    """
    Stimulus: Parameters with one thing wrong.
    Checking: A UserError that names it.
    Covers: KERNEL-INPUT
    """
    with pytest.raises(UserError, match=words):
        kernel_arrays(1, {"recording": str(FIRST), "format": "linux_5_8", **change})
    with pytest.raises(UserError, match="recording"):
        kernel_arrays(1, {"format": "linux_5_8"})
