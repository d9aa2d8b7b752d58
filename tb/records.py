# SPDX-License-Identifier: Apache-2.0
"""The records that a case and the testbench's C++ exchange: little-endian NumPy structures, one row a record.

The C++ side of every record is in tb/cpp/records.h. tb/simulator.py compares the sizes when a simulation starts.

Cycles count from 0 at the first rising clock edge after reset. "In cycle t" means: sampled by the edge that ends it.

- The requests of all client ports stand in one array. Each port takes its own rows, in order, and has ids of its own;
  "predecessor" is the row before it of the same port.
- A request whose predecessor was accepted in cycle h (the first one: h = 0) becomes valid in the first cycle t with
  t >= h + 1 + pause, with `after_action` actions complete before t, and with an id that was free before t.
- A request with RequestFlag.ORDERED waits, and all behind it on its port wait with it, until every earlier one of its
  port to the same page of 4 KiB and context has been released, in cycle r at the latest: then t >= r + 1 + pause too.
- A grant that a response in cycle f began is released in cycle f + 1 + hold, or in the next free cycle after it: the
  release channel of a port carries one id a cycle, the one that was due first goes first.
- A soft reset of the device ends every request that was accepted, in the first cycle that the device says so, after
  releases that are due in it. A request that was not accepted is offered anew when it is over.
- The data of a request with a grant move in the cycle of its release. Within a cycle the host's access to memory comes
  first, then those of the clients by number, then what the device writes, then what it reads.
- An action whose predecessor was done in cycle d (the first one: d = 0) starts in the first cycle s with
  s >= d + 1 + delay, s >= not_before, and `after_request` responses complete before s.
- A memory action touches memory in its start cycle, before the device's own accesses of that cycle, and is done one
  cycle later; WAIT_MEMORY repeats that every cycle until it matches. Register actions put their address on the bus one
  cycle after they start, and are done in the cycle of the bus response; WAIT_REGISTER repeats the read until it
  matches. WAIT_INTERRUPT is done in the first cycle after its start in which the line is high.
- The memory samples a read in the cycle t of its address handshake, and offers the data in cycle t + 1 + latency
  unless a drawn pause or an earlier response of the same id delays it.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

REQUEST_DTYPE = np.dtype(
    {
        "names": ["va", "pasid", "access", "client", "pause", "hold", "flags", "after_action", "length"],
        "formats": ["<u8", "<u4", "u1", "u1", "<u2", "<u2", "<u2", "<u4", "u1"],
        "offsets": [0, 8, 12, 13, 14, 16, 18, 20, 24],
        "itemsize": 32,
    }
)
"""One request of a client. `client` is the number of its port, from 1 (0 is the engine inside the device); `flags` has
the bits of RequestFlag. `length` bytes from `va` on move under the grant: 0 none, at most DATA_BYTES, within one page;
an ATOMIC that moves data has length 8 and an aligned `va`. What moves stands in a row of its own, see DATA_BYTES."""

DATA_BYTES = 64
"""Bytes of a request's row in the array of data, uint8[n, DATA_BYTES]. A READ puts what it loaded into the first
`length` of them; a WRITE stores those; an ATOMIC adds the first 8 (little-endian, modulo 2^64) to memory and puts what
was there before into the next 8."""

RESPONSE_DTYPE = np.dtype(
    {
        "names": [
            "pa",
            "accept_cycle",
            "finish_cycle",
            "release_cycle",
            "status",
            "reason",
            "order",
            "permissions",
            "memory",
            "id",
            "done",
            "data_cycle",
        ],
        "formats": ["<u8", "<u8", "<u8", "<u8", "u1", "u1", "u1", "u1", "u1", "u1", "u1", "<u8"],
        "offsets": [0, 8, 16, 24, 32, 33, 34, 35, 36, 37, 38, 40],
        "itemsize": 48,
    }
)
"""What came of a request. `status` 0 OK, 1 ABORTED; `permissions` bit 0 write, bit 1 atomic; `memory` 1 = device
memory. `done` has the bits of Done; a cycle field is meaningful once its bit is set. `data_cycle` is the cycle in
which the request's data moved, 0 if none did."""

