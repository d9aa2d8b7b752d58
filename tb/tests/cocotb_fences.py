# SPDX-License-Identifier: Apache-2.0
"""What a fence waits for on the bus, and where it writes its value."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import LINE_BYTES, WORD_BYTES
from models.physical_memory import Owner
from tb.case import CommandRing, MemorySettings
from tb.environment import Environment
from tb.host_script import When
from tb.records import DeviceEventKind, EventKind
from tb.scoreboard import check_case
from tb.tests.small_case import PASID, page_requests, page_va, small_builder

WORDS = LINE_BYTES // WORD_BYTES
FILL = 0x1111_2222_3333_4444
LATENCY = 200
"""Of a read, in cycles: nothing else takes so long."""
WALK_READS = 5


@cocotb.test()
async def test_fence_value_every_word(dut: SimHandleBase) -> None:
    """
    Stimulus: fences that write values with all bytes different to each word of a line, one after the other.
    Checking: behind each fence its word has the value, every other word of the line what it had.
    Covers: FENCE-VALUE
    """
    builder = small_builder("fence-words", ring_log2=3)
    line = builder.memory.allocate(LINE_BYTES, owner=Owner.FENCE)
    words = np.full(WORDS, FILL, dtype=np.uint64)
    builder.memory.write_words(line, words)
    for place in np.random.default_rng(1).permutation(WORDS).tolist():
        value = 0x0807_0605_0403_0201 + (place << 56)
        words[place] = value
        builder.script.fence(address=line + WORD_BYTES * place, value=value)
        builder.script.wait_memory(line + WORD_BYTES * place, value)
        for near, word in enumerate(words.tolist()):
            builder.script.read_memory(line + WORD_BYTES * near, expect=word)
    case = builder.build()
    result = await Environment(dut).run(case)
    verdict = check_case(case, result)
    assert verdict.passed, verdict.lines[0]


@cocotb.test()
async def test_fence_waits_for_open_reads(dut: SimHandleBase) -> None:
    """
    Stimulus: one cold walk over a slow memory; INVALIDATE of its page and FENCE, alone in the device, slid over it.
    Checking: where a read of the walk is open when INVALIDATE takes effect, the fence is complete only behind its data;
        each of the walk's reads is met.
    Covers: FENCE-STALE-READS
    """
    met = set()
    for step in range(2 * WALK_READS + 1):
        settings = MemorySettings(read_latency=(LATENCY, LATENCY))
        builder = small_builder("open-reads", settings=settings, ring_log2=1)
        # The commands are a read away from the device, too.
        builder.ask(page_requests([0], pause=3 * LATENCY // 4, after_action=len(builder.script)))
        builder.script.invalidate(PASID, page_va(0), page_va(0), When(delay=step * LATENCY // 2), tail=False)
        builder.script.fence()
        case = builder.build()
        result = await Environment(dut).run(case, device_events=True)
        verdict = check_case(case, result)
        assert verdict.passed, verdict.lines[0]
        (taken,) = result.events["cycle"][result.events["kind"] == EventKind.INVALIDATION].tolist()
        (complete,) = result.events["cycle"][result.events["kind"] == EventKind.FENCE].tolist()
        rows = result.device_events
        reads = rows[rows["kind"] == DeviceEventKind.BUS_READ]
        tables = reads[reads["pa"] // LINE_BYTES != _ring_line(builder.ring)]
        for number, read in enumerate(tables):
            back = rows[(rows["kind"] == DeviceEventKind.BUS_READ_DATA) & (rows["id"] == read["id"])]
            data = int(back["cycle"][back["cycle"] > read["cycle"]][0])
            if int(read["cycle"]) < taken < data:
                met.add(number)
                assert complete > data, f"the fence was complete in cycle {complete}, the data came in {data}"
    assert met >= set(range(WALK_READS)), f"only the reads {met} were open"


def _ring_line(ring: CommandRing | None) -> int:
    """The line in which the two commands stand."""
    assert ring is not None
    return ring.base // LINE_BYTES
