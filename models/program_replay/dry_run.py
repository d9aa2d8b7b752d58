# SPDX-License-Identifier: Apache-2.0
"""Whether an address space can perform a recording's calls at all, found out before a device is there.

Source: docs/programs.md, "Calls".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm import Frames, MemoryMap
from models.host_scheduler import Scheduler
from models.physical_memory import PhysicalMemory
from models.program_replay.host_calls import map_initial, perform_call
from models.program_replay.plan import ReplayPlan

NO_PAGES = np.zeros(0, dtype=np.uint64)


def check_calls(plan: ReplayPlan) -> None:
    """Performs the calls without data. Errors: UserError for the first that cannot be."""
    scheduler = Scheduler(step_limit=1 << 40)
    mm = MemoryMap(scheduler, Frames(PhysicalMemory(16 * PAGE_BYTES)))

    async def perform_all() -> None:
        for mapping in plan.initial:
            await map_initial(mm, replace(mapping, fills=NO_PAGES))
        for call in plan.calls:
            await perform_call(mm, replace(call, fills=NO_PAGES))

    scheduler.run(perform_all())
