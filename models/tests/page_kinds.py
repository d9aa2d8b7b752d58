# SPDX-License-Identifier: Apache-2.0
"""A device asks for a page of every kind, and is compared with the CPU's page table: one scenario for each kind.

The scenarios know neither the golden device nor the RTL: they run on any Machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from models.arrays import PAGE_BYTES
from models.driver import Driver
from models.driver.device_memory import DeviceMemory
from models.hmm import (
    Advice,
    DevicePagemap,
    EntryKind,
    Frames,
    MapFlags,
    MemoryMap,
    Prot,
    cpu_read,
    cpu_write,
    fork,
    memory_failure,
)
from models.hmm.frames import HUGE_BYTES
from models.structures import Access, Reason

PLACE = 0x4000_0000
PASID = 1
PRIVATE = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED
SHARED = MapFlags.MAP_SHARED | MapFlags.MAP_FIXED
READ, WRITE = Access.READ, Access.WRITE


@dataclass(frozen=True)
class Seen:
    """How a request ended: with a page (the kernel's pfn, whether it is in the device's memory, may be written), or
    with a reason."""

    reason: Reason = Reason.NONE
    pfn: int = 0
    device: bool = False
    writable: bool = False


class Machine(Protocol):
    """A host and a device with a driver that serves; `pagemap` is the device's own memory, `foreign` another's."""

    driver: Driver
    frames: Frames
    pagemap: DevicePagemap
    foreign: DevicePagemap

    def space(self) -> MemoryMap:
        """A new address space."""
        ...

    async def ask(self, pasid: int, va: int, access: Access) -> Seen:
        """One request of the device, to its end; a grant is released at once."""
        ...


class Scene:
    """One bound address space on a machine. `asked`: how many answers were compared."""

    def __init__(self, machine: Machine, mm: MemoryMap) -> None:
        self.machine = machine
        self.mm = mm
        self.asked = 0

    async def expect_page(self, va: int, access: Access, *, data: bytes | None = None) -> Seen:
        """The device must get what the CPU's page table has at that moment, and `data` must lie there.

        Errors: AssertionError.
        """
        seen = await self.machine.ask(PASID, va, access)
        entry = self.mm.page_table.lookup(va)
        own = entry.kind is EntryKind.DEVICE_PRIVATE
        assert entry.kind in (EntryKind.PRESENT, EntryKind.DEVICE_PRIVATE), f"{va:#x}: {seen}, the CPU has {entry}"
        assert seen == Seen(Reason.NONE, entry.pfn, own, entry.writable), f"{va:#x}: {seen}, the CPU has {entry}"
        assert not own or self.machine.pagemap.window.base <= entry.pfn, f"{va:#x}: a foreign page"
        assert access is READ or seen.writable
        if data is not None:
            words = self.machine.frames.words(seen.pfn)
            assert words.tobytes()[: len(data)] == data, f"{va:#x}: other data"
        self.asked += 1
        return seen

    async def expect_refused(self, va: int, access: Access, reason: Reason) -> None:
        """The driver must have cancelled the request. Errors: AssertionError."""
        seen = await self.machine.ask(PASID, va, access)
        assert seen == Seen(reason), f"{va:#x}: {seen}, not {reason.name}"
        self.asked += 1

    async def map(
        self, pages: int = 1, flags: MapFlags = PRIVATE, prot: Prot = Prot.PROT_READ | Prot.PROT_WRITE
    ) -> None:
        """Map pages at PLACE."""
        await self.mm.mmap(PLACE, pages * PAGE_BYTES, prot, flags)

    async def written(self, data: bytes = b"data", pages: int = 1) -> None:
        """Pages at PLACE that the CPU wrote."""
        await self.map(pages)
        for page in range(pages):
            await cpu_write(self.mm, PLACE + page * PAGE_BYTES, data)

    async def to_device(self, pages: int = 1) -> None:
        """Move pages at PLACE into the device's own memory."""
        moved = await self.machine.driver.migrate_to_device(PASID, PLACE, PLACE + pages * PAGE_BYTES)
        assert moved == pages


async def none(scene: Scene) -> None:
    """Nothing there: a write brings a page of its own."""
    await scene.map()
    await scene.expect_page(PLACE, WRITE)


async def zero_page(scene: Scene) -> None:
    """A read brings the page of zeros, read-only; a write behind it a page of its own, by copy-on-write."""
    await scene.map()
    zero = await scene.expect_page(PLACE, READ, data=bytes(16))
    assert (zero.pfn, zero.writable) == (scene.machine.frames.zero_pfn, False)
    own = await scene.expect_page(PLACE, WRITE, data=bytes(16))
    assert own.pfn != zero.pfn
    assert await scene.expect_page(PLACE, READ) == own


async def writable(scene: Scene) -> None:
    """A page that the CPU wrote."""
    await scene.written()
    await scene.expect_page(PLACE, READ, data=b"data")
    await scene.expect_page(PLACE, WRITE, data=b"data")


async def read_only(scene: Scene) -> None:
    """A protected page may be read; a write is refused until the protection is gone."""
    await scene.written()
    await scene.mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_READ)
    await scene.expect_page(PLACE, READ, data=b"data")
    await scene.expect_refused(PLACE, WRITE, Reason.WRITE_PROTECT)
    await scene.mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE)
    await scene.expect_page(PLACE, WRITE, data=b"data")


