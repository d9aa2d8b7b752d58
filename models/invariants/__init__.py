# SPDX-License-Identifier: Apache-2.0
"""The twenty invariants between host and device, as functions over a journal; each returns what broke it, a line each.

`INVARIANTS` has them by name. Source: docs/invariants.md.
"""

from models.invariants.answers import check_answer_after_commit, check_no_hasty_cancel, check_one_answer
from models.invariants.calls import (
    check_call_orders,
    check_call_places,
    check_call_success,
    check_error_means_failure,
    check_look_is_pure,
)
from models.invariants.fences import check_fence_waits, check_invalidation_harmless
from models.invariants.notifiers import check_read_waits, check_release, check_sequence_parity
from models.invariants.pages import (
    check_agreement,
    check_dirty,
    check_no_page_no_grant,
    check_permissions,
    check_slot_orders,
)
from models.invariants.registry import INVARIANTS, Invariant, RunFacts, check_all, check_by_name
from models.invariants.state import Events
from models.invariants.translations import (
    check_fresh_commit,
    check_isolation,
    check_no_install_in_window,
    check_no_stale_access,
)

__all__ = [
    "INVARIANTS",
    "Events",
    "Invariant",
    "RunFacts",
    "check_agreement",
    "check_all",
    "check_answer_after_commit",
    "check_by_name",
    "check_call_orders",
    "check_call_places",
    "check_call_success",
    "check_dirty",
    "check_error_means_failure",
    "check_fence_waits",
    "check_fresh_commit",
    "check_invalidation_harmless",
    "check_isolation",
    "check_look_is_pure",
    "check_no_hasty_cancel",
    "check_no_install_in_window",
    "check_no_page_no_grant",
    "check_no_stale_access",
    "check_one_answer",
    "check_permissions",
    "check_read_waits",
    "check_release",
    "check_sequence_parity",
    "check_slot_orders",
]
