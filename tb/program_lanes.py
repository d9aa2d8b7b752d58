# SPDX-License-Identifier: Apache-2.0
"""The pieces of a recorded program on the RTL: lane 0 by descriptors of the access engine, lane n by client port n.

Whole arrays of pieces are handed over at once; a port keeps the order inside a page by itself (RequestFlag.ORDERED),
the engine's descriptors are ordered where one before them touches the same bytes. Source: docs/programs.md, "Lanes".
"""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import Event
from numpy.typing import NDArray

from models.program_replay import LINE_BYTES, Operation, ReplayPlan, ReplayResults, Status
from models.program_replay.plan import ENGINE_LANE
from models.structures import Access, CompletionStatus, EngineOpcode, pack_descriptor
from tb.engine_order import EngineOrder, span
from tb.engine_port import EnginePort
from tb.host_script import make_requests
from tb.live_device import LiveDevice
from tb.records import Done, RequestFlag

WORD = 8
ROOM_LOOK = 128
"""Cycles between two looks whether more can be handed over."""
DONE_LOOK = 24
"""Cycles between two looks whether what a call waits for is done."""
ENGINE_LOOK = 96
"""Cycles between two looks at the engine's completions."""
DESCRIPTORS_AT_ONCE = 32
ACCESS_OF = np.array([Access.READ, Access.WRITE, Access.ATOMIC], dtype=np.uint8)
STATUS_OF = {
    CompletionStatus.OK: Status.OK,
    CompletionStatus.ABORTED: Status.ABORTED,
    CompletionStatus.BUS_ERROR: Status.BUS_ERROR,
}


