"""Representations on designs: what each costs and what is left of the model, and which of them are worth considering."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fiberloom.codesign.front import dominators
from fiberloom.codesign.network_cost import NetworkCost
from fiberloom.codesign.weights.compression import CompressedLayer, mean_output_error
from fiberloom.codesign.weights.network_weights import NetworkWeights
from fiberloom.codesign.weights.quality import WEIGHTS_ARE_NO_PROXY, Quality
from fiberloom.errors import FiberloomError

TRADEOFF_VERSION: Final = 1
"""Version of the object that `Tradeoff.to_dict` returns; raised when a field changes meaning or goes."""

DENSE: Final = "dense"
"""The scheme that every other is compared with: the weights as they are."""

_FLAT: Final = (
    "design", "scheme", "quality", "output_error", "relative_error", "dropped_nonzeros", "density", "bits_per_weight",
    "bits_on_design", "ideal_throughput", "menu_throughput", "cycles", "seconds", "energy_pj", "edp_j_s", "area_um2",
    "on_front", "refused",
)  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """A scheme and what is left of the model under it.

    Attributes:
        scheme: its name; ``dense`` for the model as it is.
        representation: in full.
        layers: the represented weights.
        quality: what the quality function says; None where there is none.
        unquantised: whether a term has no number format.
    """

    scheme: str
    representation: str
    layers: tuple[CompressedLayer, ...]
    quality: float | None = None
    unquantised: bool = False


@dataclass(frozen=True)
class Tradeoff:
    """Points of quality and cost.

    Attributes:
        content: the JSON object of ``fiberloom codesign --json`` (docs/json.md lists its fields).
    """

    content: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return dict(self.content)

    @property
    def points(self) -> Sequence[Mapping[str, Any]]:
        """One per design and scheme."""
        found: Sequence[Mapping[str, Any]] = self.content["points"]
        return found

    @property
    def front(self) -> Sequence[Mapping[str, Any]]:
        """The points that no other beats in both quality and energy–delay product, by falling cost."""
        mine = [point for point in self.points if point["on_front"]]
        return sorted(mine, key=lambda point: point["edp_j_s"])

    def rows(self) -> list[dict[str, Any]]:
        """`points` as flat rows, for CSV."""
        rows = []
        for point in self.points:
            throughput = point["throughput"]
            flat = {**point, "ideal_throughput": throughput["ideal"], "menu_throughput": throughput["menu"]}
            rows.append({name: flat.get(name) for name in _FLAT})
        return rows


def weights_summary(layers: Sequence[CompressedLayer]) -> dict[str, Any]:
    """Error, non-zeros and bits of all layers' weights together; the output error is `mean_output_error`."""
    elements = sum(layer.measurement.elements for layer in layers)
    nonzeros = [layer.measurement.original_density * layer.measurement.elements for layer in layers]
    lost = [layer.measurement.dropped_nonzeros * n for layer, n in zip(layers, nonzeros, strict=True)]
    kept = [layer.measurement.density * layer.measurement.elements for layer in layers]
    squared = [layer.norm**2 for layer in layers]
    wrong = [(layer.measurement.relative_error * layer.norm) ** 2 for layer in layers]
    whole = math.fsum(squared)
    return {
        "relative_error": math.sqrt(math.fsum(wrong) / whole) if whole else 0.0,
        "output_error": mean_output_error(layers),
        "dropped_nonzeros": math.fsum(lost) / math.fsum(nonzeros) if any(nonzeros) else 0.0,
        "density": math.fsum(kept) / elements,
        "original_density": math.fsum(nonzeros) / elements,
        "bits_per_weight": math.fsum(layer.bits_per_weight * layer.measurement.elements for layer in layers) / elements,
    }


