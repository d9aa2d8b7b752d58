# SPDX-License-Identifier: Apache-2.0
"""A functional device for plain pytest: the golden MMU with a cache that never forgets by itself, faults that wait,
commands and fences. It is as slow and as stubborn as the contract allows.

Source: docs/interface.md, "Faults" and "Commands"; docs/host.md, "The golden device".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from models.arrays import PAGE_BYTES, WORD_BYTES, Words
from models.device_tables import DeviceTables
from models.errors import UserError
from models.fault_records import FaultRecord
from models.formats import EntryFormat
from models.golden_faults import FaultBuffer
from models.golden_translations import IMMEDIATE_REASONS, Translation, Translations
from models.host_events import (
    Accessed,
    AnswerKind,
    FenceCompleted,
    FenceTaken,
    GrantEnded,
    GrantGiven,
    InvalidateTaken,
    Journal,
)
from models.host_scheduler import Scheduler, SchedulerEvent
from models.pages import Window
from models.physical_memory import Owner, PhysicalMemory
from models.structures import Access, Opcode, Reason, pack_command, unpack_command
from models.table_watch import TableWatch

LINE_WORDS = 8
LAST_ADDRESS = (1 << 64) - 1

Result = TypeVar("Result")


@dataclass(frozen=True)
class GoldenSettings:
    """Sizes: log2 of the fault ring, places of the fault buffer (at most 256), places of the command ring."""

    fault_ring_log2: int = 4
    fault_slots: int = 16
    command_slots: int = 8


DEFAULT_SETTINGS = GoldenSettings()


class DeviceAbort(Exception):
    """A request was answered ABORTED. `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class DeviceReset(Exception):
    """A soft reset came over a client: its request gets no answer, and its grant is worth nothing any more."""


@dataclass(eq=False)
class Grant:
    """A translation in a client's hands, until it is released. `number` tells it apart in the journal."""

    translation: Translation
    number: int = 0


@dataclass(eq=False)
class _Fence:
    """A fence that waits aside for the grants that were open when it was taken. `number`: how many came before it."""

    address: int
    value: int
    grants: set[Grant]
    number: int


class GoldenDevice:
    """A device over one memory (models.device_port.DevicePort), and its clients' side: translate(), read(), write().

    `tables.memory` holds tables and system pages, `device_memory` the device's own pages. run() is the device's own
    task and never ends; start it as a daemon of `scheduler`. Attributes: `faults`, the fault side with its counters;
    `journal`; `watch`, told of every store and command if it is set.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        tables: DeviceTables,
        fmt: EntryFormat,
        window: Window,
        *,
        settings: GoldenSettings = DEFAULT_SETTINGS,
        rng: np.random.Generator | None = None,
        journal: Journal | None = None,
        device_memory: PhysicalMemory | None = None,
    ) -> None:
        """`rng` draws what the device does next where it has a choice. Errors: UserError for impossible sizes."""
        self.scheduler = scheduler
        self.settings = settings
        self.journal = journal if journal is not None else Journal(scheduler.now)
        self.watch: TableWatch | None = None
        self._memory = tables.memory
        self._device_memory = device_memory
        self._rng = rng
        self._work = scheduler.event()
        self._translations = Translations(tables, fmt, window)
        self.faults = FaultBuffer(
            scheduler,
            tables.memory,
            self.journal,
            self._work,
            ring_log2=settings.fault_ring_log2,
            slots=settings.fault_slots,
        )
        self._grants: set[Grant] = set()
        self._grants_given = 0
        self._fences_taken = 0
        self._commands: deque[Words] = deque()
        self._commands_taken = scheduler.event()
        self._fences: deque[_Fence] = deque()
        self._fence_word = tables.memory.allocate(WORD_BYTES, owner=Owner.FENCE)
        tables.memory.write_words(self._fence_word, [0])
        self._fence_value = 0
        self._fence_done = scheduler.event()
        self._resets = 0

    # The port: what the driver sees.

    def now(self) -> int:
        """The scheduler's steps."""
        return self.scheduler.now()

    async def pause(self, label: str) -> None:
        """A place where host code may be preempted."""
        await self.scheduler.pause(label)

    def event(self) -> SchedulerEvent:
        """A new event."""
        return self.scheduler.event()

    async def store_words(self, address: int, words: Words) -> None:
        """Store words in order; the device may look after each line of them."""
        for first in range(0, words.size, LINE_WORDS):
            await self.pause("port: store")
            part = words[first : first + LINE_WORDS]
            self._memory.write_words(address + first * WORD_BYTES, part)
            if self.watch is not None:
                self.watch.stored(address + first * WORD_BYTES, part)

    async def submit(self, commands: Words) -> None:
        """Put commands uint64[n, 4] into the ring, in order."""
        for command in commands.reshape(-1, 4):
            while len(self._commands) >= self.settings.command_slots:
                self._commands_taken.clear()
                await self._commands_taken.wait()
            self._commands.append(command.copy())
            if self.watch is not None:
                self.watch.submitted(command.reshape(1, 4))
            self._work.set()
        await self.pause("port: submitted")

    async def fence(self) -> None:
        """Command a fence with a value of its own, and wait for the value."""
        self._fence_value += 1
        value = self._fence_value
        fence = pack_command(opcode=Opcode.FENCE, write_value=1, first=self._fence_word, last=value)
        await self.submit(fence.reshape(1, 4))
        while int(self._memory.read_words(self._fence_word, 1)[0]) < value:
            self._fence_done.clear()
            await self._fence_done.wait()

    async def wait_faults(self, cycles: int) -> bool:
        """Wait until a record is in the ring, but not more than `cycles` steps."""
        return await self.faults.wait_for_records(cycles)

    async def take_faults(self, limit: int) -> list[FaultRecord]:
        """Copy records out of the ring and give their places back."""
        records = await self.faults.take(limit)
        if self.watch is not None:
            self.watch.taken(records)
        return records

    def soft_reset(self) -> None:
        """Forget everything at once: requests, grants, faults, commands, fences, translations.

        Clients that are in the middle of something end with DeviceReset. Source: docs/interface.md, "Reset".
        """
        self._resets += 1
        self._translations.forget(None, 0, LAST_ADDRESS)
        for number in sorted(grant.number for grant in self._grants):
            self.journal.add(GrantEnded(number))
        self._grants.clear()
        self._fences.clear()
        self._commands.clear()
        self._commands_taken.set()
        self.faults.reset()

    # The clients' side.

    async def translate(self, pasid: int, va: int, access: Access) -> Grant:
        """Ask for a translation, and wait as long as it takes. End the grant with release().

        Errors: DeviceAbort if the request is aborted, DeviceReset if a soft reset comes over it.
        """
        resets = self._resets
        while True:
            await self.pause("device: request")
            self._expect_no_reset(resets)
            translation = self._translations.remembered(pasid, va, access)
            if translation is not None:
                return self._grant(pasid, va, access, translation)
            slot = await self.faults.reserve()
            if resets != self._resets:
                # The place was taken after the reset.
                self.faults.give_back(slot)
            self._expect_no_reset(resets)
            reason, translation = await self._walk(pasid, va, access)
            self._expect_no_reset(resets)
            if translation is not None:
                self.faults.give_back(slot)
                self._translations.remember(pasid, va, translation)
                return self._grant(pasid, va, access, translation)
            if access is Access.PREFETCH:
                self.faults.give_back(slot)
                raise DeviceAbort(reason)
            if reason in IMMEDIATE_REASONS:
                self.faults.report(slot, pasid, va, access, reason)
                raise DeviceAbort(reason)
            request = self.faults.wait_under(slot, pasid, va, access, reason)
            await request.over.wait()
            if request.cut_off:
                raise DeviceReset
            if request.reason is not Reason.NONE:
                raise DeviceAbort(request.reason)

    def release(self, grant: Grant) -> None:
        """End a grant."""
        if grant in self._grants:
            self._grants.discard(grant)
            self.journal.add(GrantEnded(grant.number))
        self._work.set()

    async def read(self, pasid: int, va: int) -> int:
        """The 64-bit word at `va`.

        Errors: DeviceAbort; DeviceReset; RuntimeError if a translation leads to memory without data.
        """
        return await self.use(pasid, va, Access.READ, _load)

    async def write(self, pasid: int, va: int, value: int) -> None:
        """Write the 64-bit word at `va`. Errors: as read()."""

        def store(memory: PhysicalMemory, address: int) -> None:
            memory.write_words(address, [value], shadow=False)

        await self.use(pasid, va, Access.WRITE, store)

    async def atomic_add(self, pasid: int, va: int, value: int) -> int:
        """Add to the 64-bit word at `va`, nobody in between; returns what it was. Errors: as read()."""

        def add(memory: PhysicalMemory, address: int) -> int:
            old = _load(memory, address)
            memory.write_words(address, [(old + value) % (1 << 64)], shadow=False)
            return old

        return await self.use(pasid, va, Access.ATOMIC, add)

    async def use(self, pasid: int, va: int, access: Access, touch: Callable[[PhysicalMemory, int], Result]) -> Result:
        """Translate `va`, call `touch` with the memory and the address there, end the grant; returns what it returned.

        Errors: as read().
        """
        grant = await self.translate(pasid, va, access)
        resets = self._resets
        await self.pause("device: bus")
        self._expect_no_reset(resets)
        translation = grant.translation
        self.journal.add(Accessed(pasid, va, access, translation.pfn, translation.walked_at))
        memory = self._device_memory if translation.device else self._memory
        if memory is None:
            raise UserError("Give the golden device a device memory if its window has pages.")
        address = translation.address + va % PAGE_BYTES
        if memory.owner_of(address) is not Owner.DATA:
            raise RuntimeError(f"the device used {va:#x} of PASID {pasid} at {address:#x}, where no data is")
        result = touch(memory, address)
        await self.pause("device: bus done")
        self.release(grant)
        return result

    async def run(self) -> None:
        """Take commands, complete fences, record faults; in an order that is drawn wherever there is a choice."""
        while True:
            ready: list[Callable[[], None]] = []
            if self._commands:
                ready.append(self._take_command)
            if self._fences and not self._fences[0].grants & self._grants:
                ready.append(self._complete_fence)
            if self.faults.can_record():
                ready.append(self.faults.record)
            if not ready:
                self._work.clear()
                await self._work.wait()
                continue
            choice = int(self._rng.integers(len(ready))) if self._rng is not None else 0
            ready[choice]()
            await self.pause("device: work")

    def _expect_no_reset(self, resets: int) -> None:
        if resets != self._resets:
            raise DeviceReset

    def _grant(self, pasid: int, va: int, access: Access, translation: Translation) -> Grant:
        self._grants_given += 1
        grant = Grant(translation, self._grants_given)
        if access is not Access.PREFETCH:
            self._grants.add(grant)
            self.journal.add(GrantGiven(grant.number, pasid, va, translation.walked_at))
        return grant

    async def _walk(self, pasid: int, va: int, access: Access) -> tuple[Reason, Translation | None]:
        """Walk until no invalidation comes in between."""
        while True:
            walk = self._translations.start_walk(pasid, va)
            await self.pause("device: walk")
            result = self._translations.look(pasid, va, access, len(self.journal.events))
            await self.pause("device: walked")
            self._translations.end_walk(walk)
            if not walk.dropped:
                return result

    def _take_command(self) -> None:
        command = self._commands.popleft()
        self._commands_taken.set()
        fields = {name: int(value) for name, value in unpack_command(command).items()}
        pasid, first, last = fields["pasid"], fields["first"], fields["last"]
        match fields["opcode"]:
            case Opcode.INVALIDATE:
                self._forget(None if fields["all_contexts"] else pasid, first, last)
            case Opcode.INVALIDATE_CONTEXT:
                self._forget(None if fields["all_contexts"] else pasid, 0, LAST_ADDRESS)
            case Opcode.FENCE:
                self._fences_taken += 1
                self.journal.add(FenceTaken(self._fences_taken))
                self._fences.append(_Fence(first, last, set(self._grants), self._fences_taken))
            case Opcode.BIND:
                pass  # Context entries are never remembered apart from what was found through them.
            case Opcode.UNBIND:
                self._forget(pasid, 0, LAST_ADDRESS)
                self.faults.unbind(pasid)
            case Opcode.REPLAY_ALL:
                self.faults.replay_all()
            case Opcode.RESUME:
                self.faults.resume(first, AnswerKind.CANCEL if fields["cancel"] else AnswerKind.REPLAY)
            case Opcode.CANCEL:
                self.faults.cancel(pasid, first, last, fields["access"])
            case other:
                raise UserError(f"Send the golden device only commands that it serves: {other} is none.")

    def _forget(self, pasid: int | None, first: int, last: int) -> None:
        self._translations.forget(pasid, first, last)
        self.journal.add(InvalidateTaken(pasid, first, last))

    def _complete_fence(self) -> None:
        fence = self._fences.popleft()
        self.journal.add(FenceCompleted(fence.number))
        self._memory.write_words(fence.address, [fence.value], shadow=False)
        self._fence_done.set()


def _load(memory: PhysicalMemory, address: int) -> int:
    return int(memory.read_words(address, 1)[0])
