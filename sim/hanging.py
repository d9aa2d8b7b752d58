# SPDX-License-Identifier: Apache-2.0
"""A plugin of pytest (`-p sim.hanging`) that fails a test which uses more processor time than a test can need.

A broken line often makes a loop endless. Processor time tells that also on a machine with other work to do. What a
test starts in another process does not count.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

LIMIT_VARIABLE = "HANGING_TEST_SECONDS"
"""Environment variable with the seconds of processor time that each test may use."""


def _fail(signal_number: int, frame: FrameType | None) -> None:
    # No Exception, so that the code under test does not catch it.
    pytest.fail(f"the test used more than {os.environ[LIMIT_VARIABLE]} s of processor time", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Runs the test under the limit."""
    before = signal.signal(signal.SIGVTALRM, _fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, float(os.environ[LIMIT_VARIABLE]))
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
