# SPDX-License-Identifier: Apache-2.0
"""Defects that drivers and their races with the kernel once had, planted on purpose: each a class or a patch of a test.

Product code has no switch for them. Source: docs/mutants.md names the commit of each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Flags, Words
from models.driver import Answer, DeviceContext, Driver, Work, live_tables
from models.driver.answering import Answering
from models.driver.batch import LEAF_BYTES, PageFault
from models.driver.device_memory import DeviceMemory
from models.driver.fault_filter import Admission, FaultFilter
from models.driver.live_tables import LiveTables
from models.fault_records import FaultRecord
from models.hmm import migration
from models.hmm.errors import HmmError
from models.hmm.frames import Frames
from models.hmm.memory_map import MemoryMap
from models.hmm.mirror import Hmm, hmm_mirror_unregister
from models.hmm.notifiers import IntervalNotifiers, MmuNotifierRange
from models.hmm.page_table import EntryFlags
from models.hmm.vma import Vma
from models.host_events import AnswerKind, InvalidationAnswered, InvalidationStarted
from models.structures import DirectoryType, pack_directory_entry

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


def invalidates_at_the_end(patch: Patch) -> None:
    """Mirrors are told when the page table has changed already."""
    end = Hmm.invalidate_range_end

    async def start(self: Hmm, update: MmuNotifierRange) -> None:
        number = self.mm.journal.next_invalidation()
        self._numbers[update] = number
        self.mm.journal.add(InvalidationStarted(number, self.mm.number, update.start, update.end))
        for hmm_range in self._ranges:
            if update.overlaps(hmm_range.start, hmm_range.end):
                hmm_range.valid = False
        self.mm.journal.add(InvalidationAnswered(number))

    async def tell_late(self: Hmm, update: MmuNotifierRange) -> None:
        for mirror in list(self.mirrors):
            await mirror.sync_cpu_device_pagetables(update)
        await end(self, update)

    patch.setattr(Hmm, "invalidate_range_start", start)
    patch.setattr(Hmm, "invalidate_range_end", tell_late)


def zeroes_invalidated_ranges(patch: Patch) -> None:
    """An invalidation writes 0 into the arrays of ranges that it overlaps."""
    start = Hmm.invalidate_range_start

    async def zeroing(self: Hmm, update: MmuNotifierRange) -> None:
        for hmm_range in self._ranges:
            if update.overlaps(hmm_range.start, hmm_range.end):
                hmm_range.pfns[:] = 0
        await start(self, update)

    patch.setattr(Hmm, "invalidate_range_start", zeroing)


class UnregistersFirst(Driver):
    """Stops listening before the device has let go."""

    async def unbind(self, pasid: int) -> None:
        """The wrong order."""
        context = self.contexts[pasid]
        await hmm_mirror_unregister(context, context.mm)
        await self.forget(context)


def leaks_refused_invalidation(patch: Patch) -> None:
    """An invalidation that a notifier refused stays open."""
    end = IntervalNotifiers.end
    begin = IntervalNotifiers.begin

    async def leaking(self: IntervalNotifiers, update: MmuNotifierRange) -> bool:
        if not update.blockable:
            patch.setattr(IntervalNotifiers, "end", lambda self: None)
        told = await begin(self, update)
        patch.setattr(IntervalNotifiers, "end", end)
        return told

    patch.setattr(IntervalNotifiers, "begin", leaking)


class StoresInvalidAsValid(Driver):
    """Writes an entry that grants something for one that HMM did not make VALID."""

    async def commit(self, work: Work, words: Words, usable: Flags) -> bool:
        """All of them."""
        words[~usable] = np.uint64(self._fmt.valid) | np.uint64(2 << self._fmt.pfn_shift)
        usable[:] = True
        return await super().commit(work, words, usable)


def links_arrays_as_one_slot(patch: Patch) -> None:
    """An array of small pages is linked as if its first entry were for 2 MiB."""

    def entry(kind: DirectoryType, address: int) -> int:
        page_shift = 21 if kind is DirectoryType.ARRAY else 0
        return int(pack_directory_entry(entry_type=kind, address=address, page_shift=page_shift)[0])

    patch.setattr(live_tables, "_entry", entry)


class TakesNoPageForItsOwn(Driver):
    """Does not say whose memory it is: its own pages are brought back too."""

    def is_ours(self, work: Work, decoded: object, slot: int) -> bool:
        """Only system memory."""
        return work.context.mm.frames.pagemap_of(int(decoded.pfn[slot])) is None  # type: ignore[attr-defined]


def refuses_stale_faults(patch: Patch) -> None:
    """A fault from before an unmapping is an error."""
    admit = Answering.admit

    def refusing(self: Answering, records: list[FaultRecord]) -> tuple[list[FaultRecord], list[Answer]]:
        before = self._counters.filtered[Admission.STALE]
        admitted, retried = admit(self, records)
        stale = self._counters.filtered[Admission.STALE] - before
        return admitted, [Answer(each.record, AnswerKind.CANCEL) for each in retried[:stale]] + retried[stale:]

    patch.setattr(Answering, "admit", refusing)
    patch.setattr(Answering, "tells_by_entry", lambda self, answer: False)


def filter_keeps_raced_faults(patch: Patch) -> None:
    """A fault that raced stays in the filter."""
    patch.setattr(FaultFilter, "remove", lambda self, key: None)


def filter_keeps_invalidated_faults(patch: Patch) -> None:
    """A page that was unmapped stays in the filter."""
    patch.setattr(FaultFilter, "_forget", lambda self, chosen: None)


class WritesWhereReadingIsAllowed(Driver):
    """Adds WRITE to what was faulted for reading, whatever the area allows."""

    async def commit(self, work: Work, words: Words, usable: Flags) -> bool:
        """Restored as read-write."""
        words[usable] |= np.uint64(self._fmt.write)
        return await super().commit(work, words, usable)


def copies_before_the_device_stops(patch: Patch) -> None:
    """A page's bytes are read before anybody was told that it moves."""
    take = DeviceMemory.take

    async def early(self: DeviceMemory, mm: MemoryMap, start: int, end: int) -> int:
        bytes_then = {
            entry.pfn: mm.frames.words(entry.pfn).copy()
            for entry in (mm.page_table.lookup(va) for va in range(start, end, PAGE_BYTES))
            if entry.pfn
        }
        copy = Frames.copy

        def stale(frames: Frames, source: int, target: int) -> None:
            frames.pool_of(target).store(target, bytes_then.get(source, frames.words(source)))

        patch.setattr(Frames, "copy", stale)
        moved = await take(self, mm, start, end)
        patch.setattr(Frames, "copy", copy)
        return moved

    patch.setattr(DeviceMemory, "take", early)


