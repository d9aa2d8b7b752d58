# SPDX-License-Identifier: Apache-2.0
"""The main job: its plan, its judgement, and a small recording from end to end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import UserError
from models.formats import load_formats
from models.kernel_recording import recordings
from sim import kernel_arrays
from sim.kernel_arrays import KernelArraysOptions, collect, plan, result_data, run_kernel_arrays
from sim.kernel_arrays_report import Row
from sim.simulation import SimulationOutcome

FIRST = recordings()[0]


def small_recording(path: Path, lines: int = 30) -> Path:
    """The first records of a recording as a recording of its own."""
    with gzip.open(FIRST, "rt", encoding="utf-8") as stream:
        records = stream.readlines()
    path.write_text("".join([*records[:lines], records[-1]]), encoding="utf-8")
    return path


def row() -> Row:
    """A row with two cases to come."""
    return Row(
        number=0,
        recording="a",
        kernel="6.1",
        format_name="amdgpu",
        own=False,
        arrays=9,
        entries=90,
        arrays_to_link=4,
        entries_to_link=40,
        cases=2,
    )


def summary() -> dict[str, object]:
    """The verdict on one of the two cases."""
    return {
        "passed": True,
        "requests": 7,
        "checked": 7,
        "mismatches": 0,
        "failures": 0,
        "cycles": 100,
        "lines": [],
        "reasons": {"OK": 5, "POISON": 2},
        "counters": {"COUNTER_WALKS": 3, "COUNTER_WALK_READS": 12},
        "parameters": {"arrays": 2, "entries": 20, "sampled": 6},
    }


def test_row_is_right_only_if_everything_was_done() -> None:
    """
    Stimulus: Two good verdicts for a row of two cases; then each figure of one of them made wrong.
    Checking: No problem; a problem for each.
    Covers: MAIN-ROW
    """
    good = row()
    good.add(summary())
    good.add(summary())
    assert good.problems() == []
    assert (good.walks, good.reads, good.cycles, good.checked, good.sampled) == (6, 24, 200, 14, 12)
    assert good.reasons == {"OK": 10, "POISON": 4}
    wrong: list[dict[str, Any]] = [
        {"passed": False},
        {"checked": 6},
        {"failures": 1},
        {"parameters": {"arrays": 1, "entries": 20, "sampled": 6}},
        {"parameters": {"arrays": 2, "entries": 19, "sampled": 6}},
        {"reasons": {"OK": 5}},
    ]
    for change in wrong:
        bad = row()
        bad.add(summary())
        bad.add({**summary(), **change})
        assert bad.problems() != [], change
    alone = row()
    alone.add(summary())
    assert alone.problems() != []
    assert "nothing was asked" in row().problems()
    broken = row()
    broken.add({"passed": False, "failures": 1, "lines": ["x"]})
    assert "1 failures, 0 of them wrong answers" in broken.problems()


def test_plan_has_every_recording_in_every_format() -> None:
    """
    Stimulus: The plan of the whole job.
    Checking: Each recording in each format once; the kernel's own format in parts; every part once.
    Covers: MAIN-PLAN
    """
    work = plan(KernelArraysOptions(seed=5))
    assert [(each.recording, each.format_name) for each in work.rows if each.own] == [
        (path.name, "linux_5_8") for path in recordings()
    ]
    assert {(each.recording, each.format_name) for each in work.rows} == {
        (path.name, name) for path in recordings() for name in load_formats()
    }
    cases = [case for process in work.processes for case in process.cases]
    keys = [tuple(case["parameters"][key] for key in ("recording", "format", "part", "parts")) for case in cases]
    assert len(set(keys)) == len(keys) == sum(each.cases for each in work.rows)
    assert {case["seed"] for case in cases} == {5}
    assert len({process.name for process in work.processes}) == len(work.processes)
    only = plan(KernelArraysOptions(entry_format="nouveau", recording=FIRST))
    assert [(each.recording, each.format_name) for each in only.rows] == [(FIRST.name, "nouveau")]


def test_bad_input_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """
    Stimulus: An unknown format, a contradictory one in a file, a cut recording, one without a usable array.
    Checking: A UserError that says what is wrong.
    Covers: MAIN-INPUT
    """
    with pytest.raises(UserError, match="no_such_format"):
        run_kernel_arrays(KernelArraysOptions(entry_format="no_such_format"))
    contradictory = tmp_path / "bad.yaml"
    contradictory.write_text("{name: mine, valid: 0x1000, pfn_shift: 12, pfn_width: 40}\n")
    with pytest.raises(UserError, match="pfn field overlaps"):
        run_kernel_arrays(KernelArraysOptions(entry_format=str(contradictory)))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(FIRST.read_bytes()[:4000])
    with pytest.raises(UserError, match="is cut"):
        run_kernel_arrays(KernelArraysOptions(recording=cut))
    with pytest.raises(UserError, match="no array that a driver may use"):
        run_kernel_arrays(KernelArraysOptions(recording=small_recording(tmp_path / "empty.jsonl", 1)))


def outcome(out: Path, failure: str = "") -> SimulationOutcome:
    """What a process left."""
    return SimulationOutcome(
        failure=failure, tests=(), exit_status=0, timed_out=False, seconds=1.0, log=out / "log", out=out, waves=None
    )


def test_lost_cases_and_dead_processes_fail_the_job(tmp_path: Path) -> None:
    """
    Stimulus: A process that left no verdicts; one that left a good verdict but did not end well; one that is right.
    Checking: The job passes only in the last case.
    Covers: MAIN-JUDGE
    """
    path = small_recording(tmp_path / "a.jsonl")
    options = KernelArraysOptions(recording=path, entry_format="amdgpu")
    verdict = {**summary(), "parameters": {}}
    for written, failure, passed in ((None, "", False), (verdict, "crashed", False), (verdict, "", True)):
        work = plan(options)
        process, the_row = work.processes[0], work.rows[0]
        verdict["parameters"] = {"arrays": the_row.arrays_to_link, "entries": the_row.entries_to_link}
        out = tmp_path / f"{passed}{failure}"
        out.mkdir()
        if written is not None:
            (out / "summary.json").write_text(json.dumps([written]))
        work.outcomes = {process.name: outcome(out, failure)}
        collect(work)
        assert result_data(work, options, 1.0)["passed"] is passed
        assert bool(work.problems) is not passed


@pytest.mark.simulation
def test_small_recording_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """
    Stimulus: The first records of a recording, in the kernel's format and in a driver's, on the RTL.
    Checking: Exit status 0; result.json tells figures that fit the recording.
    Covers: MAIN-RUN
    """
    monkeypatch.setattr(kernel_arrays, "OUT", tmp_path / "out")
    monkeypatch.setattr(kernel_arrays, "RESULT_FILE", tmp_path / "out" / "result.json")
    path = small_recording(tmp_path / "a.jsonl")
    for name, own in (("linux_5_8", True), ("odp_rfc", False)):
        json_file = tmp_path / f"{name}.json"
        options = KernelArraysOptions(seed=seed, recording=path, entry_format=name, json_file=json_file)
        assert run_kernel_arrays(options) == 0
        result = json.loads(json_file.read_text())
        assert result == json.loads((tmp_path / "out" / "result.json").read_text())
        assert result["passed"]
        (only,) = result["rows"]
        assert (only["own"], only["format_name"], only["mismatches"]) == (own, name, 0)
        assert only["linked_arrays"] == only["arrays_to_link"] < only["arrays"]
        assert only["checked"] == only["requests"] > 2 * only["sampled"]
        assert only["reads"] > only["walks"] > 0
