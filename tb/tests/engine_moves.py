# SPDX-License-Identifier: Apache-2.0
"""What tests of the engine inside the device share: descriptors, and draws of them with what they do to the bytes."""

from __future__ import annotations

import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES, Words
from models.structures import EngineOpcode, pack_descriptor
from tb.case import MemorySettings
from tb.engine_order import EngineOrder, span
from tb.tests.engine_bench import FIRST_VA, PAGES, PASID, EngineBench, all_ok

SLOW = MemorySettings(read_latency=(1, 30), write_latency=(1, 30), ar_pause=4, r_pause=4, aw_pause=4, w_pause=4)
PATIENCE = 20_000


def copy_descriptor(source: int, destination: int, length: int, *, ordered: bool = False) -> Words:
    """COPY inside the one context."""
    return pack_descriptor(
        opcode=EngineOpcode.COPY,
        ordered=ordered,
        length=length,
        source_pasid=PASID,
        destination_pasid=PASID,
        source_va=source,
        destination_va=destination,
    )


def add_descriptor(va: int, operand: int, *, ordered: bool = False) -> Words:
    """ATOMIC_ADD."""
    return pack_descriptor(
        opcode=EngineOpcode.ATOMIC_ADD,
        ordered=ordered,
        length=8,
        destination_pasid=PASID,
        destination_va=va,
        operand=operand,
    )


async def begin(
    dut: SimHandleBase, seed: int, settings: MemorySettings | None = None, mapped: int = PAGES
) -> EngineBench:
    """A bench that runs; every third of the first `mapped` pages is in device memory."""
    bench = EngineBench(dut, seed)
    for page in range(mapped):
        bench.map_at_start(page, device=page % 3 == 2)
    await bench.start(settings, seed=seed)
    return bench


class Mover:
    """Draws descriptors, ordered where they must be, and does to the expected bytes what they say."""

    def __init__(self, bench: EngineBench) -> None:
        self.bench = bench
        self.order = EngineOrder(bench.engine.slots)
        self.wanted_reads: list[tuple[int, bytes]] = []

    def draw(self, index: int) -> Words:
        """One descriptor; its effect is on `expected` afterwards. WRITE finds its bytes in the buffer."""
        bench, rng = self.bench, self.bench.rng
        expected = bench.expected
        length = int(rng.choice([rng.integers(1, 9), rng.integers(1, 200), rng.integers(1, PAGE_BYTES + 1)]))
        source, destination = (int(rng.integers(expected.size - length + 1)) for _ in range(2))
        kind = EngineOpcode(int(rng.choice([int(opcode) for opcode in EngineOpcode])))
        if kind is EngineOpcode.READ:
            self.wanted_reads.append((index, expected[source : source + length].tobytes()))
            return pack_descriptor(
                opcode=kind,
                ordered=self.order.must_wait(span(source, length, writes=False)),
                length=length,
                source_pasid=PASID,
                source_va=FIRST_VA + source,
                buffer=bench.engine.buffer(index),
            )
        if kind is EngineOpcode.WRITE:
            data = rng.integers(0, 256, length, dtype=np.uint8)
            bench.engine.fill_buffer(index, data)
            expected[destination : destination + length] = data
            return pack_descriptor(
                opcode=kind,
                ordered=self.order.must_wait(span(destination, length, writes=True)),
                length=length,
                destination_pasid=PASID,
                destination_va=FIRST_VA + destination,
                buffer=bench.engine.buffer(index),
            )
        if kind is EngineOpcode.ATOMIC_ADD:
            place = destination // 8 * 8
            operand = int.from_bytes(rng.bytes(8), "little")
            view = expected[place : place + 8].view(np.uint64)
            view += np.uint64(operand)
            return add_descriptor(FIRST_VA + place, operand, ordered=self.order.must_wait(span(place, 8, writes=True)))
        if source < destination < source + length:
            source, destination = destination, source
        expected[destination : destination + length] = expected[source : source + length].copy()
        ordered = self.order.must_wait(span(source, length, writes=False), span(destination, length, writes=True))
        return copy_descriptor(FIRST_VA + source, FIRST_VA + destination, length, ordered=ordered)

    async def run(self, count: int) -> None:
        """Performs `count` descriptors, one batch of the ring after another, and checks what was read."""
        bench = self.bench
        done = 0
        while done < count:
            self.wanted_reads = []
            first = bench.engine.submitted
            rows = [self.draw(first + place) for place in range(min(bench.engine.slots, count - done))]
            await bench.engine.submit(np.stack(rows))
            all_ok(await bench.engine.wait(len(rows), PATIENCE * len(rows)))
            for index, wanted in self.wanted_reads:
                came = bench.engine.buffer_content(index, len(wanted)).tobytes()
                assert came == wanted, f"descriptor {index} read something else than the page holds"
            done += len(rows)
