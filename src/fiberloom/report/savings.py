"""What each sparse feature of a design saves: the same mapping again without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fiberloom.architecture.features import without_features
from fiberloom.architecture.levels import Architecture
from fiberloom.errors import FiberloomError
from fiberloom.mapping.nest import Mapping
from fiberloom.model.evaluate import evaluate
from fiberloom.model.evaluation import Evaluation
from fiberloom.model.rules import Rules
from fiberloom.workload.einsum import Einsum

ALL_FEATURES = "all of them"


@dataclass(frozen=True)
class Saving:
    """A design without one of its features.

    Attributes:
        feature: what is taken away; `ALL_FEATURES` for the dense design.
        cycles, energy_pj: without it; None where the design makes no sense without it.
        speedup, energy_ratio: without / with, so 2 means that the feature halves.
        fits: whether the tiles still fit the memories.
    """

    feature: str
    cycles: float | None
    energy_pj: float | None
    speedup: float | None
    energy_ratio: float | None
    fits: bool = True


def feature_savings(
    workload: Einsum,
    architecture: Architecture,
    mapping: Mapping,
    evaluation: Evaluation,
    *,
    rules: str | Rules = "fiberloom",
    base_directory: Path | None = None,
) -> tuple[Saving, ...]:
    """One `Saving` per sparse feature, then one without any; empty for a design without features.

    The mapping stays the same, so a saving is what the hardware feature does, not what a better mapping would.
    """
    variants = list(_without_each_feature(architecture))
    if not variants:
        return ()
    if len(variants) > 1:
        variants.append((ALL_FEATURES, without_features(architecture)))
    savings = []
    for feature, variant in variants:
        try:
            other = evaluate(workload, variant, mapping, rules=rules, base_directory=base_directory, check_fit=False)
        except FiberloomError:
            savings.append(Saving(feature, None, None, None, None))
            continue
        savings.append(
            Saving(
                feature,
                other.cycles,
                other.energy_pj,
                other.cycles / evaluation.cycles if evaluation.cycles else None,
                other.energy_pj / evaluation.energy_pj if evaluation.energy_pj else None,
                fits=not any("does not fit" in warning for warning in other.warnings),
            )
        )
    return tuple(savings)


def _without_each_feature(architecture: Architecture) -> Iterator[tuple[str, Architecture]]:
    """Every feature by name, with the architecture that lacks only it.

    The formats of a tensor go at all levels together: a level can't hold compressed what arrives uncompressed for free.
    """
    for tensor in dict.fromkeys(name for level in architecture.levels for name in level.formats):
        places: dict[str, list[str]] = {}
        for level in architecture.levels:
            if tensor in level.formats:
                ranks = "-".join(dict.fromkeys(rank.format.value for rank in level.formats[tensor].ranks))
                places.setdefault(ranks, []).append(level.name)
        label = f"{tensor} stored as " + "; ".join(f"{ranks} at {', '.join(names)}" for ranks, names in places.items())
        levels = tuple(
            level.model_copy(update={"formats": {t: f for t, f in level.formats.items() if t != tensor}})
            for level in architecture.levels
        )
        yield label, architecture.model_copy(update={"levels": levels})
    for i, level in enumerate(architecture.levels):
        for k, entry in enumerate(level.optimizations):
            rest = tuple(other for j, other in enumerate(level.optimizations) if j != k)
            changed = list(architecture.levels)
            changed[i] = level.model_copy(update={"optimizations": rest})
            yield f"{entry} at {level.name}", architecture.model_copy(update={"levels": tuple(changed)})
    for feature in ("gating", "skipping"):
        if getattr(architecture.compute, feature):
            compute = architecture.compute.model_copy(update={feature: False})
            yield f"{feature} at {compute.name}", architecture.model_copy(update={"compute": compute})
