# SPDX-License-Identifier: Apache-2.0
"""Tests of how a recording is found in valgrind's text: merging, calls with results, what was mapped at the start."""

from __future__ import annotations

import numpy as np

from models.program_recording import EVENT_DTYPE, Array, EventKind, MappingFlag, Protection
from sim.lackey import TraceReader
from sim.recorded_mappings import initial_mappings

READ_WRITE = int(Protection.READ | Protection.WRITE)
Short = tuple[object, ...]


def read_trace(text: str, *, window: int = 1, limit: int = 1000) -> TraceReader:
    """A reader that got `text`, one byte at a time."""
    reader = TraceReader(window=window, limit=limit)
    for place in range(len(text)):
        reader.feed(text[place : place + 1].encode())
    reader.finish()
    return reader


def short(events: Array) -> list[Short]:
    """Kind, then the fields that are not 0, without repeats."""
    names = ("address", "length", "protection", "flags", "new_address", "new_length")
    return [(EventKind(event["kind"]).name, *(int(event[name]) for name in names if event[name])) for event in events]


def events_of(*rows: tuple[int, ...]) -> Array:
    """Events from (kind, address, length, protection, new address, new length), shorter rows filled with 0."""
    events = np.zeros(len(rows), dtype=EVENT_DTYPE)
    for event, row in zip(events, rows, strict=True):
        full = (*row, 0, 0, 0, 0, 0)
        event["kind"], event["address"], event["length"], event["protection"] = full[:4]
        event["new_address"], event["new_length"] = full[4:6]
        event["repeats"] = row[0] <= EventKind.MODIFY
    return events


def test_record_accesses_are_merged() -> None:
    """Stimulus: loads, stores and both in one, of which some follow each other on one page.
    Checking: those become one event with the first's place; another page or kind between starts a new one.
    Covers: RECORD-MERGE.
    """
    trace = " L 1000,8\n L 1ff8,8\nI  0401ab70,3\n L 1004,1\n S 1008,8\n L 1000,4\n M 1000,4\n L 2000,4\n L 1000,2\n"
    events = read_trace(trace).events()
    assert short(events) == [
        ("READ", 0x1000, 8),
        ("WRITE", 0x1008, 8),
        ("READ", 0x1000, 4),
        ("MODIFY", 0x1000, 4),
        ("READ", 0x2000, 4),
        ("READ", 0x1000, 2),
    ]
    assert events["repeats"].tolist() == [3, 1, 1, 1, 1, 1]


def test_record_crossing_access_becomes_two() -> None:
    """Stimulus: a store across a page's end, one that ends with the page, and a state save over three pages.
    Checking: the pieces lie in one page each and add up.
    Covers: RECORD-MERGE.
    """
    events = read_trace(" S 04033ffc,8\n L 1ff8,8\n S 4fff,4098\n").events()
    assert short(events) == [
        ("WRITE", 0x4033FFC, 4),
        ("WRITE", 0x4034000, 4),
        ("READ", 0x1FF8, 8),
        ("WRITE", 0x4FFF, 1),
        ("WRITE", 0x5000, 4096),
        ("WRITE", 0x6000, 1),
    ]


def test_record_window_merges_more() -> None:
    """Stimulus: loads of two pages in turn, in windows of 4 loads and stores, with a system call in the third.
    Checking: one event a page and window; the call starts anew.
    Covers: RECORD-MERGE.
    """
    call = "SYSCALL[1,1](11) sys_munmap ( 0x9000, 1 )[sync] --> Success(0x0) \n"
    pair = " L 1000,8\n L 2000,8\n"
    events = read_trace(pair * 5 + call + pair, window=4).events()
    assert [row[:2] for row in short(events)] == [
        *[("READ", 0x1000), ("READ", 0x2000)] * 3,
        ("MUNMAP", 0x9000),
        *[("READ", 0x1000), ("READ", 0x2000)],
    ]
    assert events["repeats"].tolist() == [2, 2, 2, 2, 1, 1, 0, 1, 1]


