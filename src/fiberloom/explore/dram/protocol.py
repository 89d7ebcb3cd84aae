"""Whether a command log is one that the memory allows: DDR4's rules, from the log alone.

Shares nothing with the simulation but the names of commands, so that each checks the other.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

from fiberloom.explore.dram.controller import Run
from fiberloom.explore.dram.device import Timing
from fiberloom.explore.dram.memory import ACT, BANKS, GROUPS, PRE, PRE_ALL, RD, RDA, REF, WR, WRA
from fiberloom.explore.dram.traces import Trace

MOST_SHIFTED: Final = 8
"""Refreshes that may be postponed, or done ahead (JESD79-4, refresh command)."""

_NAMES: Final = {ACT: "ACT", PRE: "PRE", PRE_ALL: "PRE_ALL", RD: "RD", RDA: "RDA", WR: "WR", WRA: "WRA", REF: "REF"}


def _distances(t: Timing) -> dict[str, list[tuple[str, str, int]]]:
    """Per scope: earlier command, later command, least clocks between them."""
    recovery = t.cwl + t.burst + t.wr
    return {
        "bank": [
            ("ACT", "ACT", t.ras + t.rp), ("ACT", "RD", t.rcd), ("ACT", "WR", t.rcd), ("ACT", "PRE", t.ras),
            ("PRE", "ACT", t.rp), ("PRE", "REF", t.rp), ("RD", "PRE", t.rtp), ("WR", "PRE", recovery),
            ("REF", "ACT", t.rfc), ("REF", "REF", t.rfc),
        ],
        "group": [
            ("ACT", "ACT", t.rrd_l), ("RD", "RD", t.ccd_l), ("WR", "WR", t.ccd_l),
            ("WR", "RD", t.cwl + t.burst + t.wtr_l),
        ],
        "rank": [
            ("ACT", "ACT", t.rrd_s), ("RD", "RD", t.ccd_s), ("WR", "WR", t.ccd_s),
            ("WR", "RD", t.cwl + t.burst + t.wtr_s), ("RD", "WR", t.cl + t.burst + 2 - t.cwl),
        ],
    }  # fmt: skip


def violations(run: Run, trace: Trace) -> list[str]:
    """What the log of a run does that it must not, in words; empty if nothing.

    Checked are the distances between commands of a bank, a group and the rank, four activations in FAW, the state of banks (no
    access to another row than the open one, no refresh with a row open), the command and the data bus, every request served once at
    its place, and how far refreshes are from their due times.
    """
    found = list(_commands(run, trace))
    found += _requests(run, trace)
    found += _refreshes(run)
    return found


def _commands(run: Run, trace: Trace) -> Iterator[str]:
    t = run.timing
    rules = _distances(t)
    last: dict[tuple[str, int, str], int] = {}
    open_row: dict[int, int] = {}
    activations: deque[int] = deque(maxlen=4)
    bus_free = -1
    before = -1
    by_itself: list[tuple[int, int]] = []  # precharges that a bank does by itself: clock, bank

    def note(clock: int, name: str, bank: int) -> Iterator[str]:
        for scope, index in (("bank", bank), ("group", bank % GROUPS), ("rank", 0)):
            for earlier, later, least in rules[scope]:
                at = last.get((scope, index, earlier))
                if later == name and at is not None and clock - at < least:
                    yield f"clock {clock}: {name} of bank {bank} {clock - at} clocks after {earlier} of the {scope}, not {least}"
        last["bank", bank, name] = clock

    def spread(clock: int, name: str, bank: int) -> None:
        last["group", bank % GROUPS, name] = clock
        last["rank", 0, name] = clock

    for clock, kind, bank, row, request in run.log.tolist():
        name = _NAMES[kind][:2] if kind in (RDA, WRA) else _NAMES[kind]
        if clock <= before:
            yield f"clock {clock}: a second command"
        before = clock
        for at, own in sorted(p for p in by_itself if p[0] <= clock):
            yield from note(at, "PRE", own)
        by_itself = [p for p in by_itself if p[0] > clock]
        if kind in (PRE_ALL, REF):
            if kind == REF and (open_row or by_itself):
                yield f"clock {clock}: REF with banks {sorted(open_row) or [b for _, b in by_itself]} open"
            for every in range(BANKS):
                if kind == REF:
                    yield from note(clock, "REF", every)
                elif every in open_row:
                    yield from note(clock, "PRE", every)
                    del open_row[every]
            continue
        yield from note(clock, name, bank)
        spread(clock, name, bank)
        if kind == ACT:
            if bank in open_row:
                yield f"clock {clock}: ACT of bank {bank}, which is open"
            if any(own == bank for _, own in by_itself):
                yield f"clock {clock}: ACT of bank {bank} before it has precharged itself"
            if len(activations) == 4 and clock - activations[0] < t.faw:
                yield f"clock {clock}: a fifth ACT within {clock - activations[0]} clocks"
            activations.append(clock)
            open_row[bank] = row
        elif kind == PRE:
            if bank not in open_row:
                yield f"clock {clock}: PRE of bank {bank}, which is not open"
            open_row.pop(bank, None)
        else:
            if open_row.get(bank) != row:
                yield f"clock {clock}: {_NAMES[kind]} of row {row} in bank {bank}, where row {open_row.get(bank)} is open"
            data = clock + (t.cwl if name == "WR" else t.cl)
            if data < bus_free:
                yield f"clock {clock}: data of request {request} from clock {data} while the bus is used until {bus_free}"
            bus_free = data + t.burst
            if kind in (RDA, WRA):
                own = max(last["bank", bank, "ACT"] + t.ras, clock + t.rtp if name == "RD" else bus_free + t.wr)
                by_itself.append((own, bank))
                open_row.pop(bank, None)


def _requests(run: Run, trace: Trace) -> Iterator[str]:
    served = Counter(int(r) for k, r in run.log[:, [1, 4]].tolist() if k in (RD, RDA, WR, WRA))
    for i in range(len(trace)):
        if served[i] != 1:
            yield f"request {i} is served {served[i]} times"
    table = trace.packed[0]
    for clock, kind, bank, row, request in run.log.tolist():
        if kind in (RD, RDA, WR, WRA):
            _, _, write, its_bank, its_row, _, _ = table[request].tolist()
            if (bool(write), its_bank, its_row) != (kind in (WR, WRA), bank, row):
                yield f"clock {clock}: request {request} is served at bank {bank}, row {row}, with {_NAMES[kind]}"
            burst = run.timing.burst + (run.timing.cwl if write else run.timing.cl)
            if run.delivered[request] < clock + burst or clock < run.arrived[request]:
                yield f"request {request} is answered at clock {run.delivered[request]}, before its data of clock {clock}"


def _refreshes(run: Run) -> Iterator[str]:
    done = 0
    for clock in run.log[run.log[:, 1] == REF, 0].tolist():
        done += 1
        if done - clock // run.timing.refi > MOST_SHIFTED:
            yield f"clock {clock}: refresh {done} is more than {MOST_SHIFTED} ahead"
        closing = run.timing.ras + run.timing.rp + run.timing.wr
        if clock > (done + run.controller.RefreshMaxPostponed) * run.timing.refi + closing:
            yield f"clock {clock}: refresh {done} is postponed more than {run.controller.RefreshMaxPostponed} times"
    if done != run.counts.refreshes:
        yield f"{done} refreshes in the log, {run.counts.refreshes} counted"