def tradeoff(
    weights: NetworkWeights,
    quality: Quality,
    scored: Mapping[str, Scored],
    costs: Mapping[tuple[str, str], NetworkCost | FiberloomError],
    designs: Sequence[str],
    schemes: Sequence[str],
    activations: str,
) -> Tradeoff:
    """The points of what is known, with the front.

    Args:
        scored, costs: by scheme, and by design and scheme; those of ``dense`` are what others are compared with.
        designs, schemes: in the order of the points. Without designs there is a point per scheme.
        activations: how they were kept where errors were measured.
    """
    points = [
        _point(scored[scheme], design, costs, quality)
        for scheme in schemes
        if scheme in scored
        for design in designs or (None,)
        if design is None or (design, scheme) in costs
    ]
    losses = [quality.loss(point["quality"]) for point in points]
    behind = dominators([point.get("edp_j_s") for point in points], losses)
    for i, point in enumerate(points):
        point["on_front"] = behind[i] is None and point.get("edp_j_s") is not None
        point["dominated_by"] = behind[i]
    network = weights.network
    elements = sum(math.prod(layer.view.stored) for layer in weights.layers)
    content = {
        "version": TRADEOFF_VERSION,
        "model": {
            "name": network.name,
            "source": network.source,
            "layers": len(weights.layers),
            "weights": elements,
            "macs": network.macs,
        },
        "quality": {
            "name": quality.name,
            "lower_is_better": quality.lower_is_better,
            "original": _quality(scored[DENSE], quality) if DENSE in scored else None,
        },
        "activations": activations,
        "designs": [_design(design, costs) for design in designs],
        "points": points,
        "left_out": dict(weights.left_out),
        "notes": [
            *weights.notes,
            *_own_formats(designs, [scored[scheme] for scheme in schemes if scheme in scored]),
            *([WEIGHTS_ARE_NO_PROXY] if quality.function is None else []),
        ],
    }
    return Tradeoff(content)


def _own_formats(designs: Sequence[str], scored: Sequence[Scored]) -> list[str]:
    """What hardware makes of values without a number format."""
    bare = [entry.scheme for entry in scored if entry.unquantised]
    if not bare or not designs:
        return []
    from fiberloom.architecture.library import describe

    own = []
    for design in designs:
        menu = describe(design).menu
        if menu is not None:
            own.append(f"{next(iter(menu.formats))} on {design}")
    return [
        f"values without a number format run as the design's own ({', '.join(own)}), and rounding to it is in no error: write "
        f"it to have it there, as in '{bare[0].split('+')[0].strip()} int8'"
    ]


def _quality(scored: Scored, quality: Quality) -> float | None:
    return scored.quality if quality.function is not None else mean_output_error(scored.layers)


def _design(design: str, costs: Mapping[tuple[str, str], NetworkCost | FiberloomError]) -> dict[str, Any]:
    from fiberloom.architecture.library import describe

    info = describe(design)
    known = [cost for (name, _), cost in costs.items() if name == design and isinstance(cost, NetworkCost)]
    dense = costs.get((design, DENSE))
    return {
        "name": info.name,
        "title": info.title,
        "weights": list(info.menu.weights) if info.menu is not None else [],
        "formats": dict(info.menu.formats) if info.menu is not None else {},
        "area_um2": max((cost.area_um2 for cost in known), default=None),
        "cycle_seconds": info.architecture.cycle_seconds,
        "dense": _cost(dense) if isinstance(dense, NetworkCost) else None,
        "sources": list(info.architecture.sources),
    }


