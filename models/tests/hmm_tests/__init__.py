# SPDX-License-Identifier: Apache-2.0
"""The scenarios of the kernel's own test of HMM, by their names there, on a driver and a device.

Each is a coroutine over a Machine whose device reads and writes at virtual addresses; what it checks stands in it.
Source: the names and what they show, tools/testing/selftests/mm/hmm-tests.c of Linux; nothing of its text.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from models.driver import Driver
from models.tests.hmm_tests import anonymous, exclusive, huge, migration, snapshots
from models.tests.hmm_tests.machine import Device, Machine
from models.tests.hmm_tests.present_driver import PresentDriver
from models.tests.planted_drivers import CancelsOnRace, ForgetsNone, GrantsWriting, WrongRangeEnd

__all__ = ["ABSENT", "BROKEN", "DRIVERS", "SCENARIOS", "Device", "Machine", "Scenario"]

Scenario = Callable[[Machine], Coroutine[Any, Any, None]]

SCENARIOS: dict[str, Scenario] = {
    "open_close": anonymous.open_close,
    "anon_read": anonymous.anon_read,
    "anon_read_prot": anonymous.anon_read_prot,
    "anon_write": anonymous.anon_write,
    "anon_write_prot": anonymous.anon_write_prot,
    "anon_write_child": anonymous.anon_write_child,
    "anon_write_child_shared": anonymous.anon_write_child_shared,
    "anon_write_huge": huge.anon_write_huge,
    "anon_write_hugetlbfs": anonymous.anon_write_hugetlbfs,
    "file_read": anonymous.file_read,
    "file_write": anonymous.file_write,
    "migrate": migration.migrate,
    "migrate_file_private": migration.migrate_file_private,
    "migrate_fault": migration.migrate_fault,
    "migrate_release": migration.migrate_release,
    "migrate_shared": migration.migrate_shared,
    "migrate_mixed": migration.migrate_mixed,
    "migrate_multiple": migration.migrate_multiple,
    "anon_read_multiple": anonymous.anon_read_multiple,
    "anon_teardown": anonymous.anon_teardown,
    "mixedmap": snapshots.mixedmap,
    "snapshot": snapshots.snapshot_of_all_kinds,
    "compound": snapshots.compound,
    "double_map": migration.double_map,
    "exclusive": exclusive.exclusive,
    "exclusive_mprotect": exclusive.exclusive_mprotect,
    "exclusive_cow": exclusive.exclusive_cow,
    "hmm_cow_in_device": migration.hmm_cow_in_device,
    "migrate_anon_huge_empty": huge.migrate_anon_huge_empty,
    "migrate_anon_huge_zero": huge.migrate_anon_huge_zero,
    "migrate_anon_huge_free": huge.migrate_anon_huge_free,
    "migrate_anon_huge_fault": huge.migrate_anon_huge_fault,
    "migrate_partial_unmap_fault": huge.migrate_partial_unmap_fault,
    "migrate_remap_fault": huge.migrate_remap_fault,
    "migrate_anon_huge_err": huge.migrate_anon_huge_err,
    "migrate_anon_huge_zero_err": huge.migrate_anon_huge_zero_err,
}
"""By the names of the kernel's tests, in their order."""

DRIVERS: dict[str, type[Driver]] = {"anon_write_hugetlbfs": PresentDriver}
"""Scenarios that need another driver than the one with the calls of 2018, which refuse huge pages that were set aside.
"""

BROKEN: dict[str, type[Driver]] = {
    "anon_read_multiple": WrongRangeEnd,
    "anon_write_prot": GrantsWriting,
    "migrate_multiple": ForgetsNone,
    "double_map": CancelsOnRace,
}
"""Scenarios that must fail with these drivers, each of which has one mistake."""

ABSENT: dict[str, str] = {
    "hmm_gup_test": "pins pages for somebody who is neither the CPU nor the device; nothing of it reaches a device",
    "benchmark_thp_migration": "measures how long the kernel takes",
    "userfaultfd while a device reads": (
        "needs hmm_range_fault_unlocked_timeout(), which drops the mmap lock; calls before it fail where userfaultfd "
        "would have to fill a page"
    ),
}
"""Tests of the kernel that cannot be had here, each with the reason."""
