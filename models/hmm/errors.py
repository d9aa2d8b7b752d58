# SPDX-License-Identifier: Apache-2.0
"""How calls of the host fail: Linux errno names, and the signals that a CPU access ends in."""

from __future__ import annotations

from enum import Enum


class HmmError(Exception):
    """A call failed as Linux calls do; `errno` is the name of the error number, such as "EFAULT".

    `va`: the address of the page where it arose, None if it was no page.
    """

    def __init__(self, errno: str, why: str = "", va: int | None = None) -> None:
        super().__init__(f"{errno}: {why}" if why else errno)
        self.errno = errno
        self.va = va


class Signal(Enum):
    """What the CPU sends to a thread whose access cannot be made possible."""

    SIGSEGV = "SIGSEGV"
    SIGBUS = "SIGBUS"


class CpuAccessError(Exception):
    """A CPU access ended in a signal. `va` is the first address that could not be accessed."""

    def __init__(self, signal: Signal, va: int) -> None:
        super().__init__(f"{signal.value} at {va:#x}")
        self.signal = signal
        self.va = va
