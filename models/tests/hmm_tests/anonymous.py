# SPDX-License-Identifier: Apache-2.0
"""Scenarios of the kernel's test of HMM: anonymous and shared memory, files, huge pages that were set aside.

Source: the names and what they show, tools/testing/selftests/mm/hmm-tests.c of Linux; nothing of its text.
"""

from __future__ import annotations

from models.arrays import PAGE_BYTES
from models.hmm import MemoryMap, Prot, VmFlags, fork
from models.hmm.frames import HUGE_BYTES, HugePool
from models.hmm.vma import Backing, SharedObject, Vma
from models.tests.hmm_tests.machine import (
    CHILD_PASID,
    FIXED_PRIVATE,
    FIXED_SHARED,
    PAGES,
    PASID,
    PLACE,
    READ_WRITE,
    Machine,
    at,
    cpu_load,
    cpu_store,
    expect_cpu,
    fill,
)

HUGETLB = VmFlags.VM_READ | VmFlags.VM_WRITE | VmFlags.VM_MAYREAD | VmFlags.VM_MAYWRITE | VmFlags.VM_HUGETLB


async def open_close(machine: Machine) -> None:
    """Bind and unbind."""
    await machine.space()
    await machine.driver.unbind(PASID)
    assert not machine.driver.contexts


async def anon_read(machine: Machine) -> None:
    """A page of nothing, the page of zeros, written pages made read-only: the device reads all."""
    mm = await machine.buffer()
    for page in range(2, PAGES):
        await cpu_store(mm, at(page), page)
    assert await cpu_load(mm, at(1)) == 0
    await mm.mprotect(at(2), (PAGES - 2) * PAGE_BYTES, Prot.PROT_READ)
    for page in range(PAGES):
        assert await machine.device.read(PASID, at(page)) == (page if page > 1 else 0)


async def anon_read_prot(machine: Machine) -> None:
    """What the CPU may not read the device may not either."""
    mm = await machine.buffer()
    await fill(mm)
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_NONE)
    await machine.refused(machine.device.read(PASID, PLACE))
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ)
    await expect_cpu(mm)


async def anon_write(machine: Machine) -> None:
    """The CPU reads what the device wrote."""
    mm = await machine.buffer()
    for page in range(PAGES):
        await machine.device.write(PASID, at(page), 1 + page)
    await expect_cpu(mm)


async def anon_write_prot(machine: Machine) -> None:
    """Read-only memory is not written by the device; after mprotect() it is."""
    mm = await machine.buffer(prot=Prot.PROT_READ)
    assert await machine.device.read(PASID, PLACE) == 0
    await machine.refused(machine.device.write(PASID, PLACE, 7))
    assert await cpu_load(mm, PLACE) == 0
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, READ_WRITE)
    await machine.device.write(PASID, PLACE, 7)
    assert await cpu_load(mm, PLACE) == 7


async def anon_write_child(machine: Machine) -> None:
    """What the device writes for a child the parent does not see."""
    mm = await machine.buffer()
    await fill(mm)
    child = await fork(mm)
    await machine.driver.bind(CHILD_PASID, child)
    for page in range(PAGES):
        await machine.device.write(CHILD_PASID, at(page), 100 + page)
    await expect_cpu(child, first=100)
    await expect_cpu(mm)
    await machine.expect()


async def anon_write_child_shared(machine: Machine) -> None:
    """In shared memory the parent sees it."""
    mm = await machine.space()
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, READ_WRITE, FIXED_SHARED)
    await fill(mm)
    child = await fork(mm)
    await machine.driver.bind(CHILD_PASID, child)
    for page in range(PAGES):
        await machine.device.write(CHILD_PASID, at(page), 100 + page)
    await expect_cpu(mm, first=100)


async def anon_read_multiple(machine: Machine) -> None:
    """A new buffer each time, at the same place."""
    mm = await machine.buffer()
    for turn in range(10):
        await fill(mm, first=turn)
        await machine.expect(first=turn)
        await mm.munmap(PLACE, PAGES * PAGE_BYTES)
        await mm.mmap(PLACE, PAGES * PAGE_BYTES, flags=FIXED_PRIVATE)


async def anon_teardown(machine: Machine) -> None:
    """The upper half is unmapped while the device reads: each page is read right, or refused once it is gone."""
    mm = await machine.buffer()
    for turn in range(5):
        await fill(mm, first=turn)
        task = machine.start(mm.munmap(at(PAGES // 2), PAGES // 2 * PAGE_BYTES))
        for page in range(PAGES):
            try:
                assert await machine.device.read(PASID, at(page)) == turn + page
            except machine.refusal:
                assert page >= PAGES // 2
        while not task.done:
            await machine.driver.port.pause("test: wait")
        await mm.mmap(at(PAGES // 2), PAGES // 2 * PAGE_BYTES, flags=FIXED_PRIVATE)


def hugetlb_area(mm: MemoryMap) -> None:
    """The buffer is 2 MiB of a page that was set aside, which is not mapped yet."""
    mm.frames.huge_pools.setdefault(HUGE_BYTES, HugePool(2))
    store = SharedObject(kind=Backing.HUGETLB, lasts=True)
    mm.vmas.insert(Vma(mm, PLACE, PLACE + HUGE_BYTES, HUGETLB, store, huge_bytes=HUGE_BYTES), merge=False)


async def anon_write_hugetlbfs(machine: Machine) -> None:
    """The device writes to a page of hugetlb memory; the CPU reads it, and maps it by one entry."""
    mm = await machine.space()
    hugetlb_area(mm)
    for page in (0, 5, 511):
        await machine.device.write(PASID, at(page), 1 + page)
        assert await cpu_load(mm, at(page)) == 1 + page
    assert mm.page_table.large[PLACE].order == 9


def _file_area(mm: MemoryMap) -> SharedObject:
    """The buffer shows a file from now on."""
    area = mm.vmas.find(PLACE)
    assert area is not None and area.shared is not None
    area.shared.kind = Backing.FILE
    area.shared.size = PAGES
    area.shared.lasts = True
    return area.shared


async def file_read(machine: Machine) -> None:
    """The device reads a mapped file."""
    mm = await machine.space()
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, READ_WRITE, FIXED_SHARED)
    _file_area(mm)
    await fill(mm)
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ)
    await machine.expect()


async def file_write(machine: Machine) -> None:
    """What the device writes is in the file."""
    mm = await machine.space()
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, READ_WRITE, FIXED_SHARED)
    file = _file_area(mm)
    for page in range(PAGES):
        await machine.device.write(PASID, at(page), 1 + page)
    assert [int(mm.frames.words(file.pages[page])[0]) for page in range(PAGES)] == list(range(1, PAGES + 1))
