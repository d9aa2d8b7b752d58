# SPDX-License-Identifier: Apache-2.0
"""The host's memory management: address spaces, page tables, faults, migration, and HMM's calls of 2018."""

from models.hmm.cpu import cpu_read, cpu_write
from models.hmm.errors import CpuAccessError, HmmError, Signal
from models.hmm.fork import fork
from models.hmm.frames import DevicePagemap, Frames
from models.hmm.memory_map import PRIVATE, READ_WRITE, SHARED, MemoryMap
from models.hmm.migration import migrate_vma
from models.hmm.mirror import HmmMirror, hmm_mirror_register, hmm_mirror_unregister
from models.hmm.notifiers import InvalidateEvent, MmuNotifierRange
from models.hmm.operations.reclaim import memory_failure
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind
from models.hmm.range import HmmPfnFlag, HmmPfnFlagMerged, HmmPfnValue, HmmRange, range_in_format
from models.hmm.system_calls import Advice, MapFlags, Prot, RemapFlags
from models.hmm.vma import Vma, VmFlags
from models.hmm.walk import hmm_vma_fault, hmm_vma_get_pfns, hmm_vma_range_done

__all__ = [
    "PRIVATE",
    "READ_WRITE",
    "SHARED",
    "Advice",
    "CpuAccessError",
    "CpuEntry",
    "DevicePagemap",
    "EntryFlags",
    "EntryKind",
    "Frames",
    "HmmError",
    "HmmMirror",
    "HmmPfnFlag",
    "HmmPfnFlagMerged",
    "HmmPfnValue",
    "HmmRange",
    "InvalidateEvent",
    "MapFlags",
    "MemoryMap",
    "MmuNotifierRange",
    "Prot",
    "RemapFlags",
    "Signal",
    "VmFlags",
    "Vma",
    "cpu_read",
    "cpu_write",
    "fork",
    "hmm_mirror_register",
    "hmm_mirror_unregister",
    "hmm_vma_fault",
    "hmm_vma_get_pfns",
    "hmm_vma_range_done",
    "memory_failure",
    "migrate_vma",
    "range_in_format",
]
