# SPDX-License-Identifier: Apache-2.0
"""The generations of HMM's calls as data: what each says of an entry of the page table, and when it faults.

One walk serves all of them (models/hmm/page_walk.py). Source: docs/host.md, "Asking HMM"; mm/hmm.c of Linux 4.17 to 5.1
for the calls of 2018, of Linux 5.8 to 6.12 for hmm_range_fault().
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """What one generation does where generations differ.

    anywhere: a range may have gaps and areas that cannot be looked into; they are ERROR, and asking for them is EFAULT.
    Else the whole range is refused before anything is looked at.
    by_owner: memory of the caller's own device is valid and never faulted, memory of another is faulted; else
    DEVICE_PRIVATE says what a page is, and in a request asks for it back.
    orders: entries carry the order of the CPU's entry; where the CPU may not use a page its pfn is shown all the same.
    bare_pfn_error: an entry without a page behind it is ERROR; else it is as valid as any other.
    lost_error: a page lost to a memory error is ERROR; else nothing.
    joint_requests: a hole or a huge entry takes all requests in it together; else the first that needs anything.
    """

    anywhere: bool
    by_owner: bool
    orders: bool
    bare_pfn_error: bool
    lost_error: bool
    joint_requests: bool


CALLS_OF_2018 = Dialect(
    anywhere=False, by_owner=False, orders=False, bare_pfn_error=False, lost_error=True, joint_requests=False
)
"""hmm_vma_get_pfns() and hmm_vma_fault(), in the first form and the merged one."""
PRESENT_CALL = Dialect(
    anywhere=True, by_owner=True, orders=True, bare_pfn_error=True, lost_error=False, joint_requests=True
)
"""hmm_range_fault() since Linux 5.8."""
