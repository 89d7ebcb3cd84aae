"""The array of a design while it runs the passes of a tensor, as an architecture that mappings can be searched on.

A core that skips the zeros of structured weights in space feeds `w` multipliers with neighbouring places of the pattern, of
which exactly `w` hold a weight. Unrolled, there is a lane for every place, and the multipliers' energy and area are shared out
over them. Several terms that stream while partial sums and the other operand stay are one step of several cycles: bandwidths are
then per step. Words moved, cycles, energy and area are those of the design itself under skipping in space
(`tests/test_codesign_array.py` compares them), but no count depends on the mapping other than through tile shapes and loop orders,
so that the exact mapper proves its optimum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeVar

from fiberloom.architecture.components import adder_energy, multiplier_energy
from fiberloom.architecture.levels import Architecture, Compute, StorageLevel
from fiberloom.architecture.library.design import DesignInfo
from fiberloom.architecture.library.structure import structure_of
from fiberloom.architecture.sparse import SafKind
from fiberloom.codesign.layer.passes import Pass
from fiberloom.errors import UnsupportedError

_Part = TypeVar("_Part", StorageLevel, Compute)

_MULTIPLICATION: Final = ("mac_random", "compute")
_GATED: Final = ("mac_gated", "gated_compute")
_ACCUMULATOR: Final = "int32"
"""Shared by all formats of a core: products of small floats are fixed-point numbers."""


@dataclass(frozen=True)
class RunningArray:
    """An unrolled array.

    Attributes:
        architecture: with a lane for every place that a step covers.
        cycles_per_step: cycles of the design that one cycle of `architecture` stands for.
        places: of the reduced rank that a step covers.
    """

    architecture: Architecture
    cycles_per_step: int
    places: int


def reduction_lanes(info: DesignInfo) -> tuple[str, bool, int] | None:
    """(level, along X, lanes) of the fan-out whose lanes only the weights' non-zeros take; None for other designs."""
    weights = next(iter(info.operands))
    for entry in info.dataflow:
        for along_x, growths in ((True, entry.x), (False, entry.y)):
            if any(growth.nonzeros_of == weights for growth in growths):
                return entry.level, along_x, info.architecture.fanout(entry.level)[0 if along_x else 1]
    return None


def running(
    info: DesignInfo, architecture: Architecture, passes: Sequence[Pass], *, weights: float, activations: float
) -> RunningArray:
    """The array of a design that skips in space, under the passes of its weights.

    Args:
        architecture: of the design `info`, under any names of tensors.
        weights: density that the workload states for the weights: their words per place.
        activations: share of non-zeros of the other operand, for multipliers that gate.

    Raises:
        UnsupportedError: if one pattern has more non-zeros than lanes stand side by side.
    """
    found = reduction_lanes(info)
    assert found is not None
    at, along_x, lanes = found
    own = Fraction(str(next(iter(info.menu.formats.values())))) if info.menu is not None else Fraction(1)
    places, beat = window(passes, {p.format: lanes * p.rate / own for p in passes}, _reach(info, lanes))
    wide = _Widening(along_x, lanes, places)
    levels: list[StorageLevel] = []
    inside = False
    for level in architecture.levels:
        plain = tuple(o for o in level.optimizations if o.kind is not SafKind.SPATIAL_SKIPPING)
        changed = _faster(level.model_copy(update={"optimizations": plain}), beat)
        if level.keep == (info.output,) and beat > 1 and not inside:
            changed = _accumulating(changed, beat)
        if inside:
            changed = wide.of(changed)
        levels.append(changed)
        inside = inside or level.name == at
    compute = wide.of(architecture.compute)
    compute = compute.model_copy(
        update={"energy_pj": _energies(architecture, info, compute, passes, weights, activations)}
    )
    made = architecture.model_copy(
        update={
            "levels": tuple(levels),
            "compute": compute,
            "cycle_seconds": architecture.cycle_seconds * beat,
        }
    )
    return RunningArray(made, beat, places)


