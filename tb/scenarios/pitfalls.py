# SPDX-License-Identifier: Apache-2.0
"""Mistakes that real memory management units had, each a small case of its own. tb/data/pitfalls.yaml lists them,
together with those that other tests already provoke.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from models.arrays import WORD_BYTES
from models.entries import encode
from models.errors import UserError
from models.fault_records import FaultRecord, record_words, replay_all_command
from models.geometry import span_bits
from models.pages import PageKind, Pages
from models.registers import Register
from models.structures import FAULT_RECORD_TAG, FAULT_RECORD_TIMESTAMP, Access, Opcode, Reason, pack_command
from tb.case import Case, MemorySettings
from tb.host_script import ALL_BITS, When, make_requests
from tb.scenarios.race_world import (
    ABSENT,
    BAD,
    CONTEXTS,
    FIRST_VA,
    HOT,
    MISSING,
    NEXT,
    OTHER_PASID,
    PAGE_BYTES,
    PASID,
    SLOTS,
    RaceWorld,
    page_va,
)

LARGE_VA = (FIRST_VA >> span_bits(2) << span_bits(2)) + (1 << span_bits(2))
LARGE_SHIFT = 21
LAST_VA = ALL_BITS
LAST_PASID = (1 << 20) - 1
SLOW = MemorySettings(read_latency=(2, 2), write_latency=(40, 60), aw_pause=12, w_pause=12, b_pause=12)
STILL = MemorySettings()
SCATTERED = MemorySettings(read_latency=(0, 20), ar_pause=4, r_pause=4)
TOP_PFN_BIT = 35
"""Of a bus address of 48 bits."""
LONGEST_FAILURE = 24
"""Cycles over which one failure is slid along another."""


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
        # One after the other: two at once may share a walk.
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
        # Which place and generation it was is the device's own affair.
        unknown = {FAULT_RECORD_TIMESTAMP.word: ALL_BITS, FAULT_RECORD_TAG.word: FAULT_RECORD_TAG.mask}
        mask = ALL_BITS & ~unknown.get(number, 0)
        place = world.fault_ring_addresses.start + WORD_BYTES * number
        world.script.read_memory(place, expect=word & mask, mask=mask)


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
    other = world.builder.device.ports
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


def permission_not_cached(world: RaceWorld) -> None:
    """A WRITE that lacks permission waits, and leaves nothing behind that permits it; with the permission it passes."""
    address = world.slot_address(HOT)
    words = encode(world.format, Pages.of(PageKind.VALID, [0x777], write=np.array([False])))
    world.script.write_memory(address, int(words[0]))
    for access in (Access.WRITE, Access.READ):
        world.ask(HOT, access=access)
        world.settle()
    # The WRITE's walk left nothing behind, not even what may be read: the READ walked itself.
    _expect_counter(world, Register.COUNTER_WALKS, 2)
    for access in (Access.WRITE, Access.READ, Access.ATOMIC, Access.READ):
        world.ask(HOT, access=access)
        world.settle()
    world.script.wait_register(Register.FAULT_PUT, 1, mask=ALL_BITS)
    words = encode(world.format, Pages.of(PageKind.VALID, [0x777], write=np.array([True])))
    world.script.write_memory(address, int(words[0]))
    world.settle()
    world.script.command(replay_all_command())
    _wait(world)
    world.ask(HOT, access=Access.WRITE)


def context_key(world: RaceWorld) -> None:
    """Small and huge pages of two contexts at the same addresses: what concerns one context drops its own, whole."""
    tables = world.builder.tables
    address, words = _large_array(world)
    other = words[::-1].copy()
    places = {
        PASID: address,
        OTHER_PASID: tables.link_array(OTHER_PASID, LARGE_VA, level=2, page_shift=LARGE_SHIFT, words=other),
    }
    small, large = page_va(HOT) + 0x10, LARGE_VA + (3 << LARGE_SHIFT) + 0x4_5678
    everywhere = {"first": 0, "last": ALL_BITS}
    commands = (
        ({PASID}, pack_command(opcode=Opcode.INVALIDATE, pasid=PASID, **everywhere)),
        ({OTHER_PASID}, pack_command(opcode=Opcode.INVALIDATE_CONTEXT, pasid=OTHER_PASID)),
        ({PASID, OTHER_PASID}, pack_command(opcode=Opcode.INVALIDATE, all_contexts=1, **everywhere)),
        ({PASID, OTHER_PASID}, pack_command(opcode=Opcode.INVALIDATE_CONTEXT, all_contexts=1)),
    )
    for number, (gone, command) in enumerate(commands):
        for _ in range(2):
            for pasid in (PASID, OTHER_PASID):
                for va in (small, large):
                    _ask_va(world, va, pasid=pasid)
            _wait(world)
        for pasid in sorted(gone):
            fresh = encode(world.format, Pages.of(PageKind.VALID, [0x4_0000 + 16 * number + pasid], write=True))
            world.script.write_memory(tables.entry_address(pasid, small), int(fresh[0]))
            world.script.write_memory(places[pasid] + 3 * WORD_BYTES, int(words[100 + 8 * number + pasid]))
        world.script.command(command, ring_tail=False)
        world.script.fence()
        world.fences += 1
        world.wait_fences()
        for pasid in sorted(gone):
            world.builder.expect_clean(pasid)


def top_bits(world: RaceWorld) -> None:
    """Addresses, virtual and of the bus, that differ in their top bit alone, cached side by side and dropped singly."""
    far = FIRST_VA | 1 << (world.builder.va_bits - 1)
    pages = np.arange(SLOTS, dtype=np.uint64) + np.uint64(1)
    near_words = encode(world.format, Pages.of(PageKind.VALID, pages, write=True))
    far_words = encode(world.format, Pages.of(PageKind.VALID, pages | np.uint64(1 << TOP_PFN_BIT), write=True))
    world.builder.tables.link_array(PASID, far, words=far_words)
    for page in (HOT, NEXT):
        world.script.write_memory(world.slot_address(page), int(near_words[page]))
        vas = [page_va(page), far + PAGE_BYTES * page]
        for gone in (1, 0):
            for va in (*vas, *vas):
                _ask_va(world, va + 0xFF8)
            _wait(world)
            entry = world.builder.tables.entry_address(PASID, vas[gone])
            world.script.write_memory(entry, int((far_words if gone else near_words)[page + 8]))
            _invalidate(world, vas[gone], vas[gone])


def neighbours_at_once(world: RaceWorld) -> None:
    """Two ports, or one, ask for all pages of one line, from both ends, and one is not there: each gets its own."""
    first = MISSING & ~7
    second = min(2, world.builder.device.ports)
    for _ in range(2):
        for near in range(8):
            for client, page in ((1, first + near), (second, first + 7 - near)):
                access = Access.PREFETCH if page == MISSING else (Access.READ, Access.WRITE)[near % 2]
                _ask_va(world, page_va(page) + 8 * near, access=access, client=client)
        _wait(world)
        _invalidate(world, 0, ALL_BITS)


def errors_together(world: RaceWorld) -> None:
    """Every two kinds of failure on two ports, or on one, at every distance: each request gets its own reason."""
    second = min(2, world.builder.device.ports)
    failing = {
        Reason.BUS_ERROR: (page_va(BAD), PASID),
        Reason.OUT_OF_RANGE: (1 << 63, PASID),
        Reason.NO_CONTEXT: (page_va(HOT), CONTEXTS),
        Reason.NOT_PRESENT: (page_va(ABSENT), PASID),
    }
    script, builder = world.script, world.builder
    for one, other in combinations(failing.values(), 2):
        for distance in range(LONGEST_FAILURE):
            for client, (va, pasid), pause in ((1, one, LONGEST_FAILURE // 2), (second, other, distance)):
                builder.ask(
                    make_requests(va, pasid, Access.PREFETCH, pause=pause, after_action=len(script), client=client)
                )
            _wait(world)


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
    "permission_not_cached": (permission_not_cached, STILL),
    "context_key": (context_key, STILL),
    "top_bits": (top_bits, STILL),
    "neighbours_at_once": (neighbours_at_once, SCATTERED),
    "errors_together": (errors_together, STILL),
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
