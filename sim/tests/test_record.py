# SPDX-License-Identifier: Apache-2.0
"""Tests of the recorder with real runs under valgrind, and of the recordings that come with the project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from models.errors import UserError
from models.program_recording import (
    LIMIT_ACCESSES,
    LIMIT_BYTES,
    PAGE_BYTES,
    Array,
    EventKind,
    load_program,
)
from sim.paths import ROOT
from sim.record import notes, record, record_command
from sim.recorded_mappings import initial_mappings

RECORDINGS = ROOT / "sim/data/programs"
Short = tuple[object, ...]


def short(events: Array) -> list[Short]:
    """Kind, then the fields that are not 0, without repeats."""
    names = ("address", "length", "protection", "flags", "new_address", "new_length")
    return [(EventKind(event["kind"]).name, *(int(event[name]) for name in names if event[name])) for event in events]


KNOWN_PROGRAM = """\
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main() {
    char *own = (char *)mmap(0, 0x4000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%lx ", (unsigned long)own);
    fflush(stdout);
    volatile char *at = own;
    at[0x10] = 1;
    at[0x18] = 2;
    *(volatile long *)(own + 0xffc) = 3;
    int sum = at[0x2000];
    __asm__ volatile("lock incl (%0)" : : "r"(own + 0x2004) : "memory");
    mprotect(own, 0x1000, PROT_READ);
    sum += at[0x20];
    munmap(own + 1, 0x1000);
    munmap(own + 0x3000, 1);
    char *moved = (char *)mremap(own, 0x1000, 0x2000, MREMAP_MAYMOVE);
    printf("%lx\\n", (unsigned long)moved);
    fflush(stdout);
    sum += *(volatile char *)(moved + 0x30);
    if (fork() == 0) {
        at[0x2000] = 4;
        munmap(own, 0x4000);
        _exit(0);
    }
    wait(0);
    *(volatile char *)(own + 0x2008) = 5;
    return 7 + sum;
}
"""


def test_record_known_program(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Stimulus: a C program that maps, stores, loads, increments, protects, moves, unmaps, forks, and prints where.
    Checking: the recording has exactly that, in that order, without the child; its pages lie in no start mapping.
    Covers: RECORD-PROGRAM.
    """
    source, program, out = tmp_path / "known.c", tmp_path / "known", tmp_path / "known.npz"
    source.write_text(KNOWN_PROGRAM)
    subprocess.run(["g++", "-O1", "-x", "c++", "-o", program, source], check=True)
    summary = record([str(program)], out)
    own, moved = (int(word, 16) for word in capfd.readouterr().out.split())
    recording = load_program(out)
    assert np.array_equal(recording.events, summary.recording.events)
    events = recording.events
    mine = np.zeros(len(events), dtype=bool)
    for low, size in ((own, 0x4000), (moved, 0x2000)):
        mine |= (events["address"] >= low) & (events["address"] < low + size)
    first = np.flatnonzero((events["kind"] == EventKind.MMAP) & (events["address"] == own))[-1]
    mine[:first] = False
    assert short(events[mine]) == [
        ("MMAP", own, 0x4000, 3, 0x20),
        ("WRITE", own + 0x10, 1),
        ("WRITE", own + 0x1000, 4),
        ("READ", own + 0x2000, 1),
        ("MODIFY", own + 0x2004, 4),
        ("MPROTECT", own, 0x1000, 1),
        ("READ", own + 0x20, 1),
        ("MUNMAP", own + 0x3000, 0x1000),
        ("MREMAP", own, 0x1000, moved, 0x2000),
        ("READ", moved + 0x30, 1),
        ("WRITE", own + 0x2008, 1),
    ]
    # The locked increment is a load and a load-and-store, and its load joins the one before.
    assert events["repeats"][mine].tolist() == [0, 3, 1, 2, 1, 0, 1, 0, 0, 1, 1]
    assert recording.refused_calls == 1 and recording.refused_accesses == 0
    assert recording.cut == "" and recording.exit_status == 7 and summary.odd_lines == 0
    starts = recording.initial_mappings["address"]
    assert not np.any((starts >= own) & (starts < own + 0x4000)) and len(starts) > 0


def test_record_twice_is_the_same_but_for_chance(tmp_path: Path) -> None:
    """Stimulus: the same program recorded twice.
    Checking: the same events but for a few that hang on the process number or the kernel's random bytes.
    Covers: RECORD-REPEAT.
    """
    one, two = (record(["/bin/true"], tmp_path / f"{name}.npz").recording for name in ("one", "two"))
    assert len(one.events) == len(two.events)
    assert np.count_nonzero(one.events != two.events) <= 20


def test_record_long_program_is_cut(tmp_path: Path) -> None:
    """Stimulus: an endless program; then a bound of bytes that cuts; then bytes for nothing.
    Checking: it is stopped, the file obeys the bound, is marked, has its own start, and can be read; a sentence.
    Covers: RECORD-CUT.
    """
    out = tmp_path / "cut.npz"
    start = time.monotonic()
    summary = record(["sh", "-c", "while :; do :; done"], out, limit_accesses=5000)
    assert time.monotonic() - start < 60
    recording = load_program(out)
    assert recording.accesses == 5000 and recording.exit_status is None
    assert recording.cut == "more than 5000 merged accesses" and "--window" in notes(summary)[0]
    summary = record(["/bin/true"], out, limit_bytes=15_000)
    recording = load_program(out)
    assert 10_000 < out.stat().st_size == summary.file_bytes <= 15_000
    assert recording.cut == "more than 15000 bytes" and recording.exit_status is None
    assert np.array_equal(recording.initial_mappings, initial_mappings(recording.events)[0])
    before = out.read_bytes()
    with pytest.raises(UserError, match="does not fit into 100 bytes"):
        record(["/bin/true"], out, limit_bytes=100)
    assert out.read_bytes() == before


def test_record_killed_program_loses_nothing(tmp_path: Path) -> None:
    """Stimulus: a program that kills itself, where an older recording stands.
    Checking: one sentence; the older one stays; what was recorded is beside it, marked.
    Covers: RECORD-KILLED, CLI-ERRORS.
    """
    out = tmp_path / "shell.npz"
    out.write_bytes(b"older")
    with pytest.raises(UserError, match=r"ended by signal 9 \(SIGKILL\)"):
        record(["sh", "-c", "kill -9 $$"], out)
    assert out.read_bytes() == b"older"
    partial = load_program(tmp_path / "shell.partial.npz")
    assert partial.accesses > 1000 and partial.cut == "ended by signal 9 (SIGKILL)" and partial.exit_status is None
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["shell.npz", "shell.partial.npz"]


def test_record_interrupted_by_the_user(tmp_path: Path) -> None:
    """Stimulus: the recorder interrupted while its program sleeps.
    Checking: one sentence, status 2, the part so far beside the file, the program ended.
    Covers: RECORD-KILLED, CLI-ERRORS.
    """
    out, number = tmp_path / "sleep.npz", tmp_path / "number"
    code = (
        "import signal\nimport sys\nfrom pathlib import Path\nfrom models.errors import UserError\n"
        "from sim.record import record\n"
        # Whoever runs the tests in the background may have made them deaf for the keyboard.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n    record(['sh', '-c', 'echo $$ >\"$1\"; exec sleep 50', 'sh', sys.argv[2]], Path(sys.argv[1]))\n"
        "except UserError as error:\n    sys.exit(f'error: {error}')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, out, number], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as recorder:
        end = time.monotonic() + 20
        while not (number.is_file() and number.read_text().strip()) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        recorder.send_signal(signal.SIGINT)
        _, said = recorder.communicate(timeout=20)
    assert recorder.returncode == 1 and "was interrupted" in said and "Traceback" not in said
    assert load_program(tmp_path / "sleep.partial.npz").cut == "interrupted" and not out.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(number.read_text()), 0)


def test_record_child_that_lives_on_does_not_hold_it_up(tmp_path: Path) -> None:
    """Stimulus: a program that ends while its child sleeps; a program that becomes another.
    Checking: the recording ends with the program; the other program is named.
    Covers: RECORD-EXEC.
    """
    start = time.monotonic()
    summary = record(["sh", "-c", "sleep 40 & exit 3"], tmp_path / "child.npz")
    assert time.monotonic() - start < 35
    assert summary.recording.exit_status == 3 and notes(summary) == []
    summary = record(["sh", "-c", "exec /bin/true"], tmp_path / "becomes.npz")
    assert "became /bin/true by execve" in notes(summary)[0]


def test_record_bad_input_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stimulus: no program, an absent one, a file that is no program, places that cannot be written, no valgrind.
    Checking: one sentence each, before anything runs; nothing is written.
    Covers: CLI-ERRORS.
    """
    out = tmp_path / "program.npz"
    text = tmp_path / "text"
    text.write_text("no program")
    bad: list[tuple[list[str], Path, str]] = [
        ([], out, "No program is given; type: python -m sim record -- PROGRAM"),
        (["no-such-program"], out, "There is no program no-such-program"),
        ([str(text)], out, "There is no program .*text that can be run"),
        (["true"], tmp_path, "is a folder"),
        (["true"], tmp_path / "absent" / "program.npz", "cannot be written"),
    ]
    for command, place, message in bad:
        with pytest.raises(UserError, match=message):
            record(command, place)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "true").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(UserError, match="valgrind is not installed; install the package valgrind"):
        record(["true"], out)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["programs", "text"]


def test_record_valgrind_that_cannot_run_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stimulus: a stand-in for valgrind that refuses the program.
    Checking: one sentence; nothing is written.
    Covers: CLI-ERRORS.
    """
    programs = tmp_path / "programs"
    programs.mkdir()
    stand_in = programs / "valgrind"
    stand_in.write_text("#!/bin/sh\nexit 126\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(UserError, match=r"valgrind could not run true \(status 126"):
        record(["true"], tmp_path / "program.npz")
    assert [entry.name for entry in tmp_path.iterdir()] == ["programs"]


def test_record_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stimulus: `record -- sh -c 'exit 4'` in a folder; the same without the dashes and with options.
    Checking: the file's name, the status, the options, and a summary on the error output.
    Covers: RECORD-CLI.
    """
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(record_command, ["--", "sh", "-c", "exit 4"])
    assert done.exit_code == 0, done.output
    assert load_program(tmp_path / "sh.npz").exit_status == 4
    assert "sh.npz" in done.stderr and "mapped at start" in done.stderr and done.stdout == ""
    options = ["--out", "here.npz", "--limit", "300", "--window", "64", "sh", "-c", "exit 4"]
    done = CliRunner().invoke(record_command, options)
    recording = load_program(tmp_path / "here.npz")
    assert done.exit_code == 0 and (recording.accesses, recording.window) == (300, 64) and "is cut" in done.stderr


@pytest.mark.parametrize("name", ["gzip", "sort", "python3"])
def test_record_programs_of_the_project(name: str) -> None:
    """Stimulus: the recordings that come with the project.
    Checking: whole runs within the bounds that end well, every access allowed by its mappings, start as recomputed.
    Covers: RECORD-PROGRAM.
    """
    path = RECORDINGS / f"{name}.npz"
    recording = load_program(path)
    assert recording.command[0] == name and recording.cut == "" and recording.exit_status == 0
    assert 50_000 < recording.accesses <= LIMIT_ACCESSES and path.stat().st_size <= LIMIT_BYTES
    assert recording.raw_accesses > 2_000_000 and recording.calls > 15
    mappings, refused = initial_mappings(recording.events)
    assert np.array_equal(mappings, recording.initial_mappings) and refused == recording.refused_accesses == 0
    assert int(recording.initial_mappings["length"].sum()) // PAGE_BYTES < recording.pages + 200
