# SPDX-License-Identifier: Apache-2.0
"""What software may expect of every bit of the register map, taken from the SystemRDL and from nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from peakrdl_regblock.udps import ALL_UDPS
from systemrdl.compiler import RDLCompiler
from systemrdl.messages import MessagePrinter, RDLCompileError
from systemrdl.node import AddrmapNode, FieldNode, RegNode, RootNode

from models.errors import UserError

REGISTER_FILE = Path(__file__).resolve().parent.parent / "rtl" / "regs" / "hmm_regs.rdl"
WORD_BYTES = 8
ALL_BITS = (1 << 64) - 1


class _Quiet(MessagePrinter):
    """Keeps the first message instead of writing to standard error."""

    def __init__(self) -> None:
        self.first = ""

    def print_message(self, severity: object, text: str, src_ref: object) -> None:
        self.first = self.first or text


def compile_registers(path: Path) -> RootNode:
    """Compiles the SystemRDL file. Errors: UserError with the compiler's first message."""
    printer = _Quiet()
    compiler = RDLCompiler(message_printer=printer)
    for definition in ALL_UDPS:
        compiler.register_udp(definition)
    try:
        compiler.compile_file(str(path))
        return compiler.elaborate()
    except RDLCompileError as error:
        raise UserError(f"{path} does not compile: {printer.first or error}; mend the file.") from error


@dataclass(frozen=True)
class RegisterPolicy:
    """One register: masks of its bits by what software may do with them. Every mask is of 64 bits.

    `stored`: kept as written; `clears`: a 1 clears, hardware sets; `sets`: a 1 sets, and a reset clears; `pulses`:
    reads 0 whatever is written; `driven`: hardware decides, writes change nothing; `locked`: of the stored ones, those
    that are locked while in use. Bits in none of them read 0. `reset`: values after reset, known for the bits of
    `reset_known`.
    """

    name: str
    offset: int
    stored: int
    clears: int
    sets: int
    pulses: int
    driven: int
    locked: int
    reset: int
    reset_known: int

    @property
    def absent(self) -> int:
        """Bits that always read 0."""
        return ALL_BITS & ~(self.stored | self.clears | self.sets | self.driven)

    def after_write(self, before: int, value: int, *, strobes: int = 0xFF, locked: bool = False) -> int:
        """What the register holds after a write, from what it held before; driven bits as before."""
        written = sum(0xFF << (8 * lane) for lane in range(WORD_BYTES) if strobes >> lane & 1)
        writable = self.stored & written & ~(self.locked if locked else 0)
        after = (before & ~writable) | (value & writable)
        return (after | (value & self.sets & written)) & ~(value & self.clears & written)


_BY_ON_WRITE = {"woclr": "clears", "woset": "sets"}


def _mask(field: FieldNode) -> int:
    return ((1 << field.width) - 1) << field.low


def _policy(node: RegNode) -> RegisterPolicy:
    masks = dict.fromkeys(("stored", "clears", "sets", "pulses", "driven", "locked", "reset", "reset_known"), 0)
    for field in node.fields():
        mask = _mask(field)
        access = field.get_property("sw").name
        reset = field.get_property("reset")
        on_write = field.get_property("onwrite")
        if on_write is not None:
            masks[_BY_ON_WRITE[on_write.name]] |= mask
        elif field.get_property("singlepulse") or access == "w":
            masks["pulses"] |= mask
        elif access == "r":
            masks["driven"] |= mask
        else:
            masks["stored"] |= mask
            masks["locked"] |= mask if field.get_property("swwel") else 0
        if isinstance(reset, int) and not masks["pulses"] & mask:
            masks["reset"] |= reset << field.low
            masks["reset_known"] |= mask
    return RegisterPolicy(node.inst_name, node.absolute_address, **masks)


def register_policies(path: Path = REGISTER_FILE) -> list[RegisterPolicy]:
    """All registers by rising offset. Errors: UserError if the file does not compile."""
    top = compile_registers(path).top
    assert isinstance(top, AddrmapNode)
    return sorted((_policy(node) for node in top.children() if isinstance(node, RegNode)), key=lambda each: each.offset)


def unmapped_offsets(policies: list[RegisterPolicy], size: int) -> list[int]:
    """Offsets below `size` bytes at which there is no register."""
    there = {policy.offset for policy in policies}
    return [offset for offset in range(0, size, WORD_BYTES) if offset not in there]
