# SPDX-License-Identifier: Apache-2.0
"""A small deterministic scheduler for host code in plain pytest: round-robin, or by a seed.

Each step runs one task from one wait to the next; the clock counts steps. Tasks can also be led step by step
(run_until), to place one exactly between two steps of another. Source: docs/host.md, "Waiting".
"""

from __future__ import annotations

import heapq
import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

DEFAULT_STEP_LIMIT = 2_000_000

Result = TypeVar("Result")


class StuckError(Exception):
    """Tasks that do not end: all of them wait for each other, or the limit of steps is reached."""


@dataclass(eq=False)
class SchedulerEvent:
    """An event of this scheduler (models.preemption.HostEvent)."""

    _set: bool = False
    _waiting: list[Task] = field(default_factory=list)

    def set(self) -> None:
        """Let everybody go on who waits, now or later."""
        self._set = True
        for task in self._waiting:
            task.blocked = False
        self._waiting.clear()

    def clear(self) -> None:
        """From now on wait() waits."""
        self._set = False

    def is_set(self) -> bool:
        """Whether wait() would go on at once."""
        return self._set

    async def wait(self) -> None:
        """Wait until the event is set."""
        if not self._set:
            await _suspend(_Wait(self, None, "event"))

    def add(self, task: Task) -> None:
        """Put `task` among those who wait."""
        self._waiting.append(task)

    def remove(self, task: Task) -> None:
        """Take `task` away from those who wait, if it is there."""
        if task in self._waiting:
            self._waiting.remove(task)


@dataclass
class _Wait:
    """What a task waits for: an event, a time, either, or (neither) only its next turn."""

    event: SchedulerEvent | None
    until: int | None
    label: str


@types.coroutine
def _suspend(wait: _Wait) -> Generator[_Wait, None, None]:
    yield wait


@dataclass(eq=False)
class Task:
    """A coroutine under way. `label` names the place where it stands; `result` is there once it is done."""

    name: str
    coroutine: Coroutine[Any, Any, Any]
    daemon: bool = False
    label: str = "start"
    blocked: bool = False
    done: bool = False
    result: Any = None
    waits_until: int | None = None
    waits_for: SchedulerEvent | None = None


