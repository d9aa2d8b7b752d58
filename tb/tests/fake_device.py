# SPDX-License-Identifier: Apache-2.0
"""A device in plain Python with a clock of its own, for tests of the scoreboard: performs a case as the simulator does.

It walks the tables with the golden model, one request at a time, caches pages, takes commands and holds fences up for
grants. Switches make it wrong in one way each.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.golden_mmu import STATUS_ABORTED, STATUS_OK, GoldenMmu
from models.physical_memory import PhysicalMemory
from models.registers import Register
from models.structures import COMMAND_BYTES, Access, Opcode, Reason, unpack_command
from tb.case import Case, CaseResult, fill_memory
from tb.commands import is_malformed
from tb.records import ACTION_RESULT_DTYPE, EVENT_DTYPE, RESPONSE_DTYPE, ActionKind, Done, EventKind
from tb.soft_resets import ANSWERED
from tb.versions import Answer, answer_at

HIT_CYCLES = 1
IDS = 4
LAST_CYCLE = 100_000


@dataclass
class Behaviour:
    """How the fake device behaves; the defaults are right."""

    caches: bool = True
    drops_cached: bool = True
    drops_walks: bool = True
    fences_wait: bool = True
    clips_orders: bool = False
    caches_absent: bool = False
    loses_request: int = -1
    skips_command: int = -1
    walk_cycles: int = 6


@dataclass
class _Fence:
    grants: set[int]
    address: int | None
    value: int
    done: bool = False


@dataclass
class FakeDevice:
    """Performs one case; see run()."""

    case: Case
    behaviour: Behaviour = field(default_factory=Behaviour)

    def run(self) -> CaseResult:
        """The result of the case."""
        case = self.case
        self.memory = PhysicalMemory(case.memory.size, case.memory.base)
        fill_memory(self.memory, case.image)
        self.golden = GoldenMmu(
            self.memory, case.entry_format, case.window, case.context_base, case.context_count, case.va_bits
        )
        self.responses = np.zeros(case.requests.size, dtype=RESPONSE_DTYPE)
        self.results = np.zeros(case.actions.size, dtype=ACTION_RESULT_DTYPE)
        self.events: list[tuple[int, int, int, int, int, int, int, int, int, int]] = []
        self.counts = dict.fromkeys(("REQUESTS", "ABORTED", "INVALIDATIONS", "FENCES"), 0)
        self.cache: dict[tuple[int, int], Answer] = {}
        self.grants: dict[int, int] = {}
        self.busy_until: dict[int, int] = {}
        self.fences: list[_Fence] = []
        self.registers: dict[int, int] = dict.fromkeys(Register, 0)
        self.head = self.action = self.next_request = 0
        self.walking = -1
        self.answer: Answer | None = None
        self.read_cycle = self.finish_cycle = 0
        self.started: int | None = None
        self.action_free = self.request_free = 1
        self.command_free = 0
        self.cycle = 0
        while not self._idle() and self.cycle < LAST_CYCLE:
            self._step_host()
            self._step_commands()
            self._step_client()
            self._step_fences()
            self.cycle += 1
        events = np.array(self.events, dtype=EVENT_DTYPE)
        return CaseResult(
            responses=self.responses,
            action_results=self.results,
            events=events,
            event_hash="",
            cycles=self.cycle,
            counters={f"COUNTER_{name}": count for name, count in self.counts.items()},
        )

    def _idle(self) -> bool:
        commands = self.registers[Register.COMMAND_TAIL] != self.head
        open_fences = any(not fence.done for fence in self.fences)
        requests = self.next_request < self.case.requests.size or self.walking >= 0 or self.grants
        return not (commands or open_fences or requests or self.action < self.case.actions.size)

    def _log(self, kind: EventKind, *, va: int = 0, pa: int = 0, extra: int = 0, pasid: int = 0, id: int = 0,
             code: int = 0, reason: int = 0, client: int = 0) -> None:  # fmt: skip
        self.events.append((self.cycle, va, pa, extra, pasid, kind, id, code, reason, client))

    def _step_host(self) -> None:
        if self.action >= self.case.actions.size:
            return
        action, outcome = self.case.actions[self.action], self.results[self.action]
        kind, address = ActionKind(int(action["kind"])), int(action["address"])
        if self.started is None:
            finished = int((self.responses["done"] & Done.FINISHED != 0).sum())
            ready = max(self.action_free + int(action["delay"]), int(action["not_before"]))
            if self.cycle < ready or finished < int(action["after_request"]):
                return
            self.started = self.cycle
            outcome["start_cycle"] = self.cycle
            if kind == ActionKind.WRITE_MEMORY:
                self.memory.write_words(address, [int(action["data"])])
            elif kind == ActionKind.WRITE_REGISTER:
                self.registers[address] = int(action["data"])
            return
        data = 0
        if kind in (ActionKind.READ_MEMORY, ActionKind.WAIT_MEMORY):
            data = int(self.memory.read_words(address, 1)[0])
        elif kind in (ActionKind.READ_REGISTER, ActionKind.WAIT_REGISTER):
            self.registers[Register.STATUS] = 1
            self.registers[Register.COMMAND_HEAD] = self.head
            data = self.registers.get(address, 0)
        waits = kind in (ActionKind.WAIT_MEMORY, ActionKind.WAIT_REGISTER)
        if waits and data & int(action["mask"]) != int(action["data"]):
            return
        outcome["done_cycle"], outcome["data"], outcome["done"] = self.cycle, data, 1
        self._log(EventKind.ACTION, va=address, pa=self.started, extra=data, code=kind)
        self.started = None
        self.action_free = self.cycle + 1
        self.action += 1

    def _came(self, actions: int) -> bool:
        """Whether so many actions were complete before this cycle."""
        done = self.results[actions - 1] if actions else None
        return done is None or (bool(done["done"]) and int(done["done_cycle"]) < self.cycle)

    def _step_commands(self) -> None:
        if self.head == self.registers[Register.COMMAND_TAIL] or self.cycle < self.command_free:
            return
        assert self.case.command_ring is not None
        slot = self.head % (1 << self.case.command_ring.log2)
        words = self.memory.read_words(self.case.command_ring.base + COMMAND_BYTES * slot, 4)
        fields = {name: int(value) for name, value in unpack_command(words).items()}
        malformed = is_malformed(words)
        drops = not malformed and fields["opcode"] in (1, 2, 5)
        row = {
            "va": fields["first"],
            "pa": fields["last"],
            "pasid": fields["pasid"],
            "code": fields["opcode"],
            "extra": self.head | fields["all_contexts"] << 32,
            "reason": int(malformed),
        }
        if self.head != self.behaviour.skips_command:
            self._log(EventKind.COMMAND, **row)
            if drops:
                self._log(EventKind.INVALIDATION, **row)
        self.head += 1
        self.command_free = self.cycle + 3
        if malformed:
            return
        if fields["opcode"] == Opcode.FENCE:
            address = fields["first"] if fields["write_value"] else None
            self.fences.append(_Fence(set(self.grants), address, fields["last"]))
            return
        self.counts["INVALIDATIONS"] += 1
        if drops:
            self._drop(fields)

    def _drop(self, fields: dict[str, int]) -> None:
        first, last = (fields["first"], fields["last"]) if fields["opcode"] == Opcode.INVALIDATE else (0, 1 << 64)

        def hit(pasid: int, va: int) -> bool:
            return bool(fields["all_contexts"] or pasid == fields["pasid"]) and first >> 12 <= va >> 12 <= last >> 12

        if self.behaviour.drops_cached:
            self.cache = {key: value for key, value in self.cache.items() if not hit(key[0], key[1] << 12)}
        if self.walking >= 0 and self.answer is not None and self.behaviour.drops_walks:
            request = self.case.requests[self.walking]
            if hit(int(request["pasid"]), int(request["va"])):
                self.answer = None
                self.read_cycle, self.finish_cycle = self.cycle + 2, self.cycle + self.behaviour.walk_cycles
        if self.answer is not None and self.behaviour.clips_orders and self.answer.status == STATUS_OK:
            self.answer = self.answer._replace(order=0)

    def _step_client(self) -> None:
        for row, release in list(self.grants.items()):
            if self.cycle == release:
                del self.grants[row]
                self.busy_until[row % IDS] = self.cycle
                request = self.case.requests[row]
                self.responses["done"][row] = ANSWERED
                self._log(EventKind.GRANT_END, va=int(request["va"]), pasid=int(request["pasid"]),
                          client=int(request["client"]), id=row % IDS, code=int(request["access"]))  # fmt: skip
        if self.walking >= 0:
            self._walk()
            return
        row = self.next_request
        if row >= self.case.requests.size:
            return
        request = self.case.requests[row]
        id_free = self.busy_until.get(row % IDS, -1) < self.cycle and all(
            each % IDS != row % IDS for each in self.grants
        )
        if self.cycle < self.request_free + int(request["pause"]) or not self._came(int(request["after_action"])):
            return
        if not id_free:
            return
        self.next_request += 1
        self.counts["REQUESTS"] += 1
        self.responses["accept_cycle"][row], self.responses["id"][row] = self.cycle, row % IDS
        self.responses["done"][row] = 1
        self.request_free = self.cycle + 1
        if row == self.behaviour.loses_request:
            return
        self.walking = row
        cached = self.cache.get((int(request["pasid"]), int(request["va"]) >> 12)) if self.behaviour.caches else None
        access = int(request["access"])
        if cached is not None and cached.status == STATUS_OK:
            lacks = access in (Access.WRITE, Access.ATOMIC) and not cached.permissions & 1
            cached = None if lacks or (access == Access.ATOMIC and not cached.permissions & 2) else cached
        self.answer = cached
        if cached is not None and cached.status == STATUS_OK:
            self.answer = cached._replace(pa=cached.pa | int(request["va"]) & 0xFFF)
        self.read_cycle = self.cycle + 2
        self.finish_cycle = self.cycle + (HIT_CYCLES if cached is not None else self.behaviour.walk_cycles)

    def _walk(self) -> None:
        row = self.walking
        request, response = self.case.requests[row], self.responses[row]
        pasid, va, access = int(request["pasid"]), int(request["va"]), int(request["access"])
        if self.answer is None and self.cycle == self.read_cycle:
            self.answer = answer_at(self.golden.translate([pasid], [va], [access]), 0)
        if self.cycle != self.finish_cycle or self.answer is None:
            return
        for name, value in self.answer._asdict().items():
            response[name] = value
        response["finish_cycle"] = self.busy_until[row % IDS] = self.cycle
        if self.answer.status == STATUS_OK or self.behaviour.caches_absent:
            self.cache[pasid, va >> 12] = self.answer._replace(pa=self.answer.pa >> 12 << 12)
        if self.answer.status == STATUS_OK:
            extra = self.answer.order | self.answer.permissions << 8 | self.answer.memory << 10
            self._log(EventKind.TRANSLATION, va=va, pa=self.answer.pa, extra=extra, pasid=pasid,
                      client=int(request["client"]), id=row % IDS, code=access)  # fmt: skip
        else:
            self.counts["ABORTED"] += 1
            reason = Reason(self.answer.reason)
            self._log(EventKind.FAULT, va=va, pasid=pasid, client=int(request["client"]), id=row % IDS,
                      code=access, reason=reason)  # fmt: skip
        if self.answer.status == STATUS_ABORTED or access == Access.PREFETCH:
            response["done"] = ANSWERED
        else:
            response["done"] = 3
            response["release_cycle"] = self.cycle + 1 + int(request["hold"])
            # The release channel carries one a cycle.
            while int(response["release_cycle"]) in self.grants.values():
                response["release_cycle"] += 1
            self.grants[row] = int(response["release_cycle"])
        self.walking = -1
        self.answer = None

    def _step_fences(self) -> None:
        for fence in self.fences:
            if fence.done:
                continue
            if self.behaviour.fences_wait and fence.grants & set(self.grants):
                return
            fence.done = True
            if fence.address is not None:
                self.memory.write_words(fence.address, [fence.value], shadow=False)
            self.counts["FENCES"] += 1
            self.registers[Register.FENCE_SEQUENCE] = self.counts["FENCES"]
            self._log(EventKind.FENCE, extra=self.counts["FENCES"])
            return


def run_fake(case: Case, behaviour: Behaviour | None = None) -> CaseResult:
    """The result of a case on a fake device."""
    return FakeDevice(case, behaviour or Behaviour()).run()
