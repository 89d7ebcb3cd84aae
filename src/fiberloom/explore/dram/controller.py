"""A memory controller with the ten parameters of ArchGym's space, and what a trace costs on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, nearest
from fiberloom.explore.dram import simulation
from fiberloom.explore.dram.device import LINE_BYTES, NS_PER_CLOCK, Currents, Energies, Integers, Timing
from fiberloom.explore.dram.policies import ALL_BANK, Design
from fiberloom.explore.dram.simulation import Counts
from fiberloom.explore.dram.traces import Trace
from fiberloom.model.compiled import announced, compile_kernel

PARAMETERS: Final[Mapping[str, tuple[str | int, ...]]] = {
    "PagePolicy": ("Open", "OpenAdaptive", "Closed", "ClosedAdaptive"),
    "Scheduler": ("Fifo", "FrFcfs", "FrFcfsGrp"),
    "SchedulerBuffer": ("Bankwise", "ReadWrite", "Shared"),
    "RequestBufferSize": (1, 2, 3, 4, 5, 6, 7, 8),
    "RespQueue": ("Fifo", "Reorder"),
    "RefreshPolicy": ("NoRefresh", "AllBank"),
    "RefreshMaxPostponed": (1, 2, 3, 4, 5, 6, 7, 8),
    "RefreshMaxPulledin": (1, 2, 3, 4, 5, 6, 7, 8),
    "Arbiter": ("Simple", "Fifo", "Reorder"),
    "MaxActiveTransactions": (1, 2, 4, 8, 16, 32, 64, 128),
}
"""Names and values of ArchGym's DRAM environment (ISCA'23), which are those of DRAMSys' controller configuration.

ArchGym's agents use 1 to 8 as well as powers of two up to 128 for RequestBufferSize; here it is 1 to 8.
"""

METRICS: Final[Mapping[str, str]] = {
    "latency_ns": "ns",
    "latency_p95_ns": "ns",
    "power_mw": "mW",
    "energy_nj": "nJ",
    "bandwidth_gbs": "GB/s",
    "row_hit_rate": "",
    "missed_refreshes": "",
}
"""Unit by metric; see `Run.metrics`."""

_ORDINALS: Final = ("PagePolicy", "Scheduler", "SchedulerBuffer", "RespQueue", "RefreshPolicy", "Arbiter")


@dataclass(frozen=True)
class Controller:
    """One design; the field names are those of DRAMSys, so that a configuration reads the same in both.

    Values may be wider than ArchGym's (`MOST`); no refresh may be postponed or pulled in where that is 0.
    """

    PagePolicy: str = "Open"
    Scheduler: str = "FrFcfs"
    SchedulerBuffer: str = "Bankwise"
    RequestBufferSize: int = 8
    RespQueue: str = "Fifo"
    RefreshPolicy: str = "AllBank"
    RefreshMaxPostponed: int = 8
    RefreshMaxPulledin: int = 8
    Arbiter: str = "Simple"
    MaxActiveTransactions: int = 128

    def __post_init__(self) -> None:
        for name, values in PARAMETERS.items():
            value = getattr(self, name)
            if name in _ORDINALS:
                if value not in values:
                    raise SpecError(f"{name} is {value!r}", hint=nearest(str(value), map(str, values)))
            elif isinstance(value, bool) or not isinstance(value, int) or not _least(name) <= value <= MOST[name]:
                raise SpecError(f"{name} is {value!r}", hint=f"a whole number from {_least(name)} to {MOST[name]}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Controller:
        """From values by name, all optional.

        Raises:
            SpecError: for a name or a value that there is not.
        """
        for name in values:
            if name not in PARAMETERS:
                raise SpecError(f"a controller has no parameter '{name}'", hint=nearest(name, PARAMETERS))
        return cls(**values)

    @cached_property
    def packed(self) -> Design:
        """Names as numbers, in the order of `PARAMETERS`."""
        return Design(
            *(
                PARAMETERS[name].index(getattr(self, name)) if name in _ORDINALS else int(getattr(self, name))
                for name in PARAMETERS
            )
        )


MOST: Final[Mapping[str, int]] = {
    "RequestBufferSize": 4096,
    "RefreshMaxPostponed": 8,  # JESD79-4: at most 8 REF commands may be postponed or pulled in
    "RefreshMaxPulledin": 8,
    "MaxActiveTransactions": 4096,
}
"""Largest value of each number, wider than ArchGym's space where the standard allows it."""