class RtlLanes:
    """models.program_replay.AccessLanes on a LiveDevice and its engine, for one context.

    At most `most_open` pieces are handed over and not done. Pauses and holds of the clients' requests are drawn by
    `rng`, up to `pause` and `hold` cycles.
    """

    def __init__(
        self,
        device: LiveDevice,
        engine: EnginePort,
        plan: ReplayPlan,
        pasid: int,
        rng: np.random.Generator,
        *,
        most_open: int = 1024,
        pause: int = 4,
        hold: int = 8,
    ) -> None:
        """`device` was started with room for all pieces of the plan; start() lets the engine's lane run."""
        self.plan = plan
        self._device = device
        self._engine = engine
        self._pasid = pasid
        self._most_open = most_open
        pieces = plan.pieces
        count = pieces.size
        self._results = ReplayResults.empty(count)
        self._is_engine = pieces["lane"] == ENGINE_LANE
        # A client's piece k is row `row[k]` of the device's arrays: they are handed over in this order.
        clients = np.flatnonzero(~self._is_engine)
        self._piece_of_row = clients
        self._row: NDArray[np.int64] = np.cumsum(~self._is_engine) - 1
        self._requests = make_requests(
            pieces["va"][clients],
            pasid,
            ACCESS_OF[pieces["operation"][clients]],
            client=pieces["lane"][clients],
            length=pieces["length"][clients],
            flags=RequestFlag.ORDERED,
            pause=rng.integers(pause + 1, size=clients.size),
            hold=rng.integers(hold + 1, size=clients.size),
        )
        self._rows_posted = 0
        self._first_open_row = 0
        self._engine_pieces = np.flatnonzero(self._is_engine)
        self._engine_posted = 0
        self._engine_done = 0
        self._order = EngineOrder(engine.slots)
        self._work = Event()
        self._stopping = False

    def start(self) -> None:
        """The engine, which is switched on, performs its lane from now on."""
        cocotb.start_soon(self._run_engine())

    def stop(self) -> None:
        """The engine gets nothing more."""
        self._stopping = True
        self._work.set()

    @property
    def results(self) -> ReplayResults:
        """What came of all pieces so far."""
        rows = self._rows_posted
        responses, found = self._device.responses[:rows], self._device.data[:rows]
        pieces = self._piece_of_row[:rows]
        released = (responses["done"] & Done.RELEASED) != 0
        status = np.where(responses["status"] == 0, Status.OK, Status.ABORTED)
        self._results.status[pieces] = np.where(released, status, Status.NOT_DONE)
        self._results.reason[pieces] = responses["reason"]
        moved = responses["data_cycle"] != 0
        self._results.cycle[pieces] = np.where(moved, responses["data_cycle"], responses["finish_cycle"])
        adds = (self.plan.pieces["operation"][pieces] == Operation.ADD)[:, np.newaxis]
        # An atomic's row has the operand first, then what was there before.
        before = np.roll(found, -WORD, axis=1)
        self._results.found[pieces] = np.where(adds, before, found)
        return self._results

    async def post(self, first: int, last: int) -> None:
        """Hand over pieces [first, last)."""
        while self._open() > max(0, self._most_open - (last - first)):
            await self._device.cycles(ROOM_LOOK)
        engine = int(np.count_nonzero(self._is_engine[first:last]))
        rows = last - first - engine
        begin = self._rows_posted
        if rows:
            chosen = self._piece_of_row[begin : begin + rows]
            self._device.ask(self._requests[begin : begin + rows], self.plan.data[chosen])
            self._rows_posted += rows
        if engine:
            self._engine_posted += engine
            self._work.set()

    async def wait_done(self, pieces: NDArray[np.int64]) -> None:
        """Wait until these pieces are done."""
        engine = pieces[self._is_engine[pieces]]
        rows = self._row[pieces[~self._is_engine[pieces]]]
        last = int(engine[-1]) if engine.size else -1
        responses = self._device.responses
        while (last >= 0 and self._results.status[last] == Status.NOT_DONE) or not bool(
            (responses["done"][rows] & Done.RELEASED).all()
        ):
            await self._device.cycles(DONE_LOOK)

    def _open(self) -> int:
        """Pieces that were handed over and are not done."""
        rows = slice(self._first_open_row, self._rows_posted)
        waiting = np.flatnonzero((self._device.responses["done"][rows] & Done.RELEASED) == 0)
        self._first_open_row += int(waiting[0]) if waiting.size else rows.stop - rows.start
        return int(waiting.size) + self._engine_posted - self._engine_done

    async def _run_engine(self) -> None:
        engine, handed = self._engine, 0
        while not self._stopping:
            if self._engine_done == self._engine_posted:
                self._work.clear()
                await self._work.wait()
                continue
            count = min(engine.room, self._engine_posted - handed, DESCRIPTORS_AT_ONCE)
            if count >= min(DESCRIPTORS_AT_ONCE, self._engine_posted - handed) and count:
                await engine.submit(self._descriptors(self._engine_pieces[handed : handed + count]))
                handed += count
            self._take_completions()
            await self._device.cycles(ENGINE_LOOK)

    def _descriptors(self, pieces: NDArray[np.int64]) -> NDArray[np.uint64]:
        """uint64[n, 8], with what WRITE stores in the buffers already."""
        rows = self.plan.pieces[pieces]
        engine = self._engine
        buffers = engine.buffers + engine.buffer_bytes * ((engine.submitted + np.arange(pieces.size)) % engine.slots)
        reads, adds = rows["operation"] == Operation.READ, rows["operation"] == Operation.ADD
        for place in np.flatnonzero(rows["operation"] == Operation.WRITE):
            engine.fill_buffer(engine.submitted + int(place), self.plan.data[pieces[place]])
        ordered = [
            self._order.must_wait(span(va, length, writes=operation != Operation.READ))
            for va, length, operation in zip(
                rows["va"].tolist(), rows["length"].tolist(), rows["operation"].tolist(), strict=True
            )
        ]
        opcodes = np.array([EngineOpcode.READ, EngineOpcode.WRITE, EngineOpcode.ATOMIC_ADD])
        return pack_descriptor(
            opcode=opcodes[rows["operation"]],
            ordered=np.array(ordered),
            length=rows["length"],
            source_pasid=np.where(reads, self._pasid, 0),
            destination_pasid=np.where(reads, 0, self._pasid),
            source_va=np.where(reads, rows["va"], 0),
            destination_va=np.where(reads, 0, rows["va"]),
            buffer=np.where(adds, 0, buffers),
            operand=np.where(adds, self.plan.data[pieces, :WORD].copy().view(np.uint64)[:, 0], 0),
        )

    def _take_completions(self) -> None:
        first = self._engine.completed
        now = self._device.now()
        for index, completion in enumerate(self._engine.look(), start=first):
            piece = int(self._engine_pieces[self._engine_done])
            results = self._results
            results.status[piece] = STATUS_OF[completion.status]
            results.reason[piece] = completion.reason
            results.cycle[piece] = now
            operation = self.plan.pieces["operation"][piece]
            if operation == Operation.READ:
                results.found[piece] = self._engine.buffer_content(index, LINE_BYTES)
            elif operation == Operation.ADD:
                results.found[piece, :WORD] = np.frombuffer(completion.old_value.to_bytes(WORD, "little"), np.uint8)
            self._engine_done += 1
