"""AIRCHITECT's design space: 768 designs evaluated by the model itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore.learned.designs import (
    BUFFER_KIB,
    CLUSTERS,
    COUNT,
    DATAFLOWS,
    DesignCosts,
    DesignSpaceModel,
    MatrixProduct,
    architecture,
    areas_mm2,
    design_id,
    levels,
)
from fiberloom.model.evaluate import evaluate


@pytest.fixture(scope="module")
def model() -> DesignSpaceModel:
    return DesignSpaceModel()


def _random_products(count: int, largest: int, seed: int) -> list[MatrixProduct]:
    rng = np.random.default_rng(seed)
    bounds = np.exp(rng.uniform(0, np.log(largest), (count, 3))).astype(int)
    return [MatrixProduct(int(m), int(n), int(k), DATAFLOWS[i % 3]) for i, (m, n, k) in enumerate(bounds)]


def test_every_design_costs_what_the_model_says_of_its_architecture_and_mapping(model: DesignSpaceModel) -> None:
    rng = np.random.default_rng(0)
    for product in _random_products(30, 3000, seed=1):
        costs = model(product)
        clusters, buffer_kib = int(rng.integers(1, 65)), int(rng.choice(BUFFER_KIB))
        mapping = model.mapping(product, clusters, buffer_kib)
        assert mapping is not None
        truth = evaluate(product.einsum, architecture(clusters, buffer_kib), mapping)
        design = design_id(clusters, buffer_kib)
        assert costs.cycles[design] == truth.cycles
        assert costs.energy_pj[design] == truth.energy_pj


def test_areas_are_those_of_the_evaluation(model: DesignSpaceModel) -> None:
    product = MatrixProduct(7, 9, 11, "eye")
    for clusters, buffer_kib in ((1, 16), (37, 96), (64, 768)):
        mapping = model.mapping(product, clusters, buffer_kib)
        assert mapping is not None
        truth = evaluate(product.einsum, architecture(clusters, buffer_kib), mapping)
        assert areas_mm2()[design_id(clusters, buffer_kib)] == pytest.approx(truth.area_um2 * 1e-6, rel=1e-12)


def test_no_design_beats_its_lanes_or_the_memory(model: DesignSpaceModel) -> None:
    for product in _random_products(60, 65536, seed=2):
        m, n, k = product.bounds
        cycles = model(product).cycles.reshape(len(CLUSTERS), len(BUFFER_KIB))
        lanes = 16 * np.array(CLUSTERS)[:, None]
        assert (cycles >= m * n * k / lanes).all()
        assert (cycles >= (m * k + n * k) / 4).all(), "operands come in at four words a cycle"


def test_every_design_runs_every_product(model: DesignSpaceModel) -> None:
    extremes = itertools.product((1, 65536), repeat=3)
    for bounds, dataflow in itertools.product(extremes, DATAFLOWS):
        assert np.isfinite(model(MatrixProduct(*bounds, dataflow)).cycles).all()


@pytest.mark.parametrize(
    ("dataflow", "clusters_over", "lanes_over"), [("dla", "m", "k"), ("eye", "n", "k"), ("shi", "n", "n")]
)
def test_dataflows_spread_what_they_say(
    model: DesignSpaceModel, dataflow: str, clusters_over: str, lanes_over: str
) -> None:
    mapping = model.mapping(MatrixProduct(2048, 2048, 2048, dataflow), 32, 768)
    assert mapping is not None
    assert mapping.at("Buffer").spatial == {clusters_over: 32}
    assert mapping.at("Accumulator").spatial == {lanes_over: 16}


def test_more_clusters_or_buffer_never_lengthen_the_latency(model: DesignSpaceModel) -> None:
    for product in _random_products(20, 65536, seed=3):
        latency = model(product).objective("latency").reshape(len(CLUSTERS), len(BUFFER_KIB))
        assert (np.diff(latency, axis=0) <= 0).all()
        assert (np.diff(latency, axis=1) <= 0).all()


def test_an_idle_cluster_is_as_good_as_none_for_edp() -> None:
    cycles = np.full(COUNT, 10.0)
    cycles[design_id(3, 16)] = 20.0
    edp = DesignCosts(cycles, np.ones(COUNT)).objective("edp")
    assert edp[design_id(3, 16)] == 10.0


def test_design_numbers_go_back_and_forth() -> None:
    numbers = [design_id(c, b) for c in CLUSTERS for b in BUFFER_KIB]
    assert numbers == list(range(COUNT))
    array, buffer = levels(np.array(numbers))
    assert (array * len(BUFFER_KIB) + buffer == numbers).all()


def test_what_is_not_in_the_space_is_refused() -> None:
    with pytest.raises(SpecError, match="65 clusters with 16 KiB is no design"):
        design_id(65, 16)
    with pytest.raises(SpecError, match="no dataflow 'dlb'"):
        MatrixProduct(1, 1, 1, "dlb")
    with pytest.raises(SpecError, match="k is 0"):
        MatrixProduct(1, 1, 0, "dla")
    with pytest.raises(SpecError, match="no objective 'energy'"):
        DesignCosts(np.ones(COUNT), np.ones(COUNT)).objective("energy")
