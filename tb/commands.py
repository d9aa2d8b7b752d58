# SPDX-License-Identifier: Apache-2.0
"""The commands of a case: as the host wrote them, as the device took them, and from when on they protect.

Source: docs/interface.md, "Commands" and "Invalidation and fence".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from models import registers
from models.arrays import PAGE_SHIFT, Words
from models.geometry import DEFAULT_PA_BITS
from models.registers import Register
from models.structures import COMMAND_BYTES, COMMAND_RESERVED, Opcode, unpack_command
from tb.case import Case, CaseResult
from tb.failure import Failure
from tb.records import ActionKind, EventKind, Events
from tb.soft_resets import NEVER, SoftReset, soft_resets

WORDS_OF_COMMAND = COMMAND_BYTES // 8
INDEX_LIMIT = 1 << 32
ALL_CONTEXTS_BIT = 1 << 32
"""Where an event row of a command says that it is for every context."""
RANGE_OPCODES = (Opcode.INVALIDATE,)
CONTEXT_OPCODES = (Opcode.INVALIDATE_CONTEXT, Opcode.UNBIND)
DROPPING_OPCODES = (*RANGE_OPCODES, *CONTEXT_OPCODES)
PASID_OPCODES = (*DROPPING_OPCODES, Opcode.BIND)
USED_FIELDS: dict[int, frozenset[str]] = {
    opcode: frozenset(("opcode", *names))
    for opcode, names in {
        Opcode.INVALIDATE: ("pasid", "all_contexts", "first", "last"),
        Opcode.INVALIDATE_CONTEXT: ("pasid", "all_contexts"),
        Opcode.FENCE: ("write_value", "interrupt", "first", "last"),
        Opcode.BIND: ("pasid",),
        Opcode.UNBIND: ("pasid",),
        Opcode.REPLAY_ALL: (),
        Opcode.RESUME: ("cancel", "first"),
        Opcode.CANCEL: ("pasid", "access", "first", "last"),
        Opcode.QUIESCE: (),
        Opcode.RUN: (),
    }.items()
}
"""The fields that each command uses; all others are 0."""
TAG_LIMIT = 1 << 32


@dataclass
class Command:
    """One command. `index`: its place since the ring was enabled; `epoch`: how often it had been enabled by then.

    `submitted`: the cycle in which the host moved the tail over it.

    `taken`: the cycle in which it took effect; `complete`: of a fence, the cycle in which it was complete; both NEVER
    until known. `fence`: of an invalidation, when the first fence behind it was complete.
    """

    index: int
    epoch: int
    submitted: int
    opcode: int
    pasid: int
    all_contexts: bool
    first: int
    last: int
    malformed: bool
    taken: float = NEVER
    complete: float = NEVER
    fence: float = NEVER

    @property
    def drops(self) -> bool:
        """It makes the device forget translations."""
        return not self.malformed and self.opcode in DROPPING_OPCODES

    @property
    def forgets(self) -> bool:
        """It took effect and made the device forget something: translations, or (BIND) just a context entry."""
        return self.taken != NEVER and not self.malformed and self.opcode in PASID_OPCODES

    def covers(self, pasid: int, va: int, *, context: bool = False) -> bool:
        """Whether it drops what was read for the page of `va`; with `context`, the context entry too."""
        if not self.drops or not (self.all_contexts or self.pasid == pasid):
            return False
        if self.opcode in CONTEXT_OPCODES:
            return True
        return not context and self.first >> PAGE_SHIFT <= va >> PAGE_SHIFT <= self.last >> PAGE_SHIFT

    def concerns(self, pasid: int) -> bool:
        """Whether it drops anything of that context."""
        return self.drops and (self.all_contexts or self.pasid == pasid)

    def text(self) -> str:
        """It in words, for failures."""
        name = Opcode(self.opcode).name if self.opcode in list(Opcode) else f"opcode {self.opcode}"
        whose = "every context" if self.all_contexts else f"pasid {self.pasid}"
        bad = ", malformed" if self.malformed else ""
        return f"command {self.index} {name} of {whose} {self.first:#x}..{self.last:#x}{bad}"


@dataclass
class Commands:
    """All commands of a case in the order in which they were submitted, and what is wrong with how they were taken."""

    submitted: list[Command] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    resets: list[SoftReset] = field(default_factory=list)

    def is_forgotten(self, command: Command) -> bool:
        """Whether a soft reset came upon a command that the device had been told of."""
        return any(command.submitted < reset.end for reset in self.resets)

    @property
    def forgetting(self) -> list[Command]:
        """Invalidations that took effect, and soft resets in the shape of one: behind each nothing older is in use."""
        return self.dropping + [_as_invalidation(reset) for reset in self.resets if reset.end != NEVER]

    @property
    def last_epoch(self) -> int:
        """That of the newest commands: only they must all be taken."""
        return max((command.epoch for command in self.submitted), default=0)

    @property
    def dropping(self) -> list[Command]:
        """Invalidations that took effect."""
        return [command for command in self.submitted if command.drops and command.taken != NEVER]

    @property
    def fences(self) -> list[Command]:
        """Fences that were taken."""
        found = (command for command in self.submitted if command.opcode == Opcode.FENCE and not command.malformed)
        return [command for command in found if command.taken != NEVER]


def is_malformed(words: Words, pa_bits: int = DEFAULT_PA_BITS) -> bool:
    """Whether the four words are no command that the device serves."""
    fields = {name: int(value) for name, value in unpack_command(words).items()}
    if any(int(word) & reserved for word, reserved in zip(words, COMMAND_RESERVED, strict=True)):
        return True
    opcode, first, last = fields["opcode"], fields["first"], fields["last"]
    used = USED_FIELDS.get(opcode)
    if used is None or any(value and name not in used for name, value in fields.items()):
        return True
    if opcode == Opcode.FENCE:
        if fields["write_value"]:
            return first % 8 != 0 or first >> pa_bits != 0
        return bool(first or last)
    if fields["all_contexts"] and fields["pasid"]:
        return True
    if opcode == Opcode.RESUME:
        return first >= TAG_LIMIT
    return first > last and "last" in used


def _as_invalidation(reset: SoftReset) -> Command:
    opcode, last = Opcode.INVALIDATE_CONTEXT, (1 << 64) - 1
    return Command(-1, 0, reset.begin, opcode, 0, True, 0, last, False, taken=reset.end, fence=reset.end)


class _Ring:
    """The ring as the host's actions leave it: registers and memory."""

    def __init__(self, case: Case) -> None:
        self.memory: dict[int, int] = {}
        self.base = 0
        self.slots = 1
        self.enabled = False
        self.tail = 0
        self.epoch = 0
        if case.command_ring is not None:
            end = case.command_ring.base + case.command_ring.bytes
            for region in case.image:
                if region.address < end and region.address + 8 * region.words.size > case.command_ring.base:
                    addresses = range(region.address, region.address + 8 * region.words.size, 8)
                    self.memory.update(zip(addresses, region.words.tolist(), strict=True))

    def write_register(self, address: int, data: int) -> Iterator[tuple[int, Words]]:
        """Follows a register write; yields index and words of each command that it submits."""
        if address == Register.COMMAND_BASE:
            self.base = data & registers.COMMAND_BASE_ADDRESS.mask
        elif address == Register.COMMAND_SIZE:
            self.slots = 1 << registers.COMMAND_SIZE_LOG2.extract(data)
        elif address == Register.CONTROL:
            enabled = bool(registers.CONTROL_COMMAND_ENABLE.extract(data))
            if registers.CONTROL_SOFT_RESET.extract(data):
                self.base, self.slots, self.tail, enabled = 0, 1, 0, False
            if enabled and not self.enabled:
                self.tail = 0
                self.epoch += 1
            self.enabled = enabled
        elif address == Register.COMMAND_TAIL:
            tail = registers.COMMAND_TAIL_INDEX.extract(data)
            count = (tail - self.tail) % INDEX_LIMIT
            # A tail further ahead than the ring is long is the host's mistake: the device must halt, not read.
            for step in range(count if self.enabled and count <= self.slots else 0):
                index = (self.tail + step) % INDEX_LIMIT
                place = self.base + COMMAND_BYTES * (index % self.slots)
                words = [self.memory.get(place + 8 * word, 0) for word in range(WORDS_OF_COMMAND)]
                yield index, np.array(words, dtype=np.uint64)
            self.tail = tail


