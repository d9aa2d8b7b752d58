# SPDX-License-Identifier: Apache-2.0
"""The scenarios of the kernel's own test, on the driver and the golden device, with all rules checked afterwards."""

from __future__ import annotations

import pytest

from models.driver import AnswerPolicy, Driver
from models.golden_device import DeviceAbort
from models.tests.hmm_tests import ABSENT, BROKEN, SCENARIOS
from models.tests.hmm_tests.golden import run_on_golden_device


@pytest.mark.parametrize("answer", AnswerPolicy)
@pytest.mark.parametrize("name", SCENARIOS)
def test_hmm_tests_on_golden_device(name: str, answer: AnswerPolicy) -> None:
    """
    Stimulus: One scenario of the kernel's test of HMM.
    Checking: What the scenario says; every rule on the journal.
    Covers: HMM-TESTS
    """
    run_on_golden_device(name, answer)


def test_hmm_tests_absent_have_reasons() -> None:
    """
    Stimulus: The tests of the kernel that cannot be had here.
    Checking: None of them is among the scenarios; each has a reason.
    Covers: HMM-TESTS
    """
    assert not ABSENT.keys() & SCENARIOS.keys()
    assert all(len(reason) > 20 for reason in ABSENT.values())


@pytest.mark.parametrize("name", BROKEN)
def test_hmm_tests_notice_a_broken_driver(name: str) -> None:
    """
    Stimulus: Scenarios with a driver that has one mistake; then with the right one.
    Checking: The scenario itself fails, without any rule; the right driver passes.
    Covers: HMM-TESTS, PLANTED
    """
    broken: type[Driver] = BROKEN[name]
    with pytest.raises((AssertionError, DeviceAbort)):
        run_on_golden_device(name, driver=broken, rules=False)
    run_on_golden_device(name)