ACTION_DTYPE = np.dtype(
    {
        "names": ["kind", "after_request", "not_before", "address", "data", "mask", "delay", "flags"],
        "formats": ["<u4", "<u4", "<u8", "<u8", "<u8", "<u8", "<u4", "<u4"],
        "offsets": [0, 4, 8, 16, 24, 32, 40, 44],
        "itemsize": 48,
    }
)
"""One action of the host; `kind` is an ActionKind. `flags` is 0 for now."""

ACTION_RESULT_DTYPE = np.dtype(
    {
        "names": ["start_cycle", "done_cycle", "data", "status", "done"],
        "formats": ["<u8", "<u8", "<u8", "<u4", "<u4"],
        "offsets": [0, 8, 16, 24, 28],
        "itemsize": 32,
    }
)
"""What came of an action: `data` what a read or the last look of a wait saw, `status` the AXI response (0 = OKAY; of
memory actions: 3 for an address outside the memory), `done` 1 once it is complete."""

EVENT_DTYPE = np.dtype(
    {
        "names": ["cycle", "va", "pa", "extra", "pasid", "kind", "id", "code", "reason", "client"],
        "formats": ["<u8", "<u8", "<u8", "<u8", "<u4", "u1", "u1", "u1", "u1", "u1"],
        "offsets": [0, 8, 16, 24, 32, 36, 37, 38, 39, 40],
        "itemsize": 48,
    }
)
"""One row of the event log; see EventKind for what each kind puts where. Fields that a kind does not name are 0."""

SETTINGS_DTYPE = np.dtype(
    {
        "names": [
            "seed",
            "watchdog_cycles",
            "flags",
            "read_latency_min",
            "read_latency_max",
            "write_latency_min",
            "write_latency_max",
            "ar_pause",
            "r_pause",
            "aw_pause",
            "w_pause",
            "b_pause",
        ],
        "formats": ["<u8", "<u8", "<u4", "<u2", "<u2", "<u2", "<u2", "u1", "u1", "u1", "u1", "u1"],
        "offsets": [0, 8, 16, 20, 22, 24, 26, 28, 29, 30, 31, 32],
        "itemsize": 40,
    }
)
"""The numbers that the memory and the watchdog of one case work with. Latencies are drawn from [min, max] for each
access; a pause is the chance, in sixteenths, that a channel stands still in a cycle (0 never, 15 nearly always).
`watchdog_cycles` 0 switches the watchdog off. `flags` holds the bits of SettingsFlag."""

Requests = NDArray[np.void]
Responses = NDArray[np.void]
Actions = NDArray[np.void]
ActionResults = NDArray[np.void]
Events = NDArray[np.void]
RequestData = NDArray[np.uint8]


class RequestFlag(IntFlag):
    """Bits of a request's `flags`."""

    ORDERED = 1
    """Wait until every earlier request of the port to the same page has been released."""


class Done(IntFlag):
    """How far a request has come."""

    ACCEPTED = 1
    FINISHED = 2
    RELEASED = 4
    """The grant has ended, or the response began none."""
    RESET = 8
    """A soft reset of the device ended it, with RELEASED: unanswered, or with a grant that was never released."""


class ActionKind(IntEnum):
    """What the host does."""

    WRITE_MEMORY = 1
    """Store the 8 bytes `data` at the bus address `address`."""
    READ_MEMORY = 2
    """Load the 8 bytes at `address`."""
    WRITE_REGISTER = 3
    """Write `data` to the register at byte offset `address`."""
    READ_REGISTER = 4
    """Read the register at byte offset `address`."""
    WAIT_MEMORY = 5
    """Wait until (8 bytes at `address` & `mask`) == `data`."""
    WAIT_REGISTER = 6
    """Read the register at byte offset `address` until (value & `mask`) == `data`."""
    WAIT_INTERRUPT = 7
    """Wait until the interrupt line is high."""
    SET_OWNER = 8
    """Give the words of [`address`, `address` + `data`) the owner byte `mask`."""
    NOP = 9
    """Nothing; it takes its place in time."""


