# SPDX-License-Identifier: Apache-2.0
"""What hmm_vma_fault() promises for any mix of page states and requests."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.arrays import PAGE_BYTES
from models.formats import format_by_name
from models.hmm import EntryKind, HmmRange, MapFlags, cpu_read, cpu_write, fork, hmm_vma_range_done
from models.host_scheduler import run
from models.tests.hmm_bench import PLACE, HmmBench

FORMAT = format_by_name("hmm_2018_flags")
STATES = ("none", "zero", "written", "shared", "device", "device_shared")
REQUESTS = ("nothing", "read", "write", "read_back", "write_back")
START = PLACE - 3 * PAGE_BYTES
"""Ranges lie across a 2 MiB boundary."""


async def prepare(bench: HmmBench, states: list[str]) -> None:
    """Bring the pages from START on into their states."""
    await bench.begin()
    flags = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
    await bench.mm.mmap(START, len(states) * PAGE_BYTES, flags=flags)
    places = [START + page * PAGE_BYTES for page in range(len(states))]
    for va, state in zip(places, states, strict=True):
        if state in ("shared", "device_shared"):
            await cpu_write(bench.mm, va, b"old")
            if state == "device_shared":
                await bench.to_device(va, va + PAGE_BYTES)
    await fork(bench.mm)
    for va, state in zip(places, states, strict=True):
        if state in ("written", "device"):
            await cpu_write(bench.mm, va, b"old")
        if state == "device":
            await bench.to_device(va, va + PAGE_BYTES)
        if state == "zero":
            await cpu_read(bench.mm, va, 1)


async def fault_until_done(bench: HmmBench, hmm_range: HmmRange, requests: list[str]) -> None:
    """Ask again, with the requests written anew, until nothing was invalidated meanwhile."""
    words = hmm_range.words()
    for _ in range(2 * len(requests) + 2):
        for place, request in enumerate(requests):
            asked = words.request(write="write" in request, device_private="back" in request)
            hmm_range.pfns[place] = words.none if request == "nothing" else asked
        await bench.fault(hmm_range)
        if hmm_vma_range_done(hmm_range):
            return
    raise AssertionError("the range was invalidated again and again")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(STATES), st.sampled_from(REQUESTS)), min_size=1, max_size=7))
def test_hmm_fault_properties_of_success(pages: list[tuple[str, str]]) -> None:
    """A call that succeeds leaves the page table's own words; what was asked for is there, and no byte is lost.

    Stimulus: up to seven pages in any states, each with any request, across a 2 MiB boundary.
    Checking: every entry against the page table; every request by its rule; the bytes of every page.
    Covers: HMM-REQUESTS, HMM-STATES, I7.
    """

    async def scenario() -> None:
        bench = HmmBench()
        states, requests = [state for state, _ in pages], [request for _, request in pages]
        await prepare(bench, states)
        hmm_range = bench.range(FORMAT, START, len(pages))
        words = hmm_range.words()
        await fault_until_done(bench, hmm_range, requests)
        for place, (state, request) in enumerate(pages):
            va, word = START + place * PAGE_BYTES, int(hmm_range.pfns[place])
            entry = bench.mm.page_table.lookup(va)
            expected = words.none
            if entry.kind is not EntryKind.NONE:
                expected = entry.pfn << words.pfn_shift | words.valid | (words.write if entry.writable else 0)
                expected |= words.device_private if entry.kind is EntryKind.DEVICE_PRIVATE else 0
            assert word == expected
            in_device = entry.kind is EntryKind.DEVICE_PRIVATE
            assert request == "nothing" or entry.kind is not EntryKind.NONE
            assert "write" not in request or entry.writable or (in_device and request == "write")
            assert "back" not in request or not in_device
            content = await cpu_read(bench.mm, va, 3)
            assert content == (bytes(3) if state in ("none", "zero") else b"old")

    run(scenario())
