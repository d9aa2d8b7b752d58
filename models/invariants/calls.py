# SPDX-License-Identifier: Apache-2.0
"""I7 to I11 of HMM's own calls: success, ERROR, looking, places and orders."""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.invariants.state import Events
from models.memory_events import (
    CallReturned,
    ErrorAsked,
    Looked,
)


def check_call_success(events: Events) -> list[str]:
    """I7: after success every page that was asked for is valid, writable where that was asked (device memory apart),
    and none is ERROR.
    """
    found = []
    for event in events:
        if not isinstance(event, CallReturned):
            continue
        missing = event.fault & (~event.valid | event.error)
        missing |= event.write & ~event.writable & ~event.device
        found += [
            f"I7: a call succeeded without the page at {event.start + int(place) * PAGE_BYTES:#x} that it asked for"
            for place in np.flatnonzero(missing)[:1]
        ]
    return found


def check_error_means_failure(events: Events) -> list[str]:
    """I8: what a look shows as ERROR cannot be had either."""
    return [
        f"I8: the page at {event.va:#x} of space {event.space} was ERROR, but asked for it could be had"
        for event in events
        if isinstance(event, ErrorAsked) and not event.errno
    ]


def check_look_is_pure(events: Events) -> list[str]:
    """I9: a call that asks for nothing changes no entry, tells no notifier and takes no fault."""
    return [
        f"I9: a look at [{event.start:#x}, {event.end:#x}) of space {event.space} changed {event.changed} entries, "
        f"told of {event.told} invalidations, took {event.faulted} faults"
        for event in events
        if isinstance(event, Looked) and (event.changed or event.told or event.faulted)
    ]


def check_call_places(events: Events) -> list[str]:
    """I10: entry i of an array is about page i behind its first address: it has the page that the CPU has there."""
    found = []
    for event in events:
        if isinstance(event, CallReturned):
            wrong = event.valid & event.cpu_mapped & (event.pfn != event.cpu_pfn)
            found += [
                f"I10: entry {place} of the array from {event.start:#x} on has pfn {int(event.pfn[place]):#x}, the CPU "
                f"has {int(event.cpu_pfn[place]):#x} there"
                for place in np.flatnonzero(wrong)[:1]
            ]
    return found


def check_call_orders(events: Events) -> list[str]:
    """I11: an entry tells the order of the CPU's own entry, and its page stands in the block where its address does."""
    found = []
    for event in events:
        if not isinstance(event, CallReturned):
            continue
        order = event.order.astype(np.uint64)
        inside = (np.uint64(1) << order) - np.uint64(1)
        page = np.uint64(event.start >> PAGE_SHIFT) + np.arange(event.pfn.size, dtype=np.uint64)
        wrong = event.valid & ((event.order > event.cpu_order) | ((page & inside) != (event.pfn & inside)))
        found += [
            f"I11: entry {place} of the array from {event.start:#x} on tells order {int(event.order[place])}, the "
            f"CPU's entry has order {int(event.cpu_order[place])}"
            for place in np.flatnonzero(wrong)[:1]
        ]
    return found