def submitted_commands(case: Case, result: CaseResult) -> list[Command]:
    """Every command that the host's complete actions submitted, in order."""
    ring = _Ring(case)
    commands: list[Command] = []
    for action, outcome in zip(case.actions.tolist(), result.action_results.tolist(), strict=True):
        kind, _, _, address, data, _, _, _ = action
        start_cycle, _, _, _, done = outcome
        if not done:
            break
        if kind == ActionKind.WRITE_MEMORY:
            ring.memory[address] = data
        elif kind == ActionKind.WRITE_REGISTER:
            for index, words in ring.write_register(address, data):
                fields = {name: int(value) for name, value in unpack_command(words).items()}
                commands.append(
                    Command(
                        index=index,
                        epoch=ring.epoch,
                        submitted=start_cycle,
                        opcode=fields["opcode"],
                        pasid=fields["pasid"],
                        all_contexts=bool(fields["all_contexts"]),
                        first=fields["first"],
                        last=fields["last"],
                        malformed=is_malformed(words),
                    )
                )
    return commands


def follow_commands(case: Case, result: CaseResult) -> Commands:
    """Pairs what the host submitted with what the event log says was taken and completed."""
    commands = Commands(submitted_commands(case, result), resets=soft_resets(result.events))
    rows = result.events[result.events["kind"] == EventKind.COMMAND]
    number = -1
    for row in rows:
        cycle = int(row["cycle"])
        number = _next_command(commands.submitted, number, cycle)
        taken = (
            int(row["extra"]) % INDEX_LIMIT,
            int(row["code"]),
            int(row["pasid"]),
            bool(int(row["extra"]) & ALL_CONTEXTS_BIT),
            int(row["va"]),
            int(row["pa"]),
            bool(row["reason"]),
        )
        if number >= len(commands.submitted):
            commands.failures.append(Failure("COMMANDS", f"took command {taken} that nobody wrote", cycle))
            return commands
        command = commands.submitted[number]
        expected = (
            command.index,
            command.opcode,
            command.pasid,
            command.all_contexts,
            command.first,
            command.last,
            command.malformed,
        )
        if taken != expected or cycle < command.submitted:
            text = f"took (index, opcode, pasid, all, first, last, malformed) {taken}, expected {expected}"
            commands.failures.append(Failure("COMMANDS", text, cycle))
            return commands
        command.taken = cycle
    _follow_fences(commands, result)
    _check_invalidation_rows(commands, result)
    return commands


