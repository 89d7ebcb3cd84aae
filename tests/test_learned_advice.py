"""One-shot advice: the shipped model, and what `fiberloom recommend` says beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore.learned import baselines
from fiberloom.explore.learned.designs import DesignSpaceModel, MatrixProduct, areas_mm2, fingerprint
from fiberloom.explore.learned.labelling import random_labels
from fiberloom.explore.learned.scoring import score
from fiberloom.explore.learned.workloads import products_of
from fiberloom.workload.zoo import build

pytest.importorskip("onnxruntime")

from fiberloom.explore.learned.advice import advise, best_answer, total_costs
from fiberloom.explore.learned.recommender import OneShot


@pytest.fixture(scope="module")
def model() -> OneShot:
    return OneShot()


def test_the_shipped_model_is_of_this_space_and_says_how_it_was_made(model: OneShot) -> None:
    assert model.card.space == fingerprint()
    assert model.card.objective == "latency"
    assert model.card.rows >= 100_000
    assert model.card.made_by.startswith("python benchmarks/airchitect.py")


def test_the_shipped_model_beats_the_constants(model: OneShot) -> None:
    test = random_labels(150, seed=12, keep_costs=True)
    made = score(test, model.predict(test.bounds, test.dataflow, test.cap_mm2).design)
    for rule in (baselines.most_lanes(), baselines.largest_buffer(), baselines.most_frequent(test)):
        assert made.regret < score(test, rule(test)).regret
    assert made.regret < 1.2
    assert made.outside == 0


def test_advice_is_within_the_cap_and_never_better_than_the_best(model: OneShot) -> None:
    for cap in (0.3, 1.0, 4.0, 100.0):
        for dataflow in ("dla", "eye", "shi"):
            given = advise(model, [MatrixProduct(256, 3136, 64, dataflow)], cap)
            assert max(c.area_mm2 for c in (given.recommended, given.baseline, given.best)) <= cap
            assert given.regret >= 1
            assert given.baseline_regret >= 1


def test_a_network_is_the_sum_of_its_layers() -> None:
    space = DesignSpaceModel()
    products = products_of(build("resnet18"), "dla")
    one_by_one = sum(p.count * space(p).objective("latency") for p in products)
    np.testing.assert_allclose(total_costs(space, products, "latency"), one_by_one, rtol=1e-12)
    twice = [MatrixProduct(64, 64, 64, "dla", count=2)]
    np.testing.assert_allclose(total_costs(space, twice, "edp"), 4 * space(twice[0]).objective("edp"), rtol=1e-12)


def test_a_network_gets_the_best_of_its_layers_answers() -> None:
    costs = np.arange(768.0, 0.0, -1.0)
    costs[[5, 90]] = 3.0
    assert best_answer([5, 90, 5, 300], costs) == 5, "of equal ones the smallest"
    assert best_answer([5, 767], costs) == 767


def test_foretold_costs_are_of_the_right_size(model: OneShot) -> None:
    test = random_labels(100, seed=13)
    foretold = model.predict(test.bounds, test.dataflow, test.cap_mm2).cost
    assert np.median(np.abs(np.log(foretold / test.best))) < np.log(1.5)


def test_what_no_model_was_trained_on_is_refused(model: OneShot, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="trained on bounds from 1 to 65,536"):
        advise(model, [MatrixProduct(1, 70_000, 1, "dla")], 3.0)
    with pytest.raises(SpecError, match=r"no design fits 0\.2 mm2"):
        advise(model, [MatrixProduct(1, 1, 1, "dla")], 0.2)
    with pytest.raises(SpecError, match="trained on caps"):
        advise(model, [MatrixProduct(1, 1, 1, "dla")], float(areas_mm2().min()) + 0.01)
    other = tmp_path / "model.onnx"
    other.write_bytes(b"\x00" * 100)
    with pytest.raises(SpecError, match="is no one-shot model"):
        OneShot(other)