def reclaims_as_if_clean(patch: Patch) -> None:
    """A page that was written goes to swap without its bytes."""
    patch.setattr(Frames, "write_out", lambda self, place, pfn: None)


def frees_pages_that_come_back(patch: Patch) -> None:
    """A device page is given back before its bytes are copied."""
    migrate = DeviceMemory.migrate_to_ram

    async def freeing(self: DeviceMemory, mm: MemoryMap, vma: Vma, page: int) -> None:
        entry = mm.page_table.lookup(page)
        mm.frames.drop(np.array([entry.pfn], dtype=np.uint64))
        await migrate(self, mm, vma, page)

    patch.setattr(DeviceMemory, "migrate_to_ram", freeing)


def loses_write_in_migration(patch: Patch) -> None:
    """An entry that was writable is not any more when its page has moved."""
    cut = migration._cut

    def losing(mm: MemoryMap, va: int, entry: object) -> None:
        cut(mm, va, entry)  # type: ignore[arg-type]
        now = mm.page_table.lookup(va)
        mm.page_table.set(va, now.kind, now.pfn, now.flags & ~EntryFlags.WRITABLE)

    patch.setattr(migration, "_cut", losing)


class InvalidatesGoneContext(Driver):
    """Does not look whether the context of an invalidation is there any more."""

    async def invalidate(self, context: DeviceContext, start: int, end: int) -> None:
        """Straight on."""
        async with self.lock:
            if await self.clear(context, start, end):
                await self.invalidate_device(context, start, end)


class FreesEmptyArrayTwice(Driver):
    """Frees an array whose last entry it cleared, and again when the context goes."""

    async def invalidate(self, context: DeviceContext, start: int, end: int) -> None:
        """The array stays in the list."""
        await super().invalidate(context, start, end)
        for span in self.tables.spans_in(context.pasid, start, end):
            if bool((self.tables.live_words(context.pasid, span) == np.uint64(self._none)).all()):
                array = self.tables.array_of(context.pasid, span)
                assert array is not None
                self.tables.free_array(array)


def asks_with_uninitialised_array(patch: Patch) -> None:
    """The staging array holds what was there before."""
    new_array = LiveTables.new_array

    def dirty(self: LiveTables) -> int:
        address = new_array(self)
        self.array_view(address)[:] = 0x7003
        return address

    patch.setattr(LiveTables, "new_array", dirty)


class UsesEntriesEarly(Driver):
    """Stores what HMM said at once, and looks only then whether it still holds."""

    async def ask(self, work: Work) -> None:
        """No lock, no sequence."""
        await super().ask(work)
        pasid, start = work.context.pasid, work.hmm_range.start
        if self.tables.array_of(pasid, start) is not None:
            words = self.tables.live_words(pasid, start)
            first = (start % LEAF_BYTES) >> PAGE_SHIFT
            words[first : first + work.hmm_range.pages] = work.hmm_range.pfns
            await self.tables.store_changed(pasid, start, words)


class KillsOnFailure(Driver):
    """Gives all faults of the context up when one cannot be served."""

    def after_error(self, error: HmmError, pending: list[PageFault], faults: list[PageFault]) -> list[Answer]:
        """All of them."""
        if error.errno == "EBUSY":
            return super().after_error(error, pending, faults)
        return self.settle(pending, list(pending), AnswerKind.CANCEL)


class LoopsOnFailure(Driver):
    """Tries for ever what cannot be served."""

    def after_error(self, error: HmmError, pending: list[PageFault], faults: list[PageFault]) -> list[Answer]:
        """Once more."""
        return []


class ExtendsBlocks(Driver):
    """Takes the page behind a range for a part of the same block, and maps it too."""

    async def commit(self, work: Work, words: Words, usable: Flags) -> bool:
        """Not clipped to the range."""
        linked = await super().commit(work, words, usable)
        pasid, end = work.context.pasid, work.hmm_range.end
        if end % LEAF_BYTES and usable[-1]:
            live = self.tables.live_words(pasid, end - PAGE_BYTES)
            place = (end % LEAF_BYTES) >> PAGE_SHIFT
            live[place] = live[place - 1] + np.uint64(1 << self._fmt.pfn_shift)
            await self.tables.store_changed(pasid, end - PAGE_BYTES, live)
        return linked


class FaultsUnderItsLock(Driver):
    """Asks HMM with the lock held that invalidations take."""

    async def ask(self, work: Work) -> None:
        """A fault of its own invalidates."""
        async with self.lock:
            await super().ask(work)
