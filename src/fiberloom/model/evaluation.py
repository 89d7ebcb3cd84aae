"""The answer: cycles, energy, area, utilisation, and the full account behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import plotly.graph_objects as go

ACTIONS = ("reads", "fills", "updates")
"""Data actions of a storage level: read towards compute, fill from the parent, update by results from below."""

JSON_VERSION = 1
"""Version of the object that `Evaluation.to_dict` returns; raised when a field changes meaning or goes."""


@dataclass(frozen=True)
class Counts:
    """How often an action happened, was gated (idle cycle) and was skipped (no cycle), per instance of the level."""

    actual: float = 0.0
    gated: float = 0.0
    skipped: float = 0.0

    def to_dict(self) -> dict[str, float]:
        return {"actual": _number(self.actual), "gated": _number(self.gated), "skipped": _number(self.skipped)}


@dataclass(frozen=True)
class MetadataCounts:
    """Metadata accesses per rank, **innermost rank first**, as ``(metadata items, payload items)``."""

    actual: tuple[tuple[float, float], ...] = ()
    gated: tuple[tuple[float, float], ...] = ()
    skipped: tuple[tuple[float, float], ...] = ()

    def to_dict(self) -> dict[str, list[list[float]]]:
        return {
            kind: [[_number(a), _number(b)] for a, b in getattr(self, kind)] for kind in ("actual", "gated", "skipped")
        }


@dataclass(frozen=True)
class TensorAccount:
    """One tensor at one storage level. Counts are words per instance; energy is that of all instances.

    Attributes:
        tile_words: dense words of the tile.
        occupied_words: words that the tile is given room for (largest occupancy when compressed).
        instances: average number of instances at work.
        energy_by_action_pj: pJ by action: ``read``, ``fill``, ``update``, ``metadata_read``, ….
        dense_reads, dense_fills, dense_updates: words if nothing were sparse.
        peer_words: words that an instance passes on to its mesh neighbours.
        elimination_probability: share of the level's traffic below it that gating and skipping remove.
    """

    tensor: str
    tile_words: float
    occupied_words: float
    instances: float
    reads: Counts
    fills: Counts
    updates: Counts
    metadata_reads: MetadataCounts
    metadata_fills: MetadataCounts
    metadata_updates: MetadataCounts
    energy_by_action_pj: Mapping[str, float]
    dense_reads: float = 0.0
    dense_fills: float = 0.0
    dense_updates: float = 0.0
    peer_words: float = 0.0
    elimination_probability: float = 0.0

    @property
    def energy_pj(self) -> float:
        return sum(self.energy_by_action_pj.values())

    def to_dict(self) -> dict[str, Any]:
        return {
            "energy_pj": _number(self.energy_pj),
            "instances": _number(self.instances),
            "tile_words": _number(self.tile_words),
            "occupied_words": _number(self.occupied_words),
            **{
                name: getattr(self, name).to_dict()
                for name in ("reads", "fills", "updates", "metadata_reads", "metadata_fills", "metadata_updates")
            },
            "energy_by_action_pj": {k: _number(v) for k, v in self.energy_by_action_pj.items()},
        }


@dataclass(frozen=True)
class LevelAccount:
    """One storage level.

    Attributes:
        cycles: cycles that its bandwidth allows the computation to finish in.
        slowdown: compute cycles / `cycles`; 1 when it never throttles.
        used_words, capacity_words: room taken and there is, per instance (capacity None: unbounded).
        leakage_pj: leakage of all instances over the run.
    """

    name: str
    cycles: float
    slowdown: float
    used_words: float
    capacity_words: float | None
    instances: float
    tensors: Mapping[str, TensorAccount]
    leakage_pj: float = 0.0
    area_um2: float = 0.0

    @property
    def energy_pj(self) -> float:
        return sum(t.energy_pj for t in self.tensors.values()) + self.leakage_pj

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "cycles": _number(self.cycles),
            "slowdown": _number(self.slowdown),
            "energy_pj": _number(self.energy_pj),
            "leakage_pj": _number(self.leakage_pj),
            "area_um2": _number(self.area_um2),
            "instances": _number(self.instances),
            "used_words": _number(self.used_words),
            "capacity_words": None if self.capacity_words is None else _number(self.capacity_words),
            "tensors": {name: t.to_dict() for name, t in self.tensors.items()},
        }


@dataclass(frozen=True)
class NetworkAccount:
    """Words moved between a level and its children, over all instances, and their energy (none: docs/limits.md)."""

    name: str
    words: Mapping[str, float]
    energy_pj: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "words": {k: _number(v) for k, v in self.words.items()},
            "energy_pj": _number(self.energy_pj),
        }


@dataclass(frozen=True)
class ComputeAccount:
    """The arithmetic. ``actual + gated + skipped + eliminated = algorithmic``, over all instances.

    Attributes:
        eliminated: computations that never reach the units because a storage level skipped or gated an operand, or
            because no operand exists.
        instances: units that the mapping uses.
        cycles: cycles of the units alone, no bandwidth limit.
    """

    name: str
    algorithmic: float
    actual: float
    gated: float
    skipped: float
    eliminated: float
    instances: float
    cycles: float
    energy_pj: float
    leakage_pj: float = 0.0
    area_um2: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {k: (v if isinstance(v, str) else _number(v)) for k, v in self.__dict__.items()}


@dataclass(frozen=True)
class Evaluation:
    """What one mapping costs.

    Attributes:
        cycles: total cycles; `bottleneck` names the level (or compute) that sets them.
        energy_pj: total energy; `energy_by_component_pj` splits it.
        area_um2: area of the whole chip.
        utilization: ideal cycles / cycles (MACs per lane-cycle).
        warnings: what a reader of the numbers should know.
        provenance: where every energy and area comes from, by component.
        rules: the rule set used.
        loop_nest: the mapping as architects print it.
    """

    cycles: float
    energy_pj: float
    area_um2: float
    utilization: float
    bottleneck: str
    compute: ComputeAccount
    levels: tuple[LevelAccount, ...]
    networks: tuple[NetworkAccount, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    rules: str = "fiberloom"
    workload: str = ""
    architecture: str = ""
    loop_nest: str = ""
    cycle_seconds: float = 1e-9

    @property
    def energy_by_component_pj(self) -> dict[str, float]:
        """Energy in pJ of every level, network and the compute."""
        parts = {level.name: level.energy_pj for level in self.levels}
        parts |= {network.name: network.energy_pj for network in self.networks if network.energy_pj}
        parts[self.compute.name] = self.compute.energy_pj + self.compute.leakage_pj
        return parts

    @property
    def edp(self) -> float:
        """Energy–delay product in pJ · cycles."""
        return self.energy_pj * self.cycles

    def level(self, name: str) -> LevelAccount:
        """Account of one storage level.

        Raises:
            KeyError: if there is none of that name.
        """
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``fiberloom evaluate --json`` (see docs/json.md)."""
        return {
            "version": JSON_VERSION,
            "workload": self.workload,
            "architecture": self.architecture,
            "rules": self.rules,
            "cycles": _number(self.cycles),
            "energy_pj": _number(self.energy_pj),
            "area_um2": _number(self.area_um2),
            "utilization": _number(self.utilization),
            "edp_pj_cycles": _number(self.edp),
            "seconds": self.cycles * self.cycle_seconds,
            "bottleneck": self.bottleneck,
            "energy_by_component_pj": {k: _number(v) for k, v in self.energy_by_component_pj.items()},
            "compute": self.compute.to_dict(),
            "levels": [level.to_dict() for level in self.levels],
            "networks": [network.to_dict() for network in self.networks],
            "loop_nest": self.loop_nest,
            "warnings": list(self.warnings),
            "provenance": dict(self.provenance),
        }

    def to_frame(self) -> pandas.DataFrame:
        """One row per level, tensor and action with its counts and energy, as a pandas DataFrame.

        Raises:
            MissingExtraError: without pandas.
        """
        try:
            import pandas
        except ImportError:
            from fiberloom.errors import MissingExtraError

            raise MissingExtraError("pandas", "frames", "Evaluation.to_frame") from None
        rows = []
        for level in self.levels:
            for tensor in level.tensors.values():
                for action in ACTIONS:
                    counts: Counts = getattr(tensor, action)
                    rows.append(
                        {
                            "level": level.name,
                            "tensor": tensor.tensor,
                            "action": action,
                            "actual": counts.actual,
                            "gated": counts.gated,
                            "skipped": counts.skipped,
                            "instances": tensor.instances,
                            "energy_pj": tensor.energy_by_action_pj.get(action.removesuffix("s"), 0.0),
                            "metadata_energy_pj": tensor.energy_by_action_pj.get(
                                "metadata_" + action.removesuffix("s"), 0.0
                            ),
                        }
                    )
        return pandas.DataFrame(rows)

    def plot(self) -> go.Figure:
        """Energy by component and tensor, and cycles by component, as a plotly figure.

        Raises:
            MissingExtraError: without plotly.
        """
        from fiberloom.report.plots import evaluation_plot

        return evaluation_plot(self)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {pj:.4g}" for name, pj in self.energy_by_component_pj.items())
        return (
            f"Evaluation({self.workload} on {self.architecture}: {self.cycles:,.0f} cycles ({self.bottleneck}), "
            f"{self.energy_pj:,.4g} pJ [{parts}], utilization {self.utilization:.1%}, {self.area_um2:,.4g} um2)"
        )

    def _repr_html_(self) -> str:
        from fiberloom.report.notebook import evaluation_html

        return evaluation_html(self)


def _number(value: float) -> float | int:
    """Whole numbers as integers, so that counts print as counts."""
    value = float(value)
    return int(value) if value.is_integer() and abs(value) < 2**62 else value
