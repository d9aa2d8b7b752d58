# SPDX-License-Identifier: Apache-2.0
"""A walk and a change of what it reads, again and again, at every distance from each other.

Before each round the device has forgotten the place. Then one request walks to it while the host stores, tells the
device the commands that it has written beforehand, and reuses the memory behind the fence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.arrays import WORD_BYTES
from models.formats import format_by_name
from models.geometry import ROOT_LEVELS, span_bits
from models.physical_memory import Owner
from models.registers import Register
from models.structures import Access
from tb.case import Case, MemorySettings
from tb.host_script import ALL_BITS, When, make_requests
from tb.scenarios.builder import CaseBuilder
from tb.scenarios.host_model import GARBAGE, INTERRUPT_FENCE_DONE, HostModel, LiveArray

ROUNDS = 120
CONTEXTS = 4
PASID = 1
CYCLES_OF_A_READ = 6
"""Of a walk, beside the memory's own latency."""
EARLY = 40
"""Most cycles by which the host is first."""
LARGE_SHIFT = 27
"""Slots of the arrays that hang on the root: their walks are short."""
BLOCK = 3
HOT_SLOTS = 32


def races(seed: int, parameters: dict[str, Any]) -> Case:
    """Walks against stores, INVALIDATE, FENCE and the reuse of memory, at every distance. `rounds`: how many."""
    rng = np.random.default_rng(seed)
    # Widely spread latencies: a command may overtake a read of the walk, and the end of a fence too.
    longest = int(rng.choice([2, 24, 80, 160]))
    settings = MemorySettings(
        read_latency=(0, longest),
        ar_pause=int(rng.choice([0, 0, 8, 15])),
        r_pause=int(rng.choice([0, 0, 8])),
    )
    builder = CaseBuilder(
        "races",
        seed,
        format_by_name("linux_5_8"),
        context_count=CONTEXTS,
        parameters=parameters,
        settings=settings,
        ring_log2=3,
        interrupt_enable=INTERRUPT_FENCE_DONE,
    )
    host = HostModel(builder, rng)
    builder.tables.bind(PASID)
    base = 5 << span_bits(3)
    deep = host.link(PASID, base)
    shallow = [
        host.link(PASID, base + (1 << span_bits(3)), level=3, page_shift=LARGE_SHIFT),
        host.link(PASID, base + (2 << span_bits(3)), level=3, page_shift=LARGE_SHIFT, block=BLOCK),
    ]
    for _ in range(int(parameters.get("rounds", ROUNDS))):
        choice = int(rng.integers(5))
        if choice == 0:
            _round(host, deep, longest)
        elif choice == 1:
            _round(host, shallow[0], longest)
        elif choice == 2:
            _replaced_array(host, deep if rng.integers(2) else shallow[0], longest)
        else:
            _half_of_a_block(host, shallow[1], longest)
    return builder.build()


def _forget_everything(host: HostModel) -> None:
    """Without the context entry in the cache a walk is at its longest."""
    script = host.builder.script
    if host.rng.integers(2):
        script.invalidate_context(PASID, tail=False)
    else:
        script.invalidate(PASID, tail=False)
    script.fence()
    host.fences += 1
    script.wait_register(Register.FENCE_SEQUENCE, host.fences, mask=ALL_BITS)
    # The ring is empty now, so that the commands which are written beforehand are not told early for want of room.
    script.wait_taken()


def _commands(host: HostModel, first: int, last: int) -> None:
    """INVALIDATE and FENCE into the ring, not told yet."""
    host.builder.script.invalidate(PASID, first, last, tail=False)
    host.builder.script.fence(tail=False)
    host.fences += 1


def _tell_and_wait(host: HostModel, first: int, last: int) -> None:
    script = host.builder.script
    script.tell_tail()
    script.wait_register(Register.FENCE_SEQUENCE, host.fences, mask=ALL_BITS)
    host.builder.expect_clean(PASID, first, last)


def _start_walk(host: HostModel, array: LiveArray, slot: int, longest: int) -> When:
    """One request from here on; returns when the host acts: from before it to after its end."""
    rng, script = host.rng, host.builder.script
    # Nothing else is on its way, so that the distance is what it says.
    script.nop(When(after_request=host.builder.asked))
    reads = 2 + ROOT_LEVELS[host.builder.va_bits] - array.level
    distance = int(rng.integers(-EARLY, reads * (CYCLES_OF_A_READ + longest)))
    va = array.va_of(slot)
    host.builder.ask(
        make_requests(
            va, PASID, rng.choice([Access.READ, Access.WRITE]), pause=max(0, -distance), after_action=len(script)
        )
    )
    return When(delay=max(0, distance))


def _look_again(host: HostModel, addresses: list[int]) -> None:
    host.builder.ask(make_requests(addresses, PASID, after_action=len(host.builder.script)))


def _round(host: HostModel, array: LiveArray, longest: int) -> None:
    """A slot becomes NONE under the walk; it was mapped just before."""
    slot = int(host.rng.integers(HOT_SLOTS))
    first, last = array.va_of(slot), array.va_of(slot + 1) - 1
    host.store_slots(array, slot, host.fresh_words(array, slot, 1))
    _forget_everything(host)
    _commands(host, first, last)
    when = _start_walk(host, array, slot, longest)
    script = host.builder.script
    script.write_memory(array.address + WORD_BYTES * slot, host.none, when)
    array.words[slot] = host.none
    _tell_and_wait(host, first, last)
    _look_again(host, [first, last, first])


def _half_of_a_block(host: HostModel, array: LiveArray, longest: int) -> None:
    """A block goes away under a walk to its first page; its second half is fenced before the first half.

    What the walk reads of the first half speaks for the second one too, and must not outlive the fence.
    """
    size = 1 << array.block
    slot = int(host.rng.integers(HOT_SLOTS // size)) * size
    first, middle, last = array.va_of(slot), array.va_of(slot + size // 2), array.va_of(slot + size) - 1
    host.commit_block(array, slot, host.fresh_words(array, slot, size))
    _forget_everything(host)
    _commands(host, middle, last)
    when = _start_walk(host, array, slot, longest)
    host.builder.script.write_words(array.address + WORD_BYTES * slot, np.full(size, host.none), when)
    array.words[slot : slot + size] = host.none
    _tell_and_wait(host, middle, last)
    _look_again(host, [middle, last])
    _commands(host, first, middle - 1)
    _tell_and_wait(host, first, middle - 1)
    _look_again(host, [first, last])


def _replaced_array(host: HostModel, array: LiveArray, longest: int) -> None:
    """The directory entry points elsewhere; the old array belongs to nobody as soon as the fence is complete."""
    slot = int(host.rng.integers(HOT_SLOTS))
    builder = host.builder
    words = host.fresh_words(array, 0, array.slots)
    address = builder.spare_array(words)
    old = array.address
    _forget_everything(host)
    _commands(host, array.first_va, array.last_va)
    when = _start_walk(host, array, slot, longest)
    host.store_entry(array, address, when)
    array.address, array.words = address, words
    _tell_and_wait(host, array.first_va, array.last_va)
    builder.script.set_owner(old, array.slots * WORD_BYTES, Owner.NONE)
    builder.script.write_memory(old, GARBAGE)
    _look_again(host, [array.va_of(slot)])
