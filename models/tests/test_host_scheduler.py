# SPDX-License-Identifier: Apache-2.0
"""The scheduler of host code, and the locks that are built on its events."""

from __future__ import annotations

import numpy as np
import pytest

from models.host_scheduler import Scheduler, StuckError, run
from models.preemption import Lock, ReadWriteLock


async def count(scheduler: Scheduler, log: list[str], name: str, steps: int) -> str:
    """Write the name down once a step."""
    for _ in range(steps):
        log.append(name)
        await scheduler.pause("counting")
    return name


def order(seed: int | None) -> list[str]:
    """Who ran when, of three tasks."""
    scheduler = Scheduler(np.random.default_rng(seed) if seed is not None else None)
    log: list[str] = []
    for name in "abc":
        scheduler.start(count(scheduler, log, name, 5), name)
    scheduler.run_all()
    return log


def test_host_scheduler_order() -> None:
    """Without a seed tasks take turns; with one the order is drawn, and equal seeds give equal orders.

    Stimulus: three tasks of five steps.
    Checking: the order of steps.
    Covers: SCHEDULER.
    """
    assert sorted(order(None)[:3]) == sorted(order(None)[3:6]) == list("abc")
    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == sorted("abc" * 5)


def test_host_scheduler_time_and_events() -> None:
    """Time passes with steps and sleeps; an event wakes who waits, or the time does.

    Stimulus: a sleep while nobody else can go on; waits that the event ends, or the time, or neither has to.
    Checking: the clock, what the waits return.
    Covers: SCHEDULER.
    """
    scheduler = Scheduler()
    event = scheduler.event()

    async def waiter() -> list[object]:
        start = scheduler.now()
        await scheduler.sleep(50)
        slept = scheduler.now() - start
        timed_out = await scheduler.wait_for(event, 20)
        waited = scheduler.now() - start - slept
        woken = await scheduler.wait_for(event, 10_000)
        at_once = await scheduler.wait_for(event, 0)
        await event.wait()
        event.clear()
        return [slept, timed_out, waited, woken, at_once, event.is_set(), await scheduler.wait_for(event, 0)]

    async def setter() -> None:
        await scheduler.sleep(200)
        event.set()

    scheduler.start(setter())
    slept, timed_out, waited, *rest = scheduler.run(waiter())
    assert isinstance(slept, int) and isinstance(waited, int)
    assert 50 <= slept <= 52 and 20 <= waited <= 22
    assert timed_out is False
    assert rest == [True, True, False, False]
    assert 200 <= scheduler.now() < 300


def test_host_scheduler_stuck() -> None:
    """Tasks that wait for each other, or never end, are told of, with the place where each stands.

    Stimulus: a wait that nobody ends, beside a daemon; a task without end; a led task that has to wait.
    Checking: the messages.
    Covers: SCHEDULER.
    """
    scheduler = Scheduler(step_limit=100)
    scheduler.start(scheduler.event().wait(), "daemon", daemon=True)
    scheduler.start(scheduler.event().wait(), "lonely")
    with pytest.raises(StuckError, match=r"Nobody can go on, and lonely is not done.*lonely stands at 'event'"):
        scheduler.run_all()
    led = scheduler.start(scheduler.event().wait(), "led")
    with pytest.raises(StuckError, match="led never came to 'somewhere'"):
        scheduler.run_until(led, "somewhere")
    scheduler.stop()
    endless = Scheduler(step_limit=100)
    with pytest.raises(StuckError, match=r"No end after 100 steps\. main stands at 'counting'"):
        endless.run(count(endless, [], "x", 1000))


def test_host_scheduler_leads_one_task() -> None:
    """A task can be led to a place, while all others stand still; what it raises comes out.

    Stimulus: a task led to a label, to its end, past its end; one that raises.
    Checking: how far it got.
    Covers: SCHEDULER.
    """
    scheduler = Scheduler()
    log: list[str] = []

    async def stages() -> str:
        await scheduler.pause("first")
        log.append("one")
        await scheduler.pause("second")
        return "end"

    async def fails() -> None:
        await scheduler.pause("first")
        raise ValueError("seen")

    other = scheduler.start(count(scheduler, log, "other", 3), "other")
    task = scheduler.start(stages(), "led")
    assert scheduler.run_until(task, "second")
    assert log == ["one"]
    assert not scheduler.run_until(task, "third")
    assert (task.done, task.result, other.done) == (True, "end", False)
    assert scheduler.run_task(other)
    with pytest.raises(ValueError, match="seen"):
        run(fails())


def test_host_scheduler_locks() -> None:
    """One holder of a lock; many readers or one writer of the other, and a waiting writer goes before new readers.

    Stimulus: tasks that take the locks and say so.
    Checking: who is inside with whom; releases of what is not held.
    Covers: LOCKS.
    """
    scheduler = Scheduler(np.random.default_rng(4))
    lock, shared = Lock(scheduler), ReadWriteLock(scheduler)
    inside: list[str] = []
    log: list[str] = []

    async def exclusive() -> None:
        for _ in range(10):
            async with lock:
                inside.append("x")
                assert inside == ["x"] and lock.held
                await scheduler.pause("inside")
                inside.remove("x")

    for _ in range(4):
        scheduler.start(exclusive())
    scheduler.run_all()
    assert not lock.held

    async def reader(name: str) -> None:
        async with shared.read():
            log.append(f"{name} in")
            assert shared.read_held and not shared.write_held
            await scheduler.sleep(20)
            log.append(f"{name} out")

    async def writer() -> None:
        async with shared.write():
            assert shared.write_held and shared.read_held
            log.append("writer in")
            await scheduler.sleep(20)
            log.append("writer out")

    async def scenario() -> None:
        scheduler.start(reader("a"))
        scheduler.start(reader("b"))
        await scheduler.sleep(10)
        scheduler.start(writer())
        await scheduler.sleep(5)
        scheduler.start(reader("c"))

    scheduler.run(scenario())
    scheduler.run_all()
    assert sorted(log[:2]) == ["a in", "b in"]
    assert sorted(log[2:4]) == ["a out", "b out"]
    assert log[4:] == ["writer in", "writer out", "c in", "c out"]
    for release in (lock.release, shared.release_read, shared.release_write):
        with pytest.raises(RuntimeError, match="nobody holds"):
            release()
