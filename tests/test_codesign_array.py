"""The unrolled array costs what the design costs under skipping in space."""

from __future__ import annotations

from typing import Any

import pytest

import fiberloom as fl
from fiberloom.architecture import library
from fiberloom.codesign.layer.planning import Task, plan
from fiberloom.mapping.nest import LevelMapping
from fiberloom.mapping.nest import Mapping as LoopNest


def both(design: str, weights: Any, activations: Any, mapping: LoopNest, k: int = 256) -> tuple[Any, Any]:
    """The same mapping on the array as it is searched on, and on the design itself."""
    made = plan(Task((128, 64, k), design, weights, activations))
    job = made.runs[0].job
    assert job.einsum.shape == {"m": 128, "n": 64, "k": k}
    settings = {name: v for name, v in zip(("metadata_bits", "index_bits"), _bits(job.architecture), strict=True) if v}
    known = library.describe(design).settings
    itself = library.load(design, job.einsum, settings={n: v for n, v in settings.items() if n in known})
    if activations is None:
        levels = (
            level.model_copy(update={"formats": {t: f for t, f in level.formats.items() if t != "B"}})
            for level in itself.levels
        )
        itself = itself.model_copy(update={"levels": tuple(levels)})
    density = job.einsum.tensor("A").density
    densities = {"A": density, "B": activations}
    einsum = fl.Einsum.parse("Z[m,n] = A[m,k] * B[n,k]", job.einsum.shape, densities=densities)
    return fl.evaluate(job.einsum, job.architecture, mapping), fl.evaluate(einsum, itself, mapping)


def _bits(architecture: Any) -> tuple[int, int]:
    formats = architecture.levels[1].formats
    return tuple(formats[t].ranks[-1].metadata_word_bits if t in formats else 0 for t in ("A", "B"))  # type: ignore[return-value]


def highlight_mapping(places: int, k: int) -> LoopNest:
    order = ("m", "k", "n")
    levels = {
        "DRAM": LevelMapping(temporal={"m": 2}, temporal_order=order),
        "GLB": LevelMapping(spatial={"m": 4}, spatial_x=()),
        "RF": LevelMapping(temporal={"k": k // places, "n": 64}, temporal_order=order),
        "VFMU": LevelMapping(spatial={"k": places, "m": 16}, spatial_order=("m", "k"), spatial_x=("k",)),
    }
    return LoopNest(levels=levels)


@pytest.mark.parametrize("activations", [None, 0.5])
@pytest.mark.parametrize(
    ("pattern", "places", "k"),
    [("C1(4:8)->C0(2:4)", 64, 256), ("C1(4:5)->C0(2:3)", 30, 240), ("C1(4:6)->C0(2:2)", 24, 240)],
)
def test_highlight_unrolled_costs_what_it_costs_under_skipping_in_space(
    pattern: str, places: int, k: int, activations: float | None
) -> None:
    ours, itself = both("highlight", pattern, activations, highlight_mapping(places, k), k)
    assert ours.cycles == itself.cycles
    assert ours.compute.cycles == itself.compute.cycles == 128 * 64 * k // places // 64
    assert ours.area_um2 == pytest.approx(itself.area_um2)
    for name, pj in itself.energy_by_component_pj.items():
        assert ours.energy_by_component_pj[name] == pytest.approx(pj, rel=1e-9), name


def test_the_sparse_tensor_core_unrolled_costs_what_it_costs_under_skipping_in_space() -> None:
    levels = {
        "DRAM": LevelMapping(temporal={"m": 2}),
        "SMEM": LevelMapping(spatial={"m": 4}, spatial_x=()),
        "RF": LevelMapping(temporal={"k": 8}, spatial={"k": 32, "m": 16}, spatial_order=("m", "k"), spatial_x=("k",)),
        "LRF": LevelMapping(temporal={"n": 64}),
    }
    ours, itself = both("stc", "2:4", None, LoopNest(levels=levels))
    assert ours.cycles == itself.cycles
    assert ours.energy_by_component_pj == pytest.approx(itself.energy_by_component_pj, rel=1e-9)
    assert ours.area_um2 == pytest.approx(itself.area_um2)
