# SPDX-License-Identifier: Apache-2.0
"""Pages in device memory: the device's own, read-only after a fork, and another device's."""

from __future__ import annotations

import pytest

from models.arrays import PAGE_BYTES
from models.driver.device_memory import DeviceMemory
from models.errors import UserError
from models.golden_device import DeviceAbort
from models.hmm import EntryKind, HmmError, MapFlags, MemoryMap, cpu_read, cpu_write, fork
from models.structures import Reason
from models.tests.closed_loop import DEVICE_WINDOW, ClosedLoop

PLACE = 0x4000_0000
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
FORMATS = ["hmm_2018_flags", "nouveau", "amdgpu"]
"""Two with a DEVICE_PRIVATE flag, and one where only the window tells."""


async def space_with_data(loop: ClosedLoop) -> MemoryMap:
    """A bound address space with four pages, page n filled with n + 1."""
    mm = loop.space()
    await loop.driver.bind(1, mm)
    await mm.mmap(PLACE, 4 * PAGE_BYTES, flags=FIXED)
    for page in range(4):
        await cpu_write(mm, PLACE + page * PAGE_BYTES, bytes([page + 1]) * 8)
    return mm


def filled(page: int) -> int:
    """The 64-bit word of page n."""
    return int.from_bytes(bytes([page + 1]) * 8, "little")


@pytest.mark.parametrize("format_name", FORMATS)
def test_driver_device_memory_own_pages(format_name: str) -> None:
    """The device uses its own memory in place; the CPU's touch brings a page back, with what the device wrote.

    Stimulus: four pages moved; device reads and writes; CPU reads and writes; moved again.
    Checking: values on both sides; where each page is; device pages in use; rules.
    Covers: MIGRATION, DEVICE-WINDOW.
    """
    loop = ClosedLoop(format_name=format_name, device_pages=True)

    async def scenario() -> None:
        mm = await space_with_data(loop)
        assert await loop.device.read(1, PLACE) == filled(0)
        assert await loop.driver.migrate_to_device(1, PLACE, PLACE + 4 * PAGE_BYTES) == 4
        assert mm.page_table.count(EntryKind.DEVICE_PRIVATE) == 4
        assert [await loop.device.read(1, PLACE + page * PAGE_BYTES) for page in range(4)] == [
            filled(page) for page in range(4)
        ]
        await loop.device.write(1, PLACE + PAGE_BYTES, 77)
        assert mm.page_table.count(EntryKind.DEVICE_PRIVATE) == 4
        assert int.from_bytes(await cpu_read(mm, PLACE + PAGE_BYTES, 8), "little") == 77
        assert mm.page_table.count(EntryKind.DEVICE_PRIVATE) == 3
        await cpu_write(mm, PLACE + PAGE_BYTES, (78).to_bytes(8, "little"))
        assert await loop.device.read(1, PLACE + PAGE_BYTES) == 78
        assert await loop.driver.migrate_to_device(1, PLACE, PLACE + 2 * PAGE_BYTES) == 1
        assert await loop.device.read(1, PLACE + PAGE_BYTES) == 78
        assert loop.pagemap is not None
        assert loop.pagemap.pool.pages_in_use() == 4
        await mm.exit()
        assert loop.pagemap.pool.pages_in_use() == 0

    loop.run(scenario())
    loop.finish()


