# SPDX-License-Identifier: Apache-2.0
"""A device's driver: binds address spaces, serves faults through HMM, keeps the device's tables in step.

Populate: ask HMM into a staging array; take the lock; if nothing was invalidated since, commit; answer. Invalidate:
take the lock; store NONE; INVALIDATE and FENCE; return. Every step is a method. Source: docs/host.md, "The driver";
Documentation/vm/hmm.rst and nouveau_svm.c of Linux.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Flags, Words
from models.device_port import DevicePort
from models.device_tables import DeviceTables
from models.driver.answering import Answer, Answering
from models.driver.batch import LEAF_BYTES, PageFault, first_range, page_of
from models.driver.context import DeviceContext, Work
from models.driver.device_memory import DeviceMemory
from models.driver.dirty import writable_pages
from models.driver.fitting import fits, permitted, require_no_loss
from models.driver.live_tables import LiveTables
from models.driver.options import CommitPolicy, DriverCounters, DriverOptions
from models.driver.policies import AnswerTime, OverflowRule, RaceRule
from models.entries import Decoded, decode, error_word, none_word
from models.errors import UserError
from models.fault_records import FaultRecord
from models.formats import EntryFormat
from models.hmm.errors import HmmError
from models.hmm.fault import FaultResult, handle_mm_fault
from models.hmm.frames import DevicePagemap
from models.hmm.memory_map import MemoryMap
from models.hmm.mirror import hmm_mirror_register, hmm_mirror_unregister
from models.hmm.notifiers import LAST_BYTE
from models.hmm.page_table import EntryKind
from models.hmm.range import range_in_format
from models.hmm.vma import Vma
from models.hmm.walk import hmm_vma_fault, hmm_vma_range_done
from models.host_events import (
    AnswerKind,
    CommitBegun,
    CommitEnded,
    ContextBound,
    ContextForgotten,
    Journal,
    RangeBegun,
)
from models.preemption import Lock
from models.structures import Reason

DEFAULT_OPTIONS = DriverOptions()


class Driver:
    """A driver of one device behind `port`. `contexts`: what is bound, by PASID; `counters`; `memory`: its own pages.

    `fmt` and `window` are those of the device's registers. `pagemap` is the device's own memory, if it has any.
    """

    def __init__(
        self,
        port: DevicePort,
        tables: DeviceTables,
        fmt: EntryFormat,
        *,
        options: DriverOptions = DEFAULT_OPTIONS,
        journal: Journal | None = None,
        pagemap: DevicePagemap | None = None,
    ) -> None:
        """Errors: UserError if the format has no word for NONE."""
        self.port = port
        self.options = options
        self.counters = DriverCounters()
        self.answering = Answering(port, options, self.counters, error_entries=fmt.error_is_value or fmt.error != 0)
        self.contexts: dict[int, DeviceContext] = {}
        self.memory = DeviceMemory(pagemap)
        self.journal = journal if journal is not None else Journal(port.now)
        self.lock = Lock(port)
        self.tables = LiveTables(port, tables, none_word(fmt))
        self._fmt = fmt
        self._none = none_word(fmt)
        self._service_lock = Lock(port)
        self._stopping = False
        self._binding: set[int] = set()

    async def bind(self, pasid: int, mm: MemoryMap) -> DeviceContext:
        """Let the device use an address space under a PASID. Errors: UserError if the PASID is taken."""
        if pasid in self.contexts or pasid in self._binding:
            raise UserError(f"Unbind PASID {pasid} first: it is bound already.")
        self._binding.add(pasid)
        context = DeviceContext(self, pasid, mm)
        self.journal.add(ContextBound(pasid, mm.number))
        await hmm_mirror_register(context, mm)
        async with self.lock:
            self.contexts[pasid] = context
            self._binding.remove(pasid)
            await self.tables.bind(pasid)
        return context

    async def unbind(self, pasid: int) -> None:
        """The device must not use the PASID any more; its waiting faults are aborted.

        Errors: UserError if it is not bound.
        """
        context = self.contexts.get(pasid)
        if context is None:
            raise UserError(f"Bind PASID {pasid} first.")
        # The mirror goes last: until the device has let go it must hear of every invalidation.
        if not await self.forget(context):
            raise UserError(f"Bind PASID {pasid} first: somebody else unbound it.")
        with suppress(HmmError):  # If the address space ended meanwhile it has let go by itself.
            await hmm_mirror_unregister(context, context.mm)

    async def forget(self, context: DeviceContext) -> bool:
        """Take a context from the device, which is done once; its address space does not call any more."""
        async with self._service_lock, self.lock:
            if self.contexts.get(context.pasid) is not context:
                return False
            written = writable_pages(self.tables, self.decoded, context.pasid, 0, LAST_BYTE)
            await self.tables.unbind(context.pasid)
            self.mark_dirty(context, written)
            self.answering.unbound(context.pasid)
            del self.contexts[context.pasid]
            self.journal.add(ContextForgotten(context.pasid))
        return True

    async def run(self) -> None:
        """Serve faults as they come, until stop()."""
        while not self._stopping:
            if await self.port.wait_faults(self.options.poll):
                await self.service(await self.take())

    async def take(self) -> list[FaultRecord]:
        """The records of a batch, by the policy's rule about rings that fill faster than they are served."""
        records = await self.port.take_faults(self.options.batch)
        while self.options.policy.overflow is OverflowRule.DRAIN and len(records) < self.options.batch:
            await self.port.pause("driver: before draining")
            more = await self.port.take_faults(self.options.batch - len(records))
            if not more:
                break
            records += more
        return records

    def stop(self) -> None:
        """Let run() end after the batch that it serves."""
        self._stopping = True

    async def service(self, records: Sequence[FaultRecord]) -> None:
        """Serve a batch of fault records: each that expects an answer gets one, unless its context is gone."""
        async with self._service_lock:
            self.counters.batches += 1
            self.counters.records += len(records)
            self.counters.reasons.update(record.reason for record in records)
            expecting = [record for record in records if record.answer_expected]
            self.counters.reports += len(records) - len(expecting)
            bound = [record for record in expecting if record.pasid in self.contexts]
            self.counters.stale_records += len(expecting) - len(bound)
            admitted, answers = self.answering.admit(bound)
            for pasid, faults in self.answering.faults(admitted).items():
                self.counters.duplicates += sum(len(fault.records) - 1 for fault in faults)
                pending = list(faults)
                while pending:
                    answers += await self.serve_first(self.contexts[pasid], pending)
                    if self.options.policy.time is AnswerTime.EACH:
                        await self.answer(answers)
                        answers = []
            await self.answer(answers)

    async def migrate_to_device(self, pasid: int, start: int, end: int) -> int:
        """Move the pages of [start, end) of a context into the device's memory; returns how many moved.

        Errors: UserError if the PASID is not bound or the device has no memory; HmmError as DeviceMemory.take().
        """
        if pasid not in self.contexts:
            raise UserError(f"Bind PASID {pasid} first.")
        return await self.memory.take(self.contexts[pasid].mm, start, end)

    # Populate, step by step.

    async def serve_first(self, context: DeviceContext, pending: list[PageFault]) -> list[Answer]:
        """Try to serve the first pending fault and those that go with it; returns the answers that are certain.

        Faults that got one leave `pending`; those that must be tried again stay.
        """
        mm = context.mm
        await self.port.pause("driver: before mmap lock")
        await mm.mmap_lock.acquire_read()
        lock_dropped = False
        try:
            await self.port.pause("driver: mmap lock taken")
            vma = mm.vmas.find(pending[0].page)
            if vma is None or not permitted(self._fmt, vma, pending[0]):
                return self.settle(pending, pending[:1], AnswerKind.CANCEL)
            faults = [fault for fault in first_range(pending, vma) if permitted(self._fmt, vma, fault)]
            work = self.prepare(context, vma, faults)
            try:
                await self.ask(work)
            except HmmError as error:
                lock_dropped = error.errno == "EBUSY"
                self.tables.free_array(work.staging)
                return self.after_error(error, pending, faults)
        finally:
            if not lock_dropped:
                mm.mmap_lock.release_read()
        await self.port.pause("driver: before lock")
        words, linked = work.hmm_range.pfns.copy(), False
        async with self.lock:
            await self.port.pause("driver: before range done")
            valid = self.still_valid(work)
            if valid:
                linked = await self.commit(work, words, self.usable(work, words))
                await self.port.pause("driver: committed")
        if not linked:
            self.tables.free_array(work.staging)
        if valid:
            return self.judge(work, pending, words)
        await self.port.pause("driver: try again")
        return self.after_race(pending, faults)

    def prepare(self, context: DeviceContext, vma: Vma, faults: list[PageFault]) -> Work:
        """A staging array whose entries ask for what the faults need, and NONE elsewhere."""
        span = faults[0].page // LEAF_BYTES * LEAF_BYTES
        start, end = faults[0].page, faults[-1].page + PAGE_BYTES
        staging = self.tables.new_array()
        view = self.tables.array_view(staging)
        pfns = view[(start - span) >> PAGE_SHIFT : (end - span) >> PAGE_SHIFT]
        hmm_range = range_in_format(self._fmt, vma, start, end, pfns)
        words = hmm_range.words()
        for fault in faults:
            place = (fault.page - start) >> PAGE_SHIFT
            asked = words.request(write=fault.writes, device_private=fault.bring_back)
            # Flags only add up: a read and a write fault of one page ask for a writable page.
            pfns[place] = asked if pfns[place] == np.uint64(self._none) else pfns[place] | np.uint64(asked)
        return Work(context, faults, staging, hmm_range)

    async def ask(self, work: Work) -> None:
        """Call HMM. The mmap lock is held for reading. Errors: HmmError as hmm_vma_fault()."""
        mm = work.context.mm
        if not self._fmt.device_private:
            for fault in work.faults:
                # A format without the flag cannot ask for pages back: touch them as get_user_pages() does.
                if fault.bring_back and mm.page_table.lookup(fault.page).kind is EntryKind.DEVICE_PRIVATE:
                    result = await handle_mm_fault(mm, work.hmm_range.vma, fault.page, write=fault.writes)
                    if result is not FaultResult.DONE:
                        raise HmmError("EFAULT", f"the page at {fault.page:#x} does not come back")
        self.counters.hmm_calls += 1
        self.journal.add(RangeBegun(work.context.pasid, work.hmm_range.start, work.hmm_range.end))
        await hmm_vma_fault(work.hmm_range, self.options.block)

    def still_valid(self, work: Work) -> bool:
        """Whether nothing was invalidated since HMM was asked. The lock is held."""
        return hmm_vma_range_done(work.hmm_range)

    def usable(self, work: Work, words: Words) -> Flags:
        """bool[n]: which entries the device may have: it understands them as pages of its own or of the host."""
        decoded = self.decoded(words)
        usable: Flags = decoded.reason == Reason.NONE
        for pagemap in work.context.mm.frames.pagemaps:
            if pagemap.window != self.memory.window:
                usable &= ~pagemap.window.holds(decoded.pfn)
        return usable

    async def commit(self, work: Work, words: Words, usable: Flags) -> bool:
        """Bring the usable ones of the range's entries to the device, as the words they are. The lock is held.

        All other entries of the 2 MiB stay as they are live.
        Returns whether the staging array is live now. Errors: RuntimeError if an entry would change in a way that needs
        an invalidation: the address space has not told of a change.
        """
        pasid, va = work.context.pasid, work.hmm_range.start
        self.counters.commits += 1
        self.journal.add(CommitBegun(pasid, va, work.hmm_range.end))
        merged = self.tables.live_words(pasid, va)
        first = (va % LEAF_BYTES) >> PAGE_SHIFT
        part = merged[first : first + words.size]
        changes = usable & (part != words)
        require_no_loss(self.decoded(part[changes]), self.decoded(words[changes]), va)
        part[usable] = words[usable]
        links = self.tables.array_of(pasid, va) is None or self.options.commit is CommitPolicy.SWAP
        if links:
            self.tables.array_view(work.staging)[:] = merged
            self.tables.settle(work.staging)
            await self.tables.link(pasid, va, work.staging)
        else:
            await self.tables.store_changed(pasid, va, merged)
        self.counters.fences = self.tables.fences
        self.journal.add(CommitEnded(pasid, va, work.hmm_range.end))
        return links

    def judge(self, work: Work, pending: list[PageFault], words: Words) -> list[Answer]:
        """Replay the faults whose entries (`words` as HMM wrote them for the range) were committed and fit.

        A page that lies in another device's memory, or in the device's own without write permission, is asked back
        and tried again; once the fault's time is over it is cancelled.
        """
        decoded = self.decoded(words)
        answers: list[Answer] = []
        for fault in work.faults:
            slot = (fault.page - work.hmm_range.start) >> PAGE_SHIFT
            if fits(decoded, slot, fault) and self.is_ours(work, decoded, slot):
                answers += self.settle(pending, [fault], AnswerKind.REPLAY)
            elif fault.bring_back:
                answers += self.after_race(pending, [fault])
            else:
                fault.bring_back = True
        return answers

    def is_ours(self, work: Work, decoded: Decoded, slot: int) -> bool:
        """Whether the page is system memory or the device's own."""
        pagemap = work.context.mm.frames.pagemap_of(int(decoded.pfn[slot]))
        return pagemap is None or pagemap.window == self.memory.window

    def after_error(self, error: HmmError, pending: list[PageFault], faults: list[PageFault]) -> list[Answer]:
        """HMM failed: wait for others, take a larger range apart, or give up on a single page."""
        if error.errno == "EBUSY":
            return self.after_race(pending, faults)
        if len({fault.page for fault in faults}) == 1:
            return self.settle(pending, faults, AnswerKind.CANCEL)
        for fault in faults:
            fault.alone = True
        return []

    def after_race(self, pending: list[PageFault], faults: list[PageFault]) -> list[Answer]:
        """The range was invalidated meanwhile: it is tried again, but faults whose time is over are cancelled."""
        self.counters.retries += 1
        late = [fault for fault in faults if self.port.now() >= fault.deadline]
        self.counters.timeouts += len(late)
        answers = self.settle(pending, late, AnswerKind.CANCEL)
        if self.options.policy.race is RaceRule.ANSWER:
            for fault in faults:
                if fault not in late:
                    pending.remove(fault)
                    answers += [Answer(record, AnswerKind.REPLAY) for record in fault.records]
                    self.answering.asked_again(fault)
        return answers

    def settle(self, pending: list[PageFault], faults: Sequence[PageFault], kind: AnswerKind) -> list[Answer]:
        """These faults are decided: they leave `pending`; returns the answers to all their records."""
        for fault in faults:
            pending.remove(fault)
            if not any(self.answering.tells_by_entry(Answer(record, kind)) for record in fault.records):
                self.answering.decided(fault)
        return [Answer(record, kind) for fault in faults for record in fault.records]

    async def answer(self, answers: list[Answer]) -> None:
        """Command the answers of decided faults."""
        told = [await self.tell_by_entry(answer) for answer in answers]
        commands = self.answering.commands(told)
        if commands:
            await self.port.pause("driver: before answer")
            await self.port.submit(np.stack(commands))

    async def tell_by_entry(self, answer: Answer) -> Answer:
        """Of a failure that tables tell: store ERROR and let the device find it; what else is decided stays so.

        Where the slot grants something, others need it: then the fault is cancelled by its tag.
        """
        if not self.answering.tells_by_entry(answer):
            return answer
        record = answer.record
        async with self.lock:
            page = page_of(record)
            live = self.tables.live_words(record.pasid, page)[(page % LEAF_BYTES) >> PAGE_SHIFT]
            if self.decoded(live.reshape(1)).reason[0] == Reason.NONE:
                return answer
            await self.tables.store_slot(record.pasid, page, error_word(self._fmt))
        self.counters.error_entries += 1
        return Answer(record, AnswerKind.REPLAY)

    # Invalidate, step by step.

    async def invalidate(self, context: DeviceContext, start: int, end: int) -> None:
        """The device uses nothing of [start, end) of the context when this returns."""
        await self.port.pause("driver: before invalidate")
        async with self.lock:
            if context.pasid not in self.contexts:
                return
            self.counters.invalidations += 1
            await self.port.pause("driver: invalidate locked")
            written = writable_pages(self.tables, self.decoded, context.pasid, start, end)
            if await self.clear(context, start, end):
                await self.port.pause("driver: entries cleared")
                await self.invalidate_device(context, start, end)
                await self.port.pause("driver: fence complete")
                self.mark_dirty(context, written)
            self.answering.invalidated(context.pasid, start, end)
        await self.port.pause("driver: invalidate unlocked")

    async def clear(self, context: DeviceContext, start: int, end: int) -> bool:
        """Store NONE in the live entries; returns whether the device can have had any of them. The lock is held."""
        return await self.tables.clear(context.pasid, start, end)

    async def invalidate_device(self, context: DeviceContext, start: int, end: int) -> None:
        """Let the device forget, and wait until it has. The lock is held."""
        await self.tables.invalidate(context.pasid, start, end - 1)
        self.counters.fences = self.tables.fences

    def mark_dirty(self, context: DeviceContext, pages: Words) -> None:
        """The device can write these pages no more, and may have written them (as ib_umem_odp_unmap_dma_pages())."""
        context.mm.frames.mark_dirty(pages)

    def decoded(self, words: Words) -> Decoded:
        """What the device makes of entries."""
        return decode(self._fmt, words, self.memory.window)
