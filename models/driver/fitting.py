# SPDX-License-Identifier: Apache-2.0
"""What a fault needs, and what an entry gives. Source: docs/host.md, "The driver"."""

from __future__ import annotations

from models.driver.batch import PageFault
from models.entries import Decoded
from models.formats import EntryFormat
from models.hmm.vma import Vma, VmFlags
from models.structures import Access, Reason


def permitted(fmt: EntryFormat, vma: Vma, fault: PageFault) -> bool:
    """Whether the area, and the format, allow what the device wants."""
    if vma.special or VmFlags.VM_READ not in vma.flags:
        return False
    if fault.access is Access.ATOMIC and fmt.atomic:
        return False  # Atomic access needs a page made exclusive to the device, which kernels have since 5.14.
    return not fault.writes or (VmFlags.VM_WRITE in vma.flags and fmt.write != 0)


def fits(decoded: Decoded, slot: int, fault: PageFault) -> bool:
    """Whether an entry serves a fault."""
    if decoded.reason[slot] != Reason.NONE or (fault.writes and not decoded.write[slot]):
        return False
    return fault.access is not Access.ATOMIC or bool(decoded.atomic[slot])


def require_no_loss(before: Decoded, after: Decoded, va: int) -> None:
    """Errors: RuntimeError if a live entry would lose its page or a permission without an invalidation."""
    loses = (after.reason != Reason.NONE) | (after.pfn != before.pfn) | (before.write & ~after.write)
    if bool(((before.reason == Reason.NONE) & loses).any()):
        raise RuntimeError(f"a live entry near {va:#x} would change although nothing was invalidated")
