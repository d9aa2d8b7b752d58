# SPDX-License-Identifier: Apache-2.0
"""The scenarios of the kernel's own test, on the driver and the golden device, with all rules checked afterwards."""

from __future__ import annotations

import pytest

from models.driver import AnswerPolicy, DriverOptions
from models.golden_device import DeviceAbort
from models.tests.closed_loop import ClosedLoop
from models.tests.hmm_tests import SCENARIOS, Machine


@pytest.mark.parametrize("answer", AnswerPolicy)
@pytest.mark.parametrize("name", SCENARIOS)
def test_hmm_tests_on_golden_device(name: str, answer: AnswerPolicy) -> None:
    """
    Stimulus: One scenario of the kernel's test of HMM.
    Checking: What the scenario says; every rule on the journal.
    Covers: HMM-TESTS
    """
    loop = ClosedLoop(device_pages=True, options=DriverOptions(answer=answer))
    machine = Machine(loop.device, loop.driver, loop.space, loop.start, DeviceAbort)
    loop.run(SCENARIOS[name](machine))
    loop.finish()
