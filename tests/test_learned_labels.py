"""Labels of AIRCHITECT's space: the best design under a cap, exhaustively."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore.learned.baselines import most_lanes
from fiberloom.explore.learned.designs import BUFFER_KIB, CLUSTERS, COUNT, MatrixProduct, areas_mm2, design_id
from fiberloom.explore.learned.labelling import Labels, best_designs, label, random_labels
from fiberloom.explore.learned.scoring import into_caps, score
from fiberloom.explore.learned.workloads import check_cap, product_of, products_of
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.zoo import build


@pytest.fixture(scope="module")
def labels() -> Labels:
    return random_labels(150, seed=5, keep_costs=True)


def test_labels_are_the_cheapest_then_smallest_design_within_the_cap(labels: Labels) -> None:
    areas = areas_mm2()
    for i in range(len(labels)):
        costs = labels.costs[labels.product[i]]
        within = np.flatnonzero(areas <= labels.cap_mm2[i])
        ranked = sorted((costs[d], areas[d], d) for d in within)
        assert (labels.best[i], labels.design[i]) == (ranked[0][0], ranked[0][2])


def test_ties_go_to_the_smallest_design() -> None:
    assert best_designs(np.ones(COUNT), np.array([8.0]))[0] == design_id(1, BUFFER_KIB[0])


def test_a_cap_below_every_design_is_refused() -> None:
    with pytest.raises(SpecError, match="no design is as small"):
        best_designs(np.ones(COUNT), np.array([0.1]))
    with pytest.raises(SpecError, match=r"no design fits 0\.1 mm2"):
        check_cap(0.1)
    with pytest.raises(SpecError, match="no design fits nan mm2"):
        check_cap(float("nan"))


def test_most_lanes_is_not_the_answer(labels: Labels) -> None:
    lanes = score(labels, most_lanes()(labels))
    assert lanes.exact < 0.2
    assert lanes.regret > 1.15
    assert np.mean(labels.array_level == len(CLUSTERS) - 1) < 0.05


def test_no_design_is_the_label_of_many(labels: Labels) -> None:
    assert np.bincount(labels.design).max() < 0.25 * len(labels)


def test_labels_depend_on_seed_alone_and_survive_a_file(tmp_path: Path) -> None:
    first, second = (random_labels(4, seed=6, keep_costs=True) for _ in range(2))
    first.save(tmp_path / "labels.npz")
    third = Labels.load(tmp_path / "labels.npz")
    for other in (second, third):
        for name, value in first.__dict__.items():
            assert np.array_equal(value, getattr(other, name)), name
    assert third.objective == "latency"


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    path.write_text("nothing")
    with pytest.raises(SpecError, match="holds no labels"):
        Labels.load(path)
    np.savez(path, bounds=np.zeros(3))
    with pytest.raises(SpecError, match="holds no labels"):
        Labels.load(path)


def test_products_that_are_left_out_are_never_drawn() -> None:
    everything = random_labels(30, seed=7)
    without = frozenset(tuple(map(int, bounds)) for bounds in everything.bounds[:40])
    rest = random_labels(30, seed=7, without=without)  # type: ignore[arg-type]
    assert not {tuple(map(int, bounds)) for bounds in rest.bounds} & without


def test_a_convolution_is_the_product_of_its_im2col() -> None:
    convolution = Einsum.parse(
        "O[m,p,q] = W[m,c,r,s] * I[c,2*p+r,2*q+s]", {"m": 64, "c": 3, "p": 112, "q": 112, "r": 7, "s": 7}
    )
    assert product_of(convolution, "dla").bounds == (64, 112 * 112, 3 * 7 * 7)


def test_networks_count_equal_layers_once_and_lose_no_multiplication() -> None:
    for name in ("resnet18", "mobilenet_v2", "gpt2"):
        network = build(name)
        products = products_of(network, "dla")
        assert len({p.bounds for p in products}) == len(products)
        assert sum(p.count * p.m * p.n * p.k for p in products) == network.macs


def test_designs_over_the_cap_move_to_the_nearest_within() -> None:
    caps = np.array([8.0, 2.0])
    moved = into_caps([design_id(64, 768), design_id(30, 96)], caps)
    assert moved[0] == design_id(64, 768)
    assert areas_mm2()[moved[1]] <= 2.0
    assert moved[1] in {design_id(c, b) for c in range(22, 31) for b in (48, 64, 96)}


def test_the_labels_themselves_have_no_regret(labels: Labels) -> None:
    made = score(labels, labels.design)
    assert (made.exact, made.near, made.regret, made.regret_95, made.optimal, made.outside) == (1, 1, 1, 1, 1, 0)


def test_scores_count_what_they_say() -> None:
    given = label([MatrixProduct(512, 512, 512, "dla")], np.array([[4.0, 4.0]]), keep_costs=True)
    worst = design_id(1, 16)
    made = score(given, [given.design[0], worst])
    ratio = given.costs[0, worst] / given.best[0]
    assert made.exact == 0.5
    assert made.regret == pytest.approx(np.sqrt(ratio))