class EventKind(IntEnum):
    """What a row of the event log tells. Rows stand by cycle, inside a cycle by the order of these values' list in
    tb/sv/tb_events.sv: responses, and releases, by client."""

    TRANSLATION = 1
    """A response OK: va, pa, pasid, client, id, code = access, extra = order | write << 8 | atomic << 9 |
    memory << 10."""
    FAULT = 2
    """A response ABORTED: va, pasid, client, id, code = access, reason."""
    GRANT_END = 3
    """A release: va and pasid of the request, client, id, code = access."""
    COMMAND = 4
    """A command takes effect: va = first, pa = last, pasid, code = opcode, extra = index | all << 32, reason = 1 if it
    is malformed and skipped."""
    INVALIDATION = 5
    """A command that drops translations takes effect: fields as COMMAND."""
    FENCE = 6
    """A fence is complete: extra = its sequence number."""
    ACTION = 7
    """An action of the host is done: va = address, pa = its start cycle, extra = data of its result, code = kind,
    reason = AXI response."""
    INTERRUPT = 8
    """The interrupt line rises."""
    FAULT_RECORD = 9
    """A fault record is in memory, in the cycle of its write response: extra = its tag. The answers to it are rows
    COMMAND (va = the tag of a RESUME); what they do to requests are rows TRANSLATION and FAULT."""
    SOFT_RESET = 10
    """A soft reset begins (extra = 1) or is over (extra = 0): the first cycle of it, and the first behind it."""


class DeviceEventKind(IntEnum):
    """What a row of the device's own log tells. Rows stand by cycle, inside a cycle as in tb/sv/tb_device_events.sv."""

    BUS_READ = 1
    """A read address is taken: pa, id of the bus."""
    BUS_READ_DATA = 2
    """Data of a read is taken: id of the bus, reason = AXI response."""
    BUS_WRITE = 3
    """A write address is taken: pa, id of the bus."""
    BUS_WRITE_DONE = 4
    """The response of a write is taken: id of the bus, reason = AXI response."""
    LOOKUP_HIT = 5
    """A request is answered from its port's cache."""
    LOOKUP_MISS = 6
    """A request is taken to be looked for in the second-level cache, and to be walked if it is not there."""
    WALK_START = 7
    WALK_DROP = 8
    """A walk is thrown away and begins anew."""
    FILL = 9
    """A walk ends with a translation, which is cached in this cycle."""
    WALK_FAULT = 10
    """A walk ends with a reason."""
    MERGE = 11
    """A request that faults joins the fault of another one."""
    REPLAY = 12
    """An answer lets faults walk again."""
    ENABLE = 13
    """CONTROL.ENABLE changes to extra: first cycle of the new value; so for the following ones."""
    COMMAND_TAIL = 14
    FAULT_GET = 15
    FAULT_PUT = 16
    SOFT_RESET = 17
    """A soft reset begins (extra = 1) or is over (extra = 0), as EventKind.SOFT_RESET."""
    SHARED_HIT = 18
    """A request is answered from the second-level cache."""


class SettingsFlag(IntFlag):
    """Switches of a case."""

    REPORT_FETCHED = 1
    """Wake Python whenever a transactor takes a request from the array."""
    DEVICE_EVENTS = 2
    """Keep a log of the device's own events (DeviceEventKind), beside the event log."""


class Cause(IntFlag):
    """Why the simulation woke Python."""

    REQUESTS_DONE = 1
    """Every request that was announced has its response, and every grant is released."""
    ACTIONS_DONE = 2
    """Every action of the array is done."""
    REQUEST_FETCHED = 4
    """A transactor took a request from the array; only with SettingsFlag.REPORT_FETCHED."""
    STALLED = 8
    """Requests or actions are open and nothing has finished for `watchdog_cycles` cycles."""
    OWNER_VIOLATION = 16
    """The device, or a client that moved data, touched memory that is not meant for it."""
    ASSERTION_FAILURE = 32
    """An assertion of the device or of the testbench failed."""
    KEYBOARD_INTERRUPT = 64
    """Somebody asked the process to end."""
