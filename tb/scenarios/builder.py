# SPDX-License-Identifier: Apache-2.0
"""Puts a case together: memory with tables in it, what the host does, requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.arrays import PAGE_BYTES, WORD_BYTES, Words
from models.device_tables import DeviceTables
from models.entries import none_word
from models.formats import EntryFormat, format_by_name, load_format_file, require_consistent
from models.geometry import DIRECTORY_BYTES
from models.golden_mmu import GoldenMmu
from models.pages import NO_WINDOW, Window
from models.physical_memory import Owner, PhysicalMemory
from models.structures import COMMAND_BYTES
from tb.case import (
    CLEAN_DTYPE,
    DEFAULT_CONFIGURATION,
    DEFAULT_WATCHDOG_CYCLES,
    Case,
    CommandRing,
    MemorySettings,
    image_of,
)
from tb.configurations import named_configuration
from tb.host_script import LAST_ADDRESS, HostScript, join_requests
from tb.records import DATA_BYTES, RequestData, Requests

NO_RING = None


def chosen_format(text: str) -> EntryFormat:
    """A format by its name, or the one in a file.

    Errors: UserError if there is no such format or file, or if the device must refuse the format.
    """
    path = Path(text)
    return require_consistent(load_format_file(path) if path.is_file() else format_by_name(text))


class CaseBuilder:
    """One case in the making.

    Attributes: `device`, the configuration that it is for; `memory`, what it holds when the case begins; `tables`, built in it; `script`, what the host does, of
    which the set-up is written already; `requests`, in order.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        fmt: EntryFormat,
        *,
        context_count: int,
        window: Window = NO_WINDOW,
        parameters: dict[str, Any] | None = None,
        settings: MemorySettings | None = None,
        ring_log2: int | None = NO_RING,
        interrupt_enable: int = 0,
        watchdog_cycles: int = DEFAULT_WATCHDOG_CYCLES,
    ) -> None:
        """`ring_log2`: log2 of the slots of the command ring, None if the case has none.

        `parameters`: what the scenario was asked for; "configuration" in it names the device's configuration.
        Errors: UserError for an unknown configuration.
        """
        self.parameters = dict(parameters or {})
        self.configuration = str(self.parameters.get("configuration", DEFAULT_CONFIGURATION))
        self.device = named_configuration(self.configuration)
        self.name = name
        self.seed = seed
        self.format = fmt
        self.window = window
        self.va_bits = self.device.va_bits
        self.settings = settings or MemorySettings()
        self.interrupt_enable = interrupt_enable
        self.watchdog_cycles = watchdog_cycles
        self.memory = PhysicalMemory(self.settings.size, self.settings.base)
        self.tables = DeviceTables(
            self.memory, va_bits=self.va_bits, context_count=context_count, none_word=none_word(fmt)
        )
        self.ring: CommandRing | None = None
        if ring_log2 is not None:
            base = self.memory.allocate(COMMAND_BYTES << ring_log2, owner=Owner.COMMAND)
            self.ring = CommandRing(base=base, log2=ring_log2)
        self.script = HostScript(self.ring)
        self.script.set_up(
            fmt,
            context_base=self.tables.context_base,
            context_count=context_count,
            window=window,
            interrupt_enable=interrupt_enable,
        )
        self._requests: list[Requests] = []
        self._data: list[RequestData] = []
        self._clean: list[tuple[int, int, int, int]] = []

    def ask(self, requests: Requests, data: RequestData | None = None) -> None:
        """Appends requests. `data`: uint8[n, DATA_BYTES], what they move; for all requests of a case or for none."""
        self._requests.append(requests)
        if data is not None:
            self._data.append(data)

    def spread(self, requests: Requests, rng: np.random.Generator) -> Requests:
        """The requests with a drawn port for each."""
        requests["client"] = rng.integers(1, self.device.ports + 1, size=requests.size)
        return requests

    @property
    def asked(self) -> int:
        """How many requests there are so far."""
        return sum(requests.size for requests in self._requests)

    def fence_word(self) -> int:
        """The bus address of a new word for the value of a fence, alone in its line; 0 for now."""
        address = self.memory.allocate(WORD_BYTES, owner=Owner.FENCE)
        self.memory.write_words(address, [0])
        return address

    def spare_array(self, words: Words) -> int:
        """The bus address of a new array that nothing points to yet."""
        address = self.memory.allocate(words.size * WORD_BYTES, owner=Owner.ARRAY)
        self.memory.write_words(address, words)
        return address

    def spare_directory(self, words: Words) -> int:
        """The bus address of a new directory that nothing points to yet."""
        address = self.memory.allocate(DIRECTORY_BYTES, PAGE_BYTES, Owner.DIRECTORY)
        self.memory.write_words(address, words)
        return address

    def expect_clean(self, pasid: int, first: int = 0, last: int = LAST_ADDRESS) -> None:
        """From the end of the last action so far, the host counts on nothing older being in use for these bytes."""
        self._clean.append((first, last, len(self.script) - 1, pasid))

    def golden(self) -> GoldenMmu:
        """The model over the memory as it is now."""
        tables = self.tables
        return GoldenMmu(
            self.memory, self.format, self.window, tables.context_base, tables.context_count, va_bits=self.va_bits
        )

    def build(self, **figures: object) -> Case:
        """The case. `figures` are told in its parameters, beside what it was asked for."""
        return Case(
            name=self.name,
            seed=self.seed,
            entry_format=self.format,
            context_base=self.tables.context_base,
            context_count=self.tables.context_count,
            window=self.window,
            configuration=self.configuration,
            va_bits=self.va_bits,
            memory=self.settings,
            command_ring=self.ring,
            interrupt_enable=self.interrupt_enable,
            watchdog_cycles=self.watchdog_cycles,
            image=image_of(self.memory),
            requests=join_requests(self._requests),
            request_data=np.concatenate([np.zeros((0, DATA_BYTES), dtype=np.uint8), *self._data]),
            actions=self.script.actions(),
            expectations=self.script.expectations(),
            clean=np.array(self._clean, dtype=CLEAN_DTYPE),
            parameters={**self.parameters, **figures},
        )