def test_record_system_calls_with_results() -> None:
    """Stimulus: every memory system call in the forms that valgrind 3.19 writes, among accesses.
    Checking: the events, in order, whole pages, with the kernel's results.
    Covers: RECORD-CALLS.
    """
    trace = """\
SYSCALL[7,1](12) sys_brk ( 0x0 ) --> [pre-success] Success(0x4035000)
SYSCALL[7,1](9) sys_mmap ( 0x0, 38883, 1, 2, 4, 0 ) --> [pre-success] Success(0x483c000)
 L 483c000,8
SYSCALL[7,1](9) sys_mmap ( 0x4a1b000, 53072, 3, 50, 4294967295, 0 ) --> [pre-success] Success(0x4a1b000)
SYSCALL[7,1](9) sys_mmap ( 0x0, 4096, 2, 33, -1, 0 ) --> [pre-success] Success(0x5000000)
SYSCALL[7,1](9) sys_mmap ( 0x0, 4096, 0, 34, -1, 0 ) --> [pre-success] Success(0x5001000)
SYSCALL[7,1](10) sys_mprotect ( 0x4a15000, 16384, 1 )[sync] --> Success(0x0)
SYSCALL[7,1](329) sys_pkey_mprotect ( 0x4a15000, 16384, 3 -1 )[sync] --> Success(0x0)
SYSCALL[7,1](11) sys_munmap ( 0x483c000, 38883 )[sync] --> Success(0x0)
 S 4a1b000,8
SYSCALL[7,1](12) sys_brk ( 0x4056010 ) --> [pre-success] Success(0x4056010)
SYSCALL[7,1](12) sys_brk ( 0x4056020 ) --> [pre-success] Success(0x4056020)
SYSCALL[7,1](12) sys_brk ( 0x4036000 ) --> [pre-success] Success(0x4036000)
SYSCALL[7,1](25) sys_mremap ( 0x483d000, 4096, 65536, 0x1 ) --> [pre-success] Success(0x4a2b000)
SYSCALL[7,1](25) sys_mremap ( 0x4a2b000, 65536, 4096, 0x3, 0x40000000 ) --> [pre-success] Success(0x40000000)
SYSCALL[7,1](25) sys_mremap ( 0x5000000, 0, 4096, 0x1 ) --> [pre-success] Success(0x6000000)
"""
    reader = read_trace(trace)
    anonymous, shared = int(MappingFlag.ANONYMOUS), int(MappingFlag.SHARED)
    assert short(reader.events()) == [
        ("MMAP", 0x483C000, 0xA000, 1),
        ("READ", 0x483C000, 8),
        ("MMAP", 0x4A1B000, 0xD000, 3, anonymous),
        ("MMAP", 0x5000000, 0x1000, 3, anonymous | shared),
        ("MMAP", 0x5001000, 0x1000, anonymous),
        ("MPROTECT", 0x4A15000, 0x4000, 1),
        ("MPROTECT", 0x4A15000, 0x4000, 3),
        ("MUNMAP", 0x483C000, 0xA000),
        ("WRITE", 0x4A1B000, 8),
        ("BRK", 0x4035000, 0x4057000),
        ("BRK", 0x4057000, 0x4036000),
        ("MREMAP", 0x483D000, 0x1000, 0x4A2B000, 0x10000),
        ("MREMAP", 0x4A2B000, 0x10000, 0x40000000, 0x1000),
        ("MMAP", 0x6000000, 0x1000, 3, shared),
    ]
    assert (reader.refused_calls, reader.odd_lines) == (0, 0)


def test_record_failed_calls_are_left_out() -> None:
    """Stimulus: calls that fail, among them brk, which then gives the old end.
    Checking: no event; all are counted.
    Covers: RECORD-CALLS.
    """
    trace = """\
SYSCALL[7,1](12) sys_brk ( 0x0 ) --> [pre-success] Success(0x4035000)
SYSCALL[7,1](12) sys_brk ( 0x9035000 ) --> [pre-success] Success(0x4035000)
SYSCALL[7,1](9) sys_mmap ( 0x0, 0, 3, 34, 4294967295, 0 ) --> [pre-fail] Failure(0x16)
SYSCALL[7,1](11) sys_munmap ( 0x3, 1 )[sync] --> Failure(0x16)
SYSCALL[7,1](25) sys_mremap ( 0x483d000, 4096, 65536, 0x0 ) --> [pre-fail] Failure(0xc)
SYSCALL[7,1](10) sys_mprotect ( 0x1000, 0, 1 )[sync] --> Success(0x0)
"""
    reader = read_trace(trace)
    assert len(reader.events()) == 0
    assert (reader.refused_calls, reader.odd_lines) == (4, 0)


