# SPDX-License-Identifier: Apache-2.0
"""The access engine inside the device: data over translations that the host gives and takes away."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.arrays import PAGE_BYTES, Words
from models.fault_records import cancel_command
from models.registers import Register
from models.structures import Access, CompletionStatus, EngineOpcode, Opcode, Reason, pack_command, pack_descriptor
from tb.case import MemorySettings
from tb.engine_order import EngineOrder, span
from tb.engine_port import Completion
from tb.tests.engine_bench import CONTEXTS, FIRST_VA, PAGES, PASID, WINDOW, EngineBench, all_ok, page_va

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


MOST_ROUNDS = 12


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
async def test_engine_copy_source_invalidated(dut: SimHandleBase) -> None:
    """
    Stimulus: a copy whose destination is not present; while that fault waits, the host takes the source's page away
    and writes something else to its frame.
    Checking: the fence does not wait for the copy (no hold and wait); the destination then gets the bytes that were
    read before, the rest of the copy faults for the source.
    Covers: LOOP-DEADLOCK, ENGINE-NO-HOLD
    """
    bench = await begin(dut, 4, mapped=1)
    await bench.engine.submit(copy_descriptor(page_va(0), page_va(1), 128))
    target = await bench.record()
    assert (target.va, target.access, target.reason) == (page_va(1), Access.WRITE, Reason.NOT_PRESENT)
    source = await bench.unmap_page(0)
    piece = bench.content(source)[:64].copy()
    bench.content(source)[:] = 0xEE
    bench.free_frame(source)
    assert not bench.engine.look()
    frame = bench.new_frame(device=False)
    await bench.map_page(1, frame)
    await bench.resume(target.tag)
    again = await bench.record()
    assert (again.va, again.access) == (page_va(0) + 64, Access.READ)
    assert bench.content(frame)[:64].tobytes() == piece.tobytes()
    await bench.resume(again.tag, cancel=True)
    (completion,) = await bench.engine.wait(1)
    assert completion == Completion(
        CompletionStatus.ABORTED, Reason.NOT_PRESENT, 64, 0, page_va(0) + 64, int(Access.READ)
    )
    bench.expected[PAGE_BYTES : 2 * PAGE_BYTES] = bench.content(frame)
    await bench.finish()


@cocotb.test()
async def test_engine_cancelled(dut: SimHandleBase) -> None:
    """
    Stimulus: descriptors that fault, answered by RESUME with cancel, by CANCEL of the range, and by UNBIND.
    Checking: each completion says ABORTED with the fault's reason, or NO_CONTEXT; the engine goes on.
    Covers: ENGINE-ABORT, FAULT-CANCEL, FAULT-UNBIND
    """
    bench = await begin(dut, 5, mapped=2)
    ended: list[Completion] = []
    for way in range(3):
        await bench.engine.submit(add_descriptor(page_va(4), 1))
        record = await bench.record()
        if way == 0:
            await bench.resume(record.tag, cancel=True)
        elif way == 1:
            await bench.port.submit(cancel_command(PASID, record.va, record.va, Access.ATOMIC).reshape(1, 4))
        else:
            bench.memory.write_words(bench.tables.context_entry_address(PASID), [0])
            await bench.port.submit(pack_command(opcode=Opcode.UNBIND, pasid=PASID).reshape(1, 4))
        ended += await bench.engine.wait(1)
    assert [completion.status for completion in ended] == [CompletionStatus.ABORTED] * 3
    assert [completion.reason for completion in ended] == [Reason.NOT_PRESENT] * 2 + [Reason.NO_CONTEXT]
    assert all(completion.va == page_va(4) and completion.bytes_moved == 0 for completion in ended)
    await bench.finish()


@cocotb.test()
async def test_engine_switched_off(dut: SimHandleBase) -> None:
    """
    Stimulus: the engine is switched off while its fault waits; then the fault is cancelled; then translation goes off.
    Checking: it is active and the device busy until the cancel, at rest and not busy after it; no completion is
    written; switched on again it begins with an empty ring.
    Covers: ENGINE-OFF, DISABLE-ORDER
    """
    bench = await begin(dut, 6, mapped=2)
    await bench.engine.submit(add_descriptor(page_va(4), 1))
    record = await bench.record()
    await bench.engine.disable()
    await bench.quiet()
    status = await bench.device.read_register(Register.STATUS)
    assert registers.STATUS_ENGINE_ACTIVE.extract(status) and registers.STATUS_BUSY.extract(status)
    await bench.resume(record.tag, cancel=True)
    await bench.quiet()
    status = await bench.device.read_register(Register.STATUS)
    assert not registers.STATUS_ENGINE_ACTIVE.extract(status) and not registers.STATUS_BUSY.extract(status)
    assert not bench.engine.look()
    await bench.engine.enable()
    place = int(bench.rng.integers(500)) * 8
    view = bench.expected[place : place + 8].view(np.uint64)
    wanted = int(view[0])
    (completion,) = await bench.engine.perform(add_descriptor(page_va(0) + place, 77))
    assert (completion.status, completion.old_value) == (CompletionStatus.OK, wanted)
    view += np.uint64(77)
    await bench.finish()


@cocotb.test()
async def test_engine_asks_while_translation_is_off(dut: SimHandleBase) -> None:
    """
    Stimulus: a descriptor while translation is off; then translation is switched on.
    Checking: the device is busy while the engine has the descriptor, for memory is used; then the descriptor is done.
    Covers: ENGINE-OFF, STATUS-BUSY
    """
    bench = await begin(dut, 8, mapped=1)
    control = await bench.device.read_register(Register.CONTROL)
    await bench.device.write_register(Register.CONTROL, control & ~registers.CONTROL_ENABLE.mask)
    await bench.quiet()
    status = await bench.device.read_register(Register.STATUS)
    assert not registers.STATUS_ENABLED.extract(status) and not registers.STATUS_BUSY.extract(status)
    await bench.engine.submit(add_descriptor(page_va(0), 5))
    await bench.quiet()
    status = await bench.device.read_register(Register.STATUS)
    assert not registers.STATUS_ENABLED.extract(status) and registers.STATUS_BUSY.extract(status)
    assert not bench.engine.look()
    await bench.device.write_register(Register.CONTROL, control)
    all_ok(await bench.engine.wait(1))
    bench.expected[0:8].view(np.uint64)[0] += np.uint64(5)
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


@cocotb.test()
@cocotb.parametrize(pause=[0, 40, 90, 170, 300, 520])
async def test_engine_soft_reset(dut: SimHandleBase, pause: int) -> None:
    """
    Stimulus: copies between pages of system and device memory; a soft reset in their middle; then all pages have other
        frames, the old ones belong to nobody, and the engine is set up anew without any command.
    Checking: nothing of before touches memory any more: no byte, no completion; the engine works as ever.
    Covers: SOFT-RESET, ENGINE-DATA, OWNER-DATA
    """
    bench = await begin(dut, 9, SLOW)
    places = bench.rng.permutation(PAGES)[:16].reshape(-1, 2).tolist()
    rows = [copy_descriptor(page_va(source), page_va(destination), PAGE_BYTES) for source, destination in places]
    await bench.engine.submit(np.stack(rows))
    await bench.device.cycles(pause)
    reset = registers.CONTROL_SOFT_RESET.mask
    await bench.device.write_register(Register.CONTROL, reset)
    while await bench.device.read_register(Register.CONTROL) & reset:
        pass
    assert not await bench.device.read_register(Register.ENGINE_HEAD)
    done = len(bench.engine.look())
    old = dict(bench.frames)
    for page in range(PAGES):
        bench.map_at_start(page, device=page % 3 != 2)
    for frame in old.values():
        bench.free_frame(frame)
    await bench.quiet()
    assert not bench.engine.look(), f"a completion came behind the reset, after {done} before it"
    await bench.port.enable(bench.format, context_base=bench.tables.context_base, context_count=CONTEXTS, window=WINDOW)
    await bench.engine.enable()
    await Mover(bench).run(12)
    await bench.finish()
