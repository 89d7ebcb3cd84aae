"""Requests through the controller, event by event.

A request crosses the arbiter, waits in a scheduler buffer, and its bank's commands compete for the command bus: each bank picks one
of its requests, of the commands that can go first the one of the oldest request goes. Time jumps to the next command, arrival or
refresh, so the work depends on the requests and not on the clocks between them.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fiberloom.explore.dram.memory import (
    ACT,
    ACTIVATES,
    BANKS,
    CLOSED_AT,
    HITS,
    IDLE,
    OPEN_ROW,
    OPENED,
    PRE,
    PRE_ALL,
    RD,
    RDA,
    READS,
    REF,
    REFRESHES,
    WR,
    WRA,
    WRITES,
    access,
    activate,
    close,
    earliest,
    earliest_refresh,
    precharged,
    refresh,
)
from fiberloom.explore.dram.policies import (
    AFTER,
    ALL_BANK,
    ANSWERED,
    BANK,
    BANKWISE,
    BEFORE,
    BUFFER,
    COMPLETE,
    FR_FCFS_GRP,
    IN_COMPLETION_ORDER,
    INITIATOR,
    LEFT,
    MAY_SEND,
    NEVER,
    ORDER,
    POSITION,
    READ_WRITE,
    READY,
    REORDERING,
    RETURNING,
    ROW,
    SIMPLE,
    WRITE,
    allow,
    closes,
    pick,
)
from fiberloom.model.compiled import entry_point, kernel

CROSSING: Final = 4
"""Memory clocks of one controller clock: controllers run at a quarter of the memory clock (as AMD's PG252 does, 4:1)."""

HEAD, TAIL, CANDIDATE, PLACE = 0, 1, 2, 3
"""Columns of the banks' queues: first and last request, the one picked, and the bank's place among those that have any."""

UNKNOWN: Final = -2
EVERY, NONE = -1, -2
"""Banks to look at for the next command, where it is not one."""


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
def enqueue(i: int, bank: int, queues: Any, state: Any, busy: Any, busy_banks: int) -> int:
    """Put a request at the end of its bank's queue; returns how many banks are busy then."""
    last = queues[bank, TAIL]
    state[i, BEFORE] = last
    queues[bank, TAIL] = i
    queues[bank, CANDIDATE] = UNKNOWN
    if last >= 0:
        state[last, AFTER] = i
        return busy_banks
    queues[bank, HEAD] = i
    queues[bank, PLACE] = busy_banks
    busy[busy_banks] = bank
    return busy_banks + 1


@kernel
def dequeue(i: int, bank: int, queues: Any, state: Any, busy: Any, busy_banks: int) -> int:
    """Take a request out of its bank's queue; returns how many banks are busy then."""
    before, after = state[i, BEFORE], state[i, AFTER]
    if before >= 0:
        state[before, AFTER] = after
    else:
        queues[bank, HEAD] = after
    if after >= 0:
        state[after, BEFORE] = before
    else:
        queues[bank, TAIL] = before
    if queues[bank, HEAD] >= 0:
        return busy_banks
    moved = busy[busy_banks - 1]
    busy[queues[bank, PLACE]] = moved
    queues[moved, PLACE] = queues[bank, PLACE]
    return busy_banks - 1


@kernel
def give_back(
    j: int,
    reordering: bool,
    crossing: int,
    q: Any,
    sequence: Any,
    first: Any,
    state: Any,
    people: Any,
    times: Any,
    delivered: Any,
) -> int:
    """Pass a response that left the response queue through the arbiter; returns how many reached their initiator."""
    who = q[j, INITIATOR]
    if not reordering:
        at = state[j, LEFT] + crossing
        delivered[j] = at
        times[first[who] + people[who, ANSWERED]] = at
        people[who, ANSWERED] += 1
        return 1
    done = 0
    place = people[who, RETURNING]
    while place < first[who + 1]:
        k = sequence[place]
        if state[k, LEFT] < 0:
            break
        at = state[k, LEFT] + crossing
        if place > first[who]:
            at = max(at, times[place - 1] + CROSSING)
        delivered[k] = at
        times[place] = at
        place += 1
        done += 1
    people[who, RETURNING] = place
    people[who, ANSWERED] += done
    return done


@entry_point
def run(q: Any, sequence: Any, first: Any, design: Any, t: Any, arrived: Any, delivered: Any, log: Any) -> Any:
    """Serve all requests.

    Args:
        q: (N, 7) requests, columns as in `fiberloom.explore.dram.policies`.
        sequence: (N,) requests by initiator, each initiator's in order.
        first: (initiators + 1,) where each begins in `sequence`.
        design: `fiberloom.explore.dram.policies.Design`.
        t: `fiberloom.explore.dram.device.Timing`.
        arrived, delivered: (N,), clocks at which each request was made and its response came back; filled.
        log: (capacity, 5) of clock, command, bank, row, request (−1: none); filled as far as it goes.

    Returns:
        The fields of `Counts`; `clocks` is −1 if nothing could go on. They come as a plain tuple: to make a named one, Numba runs
        Python code, and where Ctrl-C interrupts that it crashes.
    """
    n = len(q)
    initiators = len(first) - 1
    memory, rank = precharged()

    state = np.full((n, 7), -1, np.int64)
    if design.buffer == BANKWISE:
        state[:, BUFFER] = q[:, BANK]
    elif design.buffer == READ_WRITE:
        state[:, BUFFER] = q[:, WRITE]
    else:
        state[:, BUFFER] = 0
    used = np.zeros(BANKS, np.int64)  # places of each buffer
    queues = np.full((BANKS, 4), -1, np.int64)
    busy = np.zeros(BANKS, np.int64)  # banks with waiting requests, in any order
    busy_banks = 0
    accepted = np.zeros(n, np.int64)  # requests by order of acceptance
    taken = 0
    writing = 0  # which way the data bus last went

    simple = design.arbiter == SIMPLE
    crossing = CROSSING if simple else 2 * CROSSING
    active = NEVER if simple else design.active
    entering = np.zeros(n, np.int64)  # requests by order of entering the arbiter
    entered = 0
    link_free = 0
    people = np.zeros((initiators, 4), np.int64)
    times = np.zeros(n, np.int64)
    for who in range(initiators):
        people[who, POSITION] = first[who]
        people[who, RETURNING] = first[who]
        allow(who, active, q, sequence, first, people, times, arrived)

    left = 0
    left_at = -CROSSING
    refreshed = design.refresh == ALL_BANK
    next_due = t.refi if refreshed else NEVER
    owed = 0
    closing = False  # rows were closed for a refresh, which then follows

    logged = 0
    done = 0
    now = 0
    choose = EVERY  # banks that changed since the next command was chosen
    best = NEVER
    best_bank = -1
    best_request = -1

    while done < n:
        # 1. requests that can move now
        held = taken < entered
        free = held and used[state[entering[taken], BUFFER]] < design.buffer_size
        if free and state[entering[taken], READY] <= now:
            i = entering[taken]
            b = q[i, BANK]
            state[i, ORDER] = taken
            accepted[taken] = i
            taken += 1
            busy_banks = enqueue(i, b, queues, state, busy, busy_banks)
            used[state[i, BUFFER]] += 1
            if choose != b:
                choose = b if choose == NONE and b != best_bank else EVERY
            if simple:
                link_free = now
            continue
        enter = NEVER
        sender = -1
        if not (simple and held):
            for who in range(initiators):
                if people[who, MAY_SEND] < enter:
                    enter = people[who, MAY_SEND]
                    sender = who
            if sender >= 0:
                enter = max(enter, link_free)
        if enter <= now:
            i = sequence[people[sender, POSITION]]
            people[sender, POSITION] += 1
            entering[entered] = i
            entered += 1
            state[i, READY] = enter + crossing
            link_free = enter + CROSSING
            allow(sender, active, q, sequence, first, people, times, arrived)
            continue
        arrival = min(enter, state[entering[taken], READY]) if free else enter

        # 2. the next command
        idling = refreshed and busy_banks == 0 and taken > 0 and owed > -design.pulled_in
        refreshing = closing or idling or owed > design.postponed
        if refreshing:
            best = earliest_refresh(memory, rank)
            best_bank = -1
            choose = EVERY
        elif choose != NONE:
            low, high = 0, busy_banks
            if choose == EVERY:
                best = NEVER
                best_bank = -1
            else:
                low = queues[choose, PLACE]
                high = low + 1
            for place in range(low, high):
                b = busy[place]
                i = queues[b, CANDIDATE]
                if i == UNKNOWN:
                    i = pick(queues[b, HEAD], memory[b, OPEN_ROW], design.scheduler, writing, state, q)
                    queues[b, CANDIDATE] = i
                at = max(earliest(memory, rank, b, q[i, ROW], q[i, WRITE]), now)
                if at < best or (at == best and state[i, ORDER] < state[best_request, ORDER]):
                    best = at
                    best_bank = b
                    best_request = i
            choose = NONE
        best = max(best, now)

        # 3. whichever comes first
        if next_due <= best and next_due <= arrival:
            now = max(now, next_due)
            next_due += t.refi
            owed += 1
            continue
        if arrival <= best and arrival < NEVER:
            now = arrival
            continue
        if best >= NEVER:
            return (0, 0, 0, 0, 0, 0, -1, 0, 0)
        now = best
        b = best_bank
        i = -1
        row = -1
        if refreshing and rank[OPENED]:
            kind = PRE_ALL
            closing = True
            for every in range(BANKS):
                if memory[every, OPEN_ROW] >= 0:
                    close(memory, rank, every, now, t)
                    queues[every, CANDIDATE] = UNKNOWN
        elif refreshing:
            kind = REF
            closing = False
            owed -= 1
            refresh(memory, rank, now, t)
        else:
            i = best_request
            row = q[i, ROW]
            queues[b, CANDIDATE] = UNKNOWN
            if memory[b, OPEN_ROW] < 0:
                kind = ACT
                activate(memory, rank, b, row, now, t)
            elif memory[b, OPEN_ROW] != row:
                kind = PRE
                close(memory, rank, b, now, t)
            else:
                shut = closes(queues[b, HEAD], i, row, design.page_policy, state, q)
                if writing != q[i, WRITE]:
                    writing = q[i, WRITE]
                    if design.scheduler == FR_FCFS_GRP:
                        queues[:, CANDIDATE] = UNKNOWN
                kind = (WRA if shut else WR) if writing else (RDA if shut else RD)
                state[i, COMPLETE] = access(memory, rank, b, writing, shut, now, t)
                used[state[i, BUFFER]] -= 1
                busy_banks = dequeue(i, b, queues, state, busy, busy_banks)
                while left < taken:  # responses that can leave the response queue now
                    j = i if design.response_queue == IN_COMPLETION_ORDER else accepted[left]
                    if state[j, COMPLETE] < 0 or state[j, LEFT] >= 0:
                        break
                    left += 1
                    left_at = max(state[j, COMPLETE], left_at + CROSSING)
                    state[j, LEFT] = left_at
                    done += give_back(
                        j, design.arbiter == REORDERING, crossing, q, sequence, first, state, people, times, delivered
                    )
                    who = q[j, INITIATOR]
                    if people[who, MAY_SEND] == NEVER:
                        allow(who, active, q, sequence, first, people, times, arrived)
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
    if rank[OPENED] == 0 and clocks > rank[CLOSED_AT]:
        rank[IDLE] += clocks - rank[CLOSED_AT]
    while next_due <= clocks:
        next_due += t.refi
        owed += 1
    return (rank[ACTIVATES], rank[READS], rank[WRITES], rank[REFRESHES], rank[HITS], rank[IDLE], clocks, owed, logged)
