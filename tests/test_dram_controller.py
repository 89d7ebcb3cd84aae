"""The DRAM controller model: every request once, no rule of the memory broken, and what each of the ten parameters does."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from dram_oracle import Oracle
from fiberloom.errors import SpecError
from fiberloom.explore.dram.controller import MT40A1G8, PARAMETERS, Controller, Run, simulate
from fiberloom.explore.dram.device import (
    BANKS,
    CAPACITY_BYTES,
    GROUPS,
    LINE_BYTES,
    NS_PER_CLOCK,
    Energies,
    Timing,
    place,
)
from fiberloom.explore.dram.memory import ACT, PRE_ALL, RD, RDA, REF, WR, WRA
from fiberloom.explore.dram.protocol import violations
from fiberloom.explore.dram.traces import KINDS, Trace, merge, synthetic

COLUMNS = (RD, RDA, WR, WRA)
TIMING = Timing()
BUSY = Controller(SchedulerBuffer="Shared", RequestBufferSize=2, Scheduler="Fifo", Arbiter="Fifo")


@cache
def trace(kind: str, requests: int = 1000, seed: int = 0) -> Trace:
    return synthetic(kind, requests, seed)


def designs(n: int, seed: int) -> list[Controller]:
    rng = np.random.default_rng(seed)
    return [Controller(**{k: v[rng.integers(len(v))] for k, v in PARAMETERS.items()}) for _ in range(n)]


def latency(controller: Controller, on: Trace) -> float:
    return simulate(on, controller).metrics()["latency_ns"]


def requests(*rows: tuple[int, str, int], waits: bool = False) -> Trace:
    """A trace from (clock, R or W, line)."""
    when, access, line = zip(*rows, strict=True)
    n = len(rows)
    return Trace(
        np.array(when),
        np.full(n, waits),
        np.array([a == "W" for a in access]),
        np.array(line) * LINE_BYTES,
        np.zeros(n, np.int64),
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_design_breaks_a_rule_of_the_memory(kind: str) -> None:
    for seed, controller in enumerate(designs(12, 5)):
        on = synthetic(kind, 300, seed)
        assert violations(simulate(on, controller, log=True), on) == []


@pytest.mark.slow
def test_no_design_breaks_a_rule_of_the_memory_at_length() -> None:
    for seed, controller in enumerate(designs(600, 6)):
        on = synthetic(sorted(KINDS)[seed % len(KINDS)], 1500, seed)
        assert violations(simulate(on, controller, log=True), on) == []


HURRIED = TIMING._replace(refi=700, rfc=60)
"""A memory whose refreshes matter in short traces."""


def crowded(seed: int, n: int = 25) -> Trace:
    """Three initiators that want a few lines of three rows at once, and now and then wait for their responses."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(3):
        line = rng.integers(8, size=n) + rng.integers(3, size=n) * 512 * 16 + rng.integers(2, size=n) * 512 * 4
        waits = rng.random(n) < 0.15
        when = np.where(waits, rng.integers(20, size=n), np.sort(rng.integers(300, size=n)))
        parts.append(Trace(when, waits, rng.random(n) < 0.4, line * LINE_BYTES, np.zeros(n, np.int64)))
    return merge(parts)


