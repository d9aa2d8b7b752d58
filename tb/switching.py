# SPDX-License-Identifier: Apache-2.0
"""When the host of a case switched translation off and on, and which entry format was in force.

Source: docs/interface.md, "Enable and disable".
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from models import registers
from models.formats import EntryFormat
from models.registers import Register
from tb.case import Case, CaseResult
from tb.host_script import OKAY, format_registers
from tb.records import ActionKind


def format_of_registers(values: dict[Register, int]) -> EntryFormat:
    """The format that the format registers hold; the other way round from tb.host_script.format_registers."""
    layout = values[Register.FORMAT_LAYOUT]
    return EntryFormat(
        name="registers",
        valid=values[Register.FORMAT_VALID],
        write=values[Register.FORMAT_WRITE],
        error=values[Register.FORMAT_ERROR],
        none=values[Register.FORMAT_NONE],
        special=values[Register.FORMAT_SPECIAL],
        device_private=values[Register.FORMAT_DEVICE_PRIVATE],
        atomic=values[Register.FORMAT_ATOMIC],
        error_value=values[Register.FORMAT_ERROR_VALUE],
        none_value=values[Register.FORMAT_NONE_VALUE],
        special_value=values[Register.FORMAT_SPECIAL_VALUE],
        error_is_value=bool(registers.FORMAT_LAYOUT_ERROR_IS_VALUE.extract(layout)),
        none_is_value=bool(registers.FORMAT_LAYOUT_NONE_IS_VALUE.extract(layout)),
        special_is_value=bool(registers.FORMAT_LAYOUT_SPECIAL_IS_VALUE.extract(layout)),
        pfn_shift=registers.FORMAT_LAYOUT_PFN_SHIFT.extract(layout),
        pfn_width=registers.FORMAT_LAYOUT_PFN_WIDTH.extract(layout),
        order_shift=registers.FORMAT_LAYOUT_ORDER_SHIFT.extract(layout),
        order_width=registers.FORMAT_LAYOUT_ORDER_WIDTH.extract(layout),
    )


@dataclass
class Switching:
    """`off`: the cycles in which the bus answered the write that switched translation off, rising.

    `formats[n]` is in force from cycle `starts[n]` on, until the next; the first one from the beginning.
    """

    formats: list[EntryFormat]
    starts: list[int] = field(default_factory=lambda: [0])
    off: list[int] = field(default_factory=list)

    def epoch(self, cycle: int) -> int:
        """The index of the format that is in force in a cycle."""
        return bisect_right(self.starts, cycle) - 1

    def off_within(self, first: int, last: int) -> bool:
        """Whether translation was switched off between two cycles."""
        return any(first <= cycle <= last for cycle in self.off)


def follow_switching(case: Case, result: CaseResult) -> Switching:
    """From the register writes that the host did."""
    found = Switching([case.entry_format])
    original = format_registers(case.entry_format)
    values = dict(original)
    enabled = False
    for action, outcome in zip(case.actions.tolist(), result.action_results.tolist(), strict=True):
        kind, _, _, address, data, _, _, _ = action
        start, end, _, status, done = outcome
        if not done:
            break
        if kind != ActionKind.WRITE_REGISTER or status != OKAY:
            continue
        if address in values and not enabled:
            values[Register(address)] = data
        elif address == Register.CONTROL:
            now = bool(registers.CONTROL_ENABLE.extract(data))
            if registers.CONTROL_SOFT_RESET.extract(data):
                # Nobody is answered that translation was switched off.
                values = dict.fromkeys(values, 0)
                enabled = False
                continue
            if enabled and not now:
                found.off.append(end)
            if now and not enabled and values != format_registers(found.formats[-1]):
                found.starts.append(start)
                found.formats.append(case.entry_format if values == original else format_of_registers(values))
            enabled = now
    return found
