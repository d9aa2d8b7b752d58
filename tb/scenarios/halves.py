# SPDX-License-Identifier: Apache-2.0
"""Blocks and arrays that go away in two steps: the second half is invalidated and fenced before the first one.

What a request in the first half reads, or finds in a cache, speaks for the second half too, and must not outlive its
fence. From round to round the request comes a cycle later, so the invalidation meets it in every cycle of its life. The
time between the two is that of a sweep of 64 sets: with fewer the host's store would come too late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.arrays import WORD_BYTES
from models.formats import format_by_name
from models.geometry import span_bits
from models.registers import Register
from models.structures import Access
from tb.case import Case, MemorySettings
from tb.host_script import ALL_BITS, When, make_requests
from tb.scenarios.builder import CaseBuilder
from tb.scenarios.host_model import INTERRUPT_FENCE_DONE, HostModel, LiveArray

PASID, OTHER_PASID = 1, 2
CONTEXTS = 4
LATENCY = 24
"""Of a read: longer than the time from the host's store to the invalidation, so that a walk holds what was before."""
LONG_SWEEP = 32
"""Sets of the second level, one a cycle, that leave the host time for a look at the command ring."""
LARGE_SHIFT = 33
BLOCK = 1
"""log2 of the slots of a block: each half is one slot."""
HOT_SLOTS = 64
STORE = 44
"""When the host stores: cycles after it saw the first INVALIDATE executed. The next waits for a sweep of 64 sets."""
STEPS = 72
"""Rounds of a kind, and cycles over which the request slides."""
FOLLOWS = 18
"""Cycles between a walk and one that may share its read: the first reads before the store, the other behind it."""


class Halves:
    """One case. `base` is where the array hangs; its slots are so large that a walk reads two lines."""

    def __init__(self, builder: CaseBuilder, rng: np.random.Generator) -> None:
        self.builder = builder
        self.script = builder.script
        self.host = HostModel(builder, rng)
        self.taken = 0
        for pasid in (PASID, OTHER_PASID):
            builder.tables.bind(pasid)
        base = 5 << span_bits(3)
        self.array: LiveArray = self.host.link(PASID, base, level=3, page_shift=LARGE_SHIFT, block=BLOCK)

    def ask(self, va: int, *, client: int = 1) -> None:
        """One request, from here on; by the last port if the device has not as many."""
        client = min(client, self.builder.device.ports)
        self.builder.ask(make_requests(va, PASID, Access.READ, client=client, after_action=len(self.script)))

    def settle(self) -> None:
        """Everything so far is answered."""
        self.script.nop(When(after_request=self.builder.asked))

    def clean(self, first: int, last: int) -> None:
        """INVALIDATE and FENCE of a range, waited for."""
        self.script.invalidate(PASID, first, last, tail=False)
        self.script.fence()
        self.taken += 2
        self._wait(first, last)

    def _wait(self, first: int, last: int) -> None:
        self.host.fences += 1
        self.script.wait_register(Register.FENCE_SEQUENCE, self.host.fences, mask=ALL_BITS)
        self.script.wait_taken()
        self.builder.expect_clean(PASID, first, last)

    def fresh_block(self, slot: int) -> None:
        """New pages everywhere, some of them in this block, and nothing of the array known to the device."""
        array = self.array
        content = self.host.fresh_words(array, 0, array.slots)
        while content[slot] in (self.host.none, array.words[slot]):
            content = self.host.fresh_words(array, 0, array.slots)
        old = array.address
        array.address, array.words = self.builder.spare_array(content), content
        self.host.store_entry(array, array.address, When())
        self.clean(array.first_va, array.last_va)
        self.host.reuse(old, array.slots * WORD_BYTES)

    def _perform(self, steps: list[tuple[int, Callable[[], None]]]) -> None:
        now = 0
        for cycle, act in sorted(steps, key=lambda step: step[0]):
            self.script.nop(When(delay=cycle - now))
            act()
            now = cycle

    def slide(self, steps: list[tuple[int, Callable[[], None]]], first: int, last: int) -> None:
        """The second half is invalidated; meanwhile what `steps` do, each with its cycle from the first command on.

        Its invalidation waits while the first one sweeps. Through few sets that is over before the host has done
        anything; then the steps come first.
        """
        script = self.script
        long_sweep = self.builder.device.of("SharedSets", 1) >= LONG_SWEEP
        if not long_sweep:
            self._perform(steps)
        script.invalidate(OTHER_PASID, tail=False)
        script.invalidate(PASID, first, last, tail=False)
        script.fence()
        if long_sweep:
            script.wait_register(Register.COMMAND_HEAD, self.taken + 1, mask=ALL_BITS)
            self._perform(steps)
        self.taken += 3
        self._wait(first, last)


KINDS = ("block walked", "block found", "array walked", "array found", "walk followed")
"""What goes away, and what the request in its first half meets."""
WARM = ("block walked", "block found", "array found")
"""Where something is known to the device beforehand."""


def _round(halves: Halves, kind: str, step: int, slot: int) -> None:
    """One block goes, alone or with its array."""
    array, host, script = halves.array, halves.host, halves.script
    first, middle, last = array.va_of(slot), array.va_of(slot + 1), array.va_of(slot + 2) - 1
    halves.fresh_block(slot)
    halves.settle()
    if kind in WARM:
        # The second level has the block, the first level of the other port has not; or where the array is, is known.
        others = [other for other in range(array.slots) if other >> BLOCK != slot >> BLOCK]
        known = next(other for other in others if array.words[other] != host.none)
        halves.ask(first if kind == "block found" else array.va_of(known), client=2)
        halves.settle()

    old = array.address
    whole = kind.startswith("block")

    def change() -> None:
        if whole:
            script.write_words(array.address + WORD_BYTES * slot, np.full(2, host.none))
            array.words[slot : slot + 2] = host.none
        else:
            words = host.fresh_words(array, 0, array.slots)
            array.address, array.words = halves.builder.spare_array(words), words
            host.store_entry(array, array.address, When())

    steps: list[tuple[int, Callable[[], None]]] = [(STORE, change)]
    if kind == "walk followed":
        steps += [(step, lambda: halves.ask(middle, client=2)), (step + FOLLOWS, lambda: halves.ask(first))]
    else:
        steps.append((step, lambda: halves.ask(first + (1 << LARGE_SHIFT) // 2)))
    halves.slide(steps, middle, last if whole else array.last_va)
    for client in (1, 2):
        halves.ask(middle, client=client)
        halves.ask(last if whole else array.last_va, client=client)
    halves.settle()
    halves.clean(first if whole else array.first_va, middle - 1)
    if not whole:
        host.reuse(old, array.slots * WORD_BYTES)
    for client in (1, 2):
        halves.ask(first, client=client)
    halves.settle()


def halves(seed: int, parameters: dict[str, Any]) -> Case:
    """Blocks and arrays of which one half is fenced first, under a lookup or a walk in the other. `steps`: rounds."""
    rng = np.random.default_rng(seed)
    builder = CaseBuilder(
        "halves",
        seed,
        format_by_name("linux_5_8"),
        context_count=CONTEXTS,
        parameters=parameters,
        settings=MemorySettings(read_latency=(LATENCY, LATENCY)),
        ring_log2=3,
        interrupt_enable=INTERRUPT_FENCE_DONE,
    )
    case = Halves(builder, rng)
    for kind in KINDS:
        for step in range(int(parameters.get("steps", STEPS))):
            _round(case, kind, step, int(rng.integers(HOT_SLOTS)) & ~1)
    return builder.build()
