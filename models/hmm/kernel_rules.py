# SPDX-License-Identifier: Apache-2.0
"""What differs between kernel releases, as data: each difference with the releases it holds for.

Source: docs/conformance.md, "Kernels"; the functions of mm/memory.c, mm/huge_memory.c named at each row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from models.errors import UserError

Release = tuple[int, int]

FIRST: Release = (0, 0)
NEVER: Release = (1 << 16, 0)


@dataclass(frozen=True)
class KernelRules:
    """One release's answers where releases differ.

    swap_in_writable: a read of a page in swap that nobody else has maps it writable at once (do_swap_page()).
    huge_zero_allocates: a write to the huge page of zeros gets a huge page; else the entry is split
    (do_huge_pmd_wp_page()). hint_restores_write: after a NUMA hint the entry becomes writable wherever it may be,
    else only if it was (do_numa_page()).
    marker_on_anonymous: userfaultfd's markers have an effect in anonymous memory too (pte_marker_handle_uffd_wp()).
    parts_are_reused: a write may reuse the one mapped part of a huge page that was cut up (wp_can_reuse_anon_folio()).
    foreign_memory_faults: a request brings pages of another device back; else it fails (hmm_vma_handle_pte()).
    advice_limits_huge_cache: MADV_NOHUGEPAGE keeps huge pages of the page cache from being mapped as such
    (do_set_pmd()).
    hugetlb_tells_twice: unmapping huge pages that were set aside is told inside what is told anyway
    (__unmap_hugepage_range()). swap_out_splits_first: a huge entry is split, and told so, before its page goes
    (try_to_unmap_one()). split_drops_zeros: parts of a split page that hold only zeros become the page of zeros
    (try_to_map_unused_to_zeropage()). protection_told_by_directory: a change of protection is told where there is a
    table of 2 MiB entries, else where there is such an entry (change_pud_range(), change_pmd_range()).
    unmerge_unshares: pages that were merged get copies that are not writable yet (break_ksm()).
    private_upgrade_needs_dirty: only entries that were written become writable with their area at once
    (can_change_pte_writable()).
    """

    swap_in_writable: bool
    huge_zero_allocates: bool
    hint_restores_write: bool
    marker_on_anonymous: bool
    advice_limits_huge_cache: bool
    hugetlb_tells_twice: bool
    swap_out_splits_first: bool
    split_drops_zeros: bool
    protection_told_by_directory: bool
    unmerge_unshares: bool
    private_upgrade_needs_dirty: bool
    parts_are_reused: bool
    foreign_memory_faults: bool


HOLDS: dict[str, tuple[tuple[Release, Release], ...]] = {
    "swap_in_writable": (((6, 11), NEVER),),
    "huge_zero_allocates": ((FIRST, (5, 8)), ((6, 13), NEVER)),
    "hint_restores_write": (((6, 2), NEVER),),
    "marker_on_anonymous": (((6, 4), NEVER),),
    "advice_limits_huge_cache": (((6, 12), NEVER),),
    "hugetlb_tells_twice": ((FIRST, (6, 2)),),
    "swap_out_splits_first": ((FIRST, (6, 11)),),
    "split_drops_zeros": (((6, 12), NEVER),),
    "protection_told_by_directory": (((6, 12), NEVER),),
    "unmerge_unshares": (((6, 2), NEVER),),
    "private_upgrade_needs_dirty": ((FIRST, (6, 2)),),
    "parts_are_reused": ((FIRST, (6, 7)),),
    "foreign_memory_faults": ((FIRST, (5, 7)), ((5, 19), NEVER)),
}
"""For each field of KernelRules the releases it is true for: from the first, up to but not including the second."""


def kernel_rules(release: Release) -> KernelRules:
    """The rules of a release, given as (6, 1)."""
    return KernelRules(**{name: any(first <= release < end for first, end in spans) for name, spans in HOLDS.items()})


def release_of(name: str) -> Release:
    """(6, 1) of a name that `uname -r` gives, such as 6.1.192-hmm. Errors: UserError if it is none."""
    found = re.match(r"(\d{1,4})\.(\d{1,4})(?!\d)", name)
    if found is None:
        raise UserError(f'Give a kernel release such as "6.1.192", not "{name}".')
    return int(found[1]), int(found[2])


RULES_2018 = kernel_rules((4, 17))
"""The rules of the calls of 2018: Linux 4.17."""
