"""Requests through the controller, event by event.

A request crosses the arbiter, waits in a scheduler buffer, and its bank's commands compete for the command bus: each bank picks one
of its requests (Scheduler), of the commands that can go first the one of the oldest request goes. Time jumps to the next command,
arrival or refresh, so the work depends on the requests and not on the clocks between them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fiberloom.model.compiled import entry_point, kernel

OPEN, OPEN_ADAPTIVE, CLOSED, CLOSED_ADAPTIVE = 0, 1, 2, 3
FIFO, FR_FCFS, FR_FCFS_GRP = 0, 1, 2
BANKWISE, READ_WRITE, SHARED = 0, 1, 2
IN_COMPLETION_ORDER, IN_REQUEST_ORDER = 0, 1
NO_REFRESH, ALL_BANK = 0, 1
SIMPLE, QUEUED, REORDERING = 0, 1, 2

ACT, PRE, PRE_ALL, RD, RDA, WR, WRA, REF = 0, 1, 2, 3, 4, 5, 6, 7
"""Commands in a log."""

CROSSING: Final = 4
"""Memory clocks of one controller clock: controllers run at a quarter of the memory clock (as AMD's PG252 does, 4:1)."""

NEVER: Final = 1 << 60
UNKNOWN: Final = -2
EVERY, NONE = -1, -2
"""Banks to look at for the next command, where it is not one."""


WHEN, WAITS, WRITE, BANK, ROW, COLUMN, INITIATOR = 0, 1, 2, 3, 4, 5, 6
"""Columns of a table of requests. WHEN is the clock of arrival; of those with WAITS, clocks after the initiator's latest response."""


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


class Counts(NamedTuple):
    """What happened in a run."""

    activates: int
    reads: int
    writes: int
    refreshes: int
    row_hits: int
    idle: int  # clocks with all banks precharged and no refresh under way
    clocks: int  # until the last response
    owed: int  # refreshes that were due and not done; negative: done ahead
    logged: int  # commands issued


@kernel
def pick(oldest: int, row: int, scheduler: int, writing: int, after: Any, q: Any) -> int:
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
                    j = after[j]
                if j == i:
                    return i
        i = after[i]
    return hit if hit >= 0 else oldest


@kernel
def closes(oldest: int, served: int, row: int, page_policy: int, after: Any, q: Any) -> bool:
    """Whether a column command precharges its bank: the PagePolicy parameter. `served` is no longer waiting."""
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
        i = after[i]
    return waiting or page_policy == CLOSED_ADAPTIVE


@kernel
def eligible(place: int, sent: int, answered: int, active: int, i: int, q: Any, times: Any, arrived: Any) -> int:
    """Clock from which an initiator's next request may enter the arbiter; `NEVER` while that is not known.

    Args:
        place: of the request in the order by initiators.
        sent, answered: how many requests the initiator has sent, and how many responses to it are known.
        active: how many may be under way at once: the MaxActiveTransactions parameter.
        i: the request.
        times: of the responses to each initiator, at their places.
        arrived: its clock of arrival is noted here.
    """
    at = int(q[i, WHEN])
    if q[i, WAITS]:
        if answered < sent:
            return NEVER
        if sent:
            at += times[place - 1]
    arrived[i] = at
    if sent >= active:
        if answered <= sent - active:
            return NEVER
        at = max(at, times[place - active])
    return at


@entry_point
def run(q: Any, sequence: Any, first: Any, design: Any, t: Any, arrived: Any, delivered: Any, log: Any) -> Any:
    """Serve all requests.

    Args:
        q: (N, 7) requests, columns as above.
        sequence: (N,) requests by initiator, each initiator's in order.
        first: (initiators + 1,) where each begins in `sequence`.
        design: `Design`.
        t: fields of `fiberloom.explore.dram.device.Timing`, in order.
        arrived, delivered: (N,), clocks at which each request was made and its response came back; filled.
        log: (capacity, 5) of clock, command, bank, row, request (−1: none); filled as far as it goes.

    Returns:
        `Counts`; `clocks` is −1 if nothing could go on.
    """
    burst, cl, cwl, rcd, rp, ras, rrd_s, rrd_l, faw = t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8]
    ccd_s, ccd_l, rtp, wr, wtr_s, wtr_l, rfc, refi = t[9], t[10], t[11], t[12], t[13], t[14], t[15], t[16]
    read_to_write = cl + burst + 2 - cwl
    n = len(q)
    initiators = len(first) - 1
    banks = 16

    # banks, groups (rows 0-3) and the rank (row 4): first clock of each command
    open_row = np.full(banks, -1, np.int64)
    fresh = np.zeros(banks, np.int64)
    next_act = np.zeros(banks, np.int64)
    next_pre = np.zeros(banks, np.int64)
    next_column = np.zeros(banks, np.int64)
    group_act = np.zeros(5, np.int64)
    group_read = np.zeros(5, np.int64)
    group_write = np.zeros(5, np.int64)
    windows = np.zeros(4, np.int64)  # ends of the last four activation windows
    window = 0

    # waiting requests, per bank in the order of acceptance
    head = np.full(banks, -1, np.int64)
    tail = np.full(banks, -1, np.int64)
    after = np.full(n, -1, np.int64)
    before = np.full(n, -1, np.int64)
    order = np.zeros(n, np.int64)
    candidate = np.full(banks, UNKNOWN, np.int64)
    slot = np.zeros(n, np.int64)  # buffer that a request belongs in: the SchedulerBuffer parameter
    if design.buffer == BANKWISE:
        slot[:] = q[:, BANK]
    elif design.buffer == READ_WRITE:
        slot[:] = q[:, WRITE]
    used = np.zeros(banks, np.int64)
    accepted = np.zeros(n, np.int64)  # requests by order of acceptance
    busy = np.zeros(banks, np.int64)  # banks with waiting requests, in any order
    busy_place = np.zeros(banks, np.int64)
    busy_banks = 0
    waiting = 0
    taken = 0
    writing = 0

    # arbiter
    crossing = CROSSING if design.arbiter == SIMPLE else 2 * CROSSING
    entering = np.zeros(n, np.int64)
    ready = np.zeros(n, np.int64)
    entered = 0
    link_free = 0
    position = first[:-1].copy()
    responses = np.zeros(initiators, np.int64)
    times = np.zeros(n, np.int64)  # of the responses to each initiator, in order, at its places in `sequence`
    may_enter = np.zeros(initiators, np.int64)
    active = NEVER if design.arbiter == SIMPLE else design.active
    for who in range(initiators):
        may_enter[who] = eligible(first[who], 0, 0, active, sequence[first[who]], q, times, arrived)

    # responses
    finished = np.full(n, -1, np.int64)  # left the response queue
    complete = np.full(n, -1, np.int64)
    left = 0
    left_at = -CROSSING
    returning = first[:-1].copy()  # REORDERING: place of the next response to each initiator

    # refresh
    owed = 0
    closing = False  # rows were closed for a refresh, which then follows
    next_due = refi if design.refresh == ALL_BANK else NEVER

    activates = reads = writes = refreshes = hits = idle = logged = 0
    opened = 0
    closed_at = 0
    done = 0
    now = 0
    choose = EVERY  # banks that changed since the next command was chosen
    best = NEVER
    best_bank = -1
    best_request = -1

    while done < n:
        # 1. requests that can move now
        held = taken < entered
        free = held and used[slot[entering[taken]]] < design.buffer_size
        if free and ready[entering[taken]] <= now:
            i = entering[taken]
            b = q[i, BANK]
            order[i] = taken
            accepted[taken] = i
            taken += 1
            before[i] = tail[b]
            if tail[b] >= 0:
                after[tail[b]] = i
            else:
                head[b] = i
                busy[busy_banks] = b
                busy_place[b] = busy_banks
                busy_banks += 1
            tail[b] = i
            used[slot[i]] += 1
            waiting += 1
            candidate[b] = UNKNOWN
            if choose != b:
                choose = b if choose == NONE and b != best_bank else EVERY
            if design.arbiter == SIMPLE:
                link_free = now
            continue
        enter = NEVER
        first_in = -1
        if design.arbiter != SIMPLE or not held:
            for who in range(initiators):
                if may_enter[who] < enter:
                    enter = may_enter[who]
                    first_in = who
            if first_in >= 0:
                enter = max(enter, link_free)
        if enter <= now:
            place = position[first_in]
            i = sequence[place]
            place += 1
            position[first_in] = place
            entering[entered] = i
            entered += 1
            ready[i] = enter + crossing
            link_free = enter + CROSSING
            if place < first[first_in + 1]:
                sent = place - first[first_in]
                may_enter[first_in] = eligible(
                    place, sent, responses[first_in], active, sequence[place], q, times, arrived
                )
            else:
                may_enter[first_in] = NEVER
            continue
        arrival = min(enter, ready[entering[taken]]) if free else enter

        # 2. the next command
        idling = waiting == 0 and taken > 0 and owed > -design.pulled_in and next_due < NEVER
        refreshing = closing or idling or owed > design.postponed
        if refreshing:
            best = now
            best_bank = -1
            if opened:
                for b in range(banks):
                    best = max(best, next_pre[b])
            else:
                for b in range(banks):
                    best = max(best, next_act[b])
            choose = EVERY
        elif choose != NONE:
            low, high = 0, busy_banks
            if choose == EVERY:
                best = NEVER
                best_bank = -1
            else:
                low = busy_place[choose]
                high = low + 1
            for place in range(low, high):
                b = busy[place]
                i = candidate[b]
                if i == UNKNOWN:
                    i = pick(head[b], open_row[b], design.scheduler, writing, after, q)
                    candidate[b] = i
                g = b % 4
                if open_row[b] == q[i, ROW]:
                    group = group_write if q[i, WRITE] else group_read
                    at = max(next_column[b], group[g], group[4])
                elif open_row[b] < 0:
                    at = max(next_act[b], windows[window], group_act[g], group_act[4])
                else:
                    at = next_pre[b]
                at = max(at, now)
                if at < best or (at == best and order[i] < order[best_request]):
                    best = at
                    best_bank = b
                    best_request = i
            choose = NONE
        best = max(best, now)

        # 3. whichever comes first
        if next_due <= best and next_due <= arrival:
            now = max(now, next_due)
            next_due += refi
            owed += 1
            continue
        if arrival <= best and arrival < NEVER:
            now = arrival
            continue
        if best >= NEVER:
            return Counts(0, 0, 0, 0, 0, 0, -1, 0, 0)
        now = best
        kind = REF
        b = best_bank
        i = -1
        row = -1
        if refreshing:
            if opened:
                kind = PRE_ALL
                closing = True
                for b in range(banks):
                    if open_row[b] >= 0:
                        open_row[b] = -1
                        candidate[b] = UNKNOWN
                        next_act[b] = max(next_act[b], now + rp)
                opened = 0
                closed_at = max(closed_at, now)
            else:
                for b in range(banks):
                    next_act[b] = now + rfc
                idle += now - closed_at
                closed_at = now + rfc
                refreshes += 1
                closing = False
                owed -= 1
            b = -1
        else:
            i = best_request
            row = q[i, ROW]
            g = b % 4
            candidate[b] = UNKNOWN
            if open_row[b] < 0:
                kind = ACT
                activates += 1
                if opened == 0 and now > closed_at:
                    idle += now - closed_at
                opened += 1
                open_row[b] = row
                fresh[b] = 1
                next_column[b] = now + rcd
                next_pre[b] = now + ras
                next_act[b] = now + ras + rp
                group_act[g] = now + rrd_l
                group_act[4] = now + rrd_s
                windows[window] = now + faw
                window = (window + 1) % 4
            elif open_row[b] != row:
                kind = PRE
                opened -= 1
                closed_at = max(closed_at, now)
                open_row[b] = -1
                next_act[b] = max(next_act[b], now + rp)
            else:
                shut = closes(head[b], i, row, design.page_policy, after, q)
                hits += 1 - fresh[b]
                fresh[b] = 0
                if writing != q[i, WRITE]:
                    writing = q[i, WRITE]
                    if design.scheduler == FR_FCFS_GRP:
                        candidate[:] = UNKNOWN
                if writing:
                    kind = WRA if shut else WR
                    writes += 1
                    end = now + cwl + burst
                    group_write[g] = now + ccd_l
                    group_write[4] = now + ccd_s
                    group_read[g] = end + wtr_l
                    group_read[4] = end + wtr_s
                    next_pre[b] = max(next_pre[b], end + wr)
                else:
                    kind = RDA if shut else RD
                    reads += 1
                    end = now + cl + burst
                    group_read[g] = max(group_read[g], now + ccd_l)
                    group_read[4] = max(group_read[4], now + ccd_s)
                    group_write[4] = max(group_write[4], now + read_to_write)
                    next_pre[b] = max(next_pre[b], now + rtp)
                if shut:
                    opened -= 1
                    open_row[b] = -1
                    closed_at = max(closed_at, next_pre[b])
                    next_act[b] = max(next_act[b], next_pre[b] + rp)

                # it leaves its buffer
                if before[i] >= 0:
                    after[before[i]] = after[i]
                else:
                    head[b] = after[i]
                if after[i] >= 0:
                    before[after[i]] = before[i]
                else:
                    tail[b] = before[i]
                used[slot[i]] -= 1
                waiting -= 1
                if head[b] < 0:
                    busy_banks -= 1
                    moved = busy[busy_banks]
                    busy[busy_place[b]] = moved
                    busy_place[moved] = busy_place[b]

                # responses that can leave now: RespQueue, then the arbiter's way back
                complete[i] = end
                while left < taken:
                    j = i if design.response_queue == IN_COMPLETION_ORDER else accepted[left]
                    if complete[j] < 0 or finished[j] >= 0:
                        break
                    left += 1
                    left_at = max(complete[j], left_at + CROSSING)
                    finished[j] = left_at
                    who = q[j, INITIATOR]
                    if design.arbiter == REORDERING:
                        while returning[who] < first[who + 1]:
                            k = sequence[returning[who]]
                            if finished[k] < 0:
                                break
                            at = finished[k] + crossing
                            if responses[who]:
                                at = max(at, times[returning[who] - 1] + CROSSING)
                            delivered[k] = at
                            times[returning[who]] = at
                            returning[who] += 1
                            responses[who] += 1
                            done += 1
                    else:
                        delivered[j] = left_at + crossing
                        times[first[who] + responses[who]] = delivered[j]
                        responses[who] += 1
                        done += 1
                    place = position[who]
                    if may_enter[who] == NEVER and place < first[who + 1]:
                        sent = place - first[who]
                        may_enter[who] = eligible(
                            place, sent, responses[who], active, sequence[place], q, times, arrived
                        )
        if logged < len(log):
            log[logged, 0] = now
            log[logged, 1] = kind
            log[logged, 2] = b
            log[logged, 3] = row
            log[logged, 4] = i
        logged += 1
        choose = EVERY
        now += 1

    clocks = delivered.max()
    if opened == 0 and clocks > closed_at:
        idle += clocks - closed_at
    while next_due <= clocks:
        next_due += refi
        owed += 1
    return Counts(activates, reads, writes, refreshes, hits, idle, clocks, owed, logged)
