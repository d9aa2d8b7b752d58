# SPDX-License-Identifier: Apache-2.0
"""The device's driver on the host."""

from models.driver.answering import Answer
from models.driver.context import DeviceContext, Work
from models.driver.driver import Driver
from models.driver.options import CommitPolicy, DriverCounters, DriverOptions
from models.driver.policies import AnswerPolicy, FaultPolicy

__all__ = [
    "Answer",
    "AnswerPolicy",
    "CommitPolicy",
    "DeviceContext",
    "Driver",
    "DriverCounters",
    "DriverOptions",
    "FaultPolicy",
    "Work",
]
