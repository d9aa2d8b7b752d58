# SPDX-License-Identifier: Apache-2.0
"""Two processes and two devices with memory of their own, led step by step; every step can be written down and pasted.

A step starts something and returns; `advance()` lets time pass. All rules are looked at behind every step. A failure
says which steps led to it, as a test that can be pasted.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.arrays import PAGE_BYTES
from models.driver import AnswerPolicy, CommitPolicy, Driver, DriverOptions
from models.errors import UserError
from models.golden_device import DeviceAbort, GoldenSettings
from models.hmm import Advice, CpuAccessError, HmmError, MapFlags, MemoryMap, Prot, cpu_read, cpu_write, fork
from models.hmm.operations.exclusive import make_device_exclusive_range
from models.host_events import HostEventRecord, Journal
from models.host_scheduler import StuckError
from models.tests.closed_loop import DEVICE_WINDOW, FOREIGN_WINDOW, ClosedLoop

PAGES = 6
PLACE = 0x4000_0000 - 3 * PAGE_BYTES
"""Half of the pages lie before a 2 MiB boundary, half behind it."""
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
CPU = 2
"""The CPU as a writer; 0 and 1 are the devices."""


@dataclass
class JournalOfBoth(Journal):
    """What address spaces say is written into the journals of both devices."""

    journals: Sequence[Journal] = field(default_factory=list)

    def add(self, event: HostEventRecord) -> None:
        """Append an event to both."""
        for journal in self.journals:
            journal.add(event)


@dataclass
class Word:
    """A word with one writer, one write at a time, whose stamps grow. `ended`: what a reader must find at least."""

    begun: int = 0
    ended: int = 0
    busy: bool = False


class TwoDevices:
    """The machine. Processes, devices and pages are numbers from 0; each process is bound on both devices.

    Errors of every step: AssertionError with what is wrong, and the steps up to here.
    """

    def __init__(
        self,
        seed: int = 0,
        answers: tuple[AnswerPolicy, AnswerPolicy] = (AnswerPolicy.RESUME, AnswerPolicy.RESUME),
        drivers: tuple[type[Driver], type[Driver]] = (Driver, Driver),
    ) -> None:
        self.steps: list[str] = []
        self.failed = False
        self._made = (seed, answers, drivers)
        self._problems: list[str] = []
        self._looked_at: list[int] = []
        self.first = self._loop(0, DEVICE_WINDOW, None)
        self.second = self._loop(1, FOREIGN_WINDOW, self.first)
        self.loops = (self.first, self.second)
        self.scheduler = self.first.scheduler
        self.scheduler.step_limit = 60_000
        journal = JournalOfBoth(self.scheduler.now, journals=[loop.journal for loop in self.loops])
        self.spaces = [MemoryMap(self.first.device, self.first.frames, journal) for _ in range(2)]
        self._words: dict[tuple[int, int, int], Word] = {}
        self._thrown: dict[tuple[int, int], int] = {}
        self.scheduler.run(self._begin())

    def _loop(self, number: int, window: Any, beside: ClosedLoop | None) -> ClosedLoop:
        seed, answers, drivers = self._made
        commit = list(CommitPolicy)[number]
        return ClosedLoop(
            seed=seed,
            device_pages=True,
            device_window=window,
            beside=beside,
            driver=drivers[number],
            options=DriverOptions(answer=answers[number], commit=commit, filter_window=200),
            settings=GoldenSettings(fault_ring_log2=1, fault_slots=6, command_slots=3),
        )

    async def _begin(self) -> None:
        for number, space in enumerate(self.spaces):
            for loop in self.loops:
                await loop.driver.bind(number + 1, space)
            await space.mmap(PLACE, PAGES * PAGE_BYTES, flags=FIXED)

    # Accesses.

    def cpu_write(self, process: int, page: int) -> None:
        """A thread of the CPU writes the next stamp."""
        self._do("cpu_write", process, page, work=self._write(CPU, process, page))

    def cpu_read(self, process: int, page: int) -> None:
        """A thread of the CPU reads what everybody wrote."""
        self._do("cpu_read", process, page, work=self._read(CPU, process, page))

    def device_write(self, device: int, process: int, page: int) -> None:
        """A device writes the next stamp."""
        self._do("device_write", device, process, page, work=self._write(device, process, page))

    def device_read(self, device: int, process: int, page: int) -> None:
        """A device reads what everybody wrote."""
        self._do("device_read", device, process, page, work=self._read(device, process, page))

    # Changes. `first` and `count` are pages.

    def remap(self, process: int, first: int, count: int) -> None:
        """Unmap pages, and map other ones."""

        async def work(space: MemoryMap, start: int, length: int) -> None:
            await space.munmap(start, length)
            await space.mmap(start, length, flags=FIXED)

        self._do("remap", process, first, count, work=self._throw(process, first, count, work))

    def throw_away(self, process: int, first: int, count: int) -> None:
        """MADV_DONTNEED."""

        async def work(space: MemoryMap, start: int, length: int) -> None:
            await space.madvise(start, length, Advice.MADV_DONTNEED)

        self._do("throw_away", process, first, count, work=self._throw(process, first, count, work))

    def protect(self, process: int, first: int, count: int) -> None:
        """Forbid writing for a while."""
        start, length = _range(first, count)

        async def work() -> None:
            await self.spaces[process].mprotect(start, length, Prot.PROT_READ)
            await self.scheduler.sleep(40)
            await self.spaces[process].mprotect(start, length, Prot.PROT_READ | Prot.PROT_WRITE)

        self._do("protect", process, first, count, work=_permitting("ENOMEM", work()))

    def share(self, process: int) -> None:
        """A child that lives for a while, and must see what it was born with all the time."""

        async def work() -> None:
            child = await fork(self.spaces[process])
            born = [await cpu_read(child, PLACE + page * PAGE_BYTES, 8 * CPU + 8) for page in range(PAGES)]
            await self.scheduler.sleep(60)
            later = [await cpu_read(child, PLACE + page * PAGE_BYTES, 8 * CPU + 8) for page in range(PAGES)]
            if born != later:
                self._problems.append(f"a child of process {process} saw what its parent or a device wrote")
            await child.exit()

        self._do("share", process, work=_permitting("SIGSEGV", work()))

    def migrate(self, device: int, process: int, first: int, count: int) -> None:
        """Move pages into a device's memory."""
        start, length = _range(first, count)
        work = self.loops[device].driver.migrate_to_device(process + 1, start, start + length)
        self._do("migrate", device, process, first, count, work=_permitting("EFAULT EINVAL", work))

    def make_exclusive(self, process: int, first: int, count: int) -> None:
        """Take pages away from the CPU, and from both devices' mirrors, until somebody wants them."""
        start, length = _range(first, count)

        async def work() -> None:
            async with self.spaces[process].mmap_lock.read():
                await make_device_exclusive_range(self.spaces[process], start, start + length, self)

        self._do("make_exclusive", process, first, count, work=_permitting("EFAULT", work()))

    def page_out(self, process: int, first: int, count: int) -> None:
        """MADV_PAGEOUT."""
        start, length = _range(first, count)
        work = self.spaces[process].madvise(start, length, Advice.MADV_PAGEOUT)
        self._do("page_out", process, first, count, work=_permitting("ENOMEM EINVAL", work))

    def rebind(self, device: int, process: int) -> None:
        """Take a process from a device, and give it back."""
        driver = self.loops[device].driver

        async def work() -> None:
            await driver.unbind(process + 1)
            await driver.bind(process + 1, self.spaces[process])

        self._do("rebind", device, process, work=_permitting("", work()))

    # Time.

    def advance(self, count: int) -> None:
        """Let `count` steps of everybody pass."""
        self._do("advance", count, work=None, time=count)

    def finish(self) -> None:
        """Let everything end, and look at every word on all sides."""
        self._note("finish")
        self._guarded(self.scheduler.run_all)
        for process in range(2):
            for page in range(PAGES):
                for reader in (0, 1, CPU):
                    self._guarded(self.scheduler.run, self._read(reader, process, page))
        self._check(finished=True)

    def _do(self, name: str, *numbers: int, work: Coroutine[Any, Any, Any] | None, time: int = 0) -> None:
        self._note(name, *numbers)
        if work is not None:
            self.scheduler.start(work, name)
        if time:
            self._guarded(self.scheduler.run, self.scheduler.sleep(time))
        self._check(finished=False)

    def _note(self, name: str, *numbers: int) -> None:
        self.steps.append(f"host.{name}({', '.join(str(number) for number in numbers)})")

    def _guarded(self, call: Any, *arguments: Any) -> None:
        try:
            call(*arguments)
        except (RuntimeError, StuckError) as error:
            self._fail(f"{type(error).__name__}: {error}")

    def _check(self, *, finished: bool) -> None:
        if self._problems:
            self._fail(self._problems[0])
        # A step that only starts something leaves nothing new to look at.
        events = [len(loop.journal.events) for loop in self.loops]
        if events == self._looked_at and not finished:
            return
        self._looked_at = events
        for number, loop in enumerate(self.loops):
            found = loop.findings(finished=finished)
            if found:
                self._fail(f"device {number}: {found[0]}")

    def _fail(self, what: str) -> None:
        self.failed = True
        self.scheduler.abandon()
        raise AssertionError(f"{what}\n\n{self.scenario(what)}")

    def scenario(self, what: str) -> str:
        """The steps so far as a test."""
        seed, answers, drivers = self._made
        made = [str(seed)]
        if answers != (AnswerPolicy.RESUME, AnswerPolicy.RESUME) or drivers != (Driver, Driver):
            made.append(f"({', '.join(f'AnswerPolicy.{answer.name}' for answer in answers)})")
        if drivers != (Driver, Driver):
            made.append(f"({', '.join(driver.__name__ for driver in drivers)})")
        lines = [
            "def test_scenario() -> None:",
            f'    """{what}"""',
            f"    host = TwoDevices({', '.join(made)})",
            *(f"    {step}" for step in self.steps),
        ]
        return "\n".join(lines) + "\n"

    # What accesses must see.

    def _word(self, writer: int, process: int, page: int) -> Word:
        return self._words.setdefault((writer, process, page), Word())

    async def _write(self, writer: int, process: int, page: int) -> None:
        word, key = self._word(writer, process, page), (process, page)
        if word.busy:
            return
        word.busy = True
        word.begun += 1
        stamp, thrown = word.begun, self._thrown.get(key, 0)
        va = PLACE + page * PAGE_BYTES + 8 * writer
        try:
            if writer == CPU:
                await cpu_write(self.spaces[process], va, stamp.to_bytes(8, "little"))
            else:
                await self.loops[writer].device.write(process + 1, va, stamp)
        except (DeviceAbort, CpuAccessError):
            word.begun -= 1  # It was never written.
        else:
            if self._thrown.get(key, 0) == thrown and thrown % 2 == 0:
                word.ended = stamp
        word.busy = False

    async def _read(self, reader: int, process: int, page: int) -> None:
        for writer in (0, 1, CPU):
            word = self._word(writer, process, page)
            lowest = word.ended
            va = PLACE + page * PAGE_BYTES + 8 * writer
            thrown = self._thrown.get((process, page), 0)
            try:
                if reader == CPU:
                    value = int.from_bytes(await cpu_read(self.spaces[process], va, 8), "little")
                else:
                    value = await self.loops[reader].device.read(process + 1, va)
            except (DeviceAbort, CpuAccessError):
                continue
            kept = self._thrown.get((process, page), 0) == thrown and thrown % 2 == 0
            if value > word.begun or (kept and value < lowest):
                who = "the CPU" if reader == CPU else f"device {reader}"
                wrote = "the CPU" if writer == CPU else f"device {writer}"
                place = f"process {process}, page {page}"
                self._problems.append(f"{who} read {value} of {place}, where {wrote} wrote {lowest} to {word.begun}")

    async def _throw(self, process: int, first: int, count: int, work: Any) -> None:
        start, length = _range(first, count)
        keys = [(process, page) for page in range(first, first + count)]
        self._turn(keys)
        try:
            await _permitting("ENOMEM", work(self.spaces[process], start, length))
        finally:
            self._turn(keys)

    def _turn(self, keys: list[tuple[int, int]]) -> None:
        """Pages begin to be thrown away, or are: odd while that is so. What was written counts for nothing."""
        for key in keys:
            self._thrown[key] = self._thrown.get(key, 0) + 1
            for writer in (0, 1, CPU):
                self._word(writer, *key).ended = 0


def _range(first: int, count: int) -> tuple[int, int]:
    return PLACE + first * PAGE_BYTES, count * PAGE_BYTES


async def _permitting(names: str, work: Coroutine[Any, Any, Any]) -> None:
    """Errors that come from what others do meanwhile are none."""
    try:
        await work
    except HmmError as error:
        if error.errno not in names.split():
            raise AssertionError(f"{error}") from error
    except (CpuAccessError, UserError):
        return
