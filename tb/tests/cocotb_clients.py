# SPDX-License-Identifier: Apache-2.0
"""cocotb tests of several client ports: ids, order, and data that move under grants."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES
from models.physical_memory import Owner, PhysicalMemory
from models.structures import Access
from tb.case import DEFAULT_CONFIGURATION, Case, CaseResult, MemorySettings
from tb.configurations import named_configuration
from tb.environment import Environment, make_settings
from tb.host_script import When, make_requests
from tb.records import (
    DATA_BYTES,
    RESPONSE_DTYPE,
    ActionKind,
    EventKind,
    RequestData,
    RequestFlag,
    Requests,
    Responses,
)
from tb.scenarios import SCENARIOS
from tb.scenarios.builder import CaseBuilder
from tb.scoreboard import check_case
from tb.tests.small_case import FIRST_PFN, PASID, hot_pages_case, page_va, small_builder

STAMP = 0x1122_3344_5566_7788
HOLD = 100


def frame_of(page: int) -> int:
    """Where a page of the small array is in memory."""
    return (FIRST_PFN + 2 * page) * PAGE_BYTES


def data_builder(name: str, *, pages: int = 4) -> CaseBuilder:
    """The small builder; the frames of the first pages are data, each word holds its own address."""
    builder = small_builder(name)
    for page in range(pages):
        frame = frame_of(page)
        builder.memory.set_owner(frame, PAGE_BYTES, Owner.DATA)
        builder.memory.write_words(frame, frame + 8 * np.arange(PAGE_BYTES // 8, dtype=np.uint64))
    return builder


def image_with_data(case: Case, builder: CaseBuilder, pages: int = 4) -> Case:
    """The case, whose image holds the frames too: the builder tells only of what was allocated."""
    regions = [*case.image]
    for page in range(pages):
        words = builder.memory.read_words(frame_of(page), PAGE_BYTES // 8)
        regions.append(case.image[0]._replace(address=frame_of(page), words=words, owner=int(Owner.DATA)))
    return replace(case, image=regions)


def words_of(*values: int) -> RequestData:
    """A data row for each value, which stands in its first word."""
    data = np.zeros((len(values), DATA_BYTES), dtype=np.uint8)
    data.view(np.uint64)[:, 0] = values
    return data


async def run_data(dut: SimHandleBase, builder: CaseBuilder, requests: Requests, data: RequestData) -> CaseResult:
    """Runs requests with data behind the set-up. Errors: AssertionError with the scoreboard's first line."""
    if not requests["after_action"].any():
        requests["after_action"] = len(builder.script)
    builder.ask(requests, data)
    case = image_with_data(builder.build(), builder)
    result = await Environment(dut).run(case)
    verdict = check_case(case, result)
    assert verdict.passed, verdict.lines[0]
    return result


