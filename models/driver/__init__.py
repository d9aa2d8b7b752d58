# SPDX-License-Identifier: Apache-2.0
"""The device's driver on the host."""

from models.driver.driver import Answer, DeviceContext, Driver, Work
from models.driver.options import AnswerPolicy, CommitPolicy, DriverCounters, DriverOptions

__all__ = [
    "Answer",
    "AnswerPolicy",
    "CommitPolicy",
    "DeviceContext",
    "Driver",
    "DriverCounters",
    "DriverOptions",
    "Work",
]