def _point(
    scored: Scored,
    design: str | None,
    costs: Mapping[tuple[str, str], NetworkCost | FiberloomError],
    quality: Quality,
) -> dict[str, Any]:
    cost = None if design is None else costs.get((design, scored.scheme))
    dense = None if design is None else costs.get((design, DENSE))
    made: dict[str, Any] = {
        "design": design,
        "scheme": scored.scheme,
        "representation": scored.representation,
        "quality": _quality(scored, quality),
        **weights_summary(scored.layers),
        "throughput": {"ideal": _ideal(scored), "menu": None},
    }
    if isinstance(cost, FiberloomError):
        return {
            **made,
            "refused": cost.problem,
            "hint": cost.hint,
            "layers": [_layer(layer) for layer in scored.layers],
        }
    if cost is None:
        return {**made, "refused": None, "layers": [_layer(layer) for layer in scored.layers]}
    made |= {"refused": None, **_cost(cost)}
    made["throughput"]["menu"] = cost.menu_throughput
    if isinstance(dense, NetworkCost):
        made["versus_dense"] = {
            "cycles": dense.cycles / cost.cycles,
            "energy": dense.energy_pj / cost.energy_pj,
            "edp": dense.edp_j_s / cost.edp_j_s,
        }
    by_tensor: dict[str, list[dict[str, Any]]] = {}
    for operator in cost.operators:
        entry = {"operator": operator.operator, "count": operator.count, **operator.cost.to_dict()}
        if operator.tensor is not None:
            by_tensor.setdefault(operator.tensor, []).append(entry)
    made["layers"] = [
        {**_layer(layer, cost.menu_throughput), **_layer_cost(by_tensor.get(layer.name, []))} for layer in scored.layers
    ]
    sizes = [layer["shape"][0] * layer["shape"][1] for layer in made["layers"]]
    stored = [layer.get("bits_on_design", 0.0) * n for layer, n in zip(made["layers"], sizes, strict=True)]
    made["bits_on_design"] = math.fsum(stored) / sum(sizes)
    made["other_products"] = [
        {"operator": o.operator, "count": o.count, **o.cost.to_dict()} for o in cost.operators if o.tensor is None
    ]
    made["not_costed"] = dict(cost.left_out)
    return made


def _ideal(scored: Scored) -> float:
    """Over all weights, every one of which is multiplied as often."""
    time = math.fsum(layer.measurement.elements / layer.ideal_throughput for layer in scored.layers)
    return sum(layer.measurement.elements for layer in scored.layers) / time


def _cost(cost: NetworkCost) -> dict[str, Any]:
    return {
        "cycles": cost.cycles,
        "seconds": cost.seconds,
        "energy_pj": cost.energy_pj,
        "edp_j_s": cost.edp_j_s,
        "area_um2": cost.area_um2,
        "energy_by_component_pj": cost.energy_by_component_pj,
        "certificates": cost.certificates,
    }


def _layer(layer: CompressedLayer, menu: float | None = None) -> dict[str, Any]:
    return {
        "name": layer.name,
        "shape": list(layer.shape),
        "relative_error": layer.measurement.relative_error,
        "output_error": layer.output_error,
        "dropped_nonzeros": layer.measurement.dropped_nonzeros,
        "density": layer.measurement.density,
        "original_density": layer.measurement.original_density,
        "bits_per_weight": layer.bits_per_weight,
        "bits": {
            "values": math.fsum(term.values for term in layer.storage),
            "scales": math.fsum(term.scales for term in layer.storage),
            "metadata": math.fsum(term.metadata for term in layer.storage),
        },
        "throughput": {"ideal": layer.ideal_throughput, "menu": menu},
    }


def _layer_cost(operators: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all operators that multiply a layer's weights, one after the other."""
    if not operators:
        return {}
    cycles = math.fsum(o["cycles"] * o["count"] for o in operators)
    seconds = math.fsum(o["seconds"] * o["count"] for o in operators)
    energy = math.fsum(o["energy_pj"] * o["count"] for o in operators)
    first = operators[0]
    return {
        "operators": [o["operator"] for o in operators],
        "count": sum(o["count"] for o in operators),
        "macs": sum(o["macs"] * o["count"] for o in operators),
        "cycles": cycles,
        "seconds": seconds,
        "energy_pj": energy,
        "edp_j_s": energy * 1e-12 * seconds,
        "bits_on_design": first["bits_per_weight"],
        "runs_as": first["runs_as"],
        "bottleneck": first["bottleneck"],
        "certificate": first["certificate"],
        "notes": first["notes"],
    }
