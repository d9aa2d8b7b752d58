# SPDX-License-Identifier: Apache-2.0
"""The access engine inside the device, whose descriptors the host ends: cancelled, switched off, reset, or with a
source that goes away."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.arrays import PAGE_BYTES
from models.fault_records import cancel_command
from models.registers import Register
from models.structures import Access, CompletionStatus, Opcode, Reason, pack_command
from tb.engine_port import Completion
from tb.tests.engine_bench import CONTEXTS, PAGES, PASID, WINDOW, all_ok, page_va
from tb.tests.engine_moves import SLOW, Mover, add_descriptor, begin, copy_descriptor


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