def test_record_results_that_come_late() -> None:
    """Stimulus: a result on the next line; after a warning; with another thread's call between; none at all.
    Checking: each result goes to its call.
    Covers: RECORD-CALLS.
    """
    trace = """\
SYSCALL[7,1](9) sys_mmap ( 0x0, 4096, 3, 34, -1, 0 )
 --> [pre-success] Success(0x1000)
SYSCALL[7,1](11) sys_munmap ( 0x1000, 4096 )==7== Warning: something
--7-- WARNING: more
 --> [pre-success] Success(0x0)
SYSCALL[7,1](9) sys_mmap ( 0x0, 8192, 3, 34, -1, 0 ) --> [async] ...
SYSCALL[7,2](9) sys_mmap ( 0x0, 4096, 1, 34, -1, 0 ) --> [pre-success] Success(0x2000)
SYSCALL[7,1](9) ... [async] --> Success(0x8000)
SYSCALL[7,2](0) ... [async] --> Success(0x7)
SYSCALL[7,1](11) sys_munmap ( 0x8000, 4096 )
SYSCALL[7,1](334) unimplemented (by the kernel) syscall: 334! (ni_syscall)
 --> [pre-fail] Failure(0x26)
"""
    reader = read_trace(trace)
    assert short(reader.events()) == [
        ("MMAP", 0x1000, 0x1000, 3, 0x20),
        ("MUNMAP", 0x1000, 0x1000),
        ("MMAP", 0x2000, 0x1000, 1, 0x20),
        ("MMAP", 0x8000, 0x2000, 3, 0x20),
    ]
    assert reader.refused_calls == 0


def test_record_odd_lines_are_passed_over() -> None:
    """Stimulus: accesses and calls with impossible or garbled numbers, other text, a last line that is cut off.
    Checking: no event but the good one; the garbled are counted.
    Covers: RECORD-ODD.
    """
    garbled = [
        *(" L zz,8", " S 1000", " L 1000,", " S 1000,0", " L 1000,-4", " M ffffffffff600000,8", " L 1000,999999999"),
        "SYSCALL[7,1](9) sys_mmap ( 0x0, what, 3, 34, -1, 0 ) --> [pre-success] Success(0x1000)",
        "SYSCALL[7,1](9) sys_mmap ( 0x0 ) --> [pre-success] Success(0x1000)",
        "SYSCALL[7,1](9) sys_mmap ( 0x0, 4096, 3, 34, -1, 0 ) --> [pre-success] Success(0x1001)",
        "SYSCALL[7,1](9) sys_mmap ( 0x0, 4096, 3, 34, -1, 0 ) --> [pre-success] Success(0xfffffffffffff000)",
    ]
    other = [
        "",
        "==7== Lackey",
        " --> Success(0x0)",
        "SYSCALL[",
        "SYSCALL[7,1](0) sys_read ( 4, 0x1, 8 ) --> [async] ...",
    ]
    reader = read_trace("\n".join([*garbled, *other, " L 1000,8", " S 2000,8"]))
    assert short(reader.events()) == [("READ", 0x1000, 8)]
    assert reader.odd_lines == len(garbled)


def test_record_execve_is_noticed() -> None:
    """Stimulus: execve that fails; then one that succeeds, which leaves a last line without end or result.
    Checking: only the second counts.
    Covers: RECORD-EXEC.
    """
    failed = "SYSCALL[7,1](59) sys_execve ( 0x10a010(/none), 0x1f, 0x1f ) --> [pre-fail] Failure(0x2)\n"
    assert read_trace(failed).replaced_by == ""
    assert (
        read_trace(f"{failed}SYSCALL[7,1](59) sys_execve ( 0x10a0(/bin/true), 0x1f, 0x1f )").replaced_by == "/bin/true"
    )


