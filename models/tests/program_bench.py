# SPDX-License-Identifier: Apache-2.0
"""A replay of a recorded program on the golden device, and recordings made by hand."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from models.driver import Driver, DriverOptions
from models.golden_bytes import read_bytes, write_bytes
from models.golden_device import DeviceAbort, GoldenSettings
from models.program_recording import Array
from models.program_replay import Operation, Pressure, Replay, ReplayPlan, ReplayResults, Status
from models.program_replay.judge import find_mismatches
from models.tests.closed_loop import ClosedLoop

PASID = 3
WINDOW = 48
"""Pieces that are handed over and not done at most, so that the host is never far ahead."""


class GoldenLanes:
    """models.program_replay.AccessLanes on the golden device: one client for each lane, each piece after the other."""

    def __init__(self, loop: ClosedLoop, plan: ReplayPlan) -> None:
        self.results = ReplayResults.empty(plan.pieces.size)
        self.plan = plan
        self._loop = loop
        self._queues: list[deque[int]] = [deque() for _ in range(plan.options.lanes)]
        self._work = [loop.scheduler.event() for _ in self._queues]
        self._progress = loop.scheduler.event()
        self._open = 0
        for lane in range(plan.options.lanes):
            loop.scheduler.start(self._run(lane), f"lane {lane}", daemon=True)

    async def post(self, first: int, last: int) -> None:
        """Hand over pieces."""
        for piece in range(first, last):
            while self._open >= WINDOW:
                await self._wait()
            self._open += 1
            lane = int(self.plan.pieces["lane"][piece])
            self._queues[lane].append(piece)
            self._work[lane].set()

    async def wait_done(self, pieces: NDArray[np.int64]) -> None:
        """Wait until these are done."""
        while not self.results.status[pieces].all():
            await self._wait()

    async def _wait(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    async def _run(self, lane: int) -> None:
        queue, work = self._queues[lane], self._work[lane]
        while True:
            if not queue:
                work.clear()
                await work.wait()
                continue
            piece = queue[0]
            status, reason = Status.OK, 0
            try:
                await self.perform(piece, self.plan.pieces[piece])
            except DeviceAbort as abort:
                status, reason = Status.ABORTED, int(abort.reason)
            queue.popleft()
            self.results.status[piece], self.results.reason[piece] = status, reason
            self.results.cycle[piece] = self._loop.scheduler.now()
            self._open -= 1
            self._progress.set()

    async def perform(self, index: int, piece: Array) -> None:
        """One piece. Errors: DeviceAbort."""
        device, va, length = self._loop.device, int(piece["va"]), int(piece["length"])
        match Operation(int(piece["operation"])):
            case Operation.READ:
                self.results.found[index, :length] = await read_bytes(device, PASID, va, length)
            case Operation.WRITE:
                await write_bytes(device, PASID, va, self.plan.data[index, :length])
            case Operation.ADD:
                operand = int(self.plan.data[index, :8].view(np.uint64)[0])
                old = await device.atomic_add(PASID, va, operand)
                self.results.found[index, :8] = np.array([old], dtype=np.uint64).view(np.uint8)


class ProgramBench:
    """A whole machine with one program on it. `every`: about one disturbance in so many pieces, 0 none."""

    def __init__(
        self,
        plan: ReplayPlan,
        *,
        seed: int | None = None,
        every: int = 0,
        format_name: str = "hmm_2018_flags",
        driver: type[Driver] = Driver,
        lanes: type[GoldenLanes] = GoldenLanes,
        replay: type[Replay] = Replay,
        settings: GoldenSettings | None = None,
    ) -> None:
        self.plan = plan
        self.loop = ClosedLoop(
            seed=seed,
            format_name=format_name,
            options=DriverOptions(deadline=1 << 40),
            settings=settings or GoldenSettings(),
            driver=driver,
            device_pages=True,
            memory_size=1 << 26,
        )
        self.loop.scheduler.step_limit = 20_000_000
        self.mm = self.loop.space()
        self.loop.run(self.loop.driver.bind(PASID, self.mm))
        self.pressure: Pressure | None = None
        if every:
            rng = np.random.default_rng([seed or 0, 1])
            self.pressure = Pressure(self.loop.driver, PASID, self.mm, plan.pages, rng, every=every)
        self.lanes = lanes(self.loop, plan)
        self.replay = replay(plan, self.mm, self.lanes, pressure=self.pressure)

    def run(self) -> list[str]:
        """Replay everything; returns what is wrong: bytes and answers first, then broken rules."""
        self.loop.run(self.replay.load())
        if self.pressure is not None:
            self.loop.start(self.pressure.run(), "pressure")
        self.loop.start(self.replay.run(), "program")
        self.loop.scheduler.run_all()
        _, mismatches = find_mismatches(self.plan, self.lanes.results)
        return [mismatch.text for mismatch in mismatches] + self.loop.findings()
