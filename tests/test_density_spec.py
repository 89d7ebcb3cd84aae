"""What a specification may say about a density, and what is said back when it is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fiberloom.errors import Location, SpecError, UnsupportedError
from fiberloom.workload.density import (
    BandedDensity,
    DenseDensity,
    DensityModel,
    FixedStructuredDensity,
    Occupancy,
    UniformDensity,
    build_density,
)


@pytest.mark.parametrize(
    ("spec", "model", "density"),
    [
        (None, DenseDensity, 1),
        (0.25, UniformDensity, 0.25),
        (0, UniformDensity, 0),
        (1, UniformDensity, 1),
        (np.float32(0.5), UniformDensity, 0.5),
        (Fraction(1, 4), UniformDensity, 0.25),
        ("2:4", FixedStructuredDensity, 0.5),
        (" 1 : 4 ", FixedStructuredDensity, 0.25),
        ("0:4", FixedStructuredDensity, 0),
        ({"distribution": "dense"}, DenseDensity, 1),
        ({"distribution": "uniform", "density": 0.5}, UniformDensity, 0.5),
        ({"distribution": "hypergeometric", "density": 0.5}, UniformDensity, 0.5),
        ({"distribution": "fixed-structured", "density": 0.5}, FixedStructuredDensity, 0.5),
        ({"distribution": "fixed_structured", "density": "4:8"}, FixedStructuredDensity, 0.5),
        ({"distribution": "banded", "width": 0}, BandedDensity, 1 / 8),
        ({"distribution": "banded", "band_width": 7}, BandedDensity, 1),
    ],
)
def test_specification_names_a_model(spec: Any, model: type[DensityModel], density: float) -> None:
    built = build_density("A", (8, 8), spec)
    assert type(built) is model
    assert built.density == density
    assert built.shape == (8, 8)


def test_model_stands_for_itself() -> None:
    model = UniformDensity((8, 8), 0.5)
    assert build_density("A", (8, 8), model) is model
    with pytest.raises(SpecError, match=r"\(8, 8\).*\(8, 9\)"):
        build_density("A", (8, 9), model)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (1.5, "1.5 is not in 0..1"),
        (-0.1, "-0.1 is not in 0..1"),
        (float("nan"), "nan is not in 0..1"),
        (float("inf"), "inf is not in 0..1"),
        (124, "stands in quotes: '2:4'"),
        (True, "True is not a number"),
        ([0.5], "[0.5] is not a number"),
        ("half", "'half' is not a pattern"),
        ("5:4", "keeps 5 of 4"),
        ("0:0", "keeps 0 of 0"),
        ({}, "'distribution' is missing"),
        ({"distribution": "unifrom"}, "did you mean 'uniform'"),
        ({"distribution": 3}, "known: actual, banded, dense"),
        ({"distribution": "uniform"}, "'density' is missing"),
        ({"distribution": "uniform", "density": "0.5"}, "is not a number"),
        ({"distribution": "uniform", "density": 2}, "A.density.density"),
        ({"distribution": "uniform", "denisty": 0.5}, "did you mean 'density'"),
        ({"distribution": "uniform", "xyz": 0.5}, "parameters of 'uniform': density"),
        ({"distribution": "dense", "density": 0.5}, "parameters of 'dense': none"),
        ({"distribution": "banded"}, "'width' is missing"),
        ({"distribution": "banded", "width": 1.5}, "1.5 is not a whole number"),
        ({"distribution": "banded", "width": True}, "True is not a whole number"),
        ({"distribution": "banded", "width": -1}, "-1 is not a whole number"),
        ({"distribution": "banded", "width": 1, "band_width": 1}, "give one"),
        ({"distribution": "actual"}, "'file' is missing"),
        ({"distribution": "actual", "file": 3}, "3 is not a text"),
        ({"distribution": "actual", "file": "none.npy"}, "there is no file"),
    ],
)
def test_wrong_specification_is_explained(spec: Any, said: str) -> None:
    with pytest.raises(SpecError) as error:
        build_density("A", (8, 8), spec)
    assert said in str(error.value)
    assert "'A'" in str(error.value)


def test_error_says_where() -> None:
    where = Location("w.yaml", 12, "tensors[0].density")
    with pytest.raises(SpecError, match=r"w\.yaml:12: tensors\[0\]\.density\.width: "):
        build_density("A", (8, 8), {"distribution": "banded", "width": "x"}, where=where)


def test_band_of_three_ranks_is_refused() -> None:
    with pytest.raises(SpecError, match="two ranks"):
        build_density("A", (8, 8, 8), {"distribution": "banded", "width": 1})


def test_tile_past_the_edge_is_clipped() -> None:
    for spec in (None, 0.5, "2:4", {"distribution": "banded", "width": 1}):
        model = build_density("A", (4, 6), spec)
        assert model.max_occupancy((100, 1)) == model.max_occupancy((4, 1))
        np.testing.assert_array_equal(model.tile_statistics([(100, 1)], 2), model.tile_statistics([(4, 1)], 2))


@pytest.mark.parametrize("spec", [None, 0.3, "2:4", {"distribution": "banded", "width": 2}])
def test_answers_agree_with_the_distribution(spec: Any) -> None:
    model = build_density("A", (12, 12), spec)
    for tile in [(1, 1), (2, 3), (4, 4), (12, 12)]:
        counts, probabilities = model.occupancy(tile)
        statistics = model.tile_statistics([tile], 3)[0]
        assert probabilities.sum() == pytest.approx(1)
        assert (np.diff(counts) > 0).all()
        assert (
            statistics[0]
            == pytest.approx(model.probability_empty(tile))
            == pytest.approx(float(probabilities[counts == 0].sum()))
        )
        assert statistics[1] == model.max_occupancy(tile) == counts[-1]
        assert statistics[2] == pytest.approx(model.mean_occupancy(tile)) == pytest.approx(counts @ probabilities)
        assert (
            statistics[3]
            == pytest.approx(model.expected_blocks(tile, 3))
            == pytest.approx(-(-counts // 3) @ probabilities)
        )
        assert model.min_occupancy(tile) == counts[0]
        assert model.occupancy_at(tile, tile).counts.tolist() == counts.tolist()
        assert model.mean_occupancy(tile) == pytest.approx(model.density * np.prod(tile))


def test_new_model_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DensityModel, "registry", dict(DensityModel.registry))

    class Half(DensityModel):
        distribution = "half"

        @classmethod
        def from_spec(cls, shape: Sequence[int], parameters: Any) -> Half:
            return cls(shape)

        @property
        def density(self) -> float:
            return 0.5

        def occupancy(self, tile: Sequence[int]) -> Occupancy:
            size = self.tile_size(tile)
            return Occupancy(np.array([0, size]), np.array([0.5, 0.5]))

    model = build_density("A", (8, 8), {"distribution": "half"})
    assert model.tile_statistics([(2, 2), (1, 1), (2, 2)], 3).tolist() == [
        [0.5, 4, 2, 1],
        [0.5, 1, 0.5, 0.5],
        [0.5, 4, 2, 1],
    ]
    assert model.max_occupancy((2, 2), 0.5) == 0
    with pytest.raises(UnsupportedError, match="half"):
        model.given(4, 2)


def test_importing_densities_loads_no_heavy_package() -> None:
    program = (
        "import sys, fiberloom.workload.density; print(*{'numba', 'scipy', 'safetensors', 'pandas'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""
