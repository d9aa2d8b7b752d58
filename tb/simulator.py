# SPDX-License-Identifier: Apache-2.0
"""The C++ side of the testbench, called in this process through ctypes. Simulated time stands still meanwhile."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.physical_memory import PhysicalMemory
from tb.records import (
    ACTION_DTYPE,
    ACTION_RESULT_DTYPE,
    DATA_BYTES,
    EVENT_DTYPE,
    REQUEST_DTYPE,
    RESPONSE_DTYPE,
    SETTINGS_DTYPE,
    ActionResults,
    Actions,
    Cause,
    Events,
    RequestData,
    Requests,
    Responses,
)

RECORD_DTYPES = (REQUEST_DTYPE, RESPONSE_DTYPE, ACTION_DTYPE, ACTION_RESULT_DTYPE, EVENT_DTYPE, SETTINGS_DTYPE)
"""In the order in which the C++ side tells its sizes."""
RECORD_NAMES = ("request", "response", "action", "action result", "event", "settings")

_TEXT_BYTES = 1024
_LARGEST_COUNT = 0xFFFF_FFFF


class SimulatorError(Exception):
    """The simulator and the Python side do not fit together."""


def check_record_sizes(sizes: list[int]) -> None:
    """Compares the sizes that the C++ side tells with those of tb.records. Errors: SimulatorError naming the record."""
    for name, dtype, size in zip(RECORD_NAMES, RECORD_DTYPES, sizes, strict=True):
        if dtype.itemsize != size:
            raise SimulatorError(f"A record '{name}' has {size} bytes in C++ and {dtype.itemsize} in Python.")


def _function(library: ctypes.CDLL, name: str, arguments: list[Any], result: Any = None) -> Callable[..., Any]:
    try:
        function = library[name]
    except AttributeError:
        raise SimulatorError(f"This process is no simulator of this testbench: it has no function {name}.") from None
    function.argtypes = arguments
    function.restype = result
    return function


def _rows(array: NDArray[np.void], dtype: np.dtype[Any], name: str) -> int:
    """Rows of an array that C++ reads in place. Errors: ValueError if it is not laid out like that."""
    if array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
        raise ValueError(f"The {name} must be one contiguous array of the records of tb.records.")
    if array.size > _LARGEST_COUNT:
        raise ValueError(f"At most {_LARGEST_COUNT} {name} fit into a case.")
    return int(array.size)


class Simulator:
    """One for a process. Arrays that are handed over stay referenced here until the next clear()."""

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        """Binds the functions of the running executable. Errors: SimulatorError if it is another program or version."""
        own = ctypes.CDLL(None) if library is None else library
        pointer, count, number = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
        self._record_sizes = _function(own, "tb_record_sizes", [pointer])
        self._clear = _function(own, "tb_clear", [])
        self._set_settings = _function(own, "tb_set_settings", [pointer])
        self._map_memory = _function(own, "tb_map_memory", [pointer, pointer, number, number])
        self._map_device_memory = _function(own, "tb_map_device_memory", [pointer, pointer, number])
        self._set_request_data = _function(own, "tb_set_request_data", [pointer])
        self._client_count = _function(own, "tb_client_count", [], count)
        self._requests_fetched = _function(own, "tb_requests_fetched", [count], count)
        self._set_requests = _function(own, "tb_set_requests", [pointer, pointer, count, count])
        self._post_requests = _function(own, "tb_post_requests", [count])
        self._set_actions = _function(own, "tb_set_actions", [pointer, pointer, count])
        self._take_causes = _function(own, "tb_take_causes", [], count)
        self._event_count = _function(own, "tb_event_count", [], number)
        self._copy_events = _function(own, "tb_copy_events", [pointer])
        self._device_event_count = _function(own, "tb_device_event_count", [], number)
        self._copy_device_events = _function(own, "tb_copy_device_events", [pointer])
        self._failure_count = _function(own, "tb_failure_count", [], number)
        self._failure_text = _function(own, "tb_failure_text", [count, ctypes.c_char_p, count])
        self._violation_count = _function(own, "tb_violation_count", [], number)
        self._violation_text = _function(own, "tb_violation_text", [count, ctypes.c_char_p, count])
        self._kept: list[object] = []
        sizes = (ctypes.c_uint32 * len(RECORD_DTYPES))()
        self._record_sizes(ctypes.cast(sizes, pointer))
        check_record_sizes(list(sizes))

    def clear(self) -> None:
        """Forgets the case: arrays, memory, log, counts, causes."""
        self._clear()
        self._kept = []

    def set_settings(self, settings: NDArray[np.void]) -> None:
        """Hands over one row of SETTINGS_DTYPE; it is copied, and the testbench takes it over while in reset."""
        if _rows(settings, SETTINGS_DTYPE, "settings") != 1:
            raise ValueError("A case has one row of settings.")
        self._set_settings(settings.ctypes.data)

    def map_memory(self, memory: PhysicalMemory) -> None:
        """Lets the device see a memory: its shared bytes and its owner map, in place."""
        self._kept.append((memory.buffer, memory.owners))
        self._map_memory(memory.buffer.ctypes.data, memory.owners.ctypes.data, memory.base, memory.size)

    def map_device_memory(self, memory: PhysicalMemory) -> None:
        """Gives the device memory of its own, in place. Errors: ValueError if its addresses do not begin at 0."""
        if memory.base:
            raise ValueError("The device's own memory begins at address 0.")
        self._kept.append((memory.buffer, memory.owners))
        self._map_device_memory(memory.buffer.ctypes.data, memory.owners.ctypes.data, memory.size)

    def set_requests(
        self, requests: Requests, responses: Responses, posted: int, data: RequestData | None = None
    ) -> None:
        """Announces all requests of the case; the transactors may take the first `posted` of them.

        `responses` (as many rows) is filled in place, and so is `data`, uint8[n, DATA_BYTES]; None: no request has a
        length. To be called while reset is active.
        """
        total = _rows(requests, REQUEST_DTYPE, "requests")
        if _rows(responses, RESPONSE_DTYPE, "responses") != total:
            raise ValueError("Give as many rows for responses as there are requests.")
        if data is not None:
            if data.dtype != np.uint8 or data.shape != (total, DATA_BYTES) or not data.flags.c_contiguous:
                raise ValueError(f"The data must be one contiguous array of {DATA_BYTES} bytes for each request.")
            self._set_request_data(data.ctypes.data)
        self._kept.append((requests, responses, data))
        self._set_requests(requests.ctypes.data, responses.ctypes.data, total, posted)

    def post_requests(self, posted: int) -> None:
        """Lets the transactors take the first `posted` requests."""
        self._post_requests(posted)

    def requests_fetched(self) -> list[int]:
        """By client number: how many of its requests each port's transactor has taken; the engine's, 0, takes none.

        The length is the parameter Clients of the simulation; it is known after the first cycle of reset.
        """
        return [int(self._requests_fetched(client)) for client in range(self._client_count())]

    def set_actions(self, actions: Actions, results: ActionResults) -> None:
        """Hands over the host's actions; `results` (as many rows) is filled in place."""
        total = _rows(actions, ACTION_DTYPE, "actions")
        if _rows(results, ACTION_RESULT_DTYPE, "action results") != total:
            raise ValueError("Give as many rows for results as there are actions.")
        self._kept.append((actions, results))
        self._set_actions(actions.ctypes.data, results.ctypes.data, total)

    def take_causes(self) -> Cause:
        """The causes that were raised since the last call."""
        return Cause(self._take_causes())

    def events(self) -> Events:
        """A copy of the event log, EVENT_DTYPE[n]."""
        events = np.zeros(self._event_count(), dtype=EVENT_DTYPE)
        self._copy_events(events.ctypes.data)
        return events

    def device_events(self) -> Events:
        """A copy of the log of the device's own events, EVENT_DTYPE[n]; empty unless the settings ask for them."""
        events = np.zeros(self._device_event_count(), dtype=EVENT_DTYPE)
        self._copy_device_events(events.ctypes.data)
        return events

    def assertion_failures(self) -> tuple[int, str]:
        """How many assertions failed, and the first of them in words."""
        return int(self._failure_count()), self._text(self._failure_text)

    def owner_violations(self) -> tuple[int, str]:
        """How many accesses of the device the owner map forbids, and the first of them in words."""
        return int(self._violation_count()), self._text(self._violation_text)

    def _text(self, function: Callable[..., Any]) -> str:
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        function(0, text, _TEXT_BYTES)
        return text.value.decode(errors="replace")
