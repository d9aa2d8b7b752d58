# SPDX-License-Identifier: Apache-2.0
"""A scenario of the kernel's test of HMM on the golden device."""

from __future__ import annotations

from models.driver import AnswerPolicy, Driver, DriverOptions
from models.driver.device_memory import DeviceMemory
from models.golden_device import DeviceAbort
from models.pages import Window
from models.tests.closed_loop import ClosedLoop
from models.tests.hmm_tests import DRIVERS, SCENARIOS, Machine

WINDOW = Window(0x100_0000, 2048)
"""Device memory for more than one huge page."""


def run_on_golden_device(
    name: str, answer: AnswerPolicy = AnswerPolicy.RESUME, *, driver: type[Driver] | None = None, rules: bool = True
) -> None:
    """`driver`: another one than the scenario's, to plant a mistake; `rules`: check them all afterwards.

    Errors: AssertionError for what the scenario does not find, or for a rule that is broken.
    """
    loop = ClosedLoop(
        device_pages=True,
        device_window=WINDOW,
        foreign_pages=True,
        driver=driver or DRIVERS.get(name, Driver),
        options=DriverOptions(answer=answer),
    )
    machine = Machine(
        loop.device, loop.driver, DeviceMemory(loop.foreign), loop.frames, loop.space, loop.start, DeviceAbort
    )
    loop.run(SCENARIOS[name](machine))
    if rules:
        loop.finish()
