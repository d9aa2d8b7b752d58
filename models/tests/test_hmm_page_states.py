# SPDX-License-Identifier: Apache-2.0
"""What every state of a CPU page-table entry gives: for a look, for a read request, for a write request."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.formats import format_by_name
from models.hmm import EntryKind, HmmError, HmmRange, cpu_read, hmm_vma_range_done
from models.host_scheduler import run
from models.tests.hmm_bench import PLACE, STATES, HmmBench

FORMATS = ["hmm_2018_flags", "hmm_2017_fixed", "nouveau", "odp_rfc"]


@dataclass(frozen=True)
class Expected:
    """What one call leaves: the entry by name, and the errno name of its failure."""

    entry: str
    errno: str | None = None


N, E, S = Expected("N"), Expected("E"), Expected("S")
V, VW = Expected("V"), Expected("VW")
VD, VWD = Expected("VD"), Expected("VWD")
NO_PAGE = Expected("E", "EFAULT")
SPECIAL = Expected("S", "EINVAL")
FORBIDDEN = Expected("N", "EPERM")

TABLE: dict[str, tuple[Expected, Expected, Expected]] = {
    # state: (snapshot, read request, write request)
    "hole": (N, V, VW),
    "none": (N, V, VW),
    "writable": (VW, VW, VW),
    "shared": (VW, VW, VW),
    "copy_on_write": (V, V, VW),
    "read_only": (V, V, FORBIDDEN),
    "zero_page": (V, V, VW),
    "huge": (VW, VW, VW),
    "huge_read_only": (V, V, VW),
    "huge_zero": (V, V, VW),
    "device_private": (VWD, VWD, VWD),
    "device_private_read_only": (VD, VD, VD),
    "poison": (E, NO_PAGE, NO_PAGE),
    "special": (SPECIAL, SPECIAL, SPECIAL),
    "mixed": (SPECIAL, SPECIAL, SPECIAL),
    "no_read": (FORBIDDEN, FORBIDDEN, FORBIDDEN),
    "write_only": (FORBIDDEN, FORBIDDEN, FORBIDDEN),
    "absent_read_only": (N, V, FORBIDDEN),
}


def expected_word(bench: HmmBench, hmm_range: HmmRange, expected: Expected) -> int:
    """The word that the entry by that name has now, with the CPU's own pfn."""
    words = hmm_range.words()
    marks = {"N": words.none, "E": words.error, "S": words.special}
    if expected.entry in marks:
        return marks[expected.entry]
    word = (bench.mm.page_table.lookup(PLACE).pfn << words.pfn_shift) | words.valid
    word |= words.write if "W" in expected.entry else 0
    return word | (words.device_private if "D" in expected.entry else 0)


