# SPDX-License-Identifier: Apache-2.0
"""A case that counts: requests whose hits, walks and reads are known beforehand, and compared by the device's counters.

What a cache forgets, or a walk reads twice, gives right answers all the same. Only the counts tell it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from models import registers
from models.arrays import PAGE_BYTES, Words
from models.entries import encode, none_word
from models.formats import format_by_name
from models.geometry import root_level, span_bits
from models.pages import Pages, Window
from models.physical_memory import Owner
from models.registers import Register
from models.structures import FAULT_RECORD_BYTES, Access
from tb.case import MemorySettings
from tb.host_script import FIRST_PORT, When, make_requests
from tb.scenarios.builder import CaseBuilder

MEMORY_BYTES = 1 << 23
CONTEXTS = 64
WATCHDOG_CYCLES = 20_000
RING_LOG2 = 2
WINDOW = Window(0x8_0000, 0x4000)
PFN_STEP = 0x12
"""Between pfns that nothing is said of: no two of them are neighbours."""
LINE_PAGES = 8
LATENCY = 2
"""Of a memory that is quick."""
FORMAT = replace(
    format_by_name("nouveau_pfnmap"), name="counted", order_shift=5, order_width=5, error=1 << 10, special=1 << 11
)
"""A word for everything: each permission, the device's memory, an order, every kind of page."""


class CountedWorld:
    """One case in the making. `latency`: of a read, in cycles; `parameters`: as in CaseBuilder.

    Attributes: `builder`, `script`, `tables`; `rng`; `levels` of directories; `top`, bytes below an entry of a root.
    """

    def __init__(self, seed: int, parameters: dict[str, Any], *, latency: int = LATENCY) -> None:
        settings = MemorySettings(size=MEMORY_BYTES, read_latency=(latency, latency))
        self.latency = latency
        self.builder = CaseBuilder(
            "counts",
            seed,
            FORMAT,
            context_count=CONTEXTS,
            window=WINDOW,
            parameters=parameters,
            settings=settings,
            ring_log2=RING_LOG2,
            watchdog_cycles=WATCHDOG_CYCLES,
        )
        self.script = self.builder.script
        self.tables = self.builder.tables
        self.rng = np.random.default_rng(seed)
        self.levels = root_level(self.builder.va_bits)
        self.top = 1 << span_bits(self.levels)
        self.none = none_word(FORMAT)
        self._next_pasid = 1
        self._next_pfn = 1
        self._counted = dict.fromkeys(_REGISTERS, 0)

    def size(self, parameter: str) -> int:
        """A parameter of the device's configuration."""
        return self.builder.device.parameters[parameter]

    @property
    def cold(self) -> int:
        """Reads of a walk to an array below the lowest directory, for which nothing is cached."""
        return 1 + self.levels + 1

    @property
    def alone(self) -> int:
        """The pause between requests that must each find the device idle."""
        return (self.levels + 4) * (self.latency + 6) + 20

    # ---- Tables -----------------------------------------------------------------------------------

    def new_context(self) -> int:
        """The PASID of a context that was not used before: nothing is cached for it."""
        pasid = self._next_pasid
        self._next_pasid += 1
        self.tables.bind(pasid)
        return pasid

    def scattered(self, count: int) -> Words:
        """uint64[count]: entries that permit everything, no two of neighbouring frames."""
        first, self._next_pfn = self._next_pfn, self._next_pfn + count
        pfns = np.arange(first, self._next_pfn, dtype=np.uint64) * np.uint64(PFN_STEP)
        # Not into the window.
        pfns += np.uint64(WINDOW.base + WINDOW.count)
        return encode(FORMAT, Pages.of(pfn=pfns, write=True, atomic=True))

    def map_pages(self, pasid: int, va: int, count: int = 1) -> None:
        """Maps scattered pages from `va` on; other pages of their arrays stay as they are, or become NONE."""
        self.tables.link_range(pasid, va, self.scattered(count), FORMAT, 0)

    # ---- The host ---------------------------------------------------------------------------------

    def wait_cycles(self, cycles: int) -> None:
        """The host does nothing for so long."""
        self.script.nop(When(delay=cycles))

    def enable_faults(self) -> None:
        """Switches the fault ring on."""
        ring = self.builder.memory.allocate(FAULT_RECORD_BYTES << RING_LOG2, owner=Owner.FAULT)
        self.script.write_register(Register.FAULT_BASE, ring)
        self.script.write_register(Register.FAULT_SIZE, RING_LOG2)
        control = registers.CONTROL_ENABLE.mask | registers.CONTROL_COMMAND_ENABLE.mask
        self.script.write_register(Register.CONTROL, control | registers.CONTROL_FAULT_ENABLE.mask)
        self.script.wait_register(Register.STATUS, registers.STATUS_FAULT_ACTIVE.mask)

    def wait_answers(self) -> None:
        """The host waits until everything that was asked is answered."""
        self.script.nop(When(after_request=self.builder.asked))

    def invalidate(self, pasid: int, first: int, last: int) -> None:
        """INVALIDATE of bytes first to last and FENCE, with the wait for it."""
        self.script.invalidate(pasid, first, last, tail=False)
        self.fence()

    def fence(self) -> None:
        """FENCE behind the commands that were stored, with the wait for it."""
        word = self.builder.fence_word()
        self.script.fence(address=word, value=1)
        self.script.wait_memory(word, 1)

    def ask(
        self,
        pasid: ArrayLike,
        va: ArrayLike,
        access: ArrayLike = Access.READ,
        *,
        pause: ArrayLike | None = None,
        client: int = FIRST_PORT,
    ) -> None:
        """Requests, in this order; without a `pause` each finds the device idle."""
        self.builder.ask(
            make_requests(
                np.asarray(va, dtype=np.uint64),
                pasid,
                access,
                pause=self.alone if pause is None else pause,
                after_action=len(self.script),
                client=client,
            )
        )

    def probe(self, pasid: ArrayLike, va: ArrayLike) -> None:
        """Prefetches of pages that are not there: their walks show what is cached, and change nothing of it."""
        self.ask(pasid, va, Access.PREFETCH)

    def expect(self, *, hits: int = 0, shared: int = 0, walks: int = 0, reads: int = 0, answered: bool = True) -> None:
        """What the requests since the last time were: first-level hits, second-level hits, walks, and reads of walks.

        `answered`: the host waits for all answers first.
        """
        if answered:
            self.wait_answers()
        self.script.nop(When(delay=self.alone))
        self.script.write_register(Register.COUNTER_LATCH, 1)
        for name, count in {"hits": hits, "shared": shared, "walks": walks, "reads": reads}.items():
            self._counted[name] += count
            self.script.read_register(_REGISTERS[name], expect=self._counted[name])


_REGISTERS = {
    "hits": Register.COUNTER_HITS,
    "shared": Register.COUNTER_SHARED_HITS,
    "walks": Register.COUNTER_WALKS,
    "reads": Register.COUNTER_WALK_READS,
}


def pages_from(va: int, count: int, step: int = PAGE_BYTES) -> Words:
    """uint64[count]: addresses from `va` on, `step` bytes apart."""
    return np.uint64(va) + np.arange(count, dtype=np.uint64) * np.uint64(step)
