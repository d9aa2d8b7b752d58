# SPDX-License-Identifier: Apache-2.0
"""rtl/regs/hmm_regs.rdl, compiled and flattened for the templates."""

from __future__ import annotations

from dataclasses import dataclass

from systemrdl.node import AddrmapNode, FieldNode, RegNode

from tb.register_policy import compile_registers

__all__ = ["RegisterEntry", "RegisterField", "compile_registers", "registers"]


@dataclass(frozen=True)
class RegisterField:
    """One field. `access` is what software may do (r, w, rw); `effects` tells write side effects in words."""

    name: str
    high: int
    low: int
    access: str
    reset: int
    effects: str
    description: str


@dataclass(frozen=True)
class RegisterEntry:
    """One register; `offset` in bytes from the base of the block."""

    name: str
    title: str
    offset: int
    description: str
    fields: tuple[RegisterField, ...]

    @property
    def reset(self) -> int:
        """Value after reset; bits that hardware drives count as 0."""
        value = 0
        for field in self.fields:
            value |= field.reset << field.low
        return value


_ON_WRITE = {"woclr": "write 1 to clear", "woset": "write 1 to set"}


def _effects(field: FieldNode) -> str:
    effects: list[str] = []
    on_write = field.get_property("onwrite")
    if on_write is not None:
        effects.append(_ON_WRITE[on_write.name])
    if field.get_property("singlepulse"):
        effects.append("write 1 for one pulse")
    if field.get_property("hwset"):
        effects.append("set by hardware")
    if field.get_property("hwclr"):
        effects.append("cleared by hardware")
    if field.get_property("swwel"):
        effects.append("locked while in use")
    return ", ".join(effects)


def _reset(field: FieldNode) -> int:
    value = field.get_property("reset")
    return value if isinstance(value, int) else 0


def _field(field: FieldNode) -> RegisterField:
    return RegisterField(
        name=field.inst_name,
        high=field.high,
        low=field.low,
        access=field.get_property("sw").name,
        reset=_reset(field),
        effects=_effects(field),
        description=" ".join((field.get_property("desc") or "").split()),
    )


def registers(top: AddrmapNode) -> list[RegisterEntry]:
    """All registers by rising offset, each with its fields from bit 0 upwards."""
    entries = [
        RegisterEntry(
            name=node.inst_name,
            title=node.get_property("name"),
            offset=node.absolute_address,
            description=" ".join((node.get_property("desc") or "").split()),
            fields=tuple(_field(field) for field in node.fields()),
        )
        for node in top.children()
        if isinstance(node, RegNode)
    ]
    return sorted(entries, key=lambda entry: entry.offset)