@cocotb.test()
async def test_ports_have_own_ids(dut: SimHandleBase) -> None:
    """
    Stimulus: 40 requests for cached pages on each of two ports, with holds so long that every id of both is busy at once.
    Checking: each port uses its 32 ids in its own order; all 64 grants are open at one time; the event log names the
        port of each response and release, and of one cycle the lower one first.
    Covers: CLIENTS-IDS, CLIENTS-LOG
    """
    va = np.array([page_va(row // 2 % 8) for row in range(80)], dtype=np.uint64)
    client = np.arange(80) % 2 + 1
    # The ports shift against each other, so that they meet whatever the device does.
    pause = np.where(client == 1, np.arange(80) // 2 % 3, 0)
    own = make_requests(va, PASID, hold=2000, pause=pause, client=client)
    case, warm = hot_pages_case("two-ports", own)
    result = await Environment(dut).run(case)
    verdict = check_case(case, result)
    assert verdict.passed, verdict.lines[0]
    responses = result.responses[warm:]
    for port in (1, 2):
        rows = responses[client == port]
        used = warm if port == 1 else 0
        assert rows["id"][:32].tolist() == [(used + place) % 32 for place in range(32)]
    first = responses[:64]
    assert int(first["finish_cycle"].max()) < int(first["release_cycle"].min())
    logged = result.events[np.isin(result.events["kind"], [EventKind.TRANSLATION, EventKind.GRANT_END])]
    assert np.bincount(logged["client"]).tolist() == [0, 80 + 2 * warm, 80]
    same = (np.diff(logged["cycle"].astype(np.int64)) == 0) & (np.diff(logged["kind"].astype(int)) == 0)
    assert same.any()
    assert (np.diff(logged["client"].astype(int))[same] > 0).all()


@cocotb.test()
async def test_port_unknown(dut: SimHandleBase) -> None:
    """
    Stimulus: a request of client 0, which is the engine's own, and one of a client beyond the last port.
    Checking: each ends the case with words that name request, client and the ports that there are.
    Covers: CLIENTS-UNKNOWN
    """
    environment = Environment(dut)
    ports = named_configuration(DEFAULT_CONFIGURATION).ports
    for client in (0, ports + 1):
        builder = small_builder("unknown-port")
        requests = make_requests([page_va(0), page_va(1)], PASID, client=[1, client], after_action=len(builder.script))
        builder.ask(requests)
        result = await environment.run(builder.build())
        text = f"request 1 names client {client}, which has no port: there are ports 1 to {ports}"
        assert result.assertion_failure == text


@cocotb.test()
async def test_data_in_release_cycle(dut: SimHandleBase) -> None:
    """
    Stimulus: port 1 stores into a page and holds; port 2 loads the same word, in cycles before, in and after that of
        port 1's release, and then the other way round.
    Checking: data move in the cycle of the release; a load of the store's own cycle sees it only if its port's number
        is higher.
    Covers: CLIENTS-DATA-CYCLE, CLIENTS-DATA-ORDER
    """
    for writer, reader in ((1, 2), (2, 1)):
        seen = {}
        for late in range(-2, 3):
            builder = data_builder("same-cycle")
            warm = make_requests([page_va(0)] * 2, PASID, hold=0, client=[1, 2])
            pair = make_requests(
                [page_va(0) + 8] * 2, PASID, [Access.WRITE, Access.READ], client=[writer, reader],
                pause=200, hold=[HOLD, HOLD + late], length=8,
            )  # fmt: skip
            requests = np.zeros(4, dtype=pair.dtype)
            requests[:2], requests[2:] = warm, pair
            result = await run_data(dut, builder, requests, words_of(0, 0, STAMP, 0))
            store, load = result.responses[2], result.responses[3]
            assert (result.responses["data_cycle"][2:] == result.responses["release_cycle"][2:]).all()
            distance = int(load["data_cycle"]) - int(store["data_cycle"])
            seen[distance] = int(result.request_data.view(np.uint64)[3, 0])
        old = frame_of(0) + 8
        assert 0 in seen and min(seen) < 0 < max(seen), seen
        for distance, value in seen.items():
            assert value == (STAMP if (distance, reader) > (0, writer) else old), (writer, seen)


@cocotb.test()
async def test_host_before_clients(dut: SimHandleBase) -> None:
    """
    Stimulus: the host stores into a word of data, in cycles before, in and after that in which a client loads it.
    Checking: of one cycle the host comes first: the client sees its store.
    Covers: CLIENTS-DATA-ORDER
    """
    seen: dict[int, int] = {}
    meeting = 500
    for late in range(-2, 3):
        builder = data_builder("host-and-client")
        script = builder.script
        ready = len(script)
        script.write_memory(frame_of(0) + 8, STAMP, When(not_before=meeting + late))
        requests = make_requests(
            page_va(0) + np.array([8, 8], dtype=np.uint64), PASID, Access.READ, client=[1, 2], length=8,
            pause=[300, 0], hold=[0, 0], after_action=ready,
        )  # fmt: skip
        probe = await run_data(dut, builder, requests.copy(), words_of(0, 0))
        meeting = int(probe.responses["data_cycle"][0])
        start = int(probe.action_results["start_cycle"][-1])
        seen[start - meeting] = int(probe.request_data.view(np.uint64)[0, 0])
    assert 0 in seen and min(seen) < 0 < max(seen), seen
    for distance, value in seen.items():
        assert value == (STAMP if distance <= 0 else frame_of(0) + 8), seen


@cocotb.test()
async def test_data_kinds(dut: SimHandleBase) -> None:
    """
    Stimulus: stores and loads of 1 to 64 bytes at odd places, the last bytes of a page, atomic adds that run over,
        a request without data, a prefetch.
    Checking: each row holds what it must, byte for byte; nothing else in memory changed; what moves nothing has no
        cycle for it.
    Covers: CLIENTS-DATA-KINDS
    """
    builder = data_builder("kinds")
    place = page_va(1)
    requests = make_requests(
        [place + 3, place + 4032, place + 3, place + 4032, place + 16, place + 16, place + 16, place, place],
        PASID,
        [Access.WRITE, Access.WRITE, Access.READ, Access.READ, Access.ATOMIC, Access.ATOMIC, Access.READ, Access.WRITE,
         Access.PREFETCH],
        length=[5, 64, 7, 64, 8, 8, 8, 0, 0],
        flags=int(RequestFlag.ORDERED),
    )  # fmt: skip
    random = np.random.default_rng(3)
    data = random.integers(256, size=(9, DATA_BYTES), dtype=np.uint8)
    largest = (1 << 64) - 1
    data[4:6].view(np.uint64)[:, 0] = [largest, 5]
    before = data.copy()
    result = await run_data(dut, builder, requests, data)
    came = result.request_data
    frame = frame_of(1)
    expected = before.copy()
    expected[2, :7] = [*before[0, :5], *np.array([frame + 8], dtype=np.uint64).view(np.uint8)[:2]]
    expected[3] = before[1]
    expected.view(np.uint64)[4:6, 1] = [frame + 16, frame + 15]
    expected.view(np.uint64)[6, 0] = frame + 20
    assert (came == expected).all(), np.flatnonzero((came != expected).any(axis=1))
    assert (result.responses["data_cycle"] != 0).tolist() == [True] * 7 + [False] * 2


@cocotb.test()
async def test_ordered_waits(dut: SimHandleBase) -> None:
    """
    Stimulus: on port 1 a request of a page that is held, then one of the same page with ORDERED, then one of another
        page; on port 2 a request of the same page; the same without ORDERED.
    Checking: the ordered one comes two cycles after the release at the earliest and nothing of its port overtakes it;
        port 2 does not wait; without the flag nobody waits.
    Covers: CLIENTS-ORDERED
    """
    for flags in (int(RequestFlag.ORDERED), 0):
        builder = small_builder("ordered")
        requests = make_requests(
            [page_va(2), page_va(2) + 64, page_va(3), page_va(2)],
            PASID,
            hold=[500, 0, 0, 0],
            flags=[0, flags, 0, 0],
            client=[1, 1, 1, 2],
            after_action=len(builder.script),
        )
        builder.ask(requests)
        case = builder.build()
        result = await Environment(dut).run(case)
        assert check_case(case, result).passed
        accept, release = (result.responses[name].astype(int) for name in ("accept_cycle", "release_cycle"))
        if flags:
            assert accept[1] == release[0] + 1
            assert accept[2] > accept[1]
        else:
            assert accept[1] < accept[2] < release[0]
        assert accept[3] < release[0]


@cocotb.test()
async def test_data_owner_judged(dut: SimHandleBase) -> None:
    """
    Stimulus: a store into a page whose frame belongs to nobody; a load from it; a load beyond memory.
    Checking: each ends the case with words that name cycle, client, id, both addresses and the owner; nothing moved.
    Covers: CLIENTS-OWNER
    """
    environment = Environment(dut)
    for access, page, words in (
        (Access.WRITE, 4, "the owner byte of the word"),
        (Access.READ, 4, "the owner byte of the word"),
        (Access.READ, 500, "outside the memory"),
    ):
        builder = data_builder("unowned")
        requests = make_requests(
            page_va(page) + 32, PASID, access, client=2, length=8, after_action=len(builder.script)
        )
        builder.ask(requests, words_of(STAMP))
        case = image_with_data(builder.build(), builder)
        result = await environment.run(case)
        assert result.owner_violations == 1
        text = result.owner_violation
        pa = frame_of(page) + 32
        assert words in text
        assert f"client 2, id 0, request 0, va {page_va(page) + 32:#x}, pa {pa:#x}" in text
        assert int(result.request_data.view(np.uint64)[0, 0]) == STAMP
        assert "| OWNER: " in check_case(case, result).lines[0]


class DirectCalls:
    """The C++ side told directly what a transactor would tell it, for what a working device never does."""

    def __init__(self, environment: Environment, memory: PhysicalMemory) -> None:
        self.environment = environment
        self.memory = memory
        self.library = ctypes.CDLL(None)
        self.requests = make_requests([0x1008, 0x1008], 1, Access.WRITE, client=[1, 2], length=8)
        self.responses: Responses = np.zeros(2, dtype=RESPONSE_DTYPE)
        self.data = words_of(STAMP, STAMP + 1)

    async def start(self) -> None:
        """A new case whose requests both ports have fetched and had accepted under id 0, in cycle 1."""
        await self.environment.reset(self.memory, make_settings(MemorySettings()))
        self.responses[:] = 0
        simulator = self.environment.simulator
        simulator.set_requests(self.requests, self.responses, 2, self.data)
        for client in (1, 2):
            places = [ctypes.byref(ctypes.c_uint64()) for _ in range(7)]
            assert self.library.tb_fetch_request(ctypes.c_uint8(client), *places) == 1
            self.call("tb_request_accepted", 1, client, 0)

    def call(self, name: str, cycle: int, *values: int) -> None:
        """A function whose arguments after the cycle all fit into a machine word."""
        getattr(self.library, name)(*(ctypes.c_uint64(value) for value in (cycle, *values)))

    def respond(self, cycle: int, client: int, *, pa: int = 0x2008, permissions: int = 3, memory: int = 0) -> None:
        """An OK that begins a grant of id 0."""
        self.call("tb_response", cycle, client, 0, 0, 0, pa, 0, permissions, memory, 1)

    def violation(self) -> str:
        """The first one in words."""
        return self.environment.simulator.owner_violations()[1]


@cocotb.test()
async def test_grant_judged(dut: SimHandleBase) -> None:
    """
    Stimulus: to the C++ side directly: data that move before the response, a cycle after the release, without the
        right to write, in another place of the page, in a device memory that is not there; a release under an id that
        only the other port holds; then an access that is right.
    Checking: each is told in words and moves nothing; the right one moves its bytes.
    Covers: CLIENTS-GRANT, CLIENTS-IDS
    """
    memory = PhysicalMemory(1 << 16)
    memory.set_owner(0x2000, PAGE_BYTES, Owner.DATA)
    calls = DirectCalls(Environment(dut), memory)
    await calls.start()
    calls.call("tb_move_data", 5, 1, 0)
    assert "no grant was given" in calls.violation()
    for client, options, words in (
        (1, {"permissions": 0}, "does not permit to write"),
        (2, {"pa": 0x2010}, "not in the granted page"),
        (1, {"memory": 1}, "outside the memory"),
        (1, {"pa": 0x3008}, "the owner byte of the word at 0x3008 is 00, no data"),
    ):
        await calls.start()
        calls.respond(3, client, **options)
        calls.call("tb_move_data", 5, client, 0)
        assert words in calls.violation(), calls.violation()
        assert f"client {client}, id 0, request {client - 1}" in calls.violation()
    await calls.start()
    calls.respond(3, 1)
    calls.call("tb_release", 4, 1, 0)
    calls.call("tb_move_data", 5, 1, 0)
    assert "the grant ended in cycle 4" in calls.violation()
    assert not memory.words.any()
    await calls.start()
    calls.respond(3, 1)
    calls.call("tb_release", 4, 2, 0)
    text = calls.environment.simulator.assertion_failures()[1]
    assert text == "cycle 4: a release for id 0 of client 2, which does not wait for one"
    calls.call("tb_move_data", 4, 1, 0)
    calls.call("tb_release", 4, 1, 0)
    assert calls.violation() == ""
    assert int(calls.responses["data_cycle"][0]) == 4
    assert int(memory.read_words(0x2008, 1)[0]) == STAMP
    calls.environment.simulator.clear()


@cocotb.test()
async def test_clients_scenario_meets(dut: SimHandleBase) -> None:
    """
    Stimulus: the scenario of clients, some seeds, on the batch path and on the agent's.
    Checking: the scoreboard passes; hash, responses and data are the same on both paths; ports did hold grants of one
        page together and did move data in one cycle; the host's fences did wait for clients.
    Covers: CLIENTS-SCENARIO, DETERMINISM
    """
    environment = Environment(dut)
    moved = shared = together = 0
    for seed in range(4):
        case = SCENARIOS["clients"](seed, {})
        result = await environment.run(case)
        verdict = check_case(case, result)
        assert verdict.passed, verdict.lines[0]
        agent = await environment.run(case, "agent")
        assert agent.event_hash == result.event_hash
        assert (agent.responses == result.responses).all()
        assert (agent.request_data == result.request_data).all()
        rows = np.flatnonzero(result.responses["data_cycle"] != 0)
        cycles = result.responses["data_cycle"][rows]
        moved += rows.size
        together += rows.size - np.unique(cycles).size
        one, other = (rows[case.requests["client"][rows] == client] for client in (1, 2))
        begin, end = result.responses["finish_cycle"], result.responses["release_cycle"]
        meets = (begin[one][:, None] < end[other]) & (begin[other] < end[one][:, None])
        meets &= (result.responses["pa"][one][:, None] ^ result.responses["pa"][other]) < PAGE_BYTES
        shared += int(meets.sum())
        assert (case.actions["kind"] == ActionKind.SET_OWNER).any()
    assert moved > 1000
    assert shared > 50
    assert together > 20