def _least(name: str) -> int:
    return 0 if name.startswith("Refresh") else 1


DDR4_2400: Final = Timing()
MT40A1G8: Final = Currents()


@dataclass(frozen=True)
class Run:
    """A trace on a controller.

    Attributes:
        counts: commands, clocks and refreshes.
        arrived, delivered: clock of each request and of its response, in the trace's order.
        log: (commands, 5) of clock, command (`fiberloom.explore.dram.memory`), bank, row, request; empty unless asked for.
    """

    controller: Controller
    counts: Counts
    arrived: Integers
    delivered: Integers
    log: Integers
    timing: Timing
    energies: Energies

    @property
    def latency(self) -> Integers:
        """Clocks from request to response, of each request, with the wait at the initiator."""
        return self.delivered - self.arrived

    @property
    def energy_nj(self) -> float:
        """Of the rank.

        Refreshes still owed at the end are charged and those done ahead are not: a trace is a stretch of a longer time, and
        postponing saves nothing in the long run.
        """
        c, e = self.counts, self.energies
        refreshes = c.refreshes + c.owed
        commands = c.activates * e.activate_nj + c.reads * e.read_nj + c.writes * e.write_nj + refreshes * e.refresh_nj
        standby = e.precharged_mw * c.idle + e.active_mw * (c.clocks - c.idle)
        return float(commands + standby * NS_PER_CLOCK * 1e-3)

    def metrics(self) -> dict[str, float]:
        """Mean and 95th percentile (nearest rank) of the latency, power and energy of the rank, data per time from the first
        request to the last response, share of column commands that found their row open already, and refreshes that fell
        due and that no policy makes up for."""
        ns = float(self.counts.clocks) * NS_PER_CLOCK
        latency = self.latency
        rank = math.ceil(0.95 * len(latency)) - 1
        energy = self.energy_nj
        refreshed = self.controller.packed.refresh == ALL_BANK
        return {
            "latency_ns": float(latency.mean()) * NS_PER_CLOCK,
            "latency_p95_ns": float(np.partition(latency, rank)[rank]) * NS_PER_CLOCK,
            "power_mw": energy / ns * 1e3,
            "energy_nj": energy,
            "bandwidth_gbs": len(latency) * LINE_BYTES / ns,
            "row_hit_rate": self.counts.row_hits / len(latency),
            "missed_refreshes": 0.0 if refreshed else float(self.counts.clocks / self.timing.refi),
        }


def simulate(
    trace: Trace,
    controller: Controller,
    *,
    timing: Timing = DDR4_2400,
    currents: Currents = MT40A1G8,
    log: bool = False,
) -> Run:
    """Run a trace; the first call in a process compiles or loads the simulation.

    Args:
        log: keep every command.
    """
    compile_kernel()
    table = (*trace.packed, controller.packed, timing)
    n = len(trace)
    arrived, delivered = np.zeros(n, np.int64), np.zeros(n, np.int64)
    commands: NDArray[np.int64] = np.zeros((8 * n if log else 0, 5), np.int64)
    with announced():
        counts = Counts(*simulation.run(*table, arrived, delivered, commands))
        if log and counts.logged > len(commands):
            commands = np.zeros((counts.logged, 5), np.int64)
            counts = Counts(*simulation.run(*table, arrived, delivered, commands))
    assert counts.clocks >= 0, "requests wait for each other"
    energies = Energies.of(timing, currents)
    return Run(controller, counts, arrived, delivered, commands[: counts.logged], timing, energies)
