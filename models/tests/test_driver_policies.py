# SPDX-License-Identifier: Apache-2.0
"""The policies of real drivers on the golden device: what each answers, drops, tries again, gives up, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.arrays import PAGE_BYTES, Words
from models.driver import Answer, AnswerPolicy, Driver, DriverOptions
from models.driver.fault_filter import Admission, FaultFilter
from models.driver.patience import Patience
from models.driver.policies import FailureAnswer, OverflowRule, RaceRule, SuccessAnswer
from models.errors import UserError
from models.fault_records import FaultRecord
from models.golden_device import DeviceAbort, GoldenDevice, GoldenSettings
from models.hmm import MapFlags, MemoryMap, Prot, cpu_write
from models.hmm.notifiers import InvalidateEvent
from models.structures import Access, Opcode, Reason, unpack_command
from models.tests.closed_loop import ClosedLoop

PLACE = 0x4000_0000
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
FOR_EVER = 1 << 40
ANSWERS = (Opcode.REPLAY_ALL, Opcode.RESUME, Opcode.CANCEL)


def note_commands(device: GoldenDevice) -> list[tuple[Opcode, int]]:
    """The answers that a device gets from now on, with their cancel bits."""
    noted: list[tuple[Opcode, int]] = []
    submit = device.submit

    async def noting(commands: Words) -> None:
        for command in commands.reshape(-1, 4):
            fields = unpack_command(command)
            if int(fields["opcode"]) in ANSWERS:
                noted.append((Opcode(int(fields["opcode"])), int(fields["cancel"])))
        await submit(commands)

    device.submit = noting  # type: ignore[method-assign]
    return noted


async def space_with(loop: ClosedLoop, pages: int) -> MemoryMap:
    """A bound address space with one area."""
    mm = loop.space()
    await loop.driver.bind(1, mm)
    await mm.mmap(PLACE, pages * PAGE_BYTES, flags=FIXED)
    return mm


async def outcome(loop: ClosedLoop, page: int, access: Access = Access.WRITE) -> Reason:
    """How one access of the device ends."""
    try:
        if access is Access.WRITE:
            await loop.device.write(1, PLACE + page * PAGE_BYTES, 1)
        else:
            await loop.device.read(1, PLACE + page * PAGE_BYTES)
    except DeviceAbort as abort:
        return abort.reason
    return Reason.NONE


SUCCESS = {
    AnswerPolicy.RESUME: [(Opcode.RESUME, 0)],
    AnswerPolicy.NOUVEAU: [(Opcode.REPLAY_ALL, 0)],
    AnswerPolicy.MLX5: [(Opcode.RESUME, 0)],
    AnswerPolicy.AMDKFD: [(Opcode.RESUME, 0)],
}
FAILURE = {
    AnswerPolicy.RESUME: [(Opcode.RESUME, 1)],
    AnswerPolicy.NOUVEAU: [(Opcode.CANCEL, 0)],
    AnswerPolicy.MLX5: [(Opcode.RESUME, 1)],
    AnswerPolicy.AMDKFD: [(Opcode.RESUME, 0), (Opcode.RESUME, 1)],
}


@pytest.mark.parametrize("policy", AnswerPolicy)
def test_driver_policy_answers(policy: AnswerPolicy) -> None:
    """
    Stimulus: an access that can be served, then one of what is not mapped; then that is mapped, and accessed again.
    Checking: the very commands that say so; where an entry tells of the failure its reason is POISON; a page that is
    mapped later is served all the same; rules.
    Covers: POLICY-NOUVEAU, POLICY-MLX5, POLICY-AMDKFD, I13.
    """
    loop = ClosedLoop(options=DriverOptions(answer=policy))
    noted = note_commands(loop.device)
    mm = loop.run(space_with(loop, 2))
    assert loop.run(outcome(loop, 0)) is Reason.NONE
    loop.run(loop.scheduler.sleep(100))
    assert noted == SUCCESS[policy]
    noted.clear()
    by_entry = policy.value.failure is FailureAnswer.ERROR_ENTRY
    for _ in range(2):
        assert loop.run(outcome(loop, 5)) is (Reason.POISON if by_entry else Reason.NOT_PRESENT)
    loop.run(loop.scheduler.sleep(100))
    # The ERROR entry stays: the second time it is found at once.
    assert noted == [*FAILURE[policy], FAILURE[policy][-1]]
    loop.run(mm.mmap(PLACE + 5 * PAGE_BYTES, PAGE_BYTES, flags=FIXED))
    assert loop.run(outcome(loop, 5)) is Reason.NONE
    loop.finish()


@pytest.mark.parametrize("policy", AnswerPolicy)
def test_driver_policy_refused_write_leaves_reading(policy: AnswerPolicy) -> None:
    """
    Stimulus: a page that may only be read is read, written, and read again, while another client reads it.
    Checking: the write is refused; reads go on without another fault: no ERROR takes a page away from its readers.
    Covers: POLICY-AMDKFD, I20.
    """
    loop = ClosedLoop(options=DriverOptions(answer=policy, filter_window=0))
    mm = loop.run(space_with(loop, 1))
    loop.run(cpu_write(mm, PLACE, b"data"))
    loop.run(mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_READ))
    assert loop.run(outcome(loop, 0, Access.READ)) is Reason.NONE
    assert loop.run(outcome(loop, 0, Access.WRITE)) is Reason.WRITE_PROTECT
    records = loop.driver.counters.records
    assert loop.run(outcome(loop, 0, Access.READ)) is Reason.NONE
    assert loop.driver.counters.records == records
    loop.finish()


@pytest.mark.parametrize("policy", AnswerPolicy)
def test_driver_policy_race(policy: AnswerPolicy) -> None:
    """
    Stimulus: an invalidation of the page is open while the device asks for it, and ends before the deadline.
    Checking: one fault that the handler tries again, or many that are each answered at once; all end in success; with
    a window of the filter that never ends, too: a race takes the page out of it.
    Covers: POLICY-MLX5, POLICY-AMDKFD, I12.
    """
    loop = ClosedLoop(options=DriverOptions(answer=policy, filter_window=FOR_EVER))
    mm = loop.run(space_with(loop, 1))

    async def hold_open() -> None:
        async with mm.invalidation(PLACE, PLACE + PAGE_BYTES, InvalidateEvent.CLEAR):
            await loop.scheduler.sleep(2000)

    loop.start(hold_open(), "invalidation")
    loop.run(loop.scheduler.sleep(100))
    assert loop.run(outcome(loop, 0)) is Reason.NONE
    counters = loop.driver.counters
    assert counters.retries > 10
    if policy.value.race is RaceRule.SERVE_AGAIN:
        assert counters.records == 1
    else:
        assert counters.records == counters.retries + 1
    assert not counters.timeouts and not counters.cancels
    loop.finish()


@pytest.mark.parametrize("policy", AnswerPolicy)
def test_driver_policy_deadline(policy: AnswerPolicy) -> None:
    """
    Stimulus: an invalidation of the page stays open for longer than the deadline; it ends; the device asks again.
    Checking: refused when the deadline has passed since the first fault, not before, and not much later, however many
    faults that were; then served.
    Covers: DEADLINE, POLICY-NOUVEAU, POLICY-MLX5, POLICY-AMDKFD, I12.
    """
    deadline = 3000
    loop = ClosedLoop(options=DriverOptions(answer=policy, deadline=deadline, filter_window=100))
    loop.scheduler.step_limit = 20 * deadline
    mm = loop.run(space_with(loop, 1))
    end = loop.scheduler.event()

    async def hold_open() -> None:
        async with mm.invalidation(PLACE, PLACE + PAGE_BYTES, InvalidateEvent.CLEAR):
            await end.wait()

    loop.start(hold_open(), "invalidation")
    loop.run(loop.scheduler.sleep(100))
    begin = loop.scheduler.now()
    by_entry = policy.value.failure is FailureAnswer.ERROR_ENTRY
    assert loop.run(outcome(loop, 0)) is (Reason.POISON if by_entry else Reason.NOT_PRESENT)
    assert deadline <= loop.scheduler.now() - begin < deadline + 300
    assert loop.driver.counters.cancels == 1
    end.set()
    loop.run(loop.scheduler.sleep(100))
    assert loop.run(outcome(loop, 0)) is Reason.NONE
    loop.finish()


@pytest.mark.parametrize("policy", AnswerPolicy)
def test_driver_policy_full_ring(policy: AnswerPolicy) -> None:
    """
    Stimulus: twelve clients fault at once, the ring has two places, the driver begins late and takes at most six.
    Checking: the ring was full, every client is served, nothing is lost. What is drained holds more than the ring does;
    what is left never exceeds the batch; what is dropped comes again.
    Covers: FAULT-RING-FULL, POLICY-NOUVEAU, POLICY-MLX5, POLICY-AMDKFD.
    """
    batches: list[int] = []

    class Noting(Driver):
        async def service(self, records: list[FaultRecord]) -> None:  # type: ignore[override]
            batches.append(len(records))
            await super().service(records)

    options = DriverOptions(answer=policy, batch=6, filter_entries=2, filter_window=400)
    loop = ClosedLoop(
        driver=Noting, options=options, settings=GoldenSettings(fault_ring_log2=1, fault_slots=12), serves=False
    )
    loop.run(space_with(loop, 12))
    clients = [loop.start(outcome(loop, page), "client") for page in range(12)]
    loop.run(loop.scheduler.sleep(300))
    assert loop.device.faults.counters.ring_full > 0
    loop.scheduler.start(loop.driver.run(), "driver", daemon=True)
    loop.finish()
    assert [client.result for client in clients] == [Reason.NONE] * 12
    assert sum(batches) == loop.device.faults.counters.recorded
    assert max(batches) <= 6
    match policy.value.overflow:
        case OverflowRule.DRAIN:
            assert max(batches) > 2
        case OverflowRule.LEAVE:
            assert max(batches) <= 2
        case OverflowRule.DROP:
            assert loop.driver.counters.filtered[Admission.FULL] > 0
            assert loop.device.faults.counters.recorded > 12


def test_driver_policy_tokens_are_answered_one_by_one() -> None:
    """
    Stimulus: three faults in one batch of a driver that answers each by its token, on neighbouring pages.
    Checking: HMM is called for each; the first client goes on before the last fault is served.
    Covers: POLICY-MLX5.
    """
    loop = ClosedLoop(options=DriverOptions(answer=AnswerPolicy.MLX5), serves=False)
    loop.run(space_with(loop, 3))
    clients = [loop.start(outcome(loop, page), "client") for page in range(3)]
    loop.run(loop.scheduler.sleep(200))
    done: list[int] = []
    answer = loop.driver.answer

    async def noting(answers: list[Answer]) -> None:
        await answer(answers)
        if answers:
            await loop.scheduler.sleep(100)
            done.append(sum(client.done for client in clients))

    loop.driver.answer = noting  # type: ignore[method-assign]
    loop.scheduler.start(loop.driver.run(), "driver", daemon=True)
    loop.finish()
    assert loop.driver.counters.hmm_calls == 3
    assert done[:2] == [1, 2]
    assert [client.result for client in clients] == [Reason.NONE] * 3


def test_driver_policy_filter_drops_duplicates() -> None:
    """
    Stimulus: a read of a fresh page, then at once a write of it, that faults within the window.
    Checking: the write is retried without service until the window is over, then served.
    Covers: POLICY-AMDKFD.
    """
    loop = ClosedLoop(options=DriverOptions(answer=AnswerPolicy.AMDKFD, filter_window=600))
    loop.run(space_with(loop, 1))
    assert loop.run(outcome(loop, 0, Access.READ)) is Reason.NONE
    begin = loop.scheduler.now()
    assert loop.run(outcome(loop, 0, Access.WRITE)) is Reason.NONE
    assert 400 < loop.scheduler.now() - begin < 800
    counters = loop.driver.counters
    assert counters.filtered[Admission.DUPLICATE] > 3 and counters.hmm_calls == 2 + counters.retries
    loop.finish()


def test_driver_policy_filter_hears_faults_behind_an_invalidation() -> None:
    """
    Stimulus: a page is written, thrown away, and written again, with a window that never ends.
    Checking: the second fault is served.
    Covers: POLICY-AMDKFD.
    """
    loop = ClosedLoop(options=DriverOptions(answer=AnswerPolicy.AMDKFD, filter_window=FOR_EVER))
    mm = loop.run(space_with(loop, 1))
    for _ in range(3):
        assert loop.run(outcome(loop, 0)) is Reason.NONE
        loop.run(mm.munmap(PLACE, PAGE_BYTES))
        loop.run(mm.mmap(PLACE, PAGE_BYTES, flags=FIXED))
    assert loop.driver.counters.hmm_calls == 3
    loop.finish()


def test_driver_policy_stale_fault_is_no_error() -> None:
    """
    Stimulus: a fault is recorded, its page is unmapped and mapped anew, only then the driver takes the record; and the
    same with a page that stays unmapped.
    Checking: the record is stale and retried without any call of HMM; the fault that follows is judged on its own.
    Covers: POLICY-AMDKFD.
    """
    loop = ClosedLoop(options=DriverOptions(answer=AnswerPolicy.AMDKFD), serves=False)
    mm = loop.run(space_with(loop, 2))
    loop.run(cpu_write(mm, PLACE, b"x"))
    clients = [loop.start(outcome(loop, page), "client") for page in range(2)]
    loop.run(loop.scheduler.sleep(200))
    loop.run(mm.munmap(PLACE, 2 * PAGE_BYTES))
    loop.run(mm.mmap(PLACE, PAGE_BYTES, flags=FIXED))
    loop.run(loop.driver.service(loop.run(loop.device.take_faults(8))))
    assert loop.driver.counters.filtered[Admission.STALE] == 2
    assert loop.driver.counters.hmm_calls == 0 and loop.driver.counters.cancels == 0
    loop.scheduler.start(loop.driver.run(), "driver", daemon=True)
    loop.finish()
    assert [client.result for client in clients] == [Reason.NONE, Reason.POISON]


def test_fault_filter_admissions() -> None:
    """
    Stimulus: keys and times.
    Checking: each kind of admission, at the edges of window, room and invalidation.
    Covers: POLICY-AMDKFD.
    """
    faults = FaultFilter(entries=2, window=100)
    assert faults.admit((1, PLACE), 10, now=20) is Admission.NEW
    assert faults.admit((1, PLACE), 11, now=20) is Admission.DUPLICATE
    assert faults.admit((2, PLACE), 11, now=20) is Admission.NEW
    assert faults.admit((1, PLACE + PAGE_BYTES), 12, now=20) is Admission.FULL
    assert faults.admit((1, PLACE), 109, now=109) is Admission.DUPLICATE
    assert faults.admit((1, PLACE), 110, now=110) is Admission.NEW
    faults.remove((1, PLACE))
    assert faults.admit((1, PLACE), 110, now=110) is Admission.NEW
    faults.invalidated(1, PLACE, PLACE + PAGE_BYTES, now=120)
    assert faults.admit((1, PLACE), 120, now=121) is Admission.STALE
    assert faults.admit((1, PLACE), 121, now=121) is Admission.NEW
    assert faults.admit((1, PLACE + PAGE_BYTES), 119, now=121) is Admission.NEW
    faults.unbound(1)
    assert faults.admit((1, PLACE), 120, now=121) is Admission.NEW


def test_patience_of_faults_that_follow_each_other() -> None:
    """
    Stimulus: faults of one page, soon after each other, late, and after an end.
    Checking: the time runs since the first of those that follow each other.
    Covers: DEADLINE.
    """
    patience = Patience(100)
    wanted = 1, PLACE, Access.READ
    assert [patience.end(wanted, now) for now in (10, 60, 160)] == [110, 110, 110]
    assert patience.end(wanted, 261) == 361
    patience.forget(wanted)
    assert patience.end(wanted, 300) == 400
    patience.unbound(1)
    assert patience.end(wanted, 310) == 410


def test_driver_policy_table_of_the_document() -> None:
    """
    Stimulus: the table of policies in docs/host.md.
    Checking: a row for each policy, with the words of its rules; no other row.
    Covers: DOCS.
    """
    text = (Path(__file__).parents[2] / "docs" / "host.md").read_text(encoding="utf-8")
    section = text.split("### Policies\n")[1].split("\n##")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line][2:]
    assert [row[0].strip("`") for row in rows] == [policy.name for policy in AnswerPolicy]
    for row, policy in zip(rows, AnswerPolicy, strict=True):
        rules = policy.value
        named = [rules.deduplication, rules.success, rules.failure, rules.race, rules.overflow]
        assert [cell.split(":")[0].strip("`") for cell in row[1:6]] == [rule.name for rule in named]
    assert {policy.value.success for policy in AnswerPolicy} == set(SuccessAnswer)


@pytest.mark.parametrize("wrong", [{"filter_entries": 0}, {"filter_window": -1}])
def test_driver_policy_options_that_cannot_be(wrong: dict[str, int]) -> None:
    """
    Stimulus: a filter without entries, a window below 0.
    Checking: UserError.
    Covers: ERRORS.
    """
    with pytest.raises(UserError, match="filter"):
        DriverOptions(**wrong)  # type: ignore[arg-type]
