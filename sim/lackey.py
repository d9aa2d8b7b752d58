# SPDX-License-Identifier: Apache-2.0
"""Reads the text of valgrind's lackey tool (--trace-mem=yes --trace-syscalls=yes) into merged events.

Lines that matter: ` L addr,size`, ` S addr,size`, ` M addr,size` (load, store, both by one instruction) and
`SYSCALL[pid,thread](number) sys_mmap ( arguments ) --> [pre-success] Success(result)`. Instruction fetches (`I  `) are
left out: the device accesses data. Everything else (other system calls, warnings) is passed over.
Sources: valgrind 3.19, lackey/lk_main.c and coregrind/m_syswrap.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from models.program_recording import (
    ADDRESS_LIMIT,
    EVENT_DTYPE,
    PAGE_BYTES,
    PAGE_SHIFT,
    Array,
    EventKind,
    MappingFlag,
    Protection,
)

ACCESS_KINDS = {b" L ": EventKind.READ, b" S ": EventKind.WRITE, b" M ": EventKind.MODIFY}
KIND_BITS = 2
MOST_REPEATS = (1 << 32) - 1
LARGEST_ACCESS = 1 << 16
"""Bytes of one load or store; the largest real one (saving the vector state) has a few thousand."""

MREMAP_DONTUNMAP = 4
_CALL = re.compile(rb"SYSCALL\[(\d+),\s*(\d+)\]\(\s*\d+\) (\w+) ?\((.*?)\)(.*)$")
_LATE_RESULT = re.compile(rb"SYSCALL\[(\d+),\s*(\d+)\]\(\s*\d+\) \.\.\. \[async\](.*)$")
_RESULT = re.compile(rb"(Success|Failure)\(0x([0-9a-f]+)")
_SYSTEM_CALL = b"SYSCALL["
_CONTINUED = b" -->"


class TraceReader:
    """Takes the trace in pieces and keeps the events; `full` is set when there are more than `limit` of a sort."""

    def __init__(self, *, window: int, limit: int) -> None:
        self.window = window
        self.limit = limit
        self.full = False
        self.accesses = 0
        self.raw_accesses = 0
        self.refused_calls = 0
        self.odd_lines = 0
        self.replaced_by = ""
        """The program that took this one's place by execve."""
        self._calls = 0
        self._events: list[tuple[int, ...]] = []
        self._repeats: list[int] = []
        self._seen: dict[int, int] = {}
        self._window_end = window
        self._rest = b""
        self._break = 0
        self._waiting: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}
        self._last_waiting: tuple[bytes, bytes] | None = None

    def feed(self, text: bytes) -> None:
        """The next piece; it may end inside a line. An access without its end of line is never used."""
        lines = (self._rest + text).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            start = line[:3]
            if start == b"I  ":
                continue
            kind = ACCESS_KINDS.get(start)
            if kind is not None:
                self._access_line(int(kind), line)
            elif line.startswith(_SYSTEM_CALL):
                self._system_call_line(line)
            elif line.startswith(_CONTINUED) and self._last_waiting is not None:
                self._finish_call(self._last_waiting, line)

    def finish(self) -> None:
        """The trace is over. What a program says last when another takes its place has no end of line."""
        last, self._rest = self._rest, b""
        if last.startswith(_SYSTEM_CALL):
            self._system_call_line(last)

    def events(self) -> Array:
        """EVENT_DTYPE[n] so far."""
        events = np.zeros(len(self._events), dtype=EVENT_DTYPE)
        if self._events:
            columns = np.array(self._events, dtype=np.uint64)
            names = ("kind", "address", "length", "protection", "flags", "new_address", "new_length")
            for name, column in zip(names, columns.T, strict=True):
                events[name] = column
        events["repeats"] = np.minimum(np.array(self._repeats, dtype=np.uint64), MOST_REPEATS)
        return events

    def _access_line(self, kind: int, line: bytes) -> None:
        place, _, size = line[3:].partition(b",")
        try:
            address, length = int(place, 16), int(size)
        except ValueError:
            self.odd_lines += 1
            return
        if not 0 < length <= LARGEST_ACCESS or not 0 <= address <= ADDRESS_LIMIT - length:
            self.odd_lines += 1
            return
        self.raw_accesses += 1
        if self.raw_accesses > self._window_end:
            self._window_end += self.window
            if self.window > 1:
                self._seen.clear()
        while length > 0:
            part = min(length, PAGE_BYTES - address % PAGE_BYTES)
            key = (address >> PAGE_SHIFT << KIND_BITS) | kind
            index = self._seen.get(key)
            if index is not None:
                self._repeats[index] += 1
            else:
                self._add_access(key, kind, address, part)
            address += part
            length -= part

    def _add_access(self, key: int, kind: int, address: int, length: int) -> None:
        if self.full or self.accesses >= self.limit:
            self.full = True
            self._seen.clear()
            return
        if self.window == 1:
            self._seen.clear()
        self._seen[key] = len(self._events)
        self.accesses += 1
        self._events.append((kind, address, length, 0, 0, 0, 0))
        self._repeats.append(1)

    def _system_call_line(self, line: bytes) -> None:
        late = _LATE_RESULT.match(line)
        if late:
            self._finish_call((late[1], late[2]), late[3])
            return
        call = _CALL.match(line)
        if call is None:
            return
        thread, name, arguments, rest = (call[1], call[2]), call[3], call[4], call[5]
        if name == b"sys_execve":
            # The path stands in brackets: sys_execve ( 0x4a5c0(/bin/true), ... ). No result follows one that succeeds.
            self.replaced_by = arguments.partition(b"(")[2].decode(errors="replace")
            arguments = b""
        elif name not in _CALLS:
            self._last_waiting = None
            return
        self._waiting[thread] = (name, arguments)
        self._last_waiting = thread
        if _CONTINUED in rest:
            self._finish_call(thread, rest)

    def _finish_call(self, thread: tuple[bytes, bytes], text: bytes) -> None:
        result = _RESULT.search(text)
        if result is None or thread not in self._waiting:
            return
        name, arguments = self._waiting.pop(thread)
        self._last_waiting = None
        if name == b"sys_execve":
            self.replaced_by = ""
        elif result[1] == b"Failure":
            self.refused_calls += 1
        else:
            try:
                numbers = [int(text, 0) for text in re.split(r"[,\s]+", arguments.decode().strip())]
                event = _CALLS[name](self, numbers, int(result[2], 16))
            except (ValueError, IndexError):
                self.odd_lines += 1
                return
            if event is not None:
                self._add_call(event)

    def _add_call(self, event: tuple[int, ...]) -> None:
        ends = (event[1] + event[2], event[5] + event[6])
        if min(event) < 0 or max(ends) > ADDRESS_LIMIT or any(part % PAGE_BYTES for part in (event[1], event[5])):
            self.odd_lines += 1
            return
        if self.full or self._calls >= self.limit:
            self.full = True
            return
        self._calls += 1
        self._seen.clear()
        self._events.append(event)
        self._repeats.append(0)

    def mmap(self, numbers: list[int], result: int) -> tuple[int, ...] | None:
        """Address asked for, length, protection, flags, ...; result: address."""
        flags = numbers[3] & (MappingFlag.SHARED | MappingFlag.ANONYMOUS)
        return (EventKind.MMAP, result, _whole(numbers[1]), _protection(numbers[2]), flags, 0, 0)

    def munmap(self, numbers: list[int], _result: int) -> tuple[int, ...] | None:
        """Address, length."""
        return (EventKind.MUNMAP, numbers[0], _whole(numbers[1]), 0, 0, 0, 0)

    def mprotect(self, numbers: list[int], _result: int) -> tuple[int, ...] | None:
        """Address, length, protection; of pkey_mprotect also a key. Nothing happens to an empty range."""
        if numbers[1] == 0:
            return None
        return (EventKind.MPROTECT, numbers[0], _whole(numbers[1]), _protection(numbers[2]), 0, 0, 0)

    def brk(self, numbers: list[int], result: int) -> tuple[int, ...] | None:
        """The new end asked for; result: the end now, the old one if the call failed. The first only tells the end."""
        old, self._break = self._break, _whole(result)
        if numbers[0] not in (0, result):
            self.refused_calls += 1
        if old in (0, self._break):
            return None
        return (EventKind.BRK, old, 0, 0, 0, self._break, 0)

    def mremap(self, numbers: list[int], result: int) -> tuple[int, ...] | None:
        """Address, length, new length, flags; result: the new address."""
        old, new = _whole(numbers[1]), _whole(numbers[2])
        if old == 0 or numbers[3] & MREMAP_DONTUNMAP:
            # The old range stays, so to the address space this is a mapping made.
            shared = MappingFlag.SHARED if old == 0 else MappingFlag.ANONYMOUS
            protection = Protection.READ | Protection.WRITE
            return (EventKind.MMAP, result, new, protection, shared, 0, 0)
        return (EventKind.MREMAP, numbers[0], old, 0, 0, result, new)


_CALLS: dict[bytes, Callable[[TraceReader, list[int], int], tuple[int, ...] | None]] = {
    b"sys_mmap": TraceReader.mmap,
    b"sys_mmap2": TraceReader.mmap,
    b"sys_munmap": TraceReader.munmap,
    b"sys_mprotect": TraceReader.mprotect,
    b"sys_pkey_mprotect": TraceReader.mprotect,
    b"sys_brk": TraceReader.brk,
    b"sys_mremap": TraceReader.mremap,
}


def _whole(length: int) -> int:
    """Rounded up to whole pages."""
    return -(-length // PAGE_BYTES) * PAGE_BYTES


def _protection(bits: int) -> int:
    """READ, WRITE, EXECUTE; any of them lets the program read, as on x86."""
    protection = bits & (Protection.READ | Protection.WRITE | Protection.EXECUTE)
    return protection | Protection.READ if protection else 0