class Scheduler:
    """Runs tasks one step at a time (models.preemption.Preemption).

    Without `rng` in turn; with it a drawn task at each step. `step_limit` bounds one run. Equal seeds and equal tasks
    give equal runs.
    """

    def __init__(self, rng: np.random.Generator | None = None, *, step_limit: int = DEFAULT_STEP_LIMIT) -> None:
        self._rng = rng
        self._now = 0
        self.step_limit = step_limit
        self._tasks: list[Task] = []
        self._turn = 0
        self._timers: list[tuple[int, int, Task]] = []
        self._timer_count = 0

    def now(self) -> int:
        """Steps made so far, more where everybody slept."""
        return self._now

    async def pause(self, label: str) -> None:
        """Give the others a turn."""
        await _suspend(_Wait(None, None, label))

    async def sleep(self, steps: int) -> None:
        """Wait for `steps` steps."""
        await _suspend(_Wait(None, self._now + steps, "sleep"))

    async def wait_for(self, event: SchedulerEvent, steps: int) -> bool:
        """Wait until `event` is set, but not more than `steps` steps; returns whether it is set."""
        if not event.is_set():
            await _suspend(_Wait(event, self._now + steps, "event or time"))
        return event.is_set()

    def event(self) -> SchedulerEvent:
        """A new event, not set."""
        return SchedulerEvent()

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str = "", *, daemon: bool = False) -> Task:
        """Add a task. A `daemon` is not waited for by run_all() and may wait for ever."""
        task = Task(name or f"task {len(self._tasks)}", coroutine, daemon)
        self._tasks.append(task)
        return task

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run one coroutine to its end, all other tasks beside it; returns what it returns. Errors: as run_all()."""
        task = self.start(coroutine, "main")
        self._run_until_done([task])
        result: Result = task.result
        return result

    def run_all(self) -> None:
        """Run until every task that is no daemon is done.

        Errors: what a task raises; StuckError that tells where each task stands, if none can go on or the limit of
        steps is reached.
        """
        self._run_until_done([task for task in self._tasks if not task.daemon])

    def run_until(self, task: Task, label: str) -> bool:
        """Run only `task`, until it stands at a pause of that label; returns False if it is done before.

        Errors: StuckError if it waits for somebody else.
        """
        while not task.done:
            if task.blocked:
                raise StuckError(f"{task.name} never came to {label!r}. {self._dump()}")
            self.step(task)
            if task.label == label and not task.done:
                return True
        return False

    def run_task(self, task: Task) -> bool:
        """Run only `task`, until it is done or has to wait for somebody else; returns whether it is done."""
        while not task.done and not task.blocked:
            self.step(task)
        return task.done

    def stop(self) -> None:
        """Forget all tasks."""
        for task in self._tasks:
            task.coroutine.close()
        self._tasks.clear()

    def abandon(self) -> None:
        """Forget all tasks where they stand, and what they raise when they are broken off in the middle."""
        for task in self._tasks:
            with suppress(Exception):
                task.coroutine.close()
        self._tasks.clear()

    def _run_until_done(self, awaited: list[Task]) -> None:
        limit = self._now + self.step_limit
        while not all(task.done for task in awaited):
            ready = [task for task in self._tasks if not task.blocked]
            if not ready:
                self._sleep_until_next_timer(awaited)
                continue
            if self._now >= limit:
                raise StuckError(f"No end after {self.step_limit} steps. {self._dump()}")
            if self._rng is not None:
                task = ready[int(self._rng.integers(len(ready)))] if len(ready) > 1 else ready[0]
            else:
                self._turn += 1
                task = ready[self._turn % len(ready)]
            self.step(task)

    def step(self, task: Task) -> None:
        """Run one task, not blocked and not done, from where it stands to its next wait. Errors: what it raises."""
        self._now += 1
        self._wake_sleepers()
        task.waits_for, task.waits_until = None, None
        try:
            wait: _Wait = task.coroutine.send(None)
        except StopIteration as end:
            task.done, task.result, task.label = True, end.value, "done"
            self._tasks.remove(task)
            return
        except BaseException:
            task.done, task.label = True, "raised"
            self._tasks.remove(task)
            raise
        task.label = wait.label
        if wait.event is not None and not wait.event.is_set():
            task.blocked, task.waits_for = True, wait.event
            wait.event.add(task)
        if wait.until is not None and (wait.event is None or task.blocked) and wait.until > self._now:
            task.blocked, task.waits_until = True, wait.until
            self._timer_count += 1
            heapq.heappush(self._timers, (wait.until, self._timer_count, task))
        elif wait.until is not None and task.blocked:
            self._unblock(task)

    def _unblock(self, task: Task) -> None:
        if task.waits_for is not None:
            task.waits_for.remove(task)
        task.blocked = False

    def _wake_sleepers(self) -> None:
        while self._timers and self._timers[0][0] <= self._now:
            until, _, task = heapq.heappop(self._timers)
            if not task.done and task.blocked and task.waits_until == until:
                self._unblock(task)

    def _sleep_until_next_timer(self, awaited: list[Task]) -> None:
        while self._timers:
            until, _, task = self._timers[0]
            if not task.done and task.blocked and task.waits_until == until:
                self._now = max(self._now, until)
                self._wake_sleepers()
                return
            heapq.heappop(self._timers)
        names = ", ".join(task.name for task in awaited if not task.done)
        raise StuckError(f"Nobody can go on, and {names} is not done. {self._dump()}")

    def _dump(self) -> str:
        return "; ".join(f"{task.name} stands at {task.label!r}" for task in self._tasks)


def run(coroutine: Coroutine[Any, Any, Result], scheduler: Scheduler | None = None) -> Result:
    """Run one coroutine alone (or beside the tasks of `scheduler`) to its end; returns what it returns."""
    return (scheduler or Scheduler()).run(coroutine)