def _next_command(submitted: list[Command], number: int, cycle: int) -> int:
    """The place of the command that comes after `number` in a cycle: the next, or the first since a new start.

    A ring that was switched off and on has forgotten the commands that it had not taken.
    """
    following = number + 1
    current = max((command.epoch for command in submitted if command.submitted <= cycle), default=0)
    while following < len(submitted) and submitted[following].epoch < current:
        following += 1
    return following


def _follow_fences(commands: Commands, result: CaseResult) -> None:
    rows = result.events[result.events["kind"] == EventKind.FENCE]
    for first, end in pairwise([-1.0, *(reset.end for reset in commands.resets), NEVER]):
        # Behind a soft reset the sequence begins anew, and what was open before it is never complete.
        fences = [fence for fence in commands.fences if first <= fence.taken < end]
        chosen = rows[(rows["cycle"] >= first) & (rows["cycle"] < end)]
        _pair_fences(commands, fences, chosen)
    following = NEVER
    for command in reversed(commands.submitted):
        if command.opcode == Opcode.FENCE and not command.malformed:
            following = command.complete
        command.fence = following


def _pair_fences(commands: Commands, fences: list[Command], rows: Events) -> None:
    """Says of each fence when it was complete. `rows`: those of completion, from a reset on to the next."""
    for number, row in enumerate(rows):
        cycle = int(row["cycle"])
        if number >= len(fences):
            commands.failures.append(Failure("FENCES", "a fence is complete that was not taken", cycle))
            break
        if int(row["extra"]) != number + 1 or cycle < fences[number].taken:
            text = f"fence {number + 1} is complete with sequence {int(row['extra'])}"
            commands.failures.append(Failure("FENCES", text, cycle))
            break
        fences[number].complete = cycle


def _check_invalidation_rows(commands: Commands, result: CaseResult) -> None:
    rows = result.events[result.events["kind"] == EventKind.INVALIDATION]
    logged = [(int(row["cycle"]), int(row["extra"]) % INDEX_LIMIT) for row in rows]
    expected = [(command.taken, command.index) for command in commands.dropping]
    if logged != expected and not commands.failures:
        text = f"invalidations logged at (cycle, index) {logged[:5]}, expected {expected[:5]}"
        commands.failures.append(Failure("LOG", f"{len(logged)} {text}"))
