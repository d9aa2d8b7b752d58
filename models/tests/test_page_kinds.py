# SPDX-License-Identifier: Apache-2.0
"""Every kind of page asked for by the golden device, through the driver."""

from __future__ import annotations

import pytest

from models.golden_device import DeviceAbort
from models.golden_mmu import PERMISSION_WRITE
from models.structures import Access
from models.tests.closed_loop import ClosedLoop
from models.tests.page_kinds import KINDS, Seen, run_kind


class GoldenMachine:
    """A Machine whose device is the golden one."""

    def __init__(self, loop: ClosedLoop) -> None:
        assert loop.pagemap is not None and loop.foreign is not None
        self.loop = loop
        self.driver = loop.driver
        self.frames = loop.frames
        self.pagemap = loop.pagemap
        self.foreign = loop.foreign
        self.space = loop.space

    async def ask(self, pasid: int, va: int, access: Access) -> Seen:
        """One request, granted and released."""
        try:
            grant = await self.loop.device.translate(pasid, va, access)
        except DeviceAbort as abort:
            return Seen(abort.reason)
        translation = grant.translation
        self.loop.device.release(grant)
        writable = bool(translation.permissions & PERMISSION_WRITE)
        return Seen(pfn=translation.pfn, device=translation.device, writable=writable)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("format_name", ["hmm_2018_flags", "nouveau", "amdgpu"])
def test_page_kind(kind: str, format_name: str) -> None:
    """A page of each kind, as models/tests/page_kinds.py tells its story.

    Stimulus: the CPU brings the page into its state, the device asks, the CPU changes it, the device asks again.
    Checking: pfn, memory, permission and data against the CPU's page table; refusals; all rules; nothing left.
    Covers: PAGE-KINDS, MIGRATION, FOREIGN, HMM-COW.
    """
    loop = ClosedLoop(format_name=format_name, device_pages=True, foreign_pages=True)
    loop.run(run_kind(GoldenMachine(loop), kind))
    loop.finish()
