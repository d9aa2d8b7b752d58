# SPDX-License-Identifier: Apache-2.0
"""Records a program: runs it under valgrind and keeps its loads, stores and memory system calls in a small file.

Only data accesses are recorded, not instruction fetches, and not what the kernel itself reads or writes for the program
(the buffer of a read). Threads are recorded in the order in which valgrind runs them; children are not followed.
The addresses are those that the program sees under valgrind; valgrind's own mappings never show in its trace.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path

import click
import numpy as np
from rich.table import Table
from rich.text import Text

from models.errors import UserError
from models.files import write_atomically
from models.program_recording import (
    LAST_ACCESS,
    LIMIT_ACCESSES,
    LIMIT_BYTES,
    PAGE_SHIFT,
    EventKind,
    ProgramRecording,
    encode_program,
)
from sim.console import Advance, messages, progress
from sim.lackey import TraceReader
from sim.recorded_mappings import initial_mappings

LACKEY = (
    *("--command-line-only=yes", "-q", "--vgdb=no", "--trace-children=no", "--child-silent-after-fork=yes"),
    *("--tool=lackey", "--basic-counts=no", "--trace-mem=yes", "--trace-syscalls=yes"),
)
SAME_ADDRESSES = ("setarch", "-R")
"""Without address randomisation two runs give the same recording."""
PIECE_BYTES = 1 << 20
POLL_SECONDS = 0.2
STOP_SECONDS = 3.0
"""A program that is cut has this long to tidy up before it is killed."""
SHRINK_MARGIN = 0.97
SHOWN_COMMAND = 60
VALGRIND_ADVICE = "install the package valgrind (Debian: sudo apt-get install valgrind) and record again"


@dataclass(frozen=True)
class RecordingSummary:
    """What was recorded: the recording as it is in the file, the file, its bytes, the seconds that the run took.

    odd_lines: lines of the trace that could not be understood (0 as far as known).
    replaced_by: the program that took this one's place by execve, where the recording ends; mostly empty.
    """

    recording: ProgramRecording
    path: Path
    file_bytes: int
    seconds: float
    odd_lines: int
    replaced_by: str


def record(
    command: list[str],
    out: Path,
    *,
    limit_accesses: int = LIMIT_ACCESSES,
    limit_bytes: int = LIMIT_BYTES,
    window: int = 1,
) -> RecordingSummary:
    """Runs `command` under valgrind and writes `out`, whole or not at all.

    A program with more than `limit_accesses` merged accesses, or whose file would be larger than `limit_bytes`, is
    stopped (SIGTERM, then SIGKILL) and marked as cut. `window`: see ProgramRecording.window.
    Errors: UserError for a missing valgrind or program and for a place that cannot be written. If a signal ends the
    program, also UserError: `out` stays as it was and what was recorded is beside it, as NAME.partial.npz.
    """
    program = _checked_program(command)
    _check_place(out)
    tool = _valgrind()
    reader = TraceReader(window=window, limit=limit_accesses)
    start = time.monotonic()
    with progress(f"record {command[0]}", limit_accesses, on=messages) as advance:
        status, interrupted = _run([*tool, program, *command[1:]], reader, advance)
    seconds = time.monotonic() - start
    if reader.raw_accesses == 0:
        raise UserError(
            f"valgrind could not run {command[0]} (status {status}; it says above why); "
            "give a program of this machine that is not setuid."
        )
    killed = not reader.full and (interrupted or status < 0)
    cut = f"more than {limit_accesses} merged accesses" if reader.full else ""
    if killed:
        cut = "interrupted" if interrupted else f"ended by {_signal_name(-status)}"
    events = reader.events()
    mappings, refused = initial_mappings(events)
    recording = ProgramRecording(
        command=tuple(command),
        tools={"valgrind": _version(tool[-len(LACKEY) - 1]), "architecture": os.uname().machine},
        window=window,
        cut=cut,
        exit_status=None if cut else status,
        refused_calls=reader.refused_calls,
        refused_accesses=refused,
        events=events,
        initial_mappings=mappings,
    )
    recording, content = _fitted(recording, limit_bytes)
    path = out.with_name(f"{out.name.removesuffix('.npz')}.partial.npz") if killed else out
    write_atomically(path, content)
    if killed:
        raise UserError(
            f"{command[0]} was {cut}, so {out} was not written; what was recorded until then is in {path}, marked as "
            "cut: use that, or record a run that ends by itself."
        )
    return RecordingSummary(recording, path, len(content), seconds, reader.odd_lines, reader.replaced_by)


def _checked_program(command: list[str]) -> str:
    """The program's path. Errors: UserError if there is none that can be run."""
    if not command:
        raise UserError("No program is given; type: python -m sim record -- PROGRAM ARGUMENTS.")
    found = shutil.which(command[0])
    if found is None:
        raise UserError(f"There is no program {command[0]} that can be run; give its path, or a name from PATH.")
    return found


