# SPDX-License-Identifier: Apache-2.0
"""What host code needs from whatever runs it: a clock, places where it may be preempted, and events to wait for.

Host code is `async def` and waits only through these, so the same code runs under models/host_scheduler.py in plain
pytest and in simulated time. Source: docs/host.md, "Waiting".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Protocol


class HostEvent(Protocol):
    """Something that happens: waiters go on once it is set."""

    def set(self) -> None:
        """Let everybody go on who waits, now or later."""
        ...

    def clear(self) -> None:
        """From now on wait() waits."""
        ...

    def is_set(self) -> bool:
        """Whether wait() would go on at once."""
        ...

    def wait(self) -> Awaitable[object]:
        """Wait until the event is set."""
        ...


class Preemption(Protocol):
    """The surroundings of host code."""

    def now(self) -> int:
        """The time, in cycles of the device or steps of the scheduler; it never goes back."""
        ...

    async def pause(self, label: str) -> None:
        """A place where a kernel could be preempted. `label` names the place; a scenario says how long it takes."""
        ...

    def event(self) -> HostEvent:
        """A new event, not set."""
        ...


class Lock:
    """A lock for one holder (a kernel's mutex)."""

    def __init__(self, host: Preemption) -> None:
        self._free = host.event()
        self._held = False

    @property
    def held(self) -> bool:
        """Whether somebody holds it."""
        return self._held

    async def acquire(self) -> None:
        """Wait until nobody holds it, and take it."""
        while self._held:
            self._free.clear()
            await self._free.wait()
        self._held = True

    def release(self) -> None:
        """Give it back. Errors: RuntimeError if nobody holds it."""
        if not self._held:
            raise RuntimeError("a lock was released that nobody holds")
        self._held = False
        self._free.set()

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *exception: object) -> None:
        self.release()


class ReadWriteLock:
    """A lock for many readers or one writer (a kernel's rw_semaphore); a waiting writer keeps new readers out.

    So a reader must not take it again.
    """

    def __init__(self, host: Preemption) -> None:
        self._changed = host.event()
        self._readers = 0
        self._writer = False
        self._waiting_writers = 0

    @property
    def read_held(self) -> bool:
        """Whether somebody holds it, for reading or for writing."""
        return self._readers > 0 or self._writer

    @property
    def write_held(self) -> bool:
        """Whether a writer holds it."""
        return self._writer

    async def acquire_read(self) -> None:
        """Wait for writers to go, and hold it for reading."""
        while self._writer or self._waiting_writers:
            self._changed.clear()
            await self._changed.wait()
        self._readers += 1

    def release_read(self) -> None:
        """Stop reading. Errors: RuntimeError if nobody reads."""
        if not self._readers:
            raise RuntimeError("a lock was released that nobody holds for reading")
        self._readers -= 1
        self._changed.set()

    async def acquire_write(self) -> None:
        """Wait for everybody to go, and hold it for writing."""
        self._waiting_writers += 1
        while self._writer or self._readers:
            self._changed.clear()
            await self._changed.wait()
        self._waiting_writers -= 1
        self._writer = True

    def release_write(self) -> None:
        """Stop writing. Errors: RuntimeError if nobody writes."""
        if not self._writer:
            raise RuntimeError("a lock was released that nobody holds for writing")
        self._writer = False
        self._changed.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """Held for reading inside the `async with`."""
        await self.acquire_read()
        try:
            yield
        finally:
            self.release_read()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[None]:
        """Held for writing inside the `async with`."""
        await self.acquire_write()
        try:
            yield
        finally:
            self.release_write()
