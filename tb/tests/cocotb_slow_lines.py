# SPDX-License-Identifier: Apache-2.0
"""Walks whose last read takes so long that the tables above it are others when its data comes."""

from __future__ import annotations

import cocotb
from cocotb.handle import SimHandleBase

from models.arrays import LINE_BYTES, WORD_BYTES
from models.geometry import DIRECTORY_BYTES, INDEX_BITS, span_bits
from models.physical_memory import OWNER_SLOW, Owner
from models.registers import Register
from models.structures import DirectoryType, pack_directory_entry
from tb.case import MemorySettings
from tb.environment import Environment
from tb.host_script import When, make_requests
from tb.records import DeviceEventKind
from tb.scoreboard import check_case
from tb.tests.small_case import FIRST_VA, PASID, page_requests, page_va, page_words, small_builder

SPAN = 1 << span_bits(2)
"""Bytes below the directory of arrays."""
ARRAY_SPAN = 1 << span_bits(1)
SLOTS = LINE_BYTES // WORD_BYTES
UNDER_WAY = 60
"""Cycles after which the slow walk waits for its line."""


@cocotb.test()
async def test_directory_replaced_under_a_slow_walk(dut: SimHandleBase) -> None:
    """
    Stimulus: a walk waits for a slow line of its array; the directory that led it there is replaced by a copy,
        INVALIDATE of all below; another walk through the copy caches array and directory; the slow walk begins anew,
        finds the array in the cache, and ends; behind a FENCE the old directory is given away; a walk to another array.
    Checking: every answer; the owner map sees no read of the old directory; the slow walk was dropped, and met the
        other one on its way.
    Covers: WALK-DROPPED, CACHE-DIRECTORY
    """
    builder = small_builder("slow-line", ring_log2=3, settings=MemorySettings(read_latency=(4, 4)))
    tables, script = builder.tables, builder.script
    other_va = FIRST_VA + ARRAY_SPAN
    tables.link_range(PASID, other_va, page_words(), builder.format)
    first = FIRST_VA // SPAN * SPAN
    old = tables.directory_entry_address(PASID, first, 1)
    copy = builder.spare_directory(builder.memory.read_words(old, 1 << INDEX_BITS))
    line = tables.entry_address(PASID, page_va(0)) // LINE_BYTES * LINE_BYTES
    script.set_owner(line, LINE_BYTES, Owner.ARRAY | OWNER_SLOW)
    builder.ask(page_requests([0], after_action=len(script)))
    link = pack_directory_entry(entry_type=DirectoryType.DIRECTORY, address=copy)
    above = tables.directory_entry_address(PASID, first, 2)
    script.write_memory(above, int(link[0]), When(delay=UNDER_WAY))
    script.invalidate(PASID, first, first + SPAN - 1)
    script.fence()
    script.wait_taken()
    builder.ask(page_requests([SLOTS], after_action=len(script)))
    script.nop(When(after_request=builder.asked))
    script.wait_register(Register.FENCE_SEQUENCE, 1)
    script.set_owner(old, DIRECTORY_BYTES, Owner.NONE)
    builder.ask(make_requests(other_va, PASID, after_action=len(script)))
    case = builder.build()
    result = await Environment(dut).run(case, device_events=True)
    verdict = check_case(case, result)
    assert verdict.passed, verdict.lines[0]
    drops = result.device_events[result.device_events["kind"] == DeviceEventKind.WALK_DROP]
    ends = result.responses["finish_cycle"]
    assert drops.size and ends[1] < drops["cycle"][0] < ends[0], "the slow walk was not overtaken"