@pytest.mark.parametrize("format_name", FORMATS)
def test_driver_device_memory_read_only_after_fork(format_name: str) -> None:
    """A device page shared with a child is read in place; a device write brings it back and copies it.

    Stimulus: a page moved, then forked; a device read; a device write; CPU reads on both sides.
    Checking: the read leaves the page in device memory; the write reaches only the parent; rules.
    Covers: MIGRATION, HMM-COW, HMM-STATES-DEVICE.
    """
    loop = ClosedLoop(format_name=format_name, device_pages=True)

    async def scenario() -> None:
        mm = await space_with_data(loop)
        await loop.driver.migrate_to_device(1, PLACE, PLACE + PAGE_BYTES)
        child = await fork(mm)
        assert await loop.device.read(1, PLACE) == filled(0)
        assert mm.page_table.lookup(PLACE).kind is EntryKind.DEVICE_PRIVATE
        await loop.device.write(1, PLACE, 99)
        assert mm.page_table.lookup(PLACE).kind is EntryKind.PRESENT
        assert int.from_bytes(await cpu_read(mm, PLACE, 8), "little") == 99
        assert int.from_bytes(await cpu_read(child, PLACE, 8), "little") == filled(0)
        await child.exit()

    loop.run(scenario())
    loop.finish()


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("write", [False, True])
def test_driver_device_memory_of_another_device(format_name: str, write: bool) -> None:
    """A page in another device's memory is brought back before this device uses it; its pfn never goes into a slot.

    Stimulus: a page moved into a foreign device's memory; a device access; a foreign device that gives nothing back.
    Checking: value, page in system memory; else cancelled, and no entry for it; rules.
    Covers: FOREIGN, I5, I6.
    """
    loop = ClosedLoop(format_name=format_name, device_pages=True, foreign_pages=True)
    assert loop.foreign is not None
    other = DeviceMemory(loop.foreign)

    async def scenario() -> None:
        mm = await space_with_data(loop)
        assert await other.take(mm, PLACE, PLACE + 2 * PAGE_BYTES) == 2
        if write:
            await loop.device.write(1, PLACE, 5)
        else:
            assert await loop.device.read(1, PLACE) == filled(0)
        assert mm.page_table.lookup(PLACE).kind is EntryKind.PRESENT
        assert mm.page_table.lookup(PLACE + PAGE_BYTES).kind is EntryKind.DEVICE_PRIVATE
        assert loop.foreign is not None
        loop.foreign.migrate_to_ram = None
        with pytest.raises(DeviceAbort) as caught:
            await loop.device.read(1, PLACE + PAGE_BYTES)
        assert caught.value.reason is Reason.NOT_PRESENT
        live = loop.driver.tables.live_words(1, PLACE)
        pfn = mm.page_table.lookup(PLACE + PAGE_BYTES).pfn
        assert not (loop.driver.decoded(live).pfn == pfn).any()

    loop.run(scenario())
    # The page exists, so the CPU would permit the access; only its device never gives it back.
    (found,) = loop.findings()
    assert found.startswith("I12")


def test_driver_device_memory_full() -> None:
    """When the device's memory is full the rest stays where it is.

    Stimulus: more pages moved than the window has.
    Checking: how many moved; all bytes; that the rest can still be used by both.
    Covers: MIGRATION.
    """
    loop = ClosedLoop(device_pages=True)
    pages = DEVICE_WINDOW.count + 8

    async def scenario() -> None:
        mm = loop.space()
        await loop.driver.bind(1, mm)
        await mm.mmap(PLACE, pages * PAGE_BYTES, flags=FIXED)
        for page in range(pages):
            await cpu_write(mm, PLACE + page * PAGE_BYTES, page.to_bytes(8, "little"))
        assert await loop.driver.migrate_to_device(1, PLACE, PLACE + pages * PAGE_BYTES) == DEVICE_WINDOW.count
        for page in (0, DEVICE_WINDOW.count - 1, DEVICE_WINDOW.count, pages - 1):
            assert await loop.device.read(1, PLACE + page * PAGE_BYTES) == page
        for page in range(0, pages, 37):
            assert int.from_bytes(await cpu_read(mm, PLACE + page * PAGE_BYTES, 8), "little") == page

    loop.run(scenario())
    loop.finish()


def test_driver_device_memory_calls_that_cannot_be() -> None:
    """Moving pages of nothing, of shared memory, or to a device without memory, is refused.

    Stimulus: such calls.
    Checking: UserError or errno names.
    Covers: MIGRATION, HMM-ERRNO.
    """
    without, loop = ClosedLoop(), ClosedLoop(device_pages=True)

    async def scenario() -> None:
        await space_with_data(without)
        with pytest.raises(UserError, match="memory of its own"):
            await without.driver.migrate_to_device(1, PLACE, PLACE + PAGE_BYTES)
        with pytest.raises(UserError, match="Bind PASID 2"):
            await loop.driver.migrate_to_device(2, PLACE, PLACE + PAGE_BYTES)

    async def errors() -> None:
        mm = await space_with_data(loop)
        with pytest.raises(HmmError, match="EFAULT"):
            await loop.driver.migrate_to_device(1, PLACE - PAGE_BYTES, PLACE)
        with pytest.raises(HmmError, match="EINVAL"):
            await loop.driver.migrate_to_device(1, PLACE, PLACE + 5 * PAGE_BYTES)
        shared = await mm.mmap(0, PAGE_BYTES, flags=MapFlags.MAP_SHARED)
        with pytest.raises(HmmError, match="EINVAL"):
            await loop.driver.migrate_to_device(1, shared, shared + PAGE_BYTES)

    without.run(scenario())
    loop.run(errors())
