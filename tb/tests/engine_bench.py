# SPDX-License-Identifier: Apache-2.0
"""A device with its access engine over a few virtual pages in system and device memory, and their bytes as expected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Bytes
from models.device_tables import DeviceTables
from models.entries import none_word
from models.fault_records import FaultRecord, resume_command
from models.formats import format_by_name
from models.pages import Window
from models.physical_memory import Owner, PhysicalMemory
from models.structures import CompletionStatus, Opcode, pack_command
from tb.case import MemorySettings
from tb.engine_port import Completion, EnginePort
from tb.live_device import LiveDevice
from tb.records import Events
from tb.rtl_device_port import RtlDevicePort

FORMAT_NAME = "hmm_2018_flags"
PASID = 3
FIRST_VA = 0x2000_0000
PAGES = 24
DEVICE_PAGES = 64
WINDOW = Window(base=0x8_0000, count=DEVICE_PAGES)
CONTEXTS = 8
QUIET_CYCLES = 400
"""Long enough for everything that does not wait for the host."""


@dataclass(frozen=True)
class Frame:
    """A physical page: its address in system memory, or in the device's own."""

    device: bool
    address: int


def page_va(page: int) -> int:
    """The first address of a virtual page."""
    return FIRST_VA + page * PAGE_BYTES


class EngineBench:
    """One for a cocotb test.

    Attributes: `device`, `port`, `engine`; `frames`, what the virtual pages are mapped to; `expected`, the bytes of all
    virtual pages as they must be.
    """

    def __init__(self, dut: SimHandleBase, seed: int, *, log2: int = 3) -> None:
        self.rng = np.random.default_rng(seed)
        self.format = format_by_name(FORMAT_NAME)
        self.none = none_word(self.format)
        self.memory = PhysicalMemory(1 << 22)
        self.device_memory = PhysicalMemory(DEVICE_PAGES * PAGE_BYTES)
        self.tables = DeviceTables(self.memory, context_count=CONTEXTS, none_word=self.none)
        self.tables.bind(PASID)
        self.tables.link_array(PASID, FIRST_VA)
        self.device = LiveDevice(dut)
        self.device.memory = self.memory
        self.port = RtlDevicePort(self.device)
        self.engine = EnginePort(self.device, log2=log2, buffer_bytes=PAGE_BYTES)
        self.frames: dict[int, Frame] = {}
        self.expected = self.rng.integers(0, 256, PAGES * PAGE_BYTES, dtype=np.uint8)

    async def start(self, settings: MemorySettings | None = None, *, seed: int = 1) -> None:
        """Resets the device and switches everything on."""
        await self.device.start(self.memory, settings, seed=seed, device_memory=self.device_memory)
        await self.port.enable(
            self.format, context_base=self.tables.context_base, context_count=CONTEXTS, window=WINDOW
        )
        await self.engine.enable()

    def new_frame(self, *, device: bool) -> Frame:
        """A free page."""
        memory = self.device_memory if device else self.memory
        return Frame(device, memory.allocate(PAGE_BYTES, PAGE_BYTES, Owner.DATA))

    def free_frame(self, frame: Frame) -> None:
        """Gives a page back: the device must not touch it any more."""
        (self.device_memory if frame.device else self.memory).free(frame.address)

    def content(self, frame: Frame) -> Bytes:
        """The page's bytes, a view of what host and device share."""
        return (self.device_memory if frame.device else self.memory).buffer[frame.address : frame.address + PAGE_BYTES]

    def entry(self, frame: Frame, *, write: bool = True) -> int:
        """The entry that maps a page."""
        flags = self.format.valid | (self.format.write if write else 0)
        pfn = frame.address >> PAGE_SHIFT
        if frame.device:
            return (pfn + WINDOW.base) << self.format.pfn_shift | flags | self.format.device_private
        return pfn << self.format.pfn_shift | flags

    def slot(self, page: int) -> int:
        """Bus address of the entry of a virtual page."""
        return self.tables.entry_address(PASID, page_va(page))

    def map_at_start(self, page: int, *, device: bool = False, write: bool = True) -> None:
        """Maps a page before the device can have seen it, with the bytes that are expected there."""
        frame = self.frames[page] = self.new_frame(device=device)
        self.content(frame)[:] = self.expected[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
        self.memory.write_words(self.slot(page), [self.entry(frame, write=write)])

    async def map_page(self, page: int, frame: Frame) -> None:
        """The host maps a page to a frame while the device runs; nothing was mapped there."""
        self.frames[page] = frame
        await self.store(page, self.entry(frame))

    async def store(self, page: int, word: int) -> None:
        """The host stores an entry."""
        await self.port.store_words(self.slot(page), np.array([word], dtype=np.uint64))

    async def unmap_page(self, page: int) -> Frame:
        """Store NONE, INVALIDATE, FENCE: when this returns the device uses the frame no more. Returns the frame."""
        await self.store(page, self.none)
        first = page_va(page)
        command = pack_command(opcode=Opcode.INVALIDATE, pasid=PASID, first=first, last=first + PAGE_BYTES - 1)
        await self.port.submit(command.reshape(1, 4))
        await self.port.fence()
        return self.frames.pop(page)

    async def record(self, limit: int = 5000) -> FaultRecord:
        """The next fault record. Errors: AssertionError if none comes."""
        assert await self.port.wait_faults(limit), "no fault record came"
        return (await self.port.take_faults(1))[0]

    async def resume(self, tag: int, *, cancel: bool = False) -> None:
        """Answers a fault."""
        await self.port.submit(resume_command(tag, cancel=cancel).reshape(1, 4))

    async def quiet(self) -> None:
        """Lets everything end that does not wait for the host."""
        await self.device.cycles(QUIET_CYCLES)

    def read_back(self, page: int) -> Bytes:
        """The bytes that are in the frame of a virtual page now."""
        return self.content(self.frames[page])

    def check_pages(self) -> None:
        """Errors: AssertionError naming the first byte of a mapped page that is not as expected."""
        for page in sorted(self.frames):
            wanted = self.expected[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
            wrong = np.flatnonzero(self.read_back(page) != wanted)
            assert not wrong.size, (
                f"page {page} byte {wrong[0]:#x}: {self.read_back(page)[wrong[0]]:#x}, not {wanted[wrong[0]]:#x}; "
                f"{wrong.size} bytes of the page are wrong"
            )

    async def finish(self) -> Events:
        """Errors: AssertionError as LiveDevice.finish() and check_pages()."""
        events = await self.device.finish()
        self.check_pages()
        return events


def all_ok(completions: list[Completion]) -> None:
    """Errors: AssertionError naming the first completion that is not OK."""
    for place, completion in enumerate(completions):
        assert completion.status is CompletionStatus.OK, f"descriptor {place} ended with {completion}"
