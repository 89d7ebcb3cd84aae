"""What the memory allows when: earliest clocks of commands, and what a command changes.

The state is two arrays. `memory` has a row per bank, per bank group and for the rank, with the first clock that each of them allows
a command; `rank` has what is counted for the rank as a whole. Distances are those of `fiberloom.explore.dram.device.Timing`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fiberloom.model.compiled import kernel

ACT, PRE, PRE_ALL, RD, RDA, WR, WRA, REF = 0, 1, 2, 3, 4, 5, 6, 7
"""Commands; the ``A`` of RDA and WRA is the bank's auto-precharge."""

BANKS, GROUPS = 16, 4
"""Of an x8 device (JESD79-4)."""

GROUP, RANK = BANKS, BANKS + GROUPS
"""Rows of `memory` behind the banks: of the first group, and of the rank."""

OPEN_ROW, UNUSED, NEXT_ACT, NEXT_PRE, NEXT_COLUMN, NEXT_RD, NEXT_WR = 0, 1, 2, 3, 4, 5, 6
"""Columns of `memory`. OPEN_ROW: −1 if the bank is closed; UNUSED: nothing was accessed since it was opened."""

OPENED, CLOSED_AT, IDLE, ACTIVATES, READS, WRITES, REFRESHES, HITS, WINDOW, WINDOWS = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
"""Places in `rank`: open banks, the clock at which the last one closes, clocks with all closed, commands, accesses to a row that
was used before, and the ends of the last four activation windows (tFAW), the oldest at WINDOWS + WINDOW."""


@kernel
def precharged() -> Any:
    """`memory` and `rank` with all banks closed."""
    memory = np.zeros((BANKS + GROUPS + 1, 7), np.int64)
    memory[:BANKS, OPEN_ROW] = -1
    return memory, np.zeros(WINDOWS + 4, np.int64)


@kernel
def earliest(memory: Any, rank: Any, bank: int, row: int, write: int) -> Any:
    """First clock of the next command that an access to a row needs."""
    opened = memory[bank, OPEN_ROW]
    group = GROUP + bank % GROUPS
    if opened == row:
        column = NEXT_WR if write else NEXT_RD
        return max(memory[bank, NEXT_COLUMN], memory[group, column], memory[RANK, column])
    if opened < 0:
        in_bank, in_group, in_rank = memory[bank, NEXT_ACT], memory[group, NEXT_ACT], memory[RANK, NEXT_ACT]
        return max(in_bank, in_group, in_rank, rank[WINDOWS + rank[WINDOW]])
    return memory[bank, NEXT_PRE]


@kernel
def earliest_refresh(memory: Any, rank: Any) -> Any:
    """First clock of PRE_ALL, or of REF if all banks are closed."""
    column = NEXT_PRE if rank[OPENED] else NEXT_ACT
    at = memory[0, column]
    for bank in range(1, BANKS):
        at = max(at, memory[bank, column])
    return at


@kernel
def activate(memory: Any, rank: Any, bank: int, row: int, now: int, t: Any) -> None:
    """ACT."""
    group = GROUP + bank % GROUPS
    if rank[OPENED] == 0 and now > rank[CLOSED_AT]:
        rank[IDLE] += now - rank[CLOSED_AT]
    rank[OPENED] += 1
    rank[ACTIVATES] += 1
    rank[WINDOWS + rank[WINDOW]] = now + t.faw
    rank[WINDOW] = (rank[WINDOW] + 1) % 4
    memory[bank, OPEN_ROW] = row
    memory[bank, UNUSED] = 1
    memory[bank, NEXT_COLUMN] = now + t.rcd
    memory[bank, NEXT_PRE] = now + t.ras
    memory[bank, NEXT_ACT] = now + t.ras + t.rp
    memory[group, NEXT_ACT] = now + t.rrd_l
    memory[RANK, NEXT_ACT] = now + t.rrd_s


@kernel
def close(memory: Any, rank: Any, bank: int, at: int, t: Any) -> None:
    """A bank's precharge at clock `at`, by PRE or by itself."""
    rank[OPENED] -= 1
    rank[CLOSED_AT] = max(rank[CLOSED_AT], at)
    memory[bank, OPEN_ROW] = -1
    memory[bank, NEXT_ACT] = max(memory[bank, NEXT_ACT], at + t.rp)


@kernel
def access(memory: Any, rank: Any, bank: int, write: int, shut: bool, now: int, t: Any) -> Any:
    """RD or WR, with auto-precharge if `shut`; returns the clock at which the burst is over."""
    group = GROUP + bank % GROUPS
    rank[HITS] += 1 - memory[bank, UNUSED]
    memory[bank, UNUSED] = 0
    if write:
        end = now + t.cwl + t.burst
        rank[WRITES] += 1
        memory[group, NEXT_WR] = now + t.ccd_l
        memory[RANK, NEXT_WR] = now + t.ccd_s
        memory[group, NEXT_RD] = end + t.wtr_l
        memory[RANK, NEXT_RD] = end + t.wtr_s
        memory[bank, NEXT_PRE] = max(memory[bank, NEXT_PRE], end + t.wr)
    else:
        end = now + t.cl + t.burst
        turned = end + 2 - t.cwl  # the bus turns round in two clocks
        rank[READS] += 1
        memory[group, NEXT_RD] = max(memory[group, NEXT_RD], now + t.ccd_l)
        memory[RANK, NEXT_RD] = max(memory[RANK, NEXT_RD], now + t.ccd_s)
        memory[RANK, NEXT_WR] = max(memory[RANK, NEXT_WR], turned)
        memory[bank, NEXT_PRE] = max(memory[bank, NEXT_PRE], now + t.rtp)
    if shut:
        close(memory, rank, bank, memory[bank, NEXT_PRE], t)
    return end


@kernel
def refresh(memory: Any, rank: Any, now: int, t: Any) -> None:
    """REF, which keeps the rank busy for tRFC."""
    memory[:BANKS, NEXT_ACT] = now + t.rfc
    rank[IDLE] += now - rank[CLOSED_AT]
    rank[CLOSED_AT] = now + t.rfc
    rank[REFRESHES] += 1