def agrees_with_the_oracle(seed: int) -> None:
    controller = designs(1, seed)[0]
    on = crowded(seed) if seed % 2 else synthetic(sorted(KINDS)[seed // 2 % len(KINDS)], 60, seed)
    run = simulate(on, controller, timing=HURRIED, log=True)
    oracle = Oracle(on, controller, HURRIED).run()
    names = ("ACT", "PRE", "PRE_ALL", "RD", "RDA", "WR", "WRA", "REF")
    expected = [(clock, names.index(name), bank, row, request) for clock, name, bank, row, request in oracle.log]
    assert [tuple(row) for row in run.log.tolist()] == expected[: len(run.log)], controller
    assert run.arrived.tolist() == [r.arrived for r in oracle.requests]
    assert run.delivered.tolist() == [r.delivered for r in oracle.requests]


@pytest.mark.parametrize("seed", range(18))
def test_jumping_from_event_to_event_is_going_clock_by_clock(seed: int) -> None:
    agrees_with_the_oracle(seed)


@pytest.mark.slow
def test_jumping_from_event_to_event_is_going_clock_by_clock_for_many_designs() -> None:
    for seed in range(18, 318):
        agrees_with_the_oracle(seed)


def test_the_checker_sees_every_kind_of_fault() -> None:
    on = trace("cloud-1", 200)
    run = simulate(on, Controller(PagePolicy="OpenAdaptive"), log=True)
    assert violations(run, on) == []

    def after(change: np.ndarray) -> str:
        return "; ".join(violations(replace(run, log=change), on))

    def row_of(kind: int) -> int:
        return int(np.flatnonzero(run.log[:, 1] == kind)[3])

    early = run.log.copy()
    early[row_of(RD), 0] -= 5
    assert "clocks after" in after(early) or "a second command" in after(early)
    twice = np.vstack([run.log, run.log[row_of(RD)] + [10**6, 0, 0, 0, 0]])
    assert "served 2 times" in after(twice)
    assert "is served 0 times" in after(np.delete(run.log, row_of(RD), axis=0))
    assert "where row None is open" in after(np.delete(run.log, row_of(ACT), axis=0))
    elsewhere = run.log.copy()
    elsewhere[row_of(ACT), 3] += 1
    assert "is open" in after(elsewhere)
    closed = np.delete(run.log, np.flatnonzero(run.log[:, 1] == PRE_ALL)[-1], axis=0)
    assert "REF with banks" in after(closed)
    refreshed = run.log[run.log[:, 1] == REF][-1]
    many = np.vstack([run.log, refreshed + np.outer(np.arange(300), [500, 0, 0, 0, 0]) + [10**6, 0, 0, 0, 0]])
    assert "ahead" in after(many)
    assert violations(replace(run, delivered=run.delivered - 40), on)


def test_a_lone_read_takes_what_its_commands_and_crossings_take() -> None:
    run = simulate(requests((0, "R", 0)), Controller())
    crossings = 2 * 4
    assert run.latency.tolist() == [crossings + TIMING.rcd + TIMING.cl + TIMING.burst]
    write = simulate(requests((0, "W", 0)), Controller())
    assert write.latency.tolist() == [crossings + TIMING.rcd + TIMING.cwl + TIMING.burst]


def test_a_row_that_is_open_saves_its_activation_and_another_one_costs_a_precharge() -> None:
    row = 512 * 16
    run = simulate(requests((0, "R", 0), (200, "R", 4), (400, "R", row)), Controller(RefreshPolicy="NoRefresh"))
    hit = 2 * 4 + TIMING.cl + TIMING.burst
    assert run.latency.tolist() == [hit + TIMING.rcd, hit, hit + TIMING.rp + TIMING.rcd]


def test_streams_reach_the_bandwidth_of_the_bus_and_random_reads_that_of_four_activations() -> None:
    free = Controller(RefreshPolicy="NoRefresh", PagePolicy="Closed", Arbiter="Fifo")
    peak = LINE_BYTES / (TIMING.burst * NS_PER_CLOCK)
    assert peak == pytest.approx(19.2)
    stream = requests(*((i * 4, "R", i) for i in range(2000)))
    reached = simulate(stream, replace(free, PagePolicy="Open")).metrics()["bandwidth_gbs"]
    assert 0.97 * peak < reached <= peak
    lines = np.random.default_rng(0).integers(CAPACITY_BYTES // LINE_BYTES, size=2000)
    spread = requests(*((i * 4, "R", int(line)) for i, line in enumerate(lines)))
    limit = 4 * LINE_BYTES / (TIMING.faw * NS_PER_CLOCK)
    assert 0.9 * limit < simulate(spread, free).metrics()["bandwidth_gbs"] <= limit


def test_no_answer_is_faster_than_an_open_row_allows() -> None:
    for seed, controller in enumerate(designs(30, 8)):
        on = synthetic("cloud-2", 300, seed)
        run = simulate(on, controller)
        least = np.where(on.write, TIMING.cwl, TIMING.cl) + TIMING.burst
        assert (run.latency >= least).all()


def test_power_is_at_least_that_of_an_idle_memory_and_energy_is_the_sum_of_its_parts() -> None:
    energies = Energies.of(TIMING, MT40A1G8)
    for seed, controller in enumerate(designs(30, 9)):
        run = simulate(synthetic("cloud-1", 300, seed), controller, log=True)
        assert run.metrics()["power_mw"] > energies.precharged_mw
        kinds = run.log[:, 1]
        counted = (
            (kinds == ACT).sum() * energies.activate_nj
            + np.isin(kinds, (RD, RDA)).sum() * energies.read_nj
            + np.isin(kinds, (WR, WRA)).sum() * energies.write_nj
            + ((kinds == REF).sum() + run.counts.owed) * energies.refresh_nj
        )
        seconds = run.counts.clocks * NS_PER_CLOCK * 1e-9
        low = counted + energies.precharged_mw * seconds * 1e6
        high = counted + energies.active_mw * seconds * 1e6
        assert low <= run.energy_nj <= high


def test_energies_are_those_of_the_data_sheet() -> None:
    energies = Energies.of(TIMING, MT40A1G8)
    # 8 devices, 1.2 V: reading adds 92 mA for 4 clocks, refreshing 207 mA (and 25 mA at 2.5 V) for 350 ns
    assert energies.read_nj == pytest.approx(8 * 92e-3 * 1.2 * 4 / 1.2)
    assert energies.refresh_nj == pytest.approx(8 * (207e-3 * 1.2 + 25e-3 * 2.5) * 350)
    assert energies.precharged_mw == pytest.approx(8 * (34 * 1.2 + 3 * 2.5))


def test_neighbouring_lines_lie_in_different_bank_groups_and_every_line_has_a_place_of_its_own() -> None:
    address = np.arange(1 << 16) * LINE_BYTES
    bank, row, column = place(address)
    assert (np.diff(bank % GROUPS) != 0).all()
    assert len(np.unique(np.column_stack([bank, row, column]), axis=0)) == len(address)
    bank, row, _ = place(np.array([CAPACITY_BYTES - 1]))
    assert (int(bank[0]), int(row[0])) == (BANKS - 1, 65_535)


def test_equal_runs_are_equal() -> None:
    first, second = (simulate(synthetic("cloud-2", 500, 3), Controller()) for _ in range(2))
    assert first.metrics() == second.metrics()
    assert first.metrics() != simulate(synthetic("cloud-2", 500, 4), Controller()).metrics()


@pytest.mark.parametrize("scheduler", PARAMETERS["Scheduler"])
def test_requests_for_one_line_are_served_in_order(scheduler: str) -> None:
    rng = np.random.default_rng(1)
    rows = [
        (i * 3, "RW"[rng.integers(2)], int(rng.integers(4)) * GROUPS + 512 * int(rng.integers(2))) for i in range(400)
    ]
    on = requests(*rows)
    run = simulate(on, Controller(Scheduler=scheduler), log=True)
    assert violations(run, on) == []
    served = run.log[np.isin(run.log[:, 1], COLUMNS), 4]
    for line in np.unique(on.address):
        order = served[on.address[served] == line]
        assert (np.diff(order) > 0).all()


# what each parameter does


def test_open_pages_are_best_for_streams_and_closed_ones_for_random_traffic() -> None:
    opened, closed = Controller(PagePolicy="Open"), Controller(PagePolicy="Closed")
    assert latency(opened, trace("stream")) < 0.5 * latency(closed, trace("stream"))
    assert latency(closed, trace("random")) < latency(opened, trace("random"))


def test_adaptive_pages_look_at_what_waits() -> None:
    one_row, other_row = 0, 512 * 16
    same = requests((0, "R", one_row), (0, "R", one_row + 4), (400, "R", one_row + 8))
    miss = requests((0, "R", one_row), (0, "R", other_row), (400, "R", other_row + 4))

    def precharged(policy: str, on: Trace) -> list[bool]:
        run = simulate(on, Controller(PagePolicy=policy, RefreshPolicy="NoRefresh"), log=True)
        return [kind == RDA for kind in run.log[:, 1].tolist() if kind in COLUMNS]

    assert precharged("Open", miss) == precharged("Open", same) == [False] * 3
    assert precharged("Closed", miss) == precharged("Closed", same) == [True] * 3
    assert precharged("OpenAdaptive", same) == [False, False, False]
    assert precharged("OpenAdaptive", miss) == [True, False, False]
    assert precharged("ClosedAdaptive", same) == [False, True, True]
    assert precharged("ClosedAdaptive", miss) == [True, True, True]


def test_first_ready_is_never_slower_than_first_come_where_rows_are_hit() -> None:
    ratios = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = (
            rng.integers(3, size=400) * 512 * 16 + rng.integers(128, size=400) * GROUPS + rng.integers(GROUPS, size=400)
        )
        on = requests(*((i * 8, "R", int(line)) for i, line in enumerate(rows)))
        times = {s: latency(Controller(Scheduler=s, RefreshPolicy="NoRefresh"), on) for s in ("Fifo", "FrFcfs")}
        ratios.append(times["FrFcfs"] / times["Fifo"])
    assert max(ratios) < 1.0
    assert np.median(ratios) < 0.5


def test_grouping_turns_the_bus_round_less_often() -> None:
    rng = np.random.default_rng(2)
    on = requests(*((i * 4, "RW"[rng.integers(2)], int(rng.integers(128)) * GROUPS) for i in range(400)))

    def turns(scheduler: str) -> int:
        run = simulate(on, Controller(Scheduler=scheduler, RefreshPolicy="NoRefresh"), log=True)
        writes = np.isin(run.log[np.isin(run.log[:, 1], COLUMNS), 1], (WR, WRA))
        return int(np.count_nonzero(np.diff(writes)))

    assert turns("FrFcfsGrp") < 0.5 * turns("FrFcfs")
    assert latency(Controller(Scheduler="FrFcfsGrp"), on) < latency(Controller(Scheduler="FrFcfs"), on)


def test_more_room_for_waiting_requests_serves_random_traffic_sooner() -> None:
    by_kind = [latency(replace(BUSY, SchedulerBuffer=b), trace("random")) for b in ("Bankwise", "ReadWrite", "Shared")]
    assert by_kind == sorted(by_kind)
    by_size = [latency(replace(BUSY, RequestBufferSize=n), trace("random")) for n in PARAMETERS["RequestBufferSize"]]
    assert all(larger < smaller for smaller, larger in pairwise(by_size))


def waiting_at_once(run: Run, of: np.ndarray) -> int:
    """Most requests of a set between their arrival in the model and their column command."""
    columns = run.log[np.isin(run.log[:, 1], COLUMNS)]
    served = {int(r): int(c) for c, r in zip(columns[:, 0], columns[:, 4], strict=True)}
    first = {int(r): c for c, r in reversed([(int(c), r) for c, _, _, _, r in run.log.tolist() if r >= 0])}
    return max(sum(first[i] < first[j] < served[i] for i in of) + 1 for j in of)


@pytest.mark.parametrize("size", [1, 3])
def test_a_shared_buffer_holds_no_more_than_its_size(size: int) -> None:
    on = trace("random", 300)
    shared = simulate(on, Controller(SchedulerBuffer="Shared", RequestBufferSize=size), log=True)
    assert waiting_at_once(shared, np.arange(len(on))) == size
    split = simulate(on, Controller(SchedulerBuffer="ReadWrite", RequestBufferSize=size), log=True)
    assert waiting_at_once(split, np.flatnonzero(~on.write)) == size
    assert waiting_at_once(split, np.arange(len(on))) > size


def test_a_reordering_response_queue_answers_in_the_order_of_requests() -> None:
    on = trace("stream")
    kept, plain = (simulate(on, Controller(RespQueue=q)) for q in ("Reorder", "Fifo"))
    assert (np.diff(kept.delivered) > 0).all()
    assert not (np.diff(plain.delivered) > 0).all()
    assert kept.metrics()["latency_ns"] > plain.metrics()["latency_ns"]


def test_a_reordering_arbiter_keeps_the_order_of_each_initiator_alone() -> None:
    on = merge([trace("stream", 400, 1), trace("stream", 400, 2)])
    run = simulate(on, Controller(Arbiter="Reorder"))
    first, second = run.delivered[on.initiator == 0], run.delivered[on.initiator == 1]
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()
    order = np.argsort(on.when, kind="stable")
    assert not (np.diff(run.delivered[order]) > 0).all()
    assert not (np.diff(simulate(on, Controller(Arbiter="Fifo")).delivered[on.initiator == 0]) > 0).all()


def test_a_simple_arbiter_is_quick_at_leisure_and_slow_under_load() -> None:
    simple, queued = Controller(), Controller(Arbiter="Fifo")
    lone = requests((0, "R", 0))
    assert simulate(lone, queued).latency[0] - simulate(lone, simple).latency[0] == 8  # a register stage each way
    tight = {"SchedulerBuffer": "ReadWrite", "RequestBufferSize": 4}
    assert latency(replace(queued, **tight), trace("stream")) < latency(replace(simple, **tight), trace("stream"))


@pytest.mark.parametrize("active", [1, 4, 16])
def test_no_initiator_has_more_transactions_under_way_than_allowed(active: int) -> None:
    on = trace("random", 400)
    run = simulate(on, Controller(Arbiter="Fifo", MaxActiveTransactions=active), log=True)
    first = {int(r): int(c) for c, r in reversed(run.log[:, [0, 4]].tolist()) if r >= 0}
    for i, began in first.items():
        unanswered = sum(run.delivered[j] > began for j in range(i))  # its own initiator's, sent before it
        assert unanswered < active


def test_fewer_active_transactions_cost_time_except_with_a_simple_arbiter() -> None:
    queued = Controller(Arbiter="Fifo")
    times = [latency(replace(queued, MaxActiveTransactions=n), trace("random")) for n in (1, 2, 4, 8, 16)]
    assert all(more < fewer for fewer, more in pairwise(times))
    assert len({latency(replace(Controller(), MaxActiveTransactions=n), trace("random")) for n in (1, 128)}) == 1


def test_refreshes_fall_due_and_are_done_and_owed_ones_are_charged() -> None:
    for controller in (Controller(), BUSY, replace(BUSY, RefreshMaxPulledin=1)):
        run = simulate(trace("pointer-chase"), controller)
        assert run.counts.refreshes + run.counts.owed == run.counts.clocks // TIMING.refi
    never = simulate(trace("pointer-chase"), Controller(RefreshPolicy="NoRefresh"))
    assert never.counts.refreshes == never.counts.owed == 0
    assert never.metrics()["missed_refreshes"] == never.counts.clocks / TIMING.refi
    assert simulate(trace("pointer-chase"), Controller()).metrics()["missed_refreshes"] == 0


def test_refreshing_costs_time_and_energy() -> None:
    on = trace("random")
    always, never = (simulate(on, Controller(RefreshPolicy=p)).metrics() for p in ("AllBank", "NoRefresh"))
    assert never["latency_ns"] < always["latency_ns"]
    assert never["energy_nj"] < always["energy_nj"]


def test_busy_traffic_is_refreshed_later_the_more_may_be_postponed() -> None:
    on = trace("random", 5000)
    runs = [simulate(on, replace(BUSY, RefreshMaxPostponed=n)) for n in PARAMETERS["RefreshMaxPostponed"]]
    assert [run.counts.owed for run in runs] == [*PARAMETERS["RefreshMaxPostponed"]]
    assert all(b.counts.clocks < a.counts.clocks for a, b in pairwise(runs))
    times = [run.metrics()["latency_ns"] for run in runs]
    assert all(later < sooner for sooner, later in pairwise(times))


def test_pauses_are_used_for_as_many_refreshes_ahead_as_allowed() -> None:
    on = trace("cloud-1")
    runs = [simulate(on, Controller(RefreshMaxPulledin=n)) for n in PARAMETERS["RefreshMaxPulledin"]]
    assert [-run.counts.owed for run in runs] == [*PARAMETERS["RefreshMaxPulledin"]]
    assert len({run.metrics()["power_mw"] for run in runs}) == len(runs)


def test_a_parameter_out_of_range_is_refused() -> None:
    with pytest.raises(SpecError, match=r"Scheduler is 'FrFcf'.*\n.*FrFcfs"):
        Controller(Scheduler="FrFcf")
    with pytest.raises(SpecError, match="no parameter 'Schedular'"):
        Controller.of({"Schedular": "Fifo"})
    for wrong in ({"RequestBufferSize": 0}, {"RefreshMaxPostponed": 9}, {"MaxActiveTransactions": 1.5}):
        with pytest.raises(SpecError, match="a whole number from"):
            Controller.of(wrong)


@pytest.mark.parametrize(
    "field",
    ["burst", "rcd", "rp", "ras", "rrd_s", "rrd_l", "faw", "ccd_s", "ccd_l", "rtp", "wr", "wtr_s", "wtr_l", "rfc"],
)
def test_the_checker_sees_a_memory_that_is_driven_too_fast(field: str) -> None:
    fast = TIMING._replace(**{field: getattr(TIMING, field) - 1 if field != "faw" else 1})
    found: list[str] = []
    for controller in designs(12, 10):
        on = synthetic("cloud-2", 400, 1)
        run = simulate(on, controller, timing=fast, log=True)
        found += violations(replace(run, timing=TIMING), on)
    assert found