def test_record_limit_of_events() -> None:
    """Stimulus: exactly as many accesses as fit; one more; a repeat more; calls without end.
    Checking: full only when something did not fit; nothing after that gets in.
    Covers: RECORD-CUT.
    """
    trace = " L 1000,8\n L 2000,8\n L 3000,8\n"
    call = "SYSCALL[7,1](11) sys_munmap ( 0x1000, 4096 )[sync] --> Success(0x0)\n"
    assert not read_trace(trace, limit=3).full
    assert not read_trace(trace + " L 3008,8\n", limit=3).full
    reader = read_trace(trace + " S 3000,8\n" + call + " L 1000,8\n", limit=3)
    assert reader.full and reader.accesses == 3 and len(reader.events()) == 3
    wide = read_trace(trace + " L 4000,8\n L 1000,8\n", limit=3, window=100)
    assert wide.full and wide.events()["repeats"].tolist() == [1, 1, 1]
    assert read_trace(call * 4, limit=3).full and not read_trace(call * 3, limit=3).full


def test_record_start_holds_what_was_used_before_any_call() -> None:
    """Stimulus: pages read, written, protected, moved and mapped anew, some before and some after a call.
    Checking: what must have been there, writable only where a store came before the call.
    Covers: RECORD-START.
    """
    events = events_of(
        (EventKind.READ, 0x1010, 8),
        (EventKind.WRITE, 0x2FF8, 8),
        (EventKind.READ, 0x2000, 8),
        (EventKind.MODIFY, 0x3000, 8),
        (EventKind.MPROTECT, 0x3000, 0x2000, Protection.READ),
        (EventKind.READ, 0x4000, 8),
        (EventKind.MMAP, 0x7000, 0x2000, READ_WRITE),
        (EventKind.WRITE, 0x7000, 8),
        (EventKind.WRITE, 0x9000, 8),
        (EventKind.BRK, 0xA000, 0, 0, 0xC000),
        (EventKind.WRITE, 0xB000, 8),
        (EventKind.MREMAP, 0xD000, 0x1000, 0, 0xE000, 0x2000),
        (EventKind.WRITE, 0xF000, 8),
        (EventKind.MUNMAP, 0x0, 0x100000),
    )
    mappings, refused = initial_mappings(events)
    assert mappings.tolist() == [
        (0x1000, 0x1000, Protection.READ),
        (0x2000, 0x2000, READ_WRITE),
        (0x4000, 0x1000, Protection.READ),
        (0x9000, 0x1000, READ_WRITE),
        (0xD000, 0x1000, Protection.READ),
    ]
    assert refused == 0
    nothing, refused = initial_mappings(events_of())
    assert len(nothing) == 0 and refused == 0


def test_record_refused_accesses_are_counted() -> None:
    """Stimulus: accesses to what was unmapped, moved away, given back or protected.
    Checking: each counts, and none becomes a mapping of the start.
    Covers: RECORD-START.
    """
    events = events_of(
        (EventKind.MMAP, 0x1000, 0x4000, READ_WRITE),
        (EventKind.MUNMAP, 0x1000, 0x1000),
        (EventKind.READ, 0x1000, 8),
        (EventKind.MPROTECT, 0x2000, 0x1000, Protection.READ),
        (EventKind.READ, 0x2000, 8),
        (EventKind.WRITE, 0x2000, 8),
        (EventKind.MPROTECT, 0x3000, 0x1000, Protection.NONE),
        (EventKind.READ, 0x3000, 8),
        (EventKind.MREMAP, 0x4000, 0x1000, 0, 0x8000, 0x1000),
        (EventKind.MODIFY, 0x4000, 8),
        (EventKind.MODIFY, 0x8000, 8),
        (EventKind.BRK, 0x10000, 0, 0, 0x12000),
        (EventKind.BRK, 0x12000, 0, 0, 0x11000),
        (EventKind.READ, 0x10000, 8),
        (EventKind.READ, 0x11000, 8),
        (EventKind.MMAP, 0x20000, 0x1000, Protection.READ),
        (EventKind.MREMAP, 0x20000, 0x1000, 0, 0x21000, 0x1000),
        (EventKind.READ, 0x21000, 8),
        (EventKind.WRITE, 0x21000, 8),
    )
    mappings, refused = initial_mappings(events)
    assert len(mappings) == 0 and refused == 6
