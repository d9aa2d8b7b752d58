# SPDX-License-Identifier: Apache-2.0
"""Drivers with one mistake each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.arrays import PAGE_BYTES, Flags, Words
from models.driver import Answer, DeviceContext, Driver, Work
from models.driver.batch import LEAF_BYTES, PageFault
from models.fault_records import resume_command
from models.host_events import AnswerKind, CommitBegun, CommitEnded
from models.structures import Opcode, Reason, pack_command


class CommitsUnchecked(Driver):
    """Commits without looking whether the range is still valid."""

    def still_valid(self, work: Work) -> bool:
        """Ends the range, and does not listen."""
        super().still_valid(work)
        return True


class AnswersBeforeCommit(Driver):
    """Replays faults before their entries are stored."""

    async def commit(self, work: Work, words: Words, usable: Flags) -> bool:
        """Answers first."""
        for fault in work.faults:
            await self.port.submit(np.stack([resume_command(record.tag, cancel=False) for record in fault.records]))
        return await super().commit(work, words, usable)

    async def answer(self, answers: list[Answer]) -> None:
        """Replays are out already."""
        await super().answer([answer for answer in answers if answer.kind is AnswerKind.CANCEL])


class InvalidatesWithoutFence(Driver):
    """Commands the invalidation, but does not wait for its effect."""

    async def invalidate_device(self, context: DeviceContext, start: int, end: int) -> None:
        """No fence."""
        command = pack_command(opcode=Opcode.INVALIDATE, pasid=context.pasid, first=start, last=end - 1)
        await self.port.submit(command.reshape(1, 4))


class WrongRangeEnd(Driver):
    """Takes the end of an invalidation for its last page."""

    async def invalidate(self, context: DeviceContext, start: int, end: int) -> None:
        """One page too few."""
        await super().invalidate(context, start, max(start + 1, end - PAGE_BYTES))


class ForgetsNone(Driver):
    """Lets the device forget, but leaves the entries in memory."""

    async def clear(self, context: DeviceContext, start: int, end: int) -> bool:
        """Nothing is stored."""
        return True


class ReplaysCancelled(Driver):
    """Answers cancelled faults with a replay too."""

    async def answer(self, answers: list[Answer]) -> None:
        """Two answers for each cancelled fault."""
        await super().answer(answers)
        again = [replace(answer, kind=AnswerKind.REPLAY) for answer in answers if answer.kind is AnswerKind.CANCEL]
        await super().answer(again)


class CommitsWithoutLock(Driver):
    """Commits once more when the lock is long released, as if nothing could have happened."""

    async def answer(self, answers: list[Answer]) -> None:
        """Stores what it remembers."""
        await super().answer(answers)
        for pasid, va, words in getattr(self, "remembered", []):
            if self.tables.array_of(pasid, va) is not None:
                await self.tables.store_changed(pasid, va, words)
        self.remembered: list[tuple[int, int, np.ndarray[tuple[int], np.dtype[np.uint64]]]] = []

    async def commit(self, work: Work, words: Words, usable: Flags) -> bool:
        """Remembers the whole array."""
        linked = await super().commit(work, words, usable)
        pasid, va = work.context.pasid, work.hmm_range.start // LEAF_BYTES * LEAF_BYTES
        self.remembered = [*getattr(self, "remembered", []), (pasid, va, self.tables.live_words(pasid, va))]
        return linked


class GrantsWriting(Driver):
    """Adds the WRITE flag to what HMM wrote."""

    async def commit(self, work: Work, words: Words, usable: Flags) -> bool:
        """Every page is writable, it thinks."""
        words[usable] |= np.uint64(2)
        return await super().commit(work, words, usable)


class HandsLiveArrayToHmm(Driver):
    """Puts its requests where the device reads them."""

    async def ask(self, work: Work) -> None:
        """Requests look like mappings of page 0."""
        pasid, start = work.context.pasid, work.hmm_range.start
        if self.tables.array_of(pasid, start) is not None:
            live = self.tables.live_words(pasid, start)
            requests = self.tables.array_view(work.staging).copy()
            free = self.decoded(live).reason != Reason.NONE
            self.journal.add(CommitBegun(pasid, start, work.hmm_range.end))
            await self.tables.store_changed(pasid, start, np.where(free, requests, live))
            self.journal.add(CommitEnded(pasid, start, work.hmm_range.end))
            await self.tables.store_changed(pasid, start, live)
        await super().ask(work)


class CancelsOnRace(Driver):
    """Gives up at the first race."""

    def after_race(self, pending: list[PageFault], faults: list[PageFault]) -> list[Answer]:
        """No second attempt."""
        return self.settle(pending, faults, AnswerKind.CANCEL)


class ClearsOtherContext(Driver):
    """Clears the entries of every context, not only of the one that was meant."""

    async def clear(self, context: DeviceContext, start: int, end: int) -> bool:
        """All of them."""
        cleared = [await self.tables.clear(pasid, start, end) for pasid in list(self.contexts)]
        return any(cleared)


class ClearsTooMuch(Driver):
    """Clears the whole 2 MiB around what was invalidated."""

    async def clear(self, context: DeviceContext, start: int, end: int) -> bool:
        """Rounded down and up."""
        return await super().clear(context, start // LEAF_BYTES * LEAF_BYTES, -(-end // LEAF_BYTES) * LEAF_BYTES)


class ForgetsDirty(Driver):
    """Tells nobody which pages the device may have written."""

    def mark_dirty(self, context: DeviceContext, pages: Words) -> None:
        """Nothing."""


class KeepsReleased(Driver):
    """Does not let go of an address space that ends."""

    async def forget(self, context: DeviceContext) -> bool:
        """Nothing."""
        return True
