# SPDX-License-Identifier: Apache-2.0
"""The job of recorded programs: from a file to a verdict, the same every time, and what it tells of failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import UserError
from models.program_recording import MAPPING_DTYPE, EventKind, Protection, save_program
from models.tests.program_recordings import every_call, page, recording_of
from sim import programs
from sim.build import Flavour
from sim.console import console
from sim.programs import ProgramsOptions, own_recordings, run_programs
from sim.run_case import RunOptions, run_case
from sim.simulation import SimulationOutcome
from tb.program_bench import COUNTERS
from tb.run_program import ProgramSpec

SLICE = 1200
"""Accesses: all calls of the recording are among them."""
DRIVER_FIGURES = ("records", "batches", "hmm_calls", "retries", "replays", "cancels", "invalidations")


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The job's folder for this test."""
    monkeypatch.setattr(programs, "OUT", tmp_path)
    monkeypatch.setattr(programs, "RESULT_FILE", tmp_path / "result.json")
    return tmp_path


def result_in(out: Path) -> dict[str, Any]:
    """What the job left."""
    loaded: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.simulation
def test_programs_same_seed_same_cycles(out: Path, seed: int) -> None:
    """A run follows from its seed, in every build.

    Stimulus: the beginning of gzip, disturbed, in both builds, again, and with another seed.
    Checking: all pass; hash of the event log and cycles are the same for one seed, and differ for another.
    Covers: DETERMINISM, PROGRAM-REPLAY
    """
    gzip = [path for path in own_recordings() if path.stem == "gzip"]
    runs: list[tuple[Flavour, int]] = [("fast", seed), ("checked", seed), ("fast", seed), ("fast", seed + 1)]
    seen = []
    for flavour, run_seed in runs:
        options = ProgramsOptions(seed=run_seed, flavour=flavour, every=100, first_accesses=SLICE)
        assert run_programs(gzip, options)
        verdict = result_in(out)["programs"][0]
        assert verdict["calls"] == 17 and verdict["pieces"] >= SLICE and verdict["mismatches"] == 0
        assert verdict["pressure"]["forks"] + verdict["pressure"]["moves"] > 0
        seen.append((verdict["event_hash"], verdict["cycles"]))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0] != seen[3]


@pytest.mark.simulation
def test_programs_file_of_ones_own(out: Path, seed: int) -> None:
    """Any recording runs, refused accesses too; the table shows it.

    Stimulus: `run program FILE` with a recording of every call, in another format.
    Checking: it passes; the table names it.
    Covers: PROGRAM-OWN, CLI-RUN
    """
    path = out / "mine.npz"
    save_program(every_call(), path)
    options = RunOptions(seed=seed, program=path, entry_format="amdgpu", disturb=5)
    with console.capture() as captured:
        assert run_case("program", options)
    text = captured.get()
    assert "mine" in text and "refused, as they must be" in text and "passed: mine, seed" in text
    assert result_in(out)["programs"][0]["refused_accesses"] == 7


