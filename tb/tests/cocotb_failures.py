# SPDX-License-Identifier: Apache-2.0
"""cocotb tests that what goes wrong is noticed: no progress, failed assertions, an interrupt, a wrong executable."""

from __future__ import annotations

import ctypes
import os
import signal

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles

from models.errors import UserError
from models.physical_memory import PhysicalMemory
from tb.agents.client import ClientRequest
from tb.case import MemorySettings
from tb.environment import Environment, Interrupted, make_settings
from tb.host_script import FIRST_PORT
from tb.pin_environment import PinEnvironment
from tb.records import REQUEST_DTYPE, ActionKind
from tb.simulator import RECORD_DTYPES, SimulatorError, check_record_sizes
from tb.tests.cocotb_transactor import assert_clean
from tb.tests.fault_bench import DEVICE, SLOTS
from tb.tests.small_case import PAGES, SMALL_MEMORY, page_requests, small_builder, stalled_case, with_actions

UNKNOWN_KIND = 77
LIMIT_MS = 1
"""Simulated time after which a test that waits for something has failed: 100000 cycles."""


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def test_stall_caught(dut: SimHandleBase) -> None:
    """
    Stimulus: a case whose last action waits for what never comes; then the same with a request that is never let go.
    Checking: both end after the watchdog's cycles without progress, with a dump that names what waits.
    Covers: WATCHDOG
    """
    environment = Environment(dut)
    case = stalled_case()
    result = await environment.run(case)
    assert result.stalled
    assert "WAIT_REGISTER" in result.dump
    last = max(int(result.responses["release_cycle"].max()), int(result.action_results["done_cycle"].max()))
    assert result.cycles == last + 1 + case.watchdog_cycles

    builder = small_builder("stalled-request")
    builder.ask(page_requests([0], after_action=len(builder.script) + 1))
    result = await environment.run(builder.build())
    assert result.stalled
    assert "request 0 (READ va 0x10000000 pasid 3 client 1) is the next" in result.dump


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def test_plan_is_no_stall(dut: SimHandleBase) -> None:
    """
    Stimulus: a pause, a hold and a delay that are each longer than the watchdog's cycles.
    Checking: the case ends well.
    Covers: WATCHDOG
    """
    builder = small_builder("long-plans")
    after = len(builder.script)
    builder.ask(page_requests([0, 1], pause=[0, 3000], hold=[3000, 3000], after_action=after))
    case = with_actions(builder.build(), (ActionKind.NOP, {"delay": 3000}), (ActionKind.NOP, {"not_before": 20_000}))
    case.watchdog_cycles = 500
    assert_clean(await Environment(dut).run(case))


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def test_assertion_counted(dut: SimHandleBase) -> None:
    """
    Stimulus: by pins, the release of an id that holds no grant; then a case without mistakes.
    Checking: a failed assertion is counted and its place told, the simulation goes on, and the next case starts at 0.
    Covers: ASSERTION-COUNT
    """
    environment = PinEnvironment(dut)
    await environment.start(PhysicalMemory(SMALL_MEMORY))
    await environment.release(7)
    await ClockCycles(environment.top.clock, 2)
    count, text = environment.simulator.assertion_failures()
    assert count >= 1
    assert ".sv:" in text
    builder = small_builder("after-assertion")
    builder.ask(page_requests([0], after_action=len(builder.script)))
    assert_clean(await environment.run(builder.build()))


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def test_assertion_ends_case(dut: SimHandleBase) -> None:
    """
    Stimulus: a case during which an assertion fails, because pins are switched in while a request waits.
    Checking: the result counts it, and the case ends there.
    Covers: ASSERTION-COUNT
    """
    builder = small_builder("assertion-in-case", settings=MemorySettings(read_latency=(200, 200)))
    # More than the device has places for, on all ports, so that one waits at each.
    requests = page_requests([page % PAGES for page in range(2 * SLOTS)], after_action=len(builder.script))
    requests["client"] = FIRST_PORT + np.arange(requests.size) % DEVICE.ports
    builder.ask(requests)
    environment = PinEnvironment(dut)
    case = builder.build()

    async def disturb() -> None:
        await ClockCycles(environment.top.clock, 400)
        environment.top.pin_client.value = 1

    cocotb.start_soon(disturb())
    result = await environment.run(case)
    assert result.assertion_failures >= 1
    assert result.assertion_failure
    assert not result.counters


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def test_unasked_response_counted(dut: SimHandleBase) -> None:
    """
    Stimulus: the C++ side is told of a response and of a release under ids that nobody asked with.
    Checking: both count as failures, in words, also in a build without assertions.
    Covers: CLIENT-UNASKED
    """
    environment = Environment(dut)
    await environment.reset(PhysicalMemory(SMALL_MEMORY), make_settings(MemorySettings()))
    library = ctypes.CDLL(None)
    library.tb_release(ctypes.c_uint64(5), ctypes.c_uint8(2), ctypes.c_uint8(4))
    count, text = environment.simulator.assertion_failures()
    assert (count, text) == (1, "cycle 5: a release for id 4 of client 2, which does not wait for one")
    environment.simulator.clear()
    assert environment.simulator.assertion_failures() == (0, "")


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def test_keyboard_interrupt(dut: SimHandleBase) -> None:
    """
    Stimulus: SIGINT while a case runs.
    Checking: the case ends with Interrupted, and Python is not thrown out of the middle of something.
    Covers: INTERRUPT-CLEAN
    """
    environment = Environment(dut)

    async def interrupt() -> None:
        await ClockCycles(environment.top.clock, 50)
        os.kill(os.getpid(), signal.SIGINT)

    cocotb.start_soon(interrupt())
    try:
        await environment.run(stalled_case())
    except Interrupted:
        return
    raise AssertionError("the case went on")


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def test_bad_input_refused(dut: SimHandleBase) -> None:
    """
    Stimulus: an action of an unknown kind; a latency range upside down; requests with other records; other
        sizes in C++.
    Checking: each is refused with words that name it.
    Covers: CASE-CHECK, RECORD-SIZES
    """
    environment = Environment(dut)
    for case, word in (
        (with_actions(small_builder("kind").build(), (ActionKind.NOP, {"kind": UNKNOWN_KIND})), "77"),
        (small_builder("latency", settings=MemorySettings(read_latency=(4, 3))).build(), "latency"),
    ):
        try:
            await environment.run(case)
        except UserError as error:
            assert word in str(error)
        else:
            raise AssertionError(f"{case.name} was taken")
    wrong = page_requests([0]).astype([(name, REQUEST_DTYPE[name]) for name in REQUEST_DTYPE.names or ()])
    try:
        environment.simulator.set_requests(wrong, wrong, 1)
    except ValueError as error:
        assert "requests" in str(error)
    else:
        raise AssertionError("requests of other records were taken")
    sizes = [dtype.itemsize for dtype in RECORD_DTYPES]
    check_record_sizes(sizes)
    try:
        check_record_sizes([*sizes[:4], sizes[4] + 8, sizes[5]])
    except SimulatorError as error:
        assert "event" in str(error)
    else:
        raise AssertionError("a record of another size was taken")


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def test_response_withheld_caught(dut: SimHandleBase) -> None:
    """
    Stimulus: by pins, a client that is not ready for the response it asked for.
    Checking: an assertion fails.
    Covers: CLIENT-READY
    """
    environment = PinEnvironment(dut)
    builder = small_builder("withheld")
    await environment.start(builder.memory)
    await environment.enable(builder.format, context_base=builder.tables.context_base, context_count=8)
    environment.requests.bus.response_ready.value = 0
    await environment.requests.send(ClientRequest(id=1, va=1 << 60))
    await ClockCycles(environment.top.clock, 20)
    count, _ = environment.simulator.assertion_failures()
    assert count >= 1
    environment.requests.bus.response_ready.value = 1
