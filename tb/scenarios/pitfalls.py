# SPDX-License-Identifier: Apache-2.0
"""Mistakes that real memory management units had, each a small case of its own. tb/data/pitfalls.yaml lists them,
together with those that other tests already provoke.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.arrays import WORD_BYTES
from models.entries import encode
from models.errors import UserError
from models.fault_records import FaultRecord, record_words
from models.geometry import span_bits
from models.pages import PageKind, Pages
from models.registers import Register
from models.structures import FAULT_RECORD_TIMESTAMP, Access, Reason
from tb.case import Case, MemorySettings
from tb.host_script import ALL_BITS, When, make_requests
from tb.scenarios.builder import PORTS
from tb.scenarios.race_world import ABSENT, FIRST_VA, HOT, MISSING, NEXT, PAGE_BYTES, PASID, RaceWorld, page_va

LARGE_VA = (FIRST_VA >> span_bits(2) << span_bits(2)) + (1 << span_bits(2))
LARGE_SHIFT = 21
LAST_VA = ALL_BITS
LAST_PASID = (1 << 20) - 1
SLOW = MemorySettings(read_latency=(2, 2), write_latency=(40, 60), aw_pause=12, w_pause=12, b_pause=12)
STILL = MemorySettings()


def _expect_counter(world: RaceWorld, register: Register, value: int) -> None:
    world.script.write_register(Register.COUNTER_LATCH, 1)
    world.script.read_register(register, expect=value)


def _invalidate(world: RaceWorld, first: int, last: int) -> None:
    """INVALIDATE and FENCE of a range, with the wait for it; the host counts on the range being clean."""
    world.script.invalidate(PASID, first, last, tail=False)
    world.script.fence()
    world.fences += 1
    world.wait_fences()
    world.builder.expect_clean(PASID, first, last)


def _ask_va(world: RaceWorld, va: int, *, pasid: int = PASID, access: Access = Access.READ, client: int = 1) -> None:
    world.builder.ask(make_requests(va, pasid, access, after_action=len(world.script), client=client))


def _wait(world: RaceWorld) -> None:
    """Everything so far is answered."""
    world.script.nop(When(after_request=world.builder.asked))


def error_and_fault(world: RaceWorld) -> None:
    """A read error on a line whose words alone would be another fault, or none: BUS_ERROR wins.

    PREFETCH sees the reason without anybody waiting.
    """
    memory, tables = world.builder.memory, world.builder.tables
    memory.set_read_error(tables.entry_address(PASID, page_va(MISSING)))
    for page in (MISSING, MISSING + 1, ABSENT, HOT):
        for access in (Access.PREFETCH, Access.READ, Access.WRITE) if page != ABSENT else (Access.PREFETCH,):
            world.ask(page, access=access)
    _wait(world)


def fault_not_cached(world: RaceWorld) -> None:
    """A walk that ends in a reason fills nothing: each request walks, and sees the page as soon as it is there."""
    for _ in range(3):
        world.ask(ABSENT, access=Access.PREFETCH)
    _wait(world)
    _expect_counter(world, Register.COUNTER_WALKS, 3)
    world.repair(ABSENT)
    world.ask(ABSENT, access=Access.WRITE)
    _wait(world)
    _expect_counter(world, Register.COUNTER_WALKS, 4)


def record_widest(world: RaceWorld) -> None:
    """A record whose PASID and address have all bits set comes whole."""
    _ask_va(world, LAST_VA, pasid=LAST_PASID, access=Access.ATOMIC)
    _wait(world)
    world.script.wait_register(Register.FAULT_PUT, 1, mask=ALL_BITS)
    expected = record_words(
        FaultRecord(
            tag=0x10F,
            pasid=LAST_PASID,
            va=LAST_VA,
            access=Access.ATOMIC,
            reason=Reason.OUT_OF_RANGE,
            answer_expected=False,
            phase=True,
            timestamp=0,
            merged_count=1,
        )
    )
    for number, word in enumerate(expected.tolist()):
        mask = 0 if number == FAULT_RECORD_TIMESTAMP.word else ALL_BITS
        world.script.read_memory(world.fault_ring_addresses.start + WORD_BYTES * number, expect=word, mask=mask)


def record_once(world: RaceWorld) -> None:
    """Faults that wait long for their records' writes are recorded once each."""
    for number in range(3):
        _ask_va(world, LAST_VA - PAGE_BYTES * number, pasid=number)
    _wait(world)
    world.script.wait_register(Register.FAULT_PUT, 3, mask=ALL_BITS)
    world.settle(400)
    world.script.read_register(Register.FAULT_PUT, expect=3)
    _expect_counter(world, Register.COUNTER_RECORDS, 3)


