# SPDX-License-Identifier: Apache-2.0
"""The driver of the models serves the faults of the RTL, while the host changes the address space."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.arrays import PAGE_BYTES
from models.device_tables import DeviceTables
from models.driver import AnswerPolicy, CommitPolicy, Driver, DriverOptions
from models.driver.fault_filter import Admission
from models.entries import none_word
from models.formats import format_by_name
from models.golden_mmu import GoldenMmu
from models.hmm import Advice, Frames, HmmError, MapFlags, MemoryMap, Prot
from models.hmm.notifiers import InvalidateEvent
from models.host_events import Journal
from models.pages import NO_WINDOW
from models.physical_memory import PhysicalMemory
from models.registers import Register
from models.structures import Access, Reason
from models.table_watch import TableWatch
from models.witness import Witness
from tb.case import MemorySettings
from tb.host_script import make_requests
from tb.invariants import RtlRun, check_run
from tb.live_device import LiveDevice
from tb.records import Requests
from tb.rtl_device_port import PortSettings, RtlDevicePort, random_delays
from tb.tests.grant_history import ABORTS, grant_history, judge

PLACE = 0x4000_0000 - 6 * PAGE_BYTES
"""Half of the pages lie before a 2 MiB boundary, half behind it."""
PAGES = 12
PASID = 1
CONTEXTS = 8
REQUESTS = 250
ROUNDS = 16
POLICIES = [policy.name for policy in AnswerPolicy]
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED


class DriverBench:
    """A machine whose device is the RTL: address space, driver, journal."""

    def __init__(self, dut: SimHandleBase, seed: int, settings: PortSettings, options: DriverOptions) -> None:
        self.rng = np.random.default_rng(seed)
        self.memory = PhysicalMemory(1 << 24)
        self.frames = Frames(self.memory)
        self.format = format_by_name("hmm_2018_flags")
        self.tables = DeviceTables(self.memory, context_count=CONTEXTS, none_word=none_word(self.format))
        self.device = LiveDevice(dut)
        self.device.memory = self.memory
        self.port = RtlDevicePort(self.device, settings, delay=random_delays(seed, 24))
        self.journal: Journal = self.port.journal()
        self.options = options
        self.driver = Driver(self.port, self.tables, self.format, options=options, journal=self.journal)
        self.port.watch = TableWatch(self.journal, self.tables, self.format, NO_WINDOW, self._space_of)
        self.mm = MemoryMap(self.port, self.frames, self.journal)
        self.witness = Witness(self.mm)

    async def start(self, seed: int, *, serves: bool = True) -> None:
        """Switches the device on, binds the process, and lets the driver serve, if it shall."""
        settings = MemorySettings(read_latency=(0, 12), write_latency=(0, 9), ar_pause=3, b_pause=4, w_pause=3)
        await self.device.start(self.memory, settings, seed=seed)
        await self.port.enable(self.format, context_base=self.tables.context_base, context_count=CONTEXTS)
        await self.driver.bind(PASID, self.mm)
        await self.mm.mmap(PLACE, PAGES * PAGE_BYTES, flags=FIXED)
        if serves:
            cocotb.start_soon(self.driver.run())

    def requests(self, count: int) -> Requests:
        """Drawn requests of the pages, with pauses between them and holds."""
        rng = self.rng
        pages = rng.integers(0, PAGES, count).astype(np.uint64)
        return make_requests(
            np.uint64(PLACE)
            + pages * np.uint64(PAGE_BYTES)
            + np.uint64(8) * rng.integers(0, 512, count).astype(np.uint64),
            PASID,
            rng.integers(0, len(Access), count),
            pause=rng.integers(0, 120, count),
            hold=rng.integers(0, 60, count) * rng.choice([1, 1, 1, 20], count),
        )

    def some(self) -> tuple[int, int]:
        """Start and length of drawn pages."""
        first = int(self.rng.integers(PAGES))
        return PLACE + first * PAGE_BYTES, (1 + int(self.rng.integers(PAGES - first))) * PAGE_BYTES

    async def disturb(self, rounds: int) -> None:
        """Changes of the address space; at the end everything is mapped and writable."""
        for _ in range(rounds):
            start, length = self.some()
            choice = int(self.rng.integers(3))
            try:
                if choice == 0:
                    await self.mm.munmap(start, length)
                    await self.device.cycles(int(self.rng.integers(200)))
                    await self.mm.mmap(start, length, flags=FIXED)
                elif choice == 1:
                    await self.mm.mprotect(start, length, Prot.PROT_READ)
                    await self.device.cycles(int(self.rng.integers(200)))
                    await self.mm.mprotect(start, length, Prot.PROT_READ | Prot.PROT_WRITE)
                else:
                    await self.mm.madvise(start, length, Advice.MADV_DONTNEED)
            except HmmError as error:
                assert error.errno == "ENOMEM", error
            await self.witness.look(PLACE - PAGE_BYTES, PAGES + 2)
            await self.device.cycles(int(self.rng.integers(600)))

    async def finish(self, places: list[int]) -> None:
        """Errors: AssertionError for a wrong answer, a broken rule, or an answer that found nobody."""
        responses = (await self.device.answered(places)).copy()
        self.driver.stop()
        await self.device.cycles(2 * self.options.poll)
        assert self.port.watch is not None
        self.port.watch.compare_all()
        run = RtlRun(self.journal, self.device.log(), NO_WINDOW)
        found = check_run(run, deadline=self.options.deadline, promises=self.options.answer.promises)
        assert not found, found[0]
        aborts = [*ABORTS, Reason.POISON] if self.options.answer is AnswerPolicy.AMDKFD else ABORTS
        history = grant_history(self.journal, PASID)
        wrong = judge(self.device.requests[places], responses, history, aborts=aborts)
        assert not wrong, f"{len(wrong)} answers are wrong; {wrong[0]}"
        await self.device.write_register(Register.COUNTER_LATCH, 1)
        counters = self.driver.counters
        assert await self.device.read_register(Register.COUNTER_RECORDS) == counters.records == self.port.taken
        if self.options.answer is not AnswerPolicy.NOUVEAU:
            assert await self.device.read_register(Register.COUNTER_IGNORED) == 0, "an answer found nobody"
            assert counters.replays + counters.cancels == counters.records - counters.reports - counters.stale_records
        await self.device.finish()

    def _space_of(self, pasid: int) -> MemoryMap | None:
        context = self.driver.contexts.get(pasid)
        return context.mm if context is not None else None


async def race(dut: SimHandleBase, seed: int, settings: PortSettings, options: DriverOptions) -> DriverBench:
    """Requests against changes of the address space, to the end of both."""
    bench = DriverBench(dut, seed, settings, options)
    await bench.start(seed)
    places = bench.device.ask(bench.requests(REQUESTS))
    await bench.disturb(ROUNDS)
    nowhere = bench.device.ask(make_requests(PLACE + PAGES * PAGE_BYTES, PASID, [Access.READ, Access.WRITE]))
    assert (await bench.device.answered(nowhere))["status"].all(), "what is not mapped was granted"
    places += nowhere
    await bench.finish(places)
    counters = bench.driver.counters
    cocotb.log.info("cycles %d, %s", bench.port.now(), counters)
    assert counters.records > 10 and counters.invalidations > ROUNDS // 2 and counters.commits > 10
    return bench


@cocotb.test()
async def test_driver_serves_faults(dut: SimHandleBase) -> None:
    """
    Stimulus: one write to every page of a fresh mapping, nobody disturbs; then a read of each.
    Checking: each answer is the page that the CPU's page table has, by the golden model too; the reads do not fault.
    Covers: LOOP-SERVE
    """
    bench = DriverBench(dut, 1, PortSettings(), DriverOptions())
    await bench.start(1)
    va = np.uint64(PLACE) + np.arange(PAGES, dtype=np.uint64) * np.uint64(PAGE_BYTES)
    places = bench.device.ask(make_requests(va, PASID, Access.WRITE))
    responses = await bench.device.answered(places)
    records = bench.driver.counters.records
    assert 2 <= records <= PAGES
    places += bench.device.ask(make_requests(va, PASID, Access.READ))
    responses = (await bench.device.answered(places)).copy()
    assert not responses["status"].any()
    for address, pa in zip([*va, *va], responses["pa"], strict=True):
        assert int(pa) >> 12 == bench.mm.page_table.lookup(int(address)).pfn
    golden = GoldenMmu(bench.memory, bench.format, NO_WINDOW, bench.tables.context_base, CONTEXTS)
    outcomes = golden.translate(PASID, np.concatenate([va, va]), Access.WRITE)
    assert bool((outcomes.pa == responses["pa"]).all())
    await bench.finish(places)
    assert bench.driver.counters.records == records, "a page that was served faulted again"


@cocotb.test()
async def test_driver_races(dut: SimHandleBase) -> None:
    """
    Stimulus: 250 drawn requests with holds, against munmap, mprotect and MADV_DONTNEED by a second host thread; host
    code is delayed by drawn cycles wherever a kernel could be preempted. Then requests of what is not mapped.
    Checking: every OK is a page that the driver had committed and no invalidation of it was answered before the grant
    ended; rules I2, I3, I5, I6, I7, I12, I20; each fault gets one answer.
    Covers: LOOP-RACE, INV-I1
    """
    await race(dut, 2, PortSettings(), DriverOptions())


@cocotb.test()
async def test_driver_races_small_rings(dut: SimHandleBase) -> None:
    """
    Stimulus: as test_driver_races with a fault ring and a command ring of one slot, staging arrays swapped in.
    Checking: as there.
    Covers: LOOP-RACE, FAULT-RING-ONE
    """
    await race(dut, 3, PortSettings(command_log2=0, fault_log2=0), DriverOptions(commit=CommitPolicy.SWAP))


@cocotb.test()
@cocotb.parametrize(policy=[cocotb.Param(name, name) for name in POLICIES if name != "RESUME"])
async def test_driver_races_policy(dut: SimHandleBase, policy: str) -> None:
    """
    Stimulus: as test_driver_races with the policy of a real driver: one replay of everything and cancels of pages; a
    token for each fault; retries behind a filter with failures told by ERROR entries. A fault ring of two.
    Checking: as there (I7 where a replay is a promise); the rules of the policy had work to do.
    Covers: LOOP-RACE, FAULT-REPLAY-ALL, POLICY-NOUVEAU, POLICY-MLX5, POLICY-AMDKFD
    """
    options = DriverOptions(answer=AnswerPolicy[policy], batch=4, filter_entries=3, filter_window=2000)
    bench = await race(dut, 4, PortSettings(fault_log2=1), options)
    counters = bench.driver.counters
    assert counters.replays > 10
    assert counters.cancels > 0
    if policy == AnswerPolicy.AMDKFD.name:
        assert counters.error_entries > 0 and counters.reasons[Reason.POISON] > 0, counters
        assert all(counters.filtered[said] > 0 for said in Admission), counters.filtered
    else:
        assert not counters.error_entries and not counters.filtered


@cocotb.test()
@cocotb.parametrize(policy=[cocotb.Param(name, name) for name in POLICIES])
async def test_driver_overflow_policy(dut: SimHandleBase, policy: str) -> None:
    """
    Stimulus: writes to 12 pages at once, a fault ring of one slot, a driver that begins late.
    Checking: the device remembers that the ring was full; every request is served once the driver takes records; no
    record is lost or served from more than one page of the batch that the policy's overflow rule allows.
    Covers: FAULT-RING-FULL, POLICY-NOUVEAU, POLICY-MLX5, POLICY-AMDKFD
    """
    options = DriverOptions(answer=AnswerPolicy[policy], batch=3, filter_entries=2, filter_window=4000)
    bench = DriverBench(dut, 5, PortSettings(fault_log2=0), options)
    await bench.start(5, serves=False)
    va = np.uint64(PLACE) + np.arange(PAGES, dtype=np.uint64) * np.uint64(PAGE_BYTES)
    places = bench.device.ask(make_requests(va, PASID, Access.WRITE))
    await bench.device.cycles(2000)
    cause = await bench.device.read_register(Register.INTERRUPT_CAUSE)
    assert registers.INTERRUPT_CAUSE_FAULT_FULL.extract(cause), f"the ring of one was never full: {cause:#x}"
    cocotb.start_soon(bench.driver.run())
    responses = await bench.device.answered(places)
    assert not responses["status"].any()
    await bench.finish(places)
    counters = bench.driver.counters
    assert counters.records >= 2 and counters.records <= counters.batches * options.batch
    if policy == AnswerPolicy.AMDKFD.name:
        assert counters.filtered[Admission.FULL] > 0, counters


@cocotb.test()
@cocotb.parametrize(policy=[cocotb.Param(name, name) for name in POLICIES])
async def test_driver_deadline_policy(dut: SimHandleBase, policy: str) -> None:
    """
    Stimulus: an invalidation of a page that stays open for longer than the deadline; a write to it; later another.
    Checking: the first write is aborted, after the deadline and by the policy's kind of failure; the second is served.
    Covers: DEADLINE, INV-I12, POLICY-NOUVEAU, POLICY-MLX5, POLICY-AMDKFD
    """
    deadline = 6000
    options = DriverOptions(answer=AnswerPolicy[policy], deadline=deadline, filter_window=500)
    bench = DriverBench(dut, 6, PortSettings(), options)
    await bench.start(6)
    places = bench.device.ask(make_requests(PLACE, PASID, Access.WRITE))
    await bench.device.answered(places)
    begin, end = bench.port.event(), bench.port.event()

    async def hold_open() -> None:
        async with bench.mm.invalidation(PLACE, PLACE + PAGE_BYTES, InvalidateEvent.CLEAR):
            begin.set()
            await end.wait()

    cocotb.start_soon(hold_open())
    await begin.wait()
    asked = bench.port.now()
    late = bench.device.ask(make_requests(PLACE, PASID, Access.WRITE))
    (response,) = (await bench.device.answered(late)).copy()
    assert int(response["status"]), "served inside the invalidation"
    assert bench.port.now() - asked >= deadline
    reason = Reason.POISON if policy == AnswerPolicy.AMDKFD.name else Reason.NOT_PRESENT
    assert Reason(int(response["reason"])) is reason
    counters = bench.driver.counters
    assert counters.timeouts >= 1 and counters.retries > 3, counters
    end.set()
    again = bench.device.ask(make_requests(PLACE, PASID, Access.WRITE))
    (response,) = await bench.device.answered(again)
    assert not int(response["status"])
    await bench.finish(places + late + again)
