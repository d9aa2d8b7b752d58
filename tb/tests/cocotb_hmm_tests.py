# SPDX-License-Identifier: Apache-2.0
"""The scenarios of the kernel's own test of HMM on the RTL, unchanged: the device reads and writes as a client."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.task import Task

from models.arrays import WORD_BYTES
from models.driver import AnswerPolicy, Driver, DriverOptions
from models.driver.device_memory import DeviceMemory
from models.structures import Access, Reason
from models.tests.hmm_tests import BROKEN, DRIVERS, SCENARIOS, Machine
from models.tests.hmm_tests.golden import WINDOW
from tb.host_script import make_requests
from tb.records import DATA_BYTES, Done
from tb.tests.driver_machine import RtlMachine


class Refused(Exception):
    """A request was answered ABORTED. `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class RtlAccesses:
    """models.tests.hmm_tests.Device: words at virtual addresses, moved by a client of the RTL under its grants."""

    def __init__(self, machine: RtlMachine) -> None:
        self._device = machine.device

    async def read(self, pasid: int, va: int) -> int:
        """The word at `va`. Errors: Refused."""
        return int(await self._access(pasid, va, Access.READ, 0))

    async def write(self, pasid: int, va: int, value: int) -> None:
        """Write a word. Errors: Refused."""
        await self._access(pasid, va, Access.WRITE, value)

    async def atomic_add(self, pasid: int, va: int, value: int) -> int:
        """Add to a word; returns what it was. Errors: Refused."""
        return int(await self._access(pasid, va, Access.ATOMIC, value))

    async def _access(self, pasid: int, va: int, access: Access, value: int) -> np.uint64:
        given = np.zeros((1, DATA_BYTES), dtype=np.uint8)
        given.view(np.uint64)[0, 0] = value
        (place,) = self._device.ask(make_requests(va, pasid, access, length=WORD_BYTES), given)
        (response,) = await self._device.answered([place])
        while not int(self._device.responses["done"][place]) & Done.RELEASED:
            await self._device.cycles(1)
        if int(response["status"]):
            raise Refused(Reason(int(response["reason"])))
        # An atomic's row has the operand first, then what was there before.
        found: np.uint64 = self._device.data[place].view(np.uint64)[int(access is Access.ATOMIC)]
        return found


class CocotbThread:
    """models.tests.hmm_tests.machine.Thread."""

    def __init__(self, task: Task[Any]) -> None:
        self._task = task

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._task.done()


def start_thread(coroutine: Coroutine[Any, Any, Any]) -> CocotbThread:
    """A host thread."""
    return CocotbThread(cocotb.start_soon(coroutine))


async def run_on_rtl(
    dut: SimHandleBase, name: str, answer: AnswerPolicy = AnswerPolicy.RESUME, driver: type[Driver] | None = None
) -> None:
    """`driver`: another one than the scenario's, to plant a mistake.

    Errors: AssertionError for what the scenario does not find, or for a rule that is broken.
    """
    chosen = driver or DRIVERS.get(name, Driver)
    machine = RtlMachine(dut, 1, options=DriverOptions(answer=answer), driver=chosen, window=WINDOW)
    await machine.start()
    accesses, other = RtlAccesses(machine), DeviceMemory(machine.foreign)
    await SCENARIOS[name](
        Machine(accesses, machine.driver, other, machine.frames, machine.space, start_thread, Refused)
    )
    await machine.finish()


@cocotb.test()
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in SCENARIOS])
async def test_hmm(dut: SimHandleBase, name: str) -> None:
    """
    Stimulus: one scenario of the kernel's test of HMM, as the golden device plays it in plain pytest.
    Checking: what the scenario says; every rule; every record was taken.
    Covers: HMM-TESTS
    """
    await run_on_rtl(dut, name)


@cocotb.test()
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in ("anon_write_prot", "anon_teardown", "double_map")])
async def test_hmm_replay_all(dut: SimHandleBase, name: str) -> None:
    """
    Stimulus: some of the scenarios, each batch of faults answered by one replay of everything.
    Checking: as test_hmm.
    Covers: HMM-TESTS, FAULT-REPLAY-ALL
    """
    await run_on_rtl(dut, name, AnswerPolicy.NOUVEAU)


@cocotb.test()
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in ("anon_read_multiple", "anon_write_prot", "double_map")])
async def test_hmm_notices_a_broken_driver(dut: SimHandleBase, name: str) -> None:
    """
    Stimulus: scenarios with a driver that has one mistake.
    Checking: each fails.
    Covers: HMM-TESTS, PLANTED
    """
    try:
        await run_on_rtl(dut, name, driver=BROKEN[name])
    except (AssertionError, Refused) as error:
        cocotb.log.info("%s: %s", name, error)
        return
    raise RuntimeError(f"{name} did not notice {BROKEN[name].__name__}")