def _reach(info: DesignInfo, lanes: int) -> int:
    """Most places that the array can look at: the unit that holds the other operand's window, or what the sparsest entry needs."""
    other = list(info.operands)[1]
    held = [level.capacity_words for level in info.architecture.levels[1:] if level.keep == (other,)]
    if held and held[-1] is not None:
        return held[-1]
    sparsest = (
        min((structure_of(text).density for text in info.menu.weights), default=Fraction(1))
        if info.menu
        else Fraction(1)
    )
    return math.ceil(lanes / sparsest)


def window(passes: Sequence[Pass], lanes: Mapping[str, Fraction], reach: int) -> tuple[int, int]:
    """Neighbouring places that the passes work on together, and the cycles that they take for them.

    Whole patterns, as many as make the best use of the multipliers; of equal ones the least.

    Args:
        lanes: multipliers by number format.
        reach: most places.

    Raises:
        UnsupportedError: if one pattern reaches further.
    """
    pattern = math.lcm(*(p.entry.span for p in passes))
    if pattern > reach:
        raise UnsupportedError(
            f"patterns of {pattern} places, and the array looks at {reach}", hint="use patterns with shorter blocks"
        )
    best = (0, 1)
    for places in range(pattern, reach + 1, pattern):
        cycles = sum(math.ceil(places * p.entry.density / lanes[p.format]) for p in passes)
        if places * best[1] > best[0] * cycles:
            best = places, cycles
    return best


@dataclass(frozen=True)
class _Widening:
    """What replaces `lanes` by `places` along an axis."""

    along_x: bool
    lanes: int
    places: int

    def of(self, component: _Part) -> _Part:
        x, y = component.mesh
        x, y = (x // self.lanes * self.places, y) if self.along_x else (x, y // self.lanes * self.places)
        share = self.lanes / self.places
        area, energy = component.area_um2, component.energy_pj
        depth = component.depth if isinstance(component, StorageLevel) else None
        leaking = None if energy is None else {n: pj * (share if "leak" in n else 1.0) for n, pj in energy.items()}
        return component.model_copy(
            update={
                "instances": x * y,
                "mesh_x": x,
                "mesh_y": None,
                "area_um2": None if area is None else area * share,
                "energy_pj": leaking,
                **({} if depth is None else {"depth": max(1, math.floor(depth * share))}),
            }
        )


def _accumulating(level: StorageLevel, beat: int) -> StorageLevel:
    """Partial sums are read and written in every cycle of a step."""
    energy = level.energy_pj
    return (
        level if energy is None else level.model_copy(update={"energy_pj": {n: pj * beat for n, pj in energy.items()}})
    )


def _faster(level: StorageLevel, beat: int) -> StorageLevel:
    """Bandwidths per step."""
    if beat == 1:
        return level
    names = ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
    rates = {name: getattr(level, name) for name in names}
    return level.model_copy(update={name: rate * beat for name, rate in rates.items() if rate is not None})


def _energies(
    architecture: Architecture,
    info: DesignInfo,
    compute: Compute,
    passes: Sequence[Pass],
    weights: float,
    activations: float,
) -> dict[str, float] | None:
    """Energies per action of a lane that multiplies only where a weight stands, in the formats of the passes.

    Without gating every lane counts as working: a share of the places does. With gating, lanes without a weight count as gated,
    beside those whose activation is zero; only the latter cost anything.
    """
    energy = compute.energy_pj
    if energy is None or info.menu is None:
        return energy
    own = next(iter(info.menu.formats))
    work = sum(float(p.entry.density) * relative_energy(architecture, own, p.format) for p in passes)
    made = dict(energy)
    idle = 1.0 - weights * activations
    for name, pj in energy.items():
        if name in _MULTIPLICATION:
            made[name] = pj * (work / weights if compute.gating else work)
        elif name in _GATED and compute.gating:
            made[name] = pj * work * (1.0 - activations) / idle if idle > 0 else pj
    return made


def relative_energy(architecture: Architecture, own: str, other: str) -> float:
    """Energy of a multiplication and addition in one format over that in another, by the component library.

    The design's own figure is scaled by it: the library's ratio, the design's anchor.
    """
    if own == other:
        return 1.0

    def energy(name: str) -> float:
        tech = architecture.technology
        return multiplier_energy(name, name, tech) + adder_energy(_ACCUMULATOR, tech)

    return energy(other) / energy(own)
