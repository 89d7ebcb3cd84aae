"""What the parameters decide: which request a bank works on, whether its row is closed, who may send."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fiberloom.model.compiled import kernel

OPEN, OPEN_ADAPTIVE, CLOSED, CLOSED_ADAPTIVE = 0, 1, 2, 3
FIFO, FR_FCFS, FR_FCFS_GRP = 0, 1, 2
BANKWISE, READ_WRITE, SHARED = 0, 1, 2
IN_COMPLETION_ORDER, IN_REQUEST_ORDER = 0, 1
NO_REFRESH, ALL_BANK = 0, 1
SIMPLE, QUEUED, REORDERING = 0, 1, 2
"""Values of PagePolicy, Scheduler, SchedulerBuffer, RespQueue, RefreshPolicy and Arbiter, in the order of DRAMSys' names."""

WHEN, WAITS, WRITE, BANK, ROW, COLUMN, INITIATOR = 0, 1, 2, 3, 4, 5, 6
"""Columns of a table of requests. WHEN is the clock of arrival; of those with WAITS, clocks after the initiator's latest response."""

AFTER, BEFORE, ORDER, BUFFER, READY, COMPLETE, LEFT = 0, 1, 2, 3, 4, 5, 6
"""Columns of what becomes of each request: its neighbours in its bank's queue (−1: none), its place in the order of acceptance, its
buffer, when it has crossed the arbiter, when its burst is over, and when it left the response queue (−1: not yet)."""

POSITION, ANSWERED, RETURNING, MAY_SEND = 0, 1, 2, 3
"""Columns of what is known of each initiator: places of its next request and (Arbiter: Reorder) its next response, responses so far,
and the clock from which it may send."""

NEVER: Final = 1 << 60


class Design(NamedTuple):
    """The ten parameters as numbers."""

    page_policy: int
    scheduler: int
    buffer: int
    buffer_size: int
    response_queue: int
    refresh: int
    postponed: int
    pulled_in: int
    arbiter: int
    active: int


@kernel
def pick(oldest: int, row: int, scheduler: int, writing: int, state: Any, q: Any) -> int:
    """Request that a bank with the open row `row` (−1: none) works on: the Scheduler parameter."""
    if row < 0 or scheduler == FIFO:
        return oldest
    hit = -1
    i = oldest
    while i >= 0:
        if q[i, ROW] == row:
            if hit < 0:
                hit = i
                if scheduler == FR_FCFS:
                    break
            if q[i, WRITE] == writing:
                j = oldest  # it must not overtake an older request for the same line
                while j != i and not (q[j, ROW] == row and q[j, COLUMN] == q[i, COLUMN]):
                    j = state[j, AFTER]
                if j == i:
                    return i
        i = state[i, AFTER]
    return hit if hit >= 0 else oldest


@kernel
def closes(oldest: int, served: int, row: int, page_policy: int, state: Any, q: Any) -> bool:
    """Whether the access of `served` closes its bank: the PagePolicy parameter."""
    if page_policy == OPEN:
        return False
    if page_policy == CLOSED:
        return True
    waiting = False
    i = oldest
    while i >= 0:
        if i != served:
            if q[i, ROW] == row:
                return False
            waiting = True
        i = state[i, AFTER]
    return waiting or page_policy == CLOSED_ADAPTIVE


@kernel
def allow(who: int, active: int, q: Any, sequence: Any, first: Any, people: Any, times: Any, arrived: Any) -> None:
    """Note from which clock an initiator may send its next request, and when that arrives; `NEVER` while that is not known.

    Args:
        active: how many of its requests may be under way at once: the MaxActiveTransactions parameter.
        sequence, first: requests by initiator, and where each initiator's begin.
        people: what is known of each initiator; MAY_SEND is set.
        times: of the responses to each initiator, in order, at its places in `sequence`.
        arrived: clock of arrival of every request; that of the next one is set.
    """
    place = people[who, POSITION]
    people[who, MAY_SEND] = NEVER
    if place == first[who + 1]:
        return
    i = sequence[place]
    sent, answered = place - first[who], people[who, ANSWERED]
    at = q[i, WHEN]
    if q[i, WAITS]:
        if answered < sent:
            return
        if sent:
            at += times[place - 1]
    arrived[i] = at
    if sent >= active:
        if answered <= sent - active:
            return
        at = max(at, times[place - active])
    people[who, MAY_SEND] = at