def stale_selector(world: RaceWorld) -> None:
    """Of two cached pages one is dropped while the other was looked up last, and the other way round."""
    for gone, last in ((HOT, NEXT), (NEXT, HOT)):
        for page in (gone, last, last):
            world.ask(page)
        _wait(world)
        world.remap(gone)
        _invalidate(world, page_va(gone), page_va(gone) + PAGE_BYTES - 1)
        for page in (last, gone, last):
            world.ask(page)
        _wait(world)


def key_bits(world: RaceWorld) -> None:
    """Pages that differ in one bit of their number, each dropped by one byte: the first, one inside, the last."""
    pages = [1 << bit for bit in range(9)]
    for number, page in enumerate(pages):
        for each in pages:
            world.ask(each, access=Access.PREFETCH)
        _wait(world)
        world.remap(page)
        byte = page_va(page) + (0, 0x7FF, 0xFFF)[number % 3]
        _invalidate(world, byte, byte)
        for each in pages:
            world.ask(each)
        _wait(world)


def _large_array(world: RaceWorld) -> tuple[int, np.ndarray[tuple[int], np.dtype[np.uint64]]]:
    """An array of 2 MiB slots: its address and words."""
    count = 1 << (span_bits(2) - LARGE_SHIFT)
    pfns = (np.arange(count, dtype=np.uint64) + np.uint64(0x1000)) << np.uint64(9)
    words = encode(world.format, Pages.of(PageKind.VALID, pfns, write=True))
    address = world.builder.tables.link_array(PASID, LARGE_VA, level=2, page_shift=LARGE_SHIFT, words=words)
    return address, words


def huge_page_whole(world: RaceWorld) -> None:
    """A block of 2 MiB, cached from one end, is dropped by a byte at the other end and in its middle."""
    address, words = _large_array(world)
    size = 1 << LARGE_SHIFT
    for slot, asked, dropped in ((1, 0, size - 1), (2, size - 1, 0), (3, 5 * PAGE_BYTES, size // 2)):
        va = LARGE_VA + slot * size
        _ask_va(world, va + asked)
        _wait(world)
        world.script.write_memory(address + WORD_BYTES * slot, int(words[slot + 64]))
        _invalidate(world, va + dropped, va + dropped)
        # Whatever the host counts on is clean; the rest of the block was one translation with it.
        world.builder.expect_clean(PASID, va, va + size - 1)
        for place in (dropped, asked, size // 4):
            _ask_va(world, va + place)
        _wait(world)


def filled_twice(world: RaceWorld) -> None:
    """Two ports, or one again, miss one page at once, so that it is filled twice; later lookups have one hit."""
    other = PORTS[world.builder.configuration]
    for page in (HOT, NEXT, HOT + 2):
        for client in (1, other, 1, other):
            _ask_va(world, page_va(page) + 8 * client, client=client)
        _wait(world)
        _ask_va(world, page_va(page))
        _wait(world)


def sizes_in_turn(world: RaceWorld) -> None:
    """Hits on a 4 KiB page and on a 2 MiB block, one behind the other: each with its own order and address."""
    _large_array(world)
    vas = [page_va(HOT) + 0xABC, LARGE_VA + 0x12_3456]
    for va in vas:
        _ask_va(world, va)
    _wait(world)
    for number in range(24):
        _ask_va(world, vas[number % 2])


def fault_does_not_leak(world: RaceWorld) -> None:
    """Requests that fault and requests that do not, back to back: each has its own reason, or none."""
    for _ in range(4):
        world.ask(ABSENT, access=Access.PREFETCH)
        world.ask(HOT)
        world.ask_out_of_range()
        world.ask(NEXT, access=Access.WRITE)


PITFALLS: dict[str, tuple[Callable[[RaceWorld], None], MemorySettings]] = {
    "error_and_fault": (error_and_fault, STILL),
    "fault_not_cached": (fault_not_cached, STILL),
    "record_widest": (record_widest, STILL),
    "record_once": (record_once, SLOW),
    "stale_selector": (stale_selector, STILL),
    "key_bits": (key_bits, STILL),
    "huge_page_whole": (huge_page_whole, STILL),
    "filled_twice": (filled_twice, STILL),
    "sizes_in_turn": (sizes_in_turn, STILL),
    "fault_does_not_leak": (fault_does_not_leak, STILL),
}
"""By name: what the host does, and the memory."""


def pitfalls(seed: int, parameters: dict[str, Any]) -> Case:
    """One mistake that a real device had. `case`: its name in PITFALLS; else the seed chooses.

    `configuration`: of the device, as in CaseBuilder.
    """
    name = str(parameters.get("case", list(PITFALLS)[seed % len(PITFALLS)]))
    if name not in PITFALLS:
        raise UserError(f"There is no pitfall {name}; choose one of {', '.join(PITFALLS)}.")
    act, settings = PITFALLS[name]
    world = RaceWorld("pitfalls", seed, settings, parameters={**parameters, "case": name})
    act(world)
    return world.builder.build()