def test_programs_failure_line(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong byte, and a simulator that left nothing, are told in a line each that says how to run it again.

    Stimulus: two programs; what the simulator would leave is planted.
    Checking: the lines, and that the job did not pass.
    Covers: PROGRAM-CHECKS, CLI-RUN
    """
    monkeypatch.setattr(programs, "build", lambda flavour: out / "simulator")

    def planted(executable: Path, module: str, **options: Any) -> SimulationOutcome:
        folder: Path = options["out"]
        failure = "owner violation: cycle 7"
        if "sort" in folder.name:
            failure = "1 answers are wrong"
            text = "READ of 4 bytes at 0x10: came 01, expected 02"
            spec = ProgramSpec("sort.npz", 3, str(folder))
            counters = {register.name: 0 for register in COUNTERS}
            driver = dict.fromkeys(DRIVER_FIGURES, 0)
            verdict = {"pieces": 0, "passed": False, "lines": [spec.failure_line(text, 900)], "mismatches": 1}
            verdict |= {"driver": driver, "counters": counters, "pressure": {}, "fault_reasons": {}, "calls": 0}
            verdict |= {"accesses_raw": 0, "accesses": 0, "refused_accesses": 0, "cycles": 1000}
            (folder / "result.json").write_text(json.dumps(verdict), encoding="utf-8")
        return SimulationOutcome(failure, (), 1, False, 1.0, folder / "log", folder, None)

    monkeypatch.setattr(programs, "simulate", planted)
    paths = [path for path in own_recordings() if path.stem in ("gzip", "sort")]
    with console.capture() as captured:
        assert not run_programs(paths, ProgramsOptions(seed=3))
    problems = result_in(out)["problems"]
    rerun = "seed 3 | rerun: python -m sim run program"
    assert problems[0].startswith("gzip | owner violation: cycle 7 | " + rerun)
    assert problems[0].endswith("gzip.npz --seed 3 --build checked --waves")
    assert problems[1] == (
        f"sort | READ of 4 bytes at 0x10: came 01, expected 02 | cycle 900 | {rerun} sort.npz --seed 3 "
        "--build checked --waves --waves-from 700"
    )
    assert problems[2].startswith("sort | 0 of ") and len(problems) == 3
    assert "FAILED: gzip, sort, seed 3" in captured.get() and problems[1] in captured.get()


def test_programs_bad_input(tmp_path: Path) -> None:
    """What cannot be replayed is refused in a sentence, before anything is built.

    Stimulus: no file, a folder, a text, a damaged recording, one without accesses, calls and mappings that cannot be,
    a format without write permission, options of other cases.
    Checking: UserError with what is wrong.
    Covers: CLI-BAD-INPUT
    """
    whole = own_recordings()[0].read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(bytes(middle))
    (tmp_path / "script.py").write_text("import sys\n", encoding="utf-8")
    read = (EventKind.READ, page(0), 8)
    protect = (EventKind.MPROTECT, page(1), 4096, 1)
    save_program(recording_of([read, protect], [(page(0), 4096, int(Protection.READ))]), tmp_path / "hole.npz")
    save_program(recording_of([protect], [(page(1), 4096, 1)]), tmp_path / "idle.npz")
    high = np.array([((1 << 47) - 4096, 4096, 1)], dtype=MAPPING_DTYPE)
    save_program(recording_of([read], [(page(0), 4096, 1), tuple(high[0].tolist())]), tmp_path / "high.npz")
    cases = {
        "absent.npz": "cannot be read",
        ".": "cannot be read",
        "cut.npz": "cut off or damaged",
        "flipped.npz": "damaged",
        "script.py": "is no recorded program",
        "hole.npz": "recorded mprotect of 0x1000 bytes at 0x3fffb000 cannot be performed",
        "high.npz": "recorded mapping of the start of 0x1000 bytes at 0x7ffffffff000 cannot be performed",
        "idle.npz": "nothing to replay",
    }
    for name, words in cases.items():
        with pytest.raises(UserError, match=words):
            run_case("program", RunOptions(program=tmp_path / name))
    gzip = own_recordings()[0]
    for options, words in (
        (RunOptions(), "Give the file of a recorded program"),
        (RunOptions(program=gzip, recording=gzip), "leave them away"),
        (RunOptions(program=gzip, case_path="agent"), "leave them away"),
        (RunOptions(program=gzip, flavour="quick"), "There is no build quick"),
        (RunOptions(program=gzip, entry_format="none-such"), "none-such"),
    ):
        with pytest.raises(UserError, match=words):
            run_case("program", options)
    with pytest.raises(UserError, match="takes a file"):
        run_case("programs", RunOptions(program=gzip))
    with pytest.raises(UserError, match="--disturb belongs"):
        run_case("smoke", RunOptions(disturb=3))
    with pytest.raises(UserError, match="belong to one job"):
        run_case("all", RunOptions(entry_format="amdgpu"))
