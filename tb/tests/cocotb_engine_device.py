# SPDX-License-Identifier: Apache-2.0
"""The access engine inside the device: data over translations that the host gives and takes away."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.arrays import PAGE_BYTES
from models.registers import Register
from models.structures import Reason
from tb.case import MemorySettings
from tb.tests.engine_bench import PAGES, all_ok, page_va
from tb.tests.engine_moves import PATIENCE, SLOW, Mover, add_descriptor, begin, copy_descriptor

MOST_ROUNDS = 12


@cocotb.test()
async def test_engine_moves_data(dut: SimHandleBase) -> None:
    """
    Stimulus: 120 drawn descriptors of all kinds over pages of system and device memory; memory is slow.
    Checking: every byte of every page and of every read; what the bus is used for, by grants.
    Covers: ENGINE-DATA, OWNER-DATA
    """
    bench = await begin(dut, 1, SLOW)
    await Mover(bench).run(120)
    await bench.finish()


@cocotb.test()
async def test_engine_pages_move_meanwhile(dut: SimHandleBase) -> None:
    """
    Stimulus: drawn descriptors while the host takes pages away, moves their bytes to another frame, of system or device
    memory, frees the old one, and maps the page again; faults of pages that are away are replayed then.
    Checking: every byte: nothing that was written is lost with the old frame, nothing is read from it.
    Covers: ENGINE-DATA, INV-I1
    """
    bench = await begin(dut, 2, MemorySettings(read_latency=(1, 8), write_latency=(1, 8)))
    busy = True

    async def move_pages() -> None:
        while busy:
            page = int(bench.rng.integers(PAGES))
            old = await bench.unmap_page(page)
            new = bench.new_frame(device=bool(bench.rng.integers(2)))
            bench.content(new)[:] = bench.content(old)
            bench.content(old)[:] = 0xEE
            bench.free_frame(old)
            await bench.device.cycles(int(bench.rng.integers(200)))
            await bench.map_page(page, new)
            await bench.device.cycles(int(bench.rng.integers(300)))

    async def replay() -> None:
        while busy:
            if await bench.port.wait_faults(50):
                for record in await bench.port.take_faults(8):
                    assert record.reason is Reason.NOT_PRESENT
                    await bench.resume(record.tag)

    tasks = [cocotb.start_soon(move_pages()), cocotb.start_soon(replay())]
    mover = Mover(bench)
    await mover.run(150)
    for _ in range(MOST_ROUNDS):
        # How many descriptors meet a page that is away is a matter of the draw and of how quick the device is.
        if bench.port.taken > 10:
            break
        await mover.run(150)
    busy = False
    for task in tasks:
        await task
    assert bench.port.taken > 10, "the host was never asked for a page"
    await bench.finish()


@cocotb.test()
async def test_engine_adds_are_exact(dut: SimHandleBase) -> None:
    """
    Stimulus: 400 atomic adds to two words of one page that the host moves from frame to frame all the time.
    Checking: the words hold the sums, and the old values are those of the adds one after another, in some order.
    Covers: ENGINE-ATOMIC, INV-I1
    """
    bench = await begin(dut, 3, MemorySettings(read_latency=(0, 4), write_latency=(0, 4)), mapped=2)
    moves = 0
    busy = True

    async def move_page() -> None:
        nonlocal moves
        while busy:
            old = await bench.unmap_page(0)
            new = bench.new_frame(device=moves % 2 == 0)
            bench.content(new)[:] = bench.content(old)
            bench.free_frame(old)
            await bench.map_page(0, new)
            while await bench.port.wait_faults(30):
                for record in await bench.port.take_faults(4):
                    await bench.resume(record.tag)
            moves += 1

    sums = [int(bench.expected[place : place + 8].view(np.uint64)[0]) for place in (8, 64)]
    operands = [int.from_bytes(bench.rng.bytes(8), "little") for _ in range(400)]
    rows = [add_descriptor(page_va(0) + (8, 64)[number % 2], operand) for number, operand in enumerate(operands)]
    task = cocotb.start_soon(move_page())
    completions = await bench.engine.perform(np.stack(rows), PATIENCE)
    busy = False
    await task
    all_ok(completions)
    for word in range(2):
        found = zip(completions[word::2], operands[word::2], strict=True)
        operand_after = {completion.old_value: operand for completion, operand in found}
        for step in range(200):
            assert sums[word] in operand_after, f"word {word}: no add found what {step} adds before it had left"
            sums[word] = (sums[word] + operand_after[sums[word]]) % (1 << 64)
    bench.expected[8:16].view(np.uint64)[0] = sums[0]
    bench.expected[64:72].view(np.uint64)[0] = sums[1]
    assert moves > 20, f"the page moved {moves} times"
    await bench.finish()


@cocotb.test()
async def test_engine_overlaps(dut: SimHandleBase) -> None:
    """
    Stimulus: memory whose latency is 40; copies of a line between pages of their own: one, then eight at once, then
        eight that are ordered.
    Checking: eight at once take less than half of eight times one, eight ordered ones do not; all bytes.
    Covers: ENGINE-OVERLAP, ENGINE-ORDERED
    """
    bench = await begin(dut, 9, MemorySettings(read_latency=(40, 40), write_latency=(40, 40)))
    first_words = bench.expected.reshape(PAGES, PAGE_BYTES)

    async def cycles_of(pages: list[int], *, ordered: bool) -> int:
        rows = [copy_descriptor(page_va(page), page_va(page + 12), 64, ordered=ordered) for page in pages]
        for page in pages:
            first_words[page + 12, :64] = first_words[page, :64]
        begun = bench.device.now()
        await bench.engine.submit(np.stack(rows))
        all_ok(await bench.engine.wait(len(rows), PATIENCE))
        return bench.device.now() - begun

    pages = list(range(8))
    await cycles_of(pages, ordered=False)  # translations are cached from now on
    one = await cycles_of(pages[:1], ordered=False)
    together = await cycles_of(pages, ordered=False)
    in_turn = await cycles_of(pages, ordered=True)
    cocotb.log.info("one %d cycles, eight at once %d, eight in turn %d", one, together, in_turn)
    assert together < 4 * one, f"eight copies take {together} cycles, one takes {one}"
    assert in_turn > 6 * one, f"eight ordered copies take {in_turn} cycles, one takes {one}"
    await bench.finish()


@cocotb.test()
async def test_engine_fault_holds_up_nobody(dut: SimHandleBase) -> None:
    """
    Stimulus: a copy that faults, three copies behind it that do not, and one that is ordered.
    Checking: while the fault waits the three have moved their bytes, the ordered one none, and no completion is there;
        when the fault is answered all complete, in ring order.
    Covers: ENGINE-OVERLAP, ENGINE-ORDERED
    """
    bench = await begin(dut, 10, mapped=10)
    rows = [copy_descriptor(page_va(11), page_va(5), 64)]
    rows += [copy_descriptor(page_va(page), page_va(page + 5), 200) for page in (1, 2, 3)]
    rows.append(copy_descriptor(page_va(4), page_va(9), 64, ordered=True))
    await bench.engine.submit(np.stack(rows))
    record = await bench.record()
    await bench.quiet()
    pages = bench.expected.reshape(PAGES, PAGE_BYTES)
    for page in (1, 2, 3):
        pages[page + 5, :200] = pages[page, :200]
    bench.check_pages()
    assert not bench.engine.look()
    status = await bench.device.read_register(Register.STATUS)
    assert registers.STATUS_BUSY.extract(status) and registers.STATUS_ENGINE_ACTIVE.extract(status)
    frame = bench.new_frame(device=True)
    bench.content(frame)[:] = pages[11]
    await bench.map_page(11, frame)
    await bench.resume(record.tag)
    completions = await bench.engine.wait(5)
    all_ok(completions)
    assert [completion.bytes_moved for completion in completions] == [64, 200, 200, 200, 64]
    pages[5, :64] = pages[11, :64]
    pages[9, :64] = pages[4, :64]
    await bench.finish()


@cocotb.test()
async def test_engine_stale_data_caught(dut: SimHandleBase) -> None:
    """
    Stimulus: a host that frees a page without INVALIDATE and FENCE, and an engine that still has its translation.
    Checking: the access is found in its own cycle at the memory, and named.
    Covers: INV-I1, OWNER-DATA
    """
    bench = await begin(dut, 7, mapped=1)
    all_ok(await bench.engine.perform(add_descriptor(page_va(0), 1)))
    bench.device.expects_failure = True
    frame = bench.frames.pop(0)
    await bench.store(0, bench.none)
    bench.free_frame(frame)
    await bench.engine.submit(add_descriptor(page_va(0), 1))
    await bench.quiet()
    assert f"read at {frame.address:#x} of system memory" in bench.device.failure
