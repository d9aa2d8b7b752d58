# SPDX-License-Identifier: Apache-2.0
"""Who waits for whom, in words, when a case makes no progress."""

from __future__ import annotations

import numpy as np

from models.structures import Access
from tb.adapter.top import Top
from tb.records import ActionKind, ActionResults, Actions, Done, Requests, Responses

SHOWN_REQUESTS = 8


def _request_text(index: int, requests: Requests) -> str:
    request = requests[index]
    access = Access(int(request["access"])).name
    place = f"va {int(request['va']):#x} pasid {int(request['pasid'])} client {int(request['client'])}"
    return f"request {index} ({access} {place})"


def request_lines(requests: Requests, responses: Responses) -> list[str]:
    """What became of the requests that are not finished."""
    done = responses["done"]
    waiting = np.flatnonzero((done & Done.ACCEPTED != 0) & (done & Done.FINISHED == 0))
    granted = np.flatnonzero((done & Done.FINISHED != 0) & (done & Done.RELEASED == 0))
    asked = np.flatnonzero(done == 0)
    lines = [f"{int((done & Done.FINISHED != 0).sum())} of {done.size} requests have a response"]
    for index in waiting[:SHOWN_REQUESTS].tolist():
        response = responses[index]
        since = int(response["accept_cycle"])
        lines.append(f"{_request_text(index, requests)} under id {int(response['id'])} waits since cycle {since}")
    for index in granted[:SHOWN_REQUESTS].tolist():
        since = int(responses[index]["finish_cycle"])
        lines.append(f"{_request_text(index, requests)} holds its grant since cycle {since}")
    _, firsts = np.unique(requests["client"][asked], return_index=True)
    for first in asked[firsts].tolist():
        after = int(requests[first]["after_action"])
        lines.append(f"{_request_text(first, requests)} is the next, after {after} actions")
    return lines


def action_lines(actions: Actions, results: ActionResults) -> list[str]:
    """The action that is not done."""
    done = int(results["done"].sum())
    lines = [f"{done} of {actions.size} actions are done"]
    if done < actions.size:
        action = actions[done]
        lines.append(
            f"action {done} is the next: {ActionKind(int(action['kind'])).name} address {int(action['address']):#x} "
            f"data {int(action['data']):#x} mask {int(action['mask']):#x} "
            f"after {int(action['after_request'])} responses"
        )
    return lines


def channel_line(top: Top) -> str:
    """Which channels stand still with something on them."""
    blocked = top.blocked_channels()
    return "valid and not taken: " + (", ".join(blocked) if blocked else "nothing")


def describe_stall(top: Top, requests: Requests, responses: Responses, actions: Actions, results: ActionResults) -> str:
    """All of it, one fact a line."""
    lines = [*request_lines(requests, responses), *action_lines(actions, results), channel_line(top)]
    return "\n".join([f"cycle {top.cycle_number()}", *lines])
