# SPDX-License-Identifier: Apache-2.0
"""A case of the bench in the making: tables of scattered pages, phases one after the other, and which rows count."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from models import registers
from models.arrays import PAGE_BYTES, PAGE_SHIFT, Words
from models.entries import encode, none_word
from models.formats import format_by_name
from models.geometry import LEAF_LEVEL, span_bits
from models.pages import PageKind, Pages
from models.physical_memory import Owner
from models.registers import Register
from models.structures import FAULT_RECORD_BYTES, DirectoryType, pack_directory_entry
from tb.case import Case, MemorySettings
from tb.host_script import FIRST_PORT, When, join_requests, make_requests
from tb.records import Requests
from tb.scenarios.builder import CaseBuilder

FORMAT_NAME = "hmm_2018_flags"
CONTEXTS = 8
PASID = 3
MEMORY_BYTES = 1 << 24
WATCHDOG_CYCLES = 1_000_000
COMMAND_LOG2 = 4
ARRAY_PAGES = 1 << (span_bits(LEAF_LEVEL) - PAGE_SHIFT)
ROOT_SPAN = 1 << span_bits(3)
"""Bytes below one entry of a root directory of 48 bits."""
LEAF_SPAN = 1 << span_bits(LEAF_LEVEL)
IDLE_CYCLES = 100
"""At least so long the device has nothing to do before what is measured when it is idle."""


class Plan:
    """One case. `latency`: cycles L of reads and writes, `read_latency` another number for reads.

    Attributes: `builder`; `script`; `device`, the configuration; `rng`; `latency`; `ports`.
    """

    def __init__(self, seed: int, parameters: dict[str, Any], latency: int, read_latency: int | None = None) -> None:
        reads = latency if read_latency is None else read_latency
        self.latency = latency
        self.slowest = max(latency, reads)
        settings = MemorySettings(size=MEMORY_BYTES, read_latency=(reads, reads), write_latency=(latency, latency))
        self.builder = CaseBuilder(
            "bench",
            seed,
            format_by_name(FORMAT_NAME),
            context_count=CONTEXTS,
            parameters=parameters,
            settings=settings,
            ring_log2=COMMAND_LOG2,
            watchdog_cycles=WATCHDOG_CYCLES,
        )
        self.script = self.builder.script
        self.device = self.builder.device
        self.ports = self.device.ports
        self.rng = np.random.default_rng(seed)
        self.builder.tables.bind(PASID)

    # ---- Tables -----------------------------------------------------------------------------------

    def scattered_words(self, count: int) -> Words:
        """uint64[count]: entries that permit everything, each of another frame, no two of them side by side."""
        pfn = 2 * self.rng.permutation(max(count, 1 << 12))[:count].astype(np.uint64) + np.uint64(1)
        pages = Pages.of(np.full(count, PageKind.VALID), pfn, write=True, atomic=True)
        return encode(self.builder.format, pages)

    def map_pages(self, va: int, count: int) -> None:
        """Maps `count` pages from `va` on, physically scattered, with no promise of an order."""
        self.builder.tables.link_range(PASID, va, self.scattered_words(count), self.builder.format, 0)

    def missing_array(self, va: int) -> tuple[int, int]:
        """(address, word): what to store so that an array of scattered pages, not linked yet, is there at `va`.

        The directories above it are there.
        """
        builder = self.builder
        first = va // LEAF_SPAN * LEAF_SPAN
        builder.tables.link_range(PASID, first, np.full(1, none_word(builder.format), np.uint64), builder.format, 0)
        builder.tables.unlink(PASID, first)
        array = builder.spare_array(self.scattered_words(ARRAY_PAGES))
        entry = pack_directory_entry(entry_type=DirectoryType.ARRAY, address=array, page_shift=PAGE_SHIFT, max_order=0)
        return builder.tables.directory_entry_address(PASID, first, LEAF_LEVEL), int(entry[0])

    # ---- The host ---------------------------------------------------------------------------------

    def enable_faults(self, faults: int) -> None:
        """Switches the fault ring on, with room for so many records."""
        log2 = max(0, (faults - 1).bit_length())
        ring = self.builder.memory.allocate(FAULT_RECORD_BYTES << log2, owner=Owner.FAULT)
        self.script.write_register(Register.FAULT_BASE, ring)
        self.script.write_register(Register.FAULT_SIZE, log2)
        control = registers.CONTROL_ENABLE.mask | registers.CONTROL_COMMAND_ENABLE.mask
        self.script.write_register(Register.CONTROL, control | registers.CONTROL_FAULT_ENABLE.mask)
        self.script.wait_register(Register.STATUS, registers.STATUS_FAULT_ACTIVE.mask)

    def wait_for_answers(self) -> None:
        """The host waits until every request so far is answered and the device has been idle for a while."""
        self.script.nop(When(after_request=self.builder.asked))
        self.script.nop(When(delay=IDLE_CYCLES + 2 * self.slowest))

    def wait_for_records(self, count: int) -> None:
        """The host waits until so many fault records are there, and a while longer."""
        self.script.wait_register(Register.FAULT_PUT, count, mask=registers.FAULT_PUT_INDEX.mask)
        self.script.nop(When(delay=IDLE_CYCLES + 2 * self.latency))

    # ---- Requests ---------------------------------------------------------------------------------

    def ask(self, va: Words, *, client: ArrayLike = FIRST_PORT, pause: int = 0) -> tuple[int, int]:
        """Requests that may come from here on; returns the rows [first, end) that they are."""
        first = self.builder.asked
        requests: Requests = make_requests(
            va.astype(np.uint64), PASID, client=client, pause=pause, after_action=len(self.script)
        )
        self.builder.ask(requests)
        return first, self.builder.asked

    def ask_all_ports(self, va: list[Words]) -> tuple[int, int]:
        """Requests of every port at once, the list has them by port; in turn, so that batch and agent are alike."""
        first = self.builder.asked
        parts = [
            make_requests(part.astype(np.uint64), PASID, client=port, after_action=len(self.script))
            for port, part in enumerate(va, 1)
        ]
        requests = join_requests(parts)
        turn = np.concatenate([np.arange(part.size) for part in parts])
        self.builder.ask(requests[np.lexsort((requests["client"], turn))])
        return first, self.builder.asked

    def build(self, **marks: object) -> Case:
        """The case. `marks`: what tb.bench.measure needs to know."""
        return self.builder.build(device_events=True, marks=marks)


def page_addresses(va: int, pages: ArrayLike) -> Words:
    """Byte addresses of pages, counted from `va`."""
    return np.uint64(va) + np.asarray(pages).astype(np.uint64) * np.uint64(PAGE_BYTES)
