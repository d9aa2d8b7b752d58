# SPDX-License-Identifier: Apache-2.0
"""Scenarios of the kernel's test of HMM: pages that a device has for itself.

Source: the names and what they show, tools/testing/selftests/mm/hmm-tests.c of Linux; nothing of its text.
"""

from __future__ import annotations

from models.arrays import PAGE_BYTES
from models.hmm import CpuAccessError, EntryKind, Prot, fork
from models.hmm.operations.exclusive import make_device_exclusive_range
from models.tests.hmm_tests.machine import (
    PAGES,
    PASID,
    PLACE,
    Machine,
    at,
    cpu_load,
    cpu_store,
    expect_cpu,
    fill,
)


async def exclusive(machine: Machine) -> None:
    """Pages are a device's alone until the CPU writes."""
    mm = await machine.buffer()
    await fill(mm)
    async with mm.mmap_lock.read():
        done = await make_device_exclusive_range(mm, PLACE, at(PAGES), machine.driver)
    assert done == [at(page) for page in range(PAGES)]
    assert mm.page_table.count(EntryKind.EXCLUSIVE) == PAGES
    for page in range(PAGES):
        await cpu_store(mm, at(page), await cpu_load(mm, at(page)) + 1)
    assert mm.page_table.count(EntryKind.EXCLUSIVE) == 0
    await expect_cpu(mm, first=2)
    await machine.expect(first=2)


async def exclusive_mprotect(machine: Machine) -> None:
    """Protected against writing, it is not written."""
    mm = await machine.buffer()
    await fill(mm)
    async with mm.mmap_lock.read():
        await make_device_exclusive_range(mm, PLACE, at(PAGES), machine.driver)
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ)
    await machine.refused(machine.device.write(PASID, PLACE, 9))
    try:
        await cpu_store(mm, PLACE, 9)
    except CpuAccessError:
        await expect_cpu(mm)
        return
    raise AssertionError("the CPU wrote to read-only memory")


async def exclusive_cow(machine: Machine) -> None:
    """The fork takes the pages back from the device; after it each side sees only its own."""
    mm = await machine.buffer()
    await fill(mm)
    async with mm.mmap_lock.read():
        await make_device_exclusive_range(mm, PLACE, at(PAGES), machine.driver)
    child = await fork(mm)
    for space in (mm, child):
        assert space.page_table.count(EntryKind.EXCLUSIVE) == 0
        assert not space.page_table.lookup(PLACE).writable
        for page in range(PAGES):
            await cpu_store(space, at(page), await cpu_load(space, at(page)) + 1)
    await expect_cpu(mm, first=2)
    await expect_cpu(child, first=2)
