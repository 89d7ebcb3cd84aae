"""A mapping scored at several densities: the score is what the densities say one by one."""

import numpy as np
import pytest

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, Format, LeaderFollower, RankFormat, SafKind, TensorFormat
from fiberloom.errors import SpecError
from fiberloom.mapper.driver import run
from fiberloom.mapper.multi_density import TRAINED, MultiDensity, at_densities, multi_density
from fiberloom.mapper.search import SearchProblem, make
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum

GEMM = Einsum.parse("Z[m,n] = A[m,k] * B[k,n]", {"m": 32, "n": 32, "k": 32}, name="gemm", densities={"B": 0.5})
DENSITIES = (1.0, 0.5, 0.1)


def coordinates(ranks: int) -> TensorFormat:
    outer = [RankFormat(format=Format.UOP, variables=("m", "n", "k"))] * (ranks - 1)
    return TensorFormat(ranks=(*outer, RankFormat(format=Format.CP, variables=("m", "n", "k"))))


ARCHITECTURE = Architecture(
    name="sparse",
    levels=(
        StorageLevel(name="DRAM", component=ComponentClass.DRAM, formats={"A": coordinates(2)}, metadata_word_bits=8),
        StorageLevel(
            name="Buffer", depth=600, formats={"A": coordinates(2)}, metadata_word_bits=8,
            optimizations=(
                ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower="B", leaders=("A",)),)),
            ),
        ),
    ),
    compute=Compute(name="MAC", instances=16, mesh_x=4, skipping=True),
)  # fmt: skip
SPACE = MapSpace(GEMM, ARCHITECTURE)


def over(densities: tuple[float, ...] = DENSITIES, **options: object) -> MultiDensity:
    return multi_density(GEMM, ARCHITECTURE, SPACE, "A", densities=densities, **options)  # type: ignore[arg-type]


def alone(density: float) -> SearchProblem:
    workload = at_densities(GEMM, "A", [density])[0]
    return SearchProblem(lower(workload, ARCHITECTURE), SPACE, "edp")


DRAWN = SPACE.sample(np.random.default_rng(0), 4000)


def test_only_the_chosen_tensor_changes_its_density() -> None:
    for workload, density in zip(at_densities(GEMM, "A", DENSITIES), DENSITIES, strict=True):
        assert workload.tensor("A").density == density
        assert workload.tensor("B").density == 0.5


def test_one_density_is_the_plain_problem() -> None:
    several, plain = over((0.2,)).evaluate(DRAWN), alone(0.2).evaluate(DRAWN)
    for column in ("objective", "energy_pj", "cycles", "status"):
        np.testing.assert_array_equal(getattr(several, column), getattr(plain, column))


def test_the_sum_is_the_mean_of_the_objectives() -> None:
    each = np.stack([alone(d).evaluate(DRAWN).objective for d in DENSITIES])
    found = over().evaluate(DRAWN)
    assert found.valid.any()
    np.testing.assert_allclose(found.objective, each.mean(axis=0), rtol=1e-12)


def test_weights_are_relative() -> None:
    each = np.stack([alone(d).evaluate(DRAWN).objective for d in DENSITIES])[:, over().evaluate(DRAWN).valid]
    found = over(weights=(2, 1, 1)).evaluate(DRAWN)
    np.testing.assert_allclose(found.objective[found.valid], (2 * each[0] + each[1] + each[2]) / 4, rtol=1e-12)


def test_the_geometric_mean_is_that_of_the_objectives() -> None:
    each = np.stack([alone(d).evaluate(DRAWN).objective for d in DENSITIES])
    found = over(combine="geomean").evaluate(DRAWN)
    valid = found.valid
    np.testing.assert_allclose(found.objective[valid], np.exp(np.log(each[:, valid]).mean(axis=0)), rtol=1e-12)


def test_a_mapping_must_fit_at_every_density() -> None:
    fits = np.stack([alone(d).evaluate(DRAWN).valid for d in DENSITIES])
    assert (fits[2] & ~fits[0]).any()  # some fit while A is sparse only
    found = over().evaluate(DRAWN)
    np.testing.assert_array_equal(found.valid, fits.all(axis=0))
    assert np.isinf(found.objective[~found.valid]).all()
    assert np.isnan(found.energy_pj[~found.valid]).all()


def test_a_mapping_counts_once_and_the_model_is_asked_at_each_density() -> None:
    target = over()
    target.evaluate(DRAWN)
    assert target.evaluations == len(DRAWN)
    assert target.model_evaluations == len(DRAWN) * len(DENSITIES)


@pytest.mark.parametrize("name", ["random", "annealing"])
def test_any_searcher_searches_over_densities(name: str) -> None:
    target = over()
    found = run(make(name, target, 1), target, evaluations=1500)
    assert found.best_packed is not None
    each = [alone(d).evaluate(found.best_packed).objective[0] for d in DENSITIES]
    assert found.value == pytest.approx(np.mean(each), rel=1e-12)


def test_densities_that_the_study_trains_on_are_the_default() -> None:
    target = multi_density(GEMM, ARCHITECTURE, SPACE, "A")
    assert tuple(p.workload.tensor("A").density for p in target.problems) == TRAINED


def test_problems_of_different_shapes_are_not_scored_together() -> None:
    larger = GEMM.model_copy(update={"shape": {"m": 64, "n": 32, "k": 32}})
    with pytest.raises(SpecError, match="another Einsum"):
        MultiDensity([lower(GEMM, ARCHITECTURE), lower(larger, ARCHITECTURE)], SPACE)


def test_mistakes_are_answered_with_what_would_be_right() -> None:
    with pytest.raises(SpecError, match="geomean"):
        over(combine="geomeen")
    with pytest.raises(SpecError, match="one weight per density"):
        over(weights=(1.0,))
    with pytest.raises(SpecError, match="positive"):
        over(weights=(1.0, 0.0, 1.0))
    with pytest.raises(SpecError, match="at most 1"):
        at_densities(GEMM, "A", [1.5])
    with pytest.raises(SpecError, match="no tensor 'C'"):
        at_densities(GEMM, "C", [0.5])
    with pytest.raises(SpecError, match="at least one problem"):
        MultiDensity([], SPACE)