def _check_place(out: Path) -> None:
    """Before the run, which may be long. Errors: UserError if `out` could not be written after it."""
    if out.is_dir():
        raise UserError(f"{out} is a folder; name the file to write with --out.")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise UserError(f"{out} cannot be written; name a file in a folder that exists and that you may write to.")


def _valgrind() -> list[str]:
    """valgrind with its options, the log's descriptor not yet among them. Errors: UserError if it is not installed."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise UserError(f"valgrind is not installed; {VALGRIND_ADVICE}.")
    fixed = list(SAME_ADDRESSES) if shutil.which(SAME_ADDRESSES[0]) else []
    if fixed and subprocess.run([*fixed, "true"], check=False, capture_output=True).returncode:
        fixed = []  # Containers may forbid it; the recording is as good, only not the same twice.
    return [*fixed, valgrind, *LACKEY]


def _version(valgrind: str) -> str:
    done = subprocess.run([valgrind, "--version"], check=False, capture_output=True, text=True)
    found = re.search(r"\d[\w.]*", done.stdout)
    return found[0] if found else "unknown"


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _run(command: list[str], reader: TraceReader, advance: Advance) -> tuple[int, bool]:
    """Feeds the trace of `command` (valgrind's options up to the log, then the program) to the reader.

    Returns: the exit status, negative for a signal; whether the user interrupted it.
    """
    trace, log = os.pipe()
    with suppress(OSError):
        fcntl(trace, F_SETPIPE_SZ, PIECE_BYTES)
    options = len(command) - command[::-1].index(LACKEY[-1])
    command = [*command[:options], f"--log-fd={log}", *command[options:]]
    try:
        process = subprocess.Popen(command, pass_fds=(log,))
    except OSError as error:
        os.close(trace)
        raise UserError(f"valgrind cannot be started ({error.strerror}); {VALGRIND_ADVICE}.") from error
    finally:
        os.close(log)
    interrupted = False
    try:
        shown = 0
        for text in _pieces(trace, process):
            reader.feed(text)
            advance(reader.accesses - shown, note=f"{reader.raw_accesses:,} loads and stores")
            shown = reader.accesses
            if reader.full:
                break
        reader.finish()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        _stop(process, trace)
        os.close(trace)
    return process.returncode, interrupted


def _pieces(trace: int, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The trace until its end. A child that lives on keeps the pipe open, so the program's end also counts as end."""
    while True:
        ended = process.poll() is not None
        ready, _, _ = select.select([trace], [], [], 0 if ended else POLL_SECONDS)
        if not ready:
            if ended:
                return
            continue
        text = os.read(trace, PIECE_BYTES)
        if not text:
            return
        yield text


def _stop(process: subprocess.Popen[bytes], trace: int) -> None:
    """Ends the program if it still runs; its trace is read on, as it would wait for a reader."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=POLL_SECONDS)
    if process.poll() is None:
        process.terminate()
        end = time.monotonic() + STOP_SECONDS
        for _ in _pieces(trace, process):
            if time.monotonic() > end:
                break
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=POLL_SECONDS)
    if process.poll() is None:
        process.kill()
    process.wait()


def _fitted(recording: ProgramRecording, limit_bytes: int) -> tuple[ProgramRecording, bytes]:
    """Cut until its file has at most `limit_bytes`. Errors: UserError if even an empty one is larger."""
    content = encode_program(recording)
    while len(content) > limit_bytes:
        keep = int(len(recording.events) * limit_bytes / len(content) * SHRINK_MARGIN)
        if keep == 0 or keep >= len(recording.events):
            raise UserError(f"A recording does not fit into {limit_bytes} bytes; allow more of them.")
        events = recording.events[:keep]
        mappings, refused = initial_mappings(events)
        recording = replace(
            recording,
            cut=f"more than {limit_bytes} bytes",
            exit_status=None,
            refused_accesses=refused,
            events=events,
            initial_mappings=mappings,
        )
        content = encode_program(recording)
    return recording, content


def summary_table(summary: RecordingSummary) -> Table:
    """What a person wants to know of a recording."""
    recording = summary.recording
    kinds = np.bincount(recording.events["kind"], minlength=len(EventKind))
    counts = {kind: f"{kinds[kind]:,} {kind.name.lower()}" for kind in EventKind if kinds[kind]}
    accesses = [text for kind, text in counts.items() if kind <= LAST_ACCESS]
    calls = [text for kind, text in counts.items() if kind > LAST_ACCESS]
    table = Table(title="recorded", show_header=False, title_justify="left")
    command = " ".join(recording.command).replace("\n", " ")
    for name, value in (
        ("program", command if len(command) <= SHOWN_COMMAND else f"{command[:SHOWN_COMMAND]}..."),
        ("file", f"{summary.path}, {summary.file_bytes:,} bytes"),
        ("accesses", f"{recording.accesses:,} merged from {recording.raw_accesses:,} (window {recording.window})"),
        ("kinds", ", ".join(accesses)),
        ("pages", f"{recording.pages:,}"),
        ("memory calls", f"{', '.join(calls) or 'none'}; {recording.refused_calls} failed and left out"),
        ("mapped at start", f"{int(recording.initial_mappings['length'].sum()) >> PAGE_SHIFT:,} pages"),
        ("refused accesses", f"{recording.refused_accesses:,}"),
        ("cut", recording.cut or f"no, exit status {recording.exit_status}"),
        ("seconds", f"{summary.seconds:.1f}"),
    ):
        table.add_row(name, Text(value))
    return table


def notes(summary: RecordingSummary) -> list[str]:
    """What a person should know besides, in sentences."""
    recording, said = summary.recording, []
    if recording.cut:
        said.append(
            f"The program did more than fits: it was stopped and the recording is cut ({recording.cut}). "
            f"A larger --window than {recording.window} merges more and reaches further."
        )
    if summary.replaced_by:
        said.append(
            f"{recording.command[0]} became {summary.replaced_by} by execve, where the recording ends; "
            "record that program itself to see more."
        )
    if summary.odd_lines:
        said.append(f"{summary.odd_lines} lines of valgrind's trace were not understood and left out.")
    return said


@click.command("record", context_settings={"allow_interspersed_args": False})
@click.option("--out", type=click.Path(path_type=Path), default=None, help="The file; PROGRAM.npz here by default.")
@click.option(
    "--limit", type=click.IntRange(1, LIMIT_ACCESSES), default=LIMIT_ACCESSES, show_default=True, help="Most accesses."
)
@click.option(
    "--window",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Merge accesses to one page and of one kind among this many loads and stores; more reaches further.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- PROGRAM [ARGUMENTS]...")
def record_command(out: Path | None, limit: int, window: int, command: tuple[str, ...]) -> None:
    """Record a program's loads, stores and memory system calls under valgrind, for `run program FILE`.

    Data accesses only; children are not followed. A program with more accesses than fit is stopped and marked as cut.
    """
    place = out or Path(f"{Path(command[0]).name if command else 'program'}.npz")
    summary = record(list(command), place, limit_accesses=limit, window=window)
    sys.stdout.flush()
    messages.print(summary_table(summary))
    for note in notes(summary):
        messages.print(note, markup=False)
