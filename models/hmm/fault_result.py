# SPDX-License-Identifier: Apache-2.0
"""How page faults end (vm_fault_t of include/linux/mm_types.h), and what an address space cannot know of itself."""

from __future__ import annotations

from enum import Enum


class FaultResult(Enum):
    """How a fault ended (vm_fault_t)."""

    DONE = "look again: the entry may fit now"
    RETRY = "VM_FAULT_RETRY: it would have had to wait; the mmap lock was dropped"
    SIGSEGV = "VM_FAULT_SIGSEGV: the area does not allow the access"
    SIGBUS = "VM_FAULT_SIGBUS: there is no page to be had"
    HWPOISON = "VM_FAULT_HWPOISON: the page was lost to a memory error"
    OOM = "VM_FAULT_OOM: no memory"


class Undecided(Enum):
    """What decides a fault now and then, and is no part of an address space: whoever runs it may be asked."""

    LRU_BATCH = "whether a processor's LRU batch still holds the page"
    SWAP_USERS = "whether somebody else has the page in swap too"
    HUGE_ENABLED = "whether huge pages are used where no advice was given"