async def shared(scene: Scene) -> None:
    """A page of shared memory is the same for parent and child."""
    await scene.map(flags=SHARED)
    await cpu_write(scene.mm, PLACE, b"data")
    child = await fork(scene.mm)
    await scene.expect_page(PLACE, WRITE, data=b"data")
    await cpu_write(child, PLACE, b"more")
    await scene.expect_page(PLACE, READ, data=b"more")
    await child.exit()


async def copy_on_write(scene: Scene) -> None:
    """After a fork the page may be read in place; a write copies it, and the child keeps the old one."""
    await scene.written()
    before = await scene.expect_page(PLACE, WRITE)
    child = await fork(scene.mm)
    both = await scene.expect_page(PLACE, READ, data=b"data")
    assert (both.pfn, both.writable) == (before.pfn, False)
    copy = await scene.expect_page(PLACE, WRITE, data=b"data")
    assert copy.pfn != both.pfn and child.page_table.lookup(PLACE).pfn == both.pfn
    assert await cpu_read(child, PLACE, 4) == b"data"
    await child.exit()


async def huge(scene: Scene) -> None:
    """Pages of a 2 MiB entry lie one behind the other; after a fork they are split and copied one by one."""
    await scene.map(HUGE_BYTES // PAGE_BYTES)
    await scene.mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_HUGEPAGE)
    await cpu_write(scene.mm, PLACE, b"data")
    first = await scene.expect_page(PLACE, READ, data=b"data")
    for page in (1, 255, 511):
        seen = await scene.expect_page(PLACE + page * PAGE_BYTES, WRITE)
        assert seen.pfn == first.pfn + page
    child = await fork(scene.mm)
    copy = await scene.expect_page(PLACE + PAGE_BYTES, WRITE)
    assert copy.pfn != first.pfn + 1
    assert (await scene.expect_page(PLACE, READ, data=b"data")).pfn == first.pfn
    await child.exit()


async def special(scene: Scene) -> None:
    """A pfn of a driver's own area is never given out."""
    await scene.mm.map_pfns(PLACE, PAGE_BYTES, 0x800)
    await scene.expect_refused(PLACE, READ, Reason.NOT_PRESENT)


async def poison(scene: Scene) -> None:
    """A lost page is never given out, not even where the device had it; the page beside it is."""
    await scene.written(pages=2)
    await scene.expect_page(PLACE, WRITE)
    assert await memory_failure(scene.machine.frames, scene.mm.page_table.lookup(PLACE).pfn) == 1
    await scene.expect_refused(PLACE, READ, Reason.NOT_PRESENT)
    await scene.expect_page(PLACE + PAGE_BYTES, READ, data=b"data")


async def own_memory(scene: Scene) -> None:
    """Pages in the device's own memory are used in place; the CPU's touch brings one back, and it may go again."""
    await scene.written(pages=3)
    system = await scene.expect_page(PLACE, WRITE)
    await scene.to_device(3)
    for page, access in enumerate((READ, WRITE, READ)):
        seen = await scene.expect_page(PLACE + page * PAGE_BYTES, access, data=b"data")
        assert seen.device
    assert await cpu_read(scene.mm, PLACE, 4) == b"data"
    back = await scene.expect_page(PLACE, WRITE, data=b"data")
    assert not system.device and not back.device
    assert (await scene.expect_page(PLACE + PAGE_BYTES, READ)).device
    await cpu_write(scene.mm, PLACE, b"more")
    await scene.to_device()
    assert (await scene.expect_page(PLACE, WRITE, data=b"more")).device


async def own_memory_after_fork(scene: Scene) -> None:
    """A page in the device's memory that a child shares is read in place; a write brings it back and copies it."""
    await scene.written()
    await scene.to_device()
    child = await fork(scene.mm)
    before = await scene.expect_page(PLACE, READ, data=b"data")
    assert (before.device, before.writable) == (True, False)
    after = await scene.expect_page(PLACE, WRITE, data=b"data")
    assert not after.device
    assert await cpu_read(child, PLACE, 4) == b"data"
    await child.exit()


async def foreign_memory(scene: Scene) -> None:
    """A page in another device's memory is asked back first; its neighbour stays there."""
    await scene.written(pages=2)
    other = DeviceMemory(scene.machine.foreign)
    assert await other.take(scene.mm, PLACE, PLACE + 2 * PAGE_BYTES) == 2
    seen = await scene.expect_page(PLACE, READ, data=b"data")
    assert not seen.device
    assert scene.mm.page_table.lookup(PLACE + PAGE_BYTES).kind is EntryKind.DEVICE_PRIVATE
    await scene.expect_page(PLACE + PAGE_BYTES, WRITE, data=b"data")


KINDS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    scenario.__name__: scenario
    for scenario in (
        none,
        zero_page,
        writable,
        read_only,
        shared,
        copy_on_write,
        huge,
        special,
        poison,
        own_memory,
        own_memory_after_fork,
        foreign_memory,
    )
}
"""Each kind of page, by name."""


async def run_kind(machine: Machine, name: str) -> None:
    """One scenario, in an address space of its own. Errors: AssertionError for whatever the device should not see."""
    scene = Scene(machine, machine.space())
    await machine.driver.bind(PASID, scene.mm)
    await KINDS[name](scene)
    assert scene.asked, f"{name} compared nothing"
    await scene.mm.exit()
    assert (await machine.ask(PASID, PLACE, READ)).reason is Reason.NO_CONTEXT
    assert machine.pagemap.pool.pages_in_use() == 0