async def call(bench: HmmBench, hmm_range: HmmRange, request: str) -> str | None:
    """Make the call; returns the errno name of its failure. Where it succeeds the range is done, and good."""
    words = hmm_range.words()
    for attempt in range(2):
        if request != "snapshot":
            hmm_range.pfns[:] = words.request(write=request == "write")
        try:
            await (bench.snapshot(hmm_range) if request == "snapshot" else bench.fault(hmm_range))
        except HmmError as error:
            return error.errno
        if hmm_vma_range_done(hmm_range):
            return None
        assert request == "write", "only breaking copy-on-write invalidates the caller's own range"
        assert attempt == 0, "the second attempt finds the page as it should be"
    raise AssertionError("not reached")


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(("request_index", "request_name"), [(0, "snapshot"), (1, "read"), (2, "write")])
@pytest.mark.parametrize("state", list(STATES))
def test_hmm_page_state(state: str, request_index: int, request_name: str, format_name: str) -> None:
    """Every state of an entry, looked at, requested for reading, requested for writing, in both forms of 2018.

    Stimulus: one page brought into the state by system calls and CPU accesses; one call on it.
    Checking: the whole word, with the CPU's own pfn, and the errno name; a snapshot changes nothing and tells nobody.
    Covers: HMM-STATES, HMM-FORMS, HMM-ERRNO.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await STATES[state](bench)
        bench.mirror.updates.clear()
        before = bench.mm.page_table.lookup(PLACE)
        hmm_range = bench.range(format_by_name(format_name), PLACE, 1)
        expected = TABLE[state][request_index]
        assert await call(bench, hmm_range, request_name) == expected.errno
        assert int(hmm_range.pfns[0]) == expected_word(bench, hmm_range, expected)
        if request_name == "snapshot":
            assert bench.mm.page_table.lookup(PLACE) == before
            assert not bench.mirror.updates

    assert list(STATES) == list(TABLE)
    run(scenario())


def test_hmm_page_state_migration_snapshot() -> None:
    """A page that is being moved is not there for a look; a request waits for it.

    Stimulus: a migration stopped before its copy; a snapshot; then a read request beside the rest of the migration.
    Checking: NONE, then the new page; the request ended only after the migration.
    Covers: HMM-STATES-MIGRATION.
    """
    bench = HmmBench()
    run(bench.begin(), bench.scheduler)
    run(STATES["writable"](bench), bench.scheduler)
    migration = bench.scheduler.start(bench.to_device(PLACE, PLACE + PAGE_BYTES), "migration")
    assert bench.scheduler.run_until(migration, "migrate: copy")
    fmt = format_by_name("hmm_2018_flags")
    look = bench.range(fmt, PLACE, 1)
    run_alone(bench, bench.snapshot(look))
    assert bench.mm.page_table.lookup(PLACE).kind is EntryKind.MIGRATION
    assert int(look.pfns[0]) == look.words().none
    assert hmm_vma_range_done(look)

    wanted = bench.range(fmt, PLACE, 1)
    wanted.pfns[:] = wanted.words().request(write=False)
    request = bench.scheduler.start(bench.fault(wanted), "request")
    assert not bench.scheduler.run_task(request)
    assert bench.scheduler.run_task(migration)
    assert bench.scheduler.run_task(request)
    assert int(wanted.pfns[0]) == expected_word(bench, wanted, VWD)
    assert bench.mm.page_table.lookup(PLACE).kind is EntryKind.DEVICE_PRIVATE


def test_hmm_page_state_device_private_asked_back() -> None:
    """A request with DEVICE_PRIVATE brings the page back to system memory, for reading and for writing.

    Stimulus: own device pages, writable and read-only, requested with the flag.
    Checking: the page is system memory again with its bytes, and writable where that was asked.
    Covers: HMM-STATES-DEVICE.
    """

    async def scenario(state: str, write: bool) -> None:
        bench = HmmBench()
        await bench.begin()
        await STATES[state](bench)
        hmm_range = bench.range(format_by_name("hmm_2018_flags"), PLACE, 1)
        words = hmm_range.words()
        done = False
        while not done:
            hmm_range.pfns[:] = words.request(write=write, device_private=True)
            await bench.fault(hmm_range)
            done = hmm_vma_range_done(hmm_range)
        entry = bench.mm.page_table.lookup(PLACE)
        assert entry.kind is EntryKind.PRESENT
        writable = state == "device_private" or write
        assert int(hmm_range.pfns[0]) == expected_word(bench, hmm_range, VW if writable else V)
        assert await cpu_read(bench.mm, PLACE, 4) == b"data"

    for state in ("device_private", "device_private_read_only"):
        for write in (False, True):
            run(scenario(state, write))


def test_hmm_page_state_device_private_without_flag() -> None:
    """With a zero DEVICE_PRIVATE flag the device test never holds: a write request on a read-only entry faults.

    Stimulus: a read-only device page, requested for writing in a format without the flag.
    Checking: the page came back and is writable.
    Covers: HMM-STATES-DEVICE.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await STATES["device_private_read_only"](bench)
        hmm_range = bench.range(format_by_name("amdgpu"), PLACE, 1)
        assert await call_until_done(bench, hmm_range)
        assert int(hmm_range.pfns[0]) == expected_word(bench, hmm_range, VW)
        assert bench.mm.page_table.lookup(PLACE).kind is EntryKind.PRESENT

    run(scenario())


async def call_until_done(bench: HmmBench, hmm_range: HmmRange) -> bool:
    """Request for writing until the range stays valid."""
    for _ in range(3):
        hmm_range.pfns[:] = hmm_range.words().request(write=True)
        await bench.fault(hmm_range)
        if hmm_vma_range_done(hmm_range):
            return True
    return False


def test_hmm_page_state_outside_any_area() -> None:
    """A range that is not inside one area is refused, and nothing is written.

    Stimulus: ranges that reach past an area's end, are empty, or are not aligned.
    Checking: EINVAL; the entries keep what they held; the range is not tracked.
    Covers: HMM-ERRNO.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await STATES["writable"](bench)
        fmt = format_by_name("hmm_2018_flags")
        for start, end in (
            (PLACE, PLACE + 2 * PAGE_BYTES),
            (PLACE - PAGE_BYTES, PLACE + PAGE_BYTES),
            (PLACE, PLACE),
            (PLACE + 8, PLACE + PAGE_BYTES),
        ):
            hmm_range = bench.range(fmt, PLACE, 1)
            hmm_range.start, hmm_range.end = start, end
            hmm_range.pfns = np.full(max(1, hmm_range.pages), 0x77, dtype=np.uint64)
            for call_it in (bench.snapshot, bench.fault):
                with pytest.raises(HmmError) as caught:
                    await call_it(hmm_range)
                assert caught.value.errno == "EINVAL"
                assert (hmm_range.pfns == 0x77).all()

    run(scenario())


def run_alone(bench: HmmBench, coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine while every other task stands still."""
    task = bench.scheduler.start(coroutine, "alone")
    assert bench.scheduler.run_task(task)
