# SPDX-License-Identifier: Apache-2.0
"""What the host does in a case, written down as actions: set-up of the device, stores, commands, waits.

Every method appends actions and returns how many there are by then: the number that a request's `after_action` needs to
come after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models import registers
from models.errors import UserError
from models.formats import EntryFormat, refusals
from models.pages import NO_WINDOW, Window
from models.registers import Register
from models.structures import COMMAND_BYTES, Access, Opcode, pack_command
from tb.case import EXPECTATION_DTYPE, CommandRing
from tb.records import ACTION_DTYPE, REQUEST_DTYPE, ActionKind, Actions, Requests

ALL_BITS = (1 << 64) - 1
WORD_BYTES = 8
OKAY = 0
SLVERR = 2
DECERR = 3
LAST_ADDRESS = ALL_BITS
FIRST_PORT = 1
"""The external client port that requests come from unless they name another."""


@dataclass(frozen=True)
class When:
    """What an action waits for, besides the action before it: so many complete responses, a cycle, idle cycles."""

    after_request: int = 0
    not_before: int = 0
    delay: int = 0


AT_ONCE = When()


def format_registers(fmt: EntryFormat) -> dict[Register, int]:
    """What the format registers hold for a format."""
    layout = (
        registers.FORMAT_LAYOUT_PFN_SHIFT.insert(fmt.pfn_shift)
        | registers.FORMAT_LAYOUT_PFN_WIDTH.insert(fmt.pfn_width)
        | registers.FORMAT_LAYOUT_ORDER_SHIFT.insert(fmt.order_shift)
        | registers.FORMAT_LAYOUT_ORDER_WIDTH.insert(fmt.order_width)
        | registers.FORMAT_LAYOUT_ERROR_IS_VALUE.insert(int(fmt.error_is_value))
        | registers.FORMAT_LAYOUT_NONE_IS_VALUE.insert(int(fmt.none_is_value))
        | registers.FORMAT_LAYOUT_SPECIAL_IS_VALUE.insert(int(fmt.special_is_value))
    )
    return {
        Register.FORMAT_VALID: fmt.valid,
        Register.FORMAT_WRITE: fmt.write,
        Register.FORMAT_ERROR: fmt.error,
        Register.FORMAT_NONE: fmt.none,
        Register.FORMAT_SPECIAL: fmt.special,
        Register.FORMAT_DEVICE_PRIVATE: fmt.device_private,
        Register.FORMAT_ATOMIC: fmt.atomic,
        Register.FORMAT_ERROR_VALUE: fmt.error_value,
        Register.FORMAT_NONE_VALUE: fmt.none_value,
        Register.FORMAT_SPECIAL_VALUE: fmt.special_value,
        Register.FORMAT_LAYOUT: layout,
    }


class HostScript:
    """Actions in the making. `ring`: where commands go; None if the case has none.

    Attribute `tail`: commands submitted so far, as COMMAND_TAIL counts them.
    """

    def __init__(self, ring: CommandRing | None = None) -> None:
        self.ring = ring
        self.tail = 0
        self._untaken = 0
        self._actions: list[tuple[int, int, int, int, int, int, int, int]] = []
        self._expectations: list[tuple[int, int, int, int]] = []

    def __len__(self) -> int:
        return len(self._actions)

    def actions(self) -> Actions:
        """All actions, ACTION_DTYPE[n]."""
        return np.array(self._actions, dtype=ACTION_DTYPE)

    def expectations(self) -> NDArray[np.void]:
        """What some of them must bring back, EXPECTATION_DTYPE[m]."""
        return np.array(self._expectations, dtype=EXPECTATION_DTYPE)

    def set_up(
        self,
        fmt: EntryFormat,
        *,
        context_base: int,
        context_count: int,
        window: Window = NO_WINDOW,
        interrupt_enable: int = 0,
    ) -> int:
        """Writes format, window, context table and ring, and enables the device; waits until it is on.

        A format that the device must refuse is enabled too; then STATUS must say why.
        """
        for register, value in format_registers(fmt).items():
            self.write_register(register, value)
        self.write_register(Register.WINDOW_BASE, window.base)
        self.write_register(Register.WINDOW_COUNT, window.count)
        self.write_register(Register.CONTEXT_BASE, context_base)
        self.write_register(Register.CONTEXT_COUNT, context_count)
        self.write_register(Register.INTERRUPT_ENABLE, interrupt_enable)
        control = registers.CONTROL_ENABLE.insert(1)
        if self.ring is not None and self.ring.enabled:
            self.write_register(Register.COMMAND_BASE, self.ring.base)
            self.write_register(Register.COMMAND_SIZE, self.ring.log2)
            control |= registers.CONTROL_COMMAND_ENABLE.insert(1)
        self.write_register(Register.CONTROL, control)
        refused = refusals(fmt)
        if refused:
            value = registers.STATUS_REFUSED.insert(int(refused))
            mask = registers.STATUS_REFUSED.mask | registers.STATUS_ENABLED.mask
            self.wait_register(Register.INTERRUPT_CAUSE, registers.INTERRUPT_CAUSE_ENABLE_REFUSED.mask)
            return self.read_register(Register.STATUS, expect=value, mask=mask)
        return self.wait_register(Register.STATUS, registers.STATUS_ENABLED.mask)

    def write_memory(self, address: int, word: int, when: When = AT_ONCE, *, status: int = OKAY) -> int:
        """Stores 8 bytes."""
        return self._add(ActionKind.WRITE_MEMORY, when, address=address, data=word, status=status)

    def write_words(self, address: int, words: ArrayLike, when: When = AT_ONCE) -> int:
        """Stores words one after the other; `when` counts for the first."""
        for index, word in enumerate(np.asarray(words, dtype=np.uint64).ravel().tolist()):
            self.write_memory(address + WORD_BYTES * index, word, when if index == 0 else AT_ONCE)
        return len(self)

    def read_memory(
        self, address: int, when: When = AT_ONCE, *, expect: int | None = None, mask: int = ALL_BITS
    ) -> int:
        """Loads 8 bytes of the shared memory, and expects them to be `expect` if that is given."""
        return self._add(ActionKind.READ_MEMORY, when, address=address, expect=expect, expect_mask=mask)

    def wait_memory(self, address: int, value: int, when: When = AT_ONCE, *, mask: int = ALL_BITS) -> int:
        """Waits until the 8 bytes at `address`, under `mask`, are `value`."""
        return self._add(ActionKind.WAIT_MEMORY, when, address=address, data=value, mask=mask)

    def write_register(self, register: int, value: int, when: When = AT_ONCE, *, status: int = OKAY) -> int:
        """Writes a register, and expects the bus to answer `status`."""
        return self._add(ActionKind.WRITE_REGISTER, when, address=register, data=value, status=status)

    def read_register(
        self,
        register: int,
        when: When = AT_ONCE,
        *,
        expect: int | None = None,
        mask: int = ALL_BITS,
        status: int = OKAY,
    ) -> int:
        """Reads a register, and expects it to be `expect` under `mask` if that is given."""
        return self._add(
            ActionKind.READ_REGISTER, when, address=register, expect=expect, expect_mask=mask, status=status
        )

    def wait_register(self, register: int, value: int, when: When = AT_ONCE, *, mask: int | None = None) -> int:
        """Reads a register until it is `value` under `mask`; without a mask until all bits of `value` are set."""
        chosen = value if mask is None else mask
        return self._add(ActionKind.WAIT_REGISTER, when, address=register, data=value, mask=chosen)

    def wait_interrupt(self, when: When = AT_ONCE) -> int:
        """Waits until the interrupt line is high."""
        return self._add(ActionKind.WAIT_INTERRUPT, when)

    def set_owner(self, address: int, length: int, owner: int, when: When = AT_ONCE) -> int:
        """Gives the words of [address, address + length) another owner byte."""
        return self._add(ActionKind.SET_OWNER, when, address=address, data=length, mask=owner)

    def nop(self, when: When = AT_ONCE) -> int:
        """Does nothing, at its place in time."""
        return self._add(ActionKind.NOP, when)

    def command(self, words: ArrayLike, when: When = AT_ONCE, *, ring_tail: bool = True) -> int:
        """Stores the four words of a command into the ring's next slot and, if `ring_tail`, tells the device.

        Several commands may be stored and told with one tail write. A ring that may be full is waited for first.
        Errors: UserError if the case has no ring.
        """
        if self.ring is None:
            raise UserError("Give the case a command ring: it has commands.")
        if self._untaken >= 1 << self.ring.log2:
            self.tell_tail()
            self.wait_taken()
        self._untaken += 1
        slot = self.tail & ((1 << self.ring.log2) - 1)
        self.write_words(self.ring.base + COMMAND_BYTES * slot, words, when)
        self.tail = (self.tail + 1) & 0xFFFF_FFFF
        return self.tell_tail() if ring_tail else len(self)

    def tell_tail(self, when: When = AT_ONCE) -> int:
        """Writes COMMAND_TAIL."""
        return self.write_register(Register.COMMAND_TAIL, self.tail, when)

    def wait_taken(self, when: When = AT_ONCE) -> int:
        """Waits until the device has taken every command submitted so far, so that the ring is empty."""
        self._untaken = 0
        return self.wait_register(Register.COMMAND_HEAD, self.tail, when, mask=registers.COMMAND_HEAD_INDEX.mask)

    def restart_ring(self) -> int:
        """Sets the tail to 0 while the ring is off; what was submitted and not taken is forgotten."""
        self.tail = self._untaken = 0
        return self.tell_tail()

    def soft_reset(self, when: When = AT_ONCE) -> int:
        """A soft reset, and waits until it is over: set_up() comes next."""
        self.tail = self._untaken = 0
        self.write_register(Register.CONTROL, registers.CONTROL_SOFT_RESET.mask, when)
        return self.wait_register(Register.CONTROL, 0, mask=registers.CONTROL_SOFT_RESET.mask)

    def invalidate(
        self, pasid: int | None, first: int = 0, last: int = LAST_ADDRESS, when: When = AT_ONCE, *, tail: bool = True
    ) -> int:
        """INVALIDATE of [first, last]; `pasid` None: of every context."""
        words = pack_command(
            opcode=Opcode.INVALIDATE, all_contexts=int(pasid is None), pasid=pasid or 0, first=first, last=last
        )
        return self.command(words, when, ring_tail=tail)

    def invalidate_context(self, pasid: int | None, when: When = AT_ONCE, *, tail: bool = True) -> int:
        """INVALIDATE_CONTEXT; `pasid` None: every context."""
        words = pack_command(opcode=Opcode.INVALIDATE_CONTEXT, all_contexts=int(pasid is None), pasid=pasid or 0)
        return self.command(words, when, ring_tail=tail)

    def bind(self, pasid: int, when: When = AT_ONCE, *, tail: bool = True) -> int:
        """BIND."""
        return self.command(pack_command(opcode=Opcode.BIND, pasid=pasid), when, ring_tail=tail)

    def unbind(self, pasid: int, when: When = AT_ONCE, *, tail: bool = True) -> int:
        """UNBIND."""
        return self.command(pack_command(opcode=Opcode.UNBIND, pasid=pasid), when, ring_tail=tail)

    def fence(
        self,
        when: When = AT_ONCE,
        *,
        address: int | None = None,
        value: int = 0,
        interrupt: bool = False,
        tail: bool = True,
    ) -> int:
        """FENCE, with a value write to `address` if that is given, with an interrupt if asked."""
        words = pack_command(
            opcode=Opcode.FENCE,
            write_value=int(address is not None),
            interrupt=int(interrupt),
            first=0 if address is None else address,
            last=0 if address is None else value,
        )
        return self.command(words, when, ring_tail=tail)

    def _add(
        self,
        kind: ActionKind,
        when: When,
        *,
        address: int = 0,
        data: int = 0,
        mask: int = 0,
        status: int = OKAY,
        expect: int | None = None,
        expect_mask: int = ALL_BITS,
    ) -> int:
        if expect is not None or status != OKAY:
            value, under = (0, 0) if expect is None else (expect & expect_mask, expect_mask)
            self._expectations.append((value, under, len(self._actions), status))
        self._actions.append((kind, when.after_request, when.not_before, address, data, mask, when.delay, 0))
        return len(self._actions)


def make_requests(
    va: ArrayLike,
    pasid: ArrayLike = 0,
    access: ArrayLike = Access.READ,
    *,
    pause: ArrayLike = 0,
    hold: ArrayLike = 0,
    after_action: ArrayLike = 0,
    client: ArrayLike = FIRST_PORT,
    length: ArrayLike = 0,
    flags: ArrayLike = 0,
) -> Requests:
    """Requests from values that broadcast together, REQUEST_DTYPE[n]."""
    columns: dict[str, ArrayLike] = {
        "va": np.asarray(va, dtype=np.uint64),
        "pasid": pasid,
        "access": access,
        "client": client,
        "pause": pause,
        "hold": hold,
        "flags": flags,
        "after_action": after_action,
        "length": length,
    }
    requests = np.zeros(np.broadcast_shapes(*map(np.shape, columns.values())), dtype=REQUEST_DTYPE)
    for name, values in columns.items():
        requests[name] = values
    return np.atleast_1d(requests)


def join_requests(parts: Sequence[Requests]) -> Requests:
    """Requests one after the other. (np.concatenate would pack the records, and lose their layout.)"""
    requests = np.zeros(sum(part.size for part in parts), dtype=REQUEST_DTYPE)
    done = 0
    for part in parts:
        requests[done : done + part.size] = part
        done += part.size
    return requests
