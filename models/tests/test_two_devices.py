# SPDX-License-Identifier: Apache-2.0
"""Two processes and two devices: random steps, every rule after each of them, failures as tests to be pasted."""

from __future__ import annotations

from typing import ClassVar

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from models.driver import AnswerPolicy, Driver
from models.tests import planted_drivers
from models.tests.planted_drivers import AnswersBeforeCommit, ForgetsNone, GrantsWriting, WrongRangeEnd
from models.tests.two_devices import PAGES, TwoDevices

PROCESS = st.integers(0, 1)
DEVICE = st.integers(0, 1)
PAGE = st.integers(0, PAGES - 1)
SOME = st.integers(0, PAGES - 1).flatmap(lambda first: st.tuples(st.just(first), st.integers(1, PAGES - first)))
"""First page and number of pages."""
LONGEST = 12
"""Most steps of a scenario that was made as short as possible."""


class Machine(RuleBasedStateMachine):
    """Random steps of a TwoDevices."""

    drivers: ClassVar[tuple[type[Driver], type[Driver]]] = (Driver, Driver)
    host: TwoDevices

    @initialize(seed=st.integers(0, 7), first=st.sampled_from(AnswerPolicy), second=st.sampled_from(AnswerPolicy))
    def make(self, seed: int, first: AnswerPolicy, second: AnswerPolicy) -> None:
        """Every order of tasks and every pair of policies."""
        self.host = TwoDevices(seed, (first, second), self.drivers)

    @rule(process=PROCESS, page=PAGE)
    def cpu_write(self, process: int, page: int) -> None:
        """See TwoDevices; so with all rules."""
        self.host.cpu_write(process, page)

    @rule(process=PROCESS, page=PAGE)
    def cpu_read(self, process: int, page: int) -> None:
        """A read."""
        self.host.cpu_read(process, page)

    @rule(device=DEVICE, process=PROCESS, page=PAGE)
    def device_write(self, device: int, process: int, page: int) -> None:
        """A write."""
        self.host.device_write(device, process, page)

    @rule(device=DEVICE, process=PROCESS, page=PAGE)
    def device_read(self, device: int, process: int, page: int) -> None:
        """A read."""
        self.host.device_read(device, process, page)

    @rule(process=PROCESS, some=SOME)
    def remap(self, process: int, some: tuple[int, int]) -> None:
        """Other pages."""
        self.host.remap(process, *some)

    @rule(process=PROCESS, some=SOME)
    def throw_away(self, process: int, some: tuple[int, int]) -> None:
        """Other pages."""
        self.host.throw_away(process, *some)

    @rule(process=PROCESS, some=SOME)
    def protect(self, process: int, some: tuple[int, int]) -> None:
        """No writing."""
        self.host.protect(process, *some)

    @rule(process=PROCESS)
    def share(self, process: int) -> None:
        """A child."""
        self.host.share(process)

    @rule(device=DEVICE, process=PROCESS, some=SOME)
    def migrate(self, device: int, process: int, some: tuple[int, int]) -> None:
        """Into a device."""
        self.host.migrate(device, process, *some)

    @rule(process=PROCESS, some=SOME)
    def make_exclusive(self, process: int, some: tuple[int, int]) -> None:
        """Away from everybody."""
        self.host.make_exclusive(process, *some)

    @rule(process=PROCESS, some=SOME)
    def page_out(self, process: int, some: tuple[int, int]) -> None:
        """Into swap."""
        self.host.page_out(process, *some)

    @rule(device=DEVICE, process=PROCESS)
    def rebind(self, device: int, process: int) -> None:
        """Away from a device and back."""
        self.host.rebind(device, process)

    @rule(count=st.integers(1, 150))
    def advance(self, count: int) -> None:
        """Time."""
        self.host.advance(count)

    def teardown(self) -> None:
        """Everything ends."""
        if hasattr(self, "host") and not self.host.failed:
            self.host.finish()


def run_machine(machine: type[Machine], seed: int, examples: int, steps: int) -> None:
    """Errors: AssertionError with the shortest scenario that fails."""
    run_state_machine_as_test(
        hypothesis.seed(seed)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_two_devices_random_steps(seed: int) -> None:
    """
    Stimulus: random steps by two processes and two devices with memory of their own: accesses, changes of the address
    space, migration to either, exclusive pages, swap, unbinding; any two policies, any order of tasks.
    Checking: after every step all rules on both devices' journals and every value read; at the end every word on all
    sides.
    Covers: RACE, MIGRATION, FOREIGN, EXCLUSIVE, I1, I2, I3, I5, I6, I7, I12, I13, I20.
    """
    run_machine(Machine, seed, examples=40, steps=30)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(8))
def test_two_devices_many_random_steps(part: int, seed: int) -> None:
    """
    Stimulus: the same, longer and more of it.
    Checking: as there.
    Covers: RACE, MIGRATION, FOREIGN, EXCLUSIVE.
    """
    run_machine(Machine, seed * 1000 + part, examples=150, steps=50)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("driver", "rule_name"),
    [
        pytest.param(ForgetsNone, "I1", id="ForgetsNone"),
        pytest.param(GrantsWriting, "I5", id="GrantsWriting", marks=SLOW),
        pytest.param(WrongRangeEnd, "I1", id="WrongRangeEnd", marks=SLOW),
        pytest.param(AnswersBeforeCommit, "I7", id="AnswersBeforeCommit", marks=SLOW),
    ],
)
def test_two_devices_failure_can_be_pasted(driver: type[Driver], rule_name: str) -> None:
    """
    Stimulus: the same with a driver that has one mistake, on the first device; then the printed scenario, as it is.
    Checking: it fails, the scenario is short, and pasted it fails in the same words; with the right driver it passes.
    Covers: PLANTED, SCENARIO.
    """

    class Broken(Machine):
        drivers = (driver, Driver)

    with pytest.raises(AssertionError) as caught:
        run_machine(Broken, 1, examples=400, steps=15)
    what, _, text = str(caught.value).partition("\n\n")
    assert len([line for line in text.splitlines() if "host." in line]) <= LONGEST, text
    names = {"TwoDevices": TwoDevices, "AnswerPolicy": AnswerPolicy, "Driver": Driver, **vars(planted_drivers)}
    exec(text, names)
    with pytest.raises(AssertionError) as again:
        names["test_scenario"]()
    assert str(again.value).partition("\n\n")[0] == what
    exec(text.replace(driver.__name__, "Driver"), names)
    names["test_scenario"]()
    assert rule_name in what, what


def test_two_devices_unbinds_before_an_invalidation_is_answered() -> None:
    """
    Stimulus: one device has let go of a page that it could write, the other is late; meanwhile the first is unbound
    the address space, and the page is free before that is through.
    Checking: nothing is found: the page is judged when the invalidation is answered, not when it is free.
    Covers: I19, RACE.
    """
    host = TwoDevices(24)
    host.device_write(0, 0, 0)
    host.device_write(1, 0, 1)
    host.advance(237)
    host.remap(0, 0, 1)
    host.advance(14)
    host.rebind(0, 0)
    host.advance(100)
    host.finish()
