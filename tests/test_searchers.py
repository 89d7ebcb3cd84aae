"""Every mapper against the exhaustive optimum of a small map space."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.mapper.driver import SearchResult, run
from fiberloom.mapper.search import OUTSIDE, Outcome, Searcher, make, searchers
from fiberloom.mapping.packed import ROWS, PackedMappings
from fiberloom.model.evaluate import evaluate_problem
from map_problems import gemm_problem

BUDGET = 3000
FACTORS = {
    "random": 1.15,
    "random-pruned": 1.15,
    "annealing": 1.05,
    "genetic": 1.05,
    "cma-es": 1.15,
}
"""How far above the optimum each may end after `BUDGET` evaluations."""
UNSTOPPED = {
    "random-pruned": {"victory_condition": 0, "timeout": 0},
    "linear-pruned": {"victory_condition": 0, "timeout": 0},
}


@pytest.fixture(scope="module")
def optimum() -> SearchResult:
    target = gemm_problem()
    return run(make("exhaustive", target, 0), target)


def searched(name: str, seed: int = 0, budget: int = BUDGET, batch: int = 2048) -> SearchResult:
    target = gemm_problem()
    return run(make(name, target, seed, **UNSTOPPED.get(name, {})), target, evaluations=budget, batch=batch)


@pytest.mark.parametrize("name", FACTORS)
def test_a_searcher_comes_near_the_optimum_within_its_budget(name: str, optimum: SearchResult) -> None:
    found = searched(name)
    assert found.evaluations == BUDGET
    assert optimum.value <= found.value <= FACTORS[name] * optimum.value


@pytest.mark.parametrize("name", FACTORS)
def test_the_best_mapping_costs_what_the_search_says(name: str) -> None:
    found = searched(name, budget=500)
    assert found.best is not None
    assert found.best_outcome is not None
    one = evaluate_problem(gemm_problem().problem, found.best)
    assert one.energy_pj == pytest.approx(found.best_outcome.energy_pj[0], rel=1e-12)
    assert one.cycles == pytest.approx(found.best_outcome.cycles[0], rel=1e-12)


def test_linear_pruned_meets_the_optimum_and_evaluates_less_than_exhaustive(optimum: SearchResult) -> None:
    target = gemm_problem()
    found = run(make("linear-pruned", target, 0, max_permutations=64, victory_condition=0, timeout=0), target)
    assert found.stopped == "exhausted"
    assert found.value == optimum.value
    assert found.valid == optimum.valid
    assert found.evaluations < optimum.evaluations


def test_exhaustive_loses_nothing_where_it_skips_equivalent_mappings(optimum: SearchResult) -> None:
    target = gemm_problem()
    everything = run(make("exhaustive", target, 0, skip_equivalent=False), target)
    assert everything.evaluations == target.space.size()
    assert everything.value == optimum.value
    assert optimum.evaluations < everything.evaluations


@pytest.mark.parametrize("name", [*FACTORS, "linear-pruned", "exhaustive"])
def test_trials_do_not_depend_on_how_many_are_asked_at_a_time(name: str) -> None:
    assert_same_trials(trials(name, batch=2048), trials(name, batch=37))


@pytest.mark.parametrize("name", FACTORS)
def test_another_seed_gives_other_trials(name: str) -> None:
    a, b = trials(name, batch=256), trials(name, batch=256, seed=1)
    assert any(not np.array_equal(getattr(a, row), getattr(b, row)) for row in ROWS)


@pytest.mark.parametrize("name", [*FACTORS, "linear-pruned"])
def test_only_mappings_of_the_space_are_valid(name: str) -> None:
    target = gemm_problem()
    packed = trials(name, batch=512)
    outcome = target.evaluate(packed)
    inside = target.space.violations(packed) == 0
    assert (outcome.status[~inside] == OUTSIDE).all()
    assert (inside | ~outcome.valid).all()
    assert np.isinf(outcome.objective[~outcome.valid]).all()
    assert np.isfinite(outcome.objective[outcome.valid]).all()


def test_the_guided_searchers_propose_only_mappings_of_the_space() -> None:
    for name in ("annealing", "genetic", "cma-es"):
        assert (gemm_problem().space.violations(trials(name, batch=512)) == 0).all(), name


def test_random_pruned_stops_by_its_victory_condition_and_by_its_timeout() -> None:
    target = gemm_problem()
    found = run(make("random-pruned", target, 0, victory_condition=50), target)
    assert found.stopped.startswith("victory condition")
    found = run(make("random-pruned", target, 0, victory_condition=0, timeout=3), target)
    assert found.stopped.startswith("timeout")


def test_a_failed_probe_prunes_its_permutations() -> None:
    target = gemm_problem()
    searcher = make("random-pruned", target, 0, victory_condition=0, timeout=0)
    probes = searcher.ask(10**6)
    assert probes is not None
    outcome = target.evaluate(probes)
    searcher.tell(probes, outcome)
    inside = searcher.ask(10**6)
    assert inside is not None
    assert not outcome.valid.all()
    assert target.evaluate(inside).valid.all()


def test_annealing_restarts_from_the_best_and_goes_on() -> None:
    target = gemm_problem()
    found = run(make("annealing", target, 0, chains=4, steps=10), target, evaluations=400)
    assert found.evaluations == 400


def test_a_genetic_search_keeps_its_elites() -> None:
    target = gemm_problem()
    searcher = make("genetic", target, 3, population=20)
    best: list[float] = []
    for _ in range(15):
        packed = searcher.ask(1000)
        assert packed is not None
        searcher.tell(packed, target.evaluate(packed))
        survivors = searcher._survivors  # type: ignore[attr-defined]
        assert survivors is not None
        best.append(float(survivors[1].objective[0]))
    assert best == sorted(best, reverse=True)


def test_every_searcher_names_its_hyper_parameters_in_its_docstring() -> None:
    for name, searcher in searchers().items():
        for parameter in searcher.defaults():
            assert f"{parameter}" in (searcher.__doc__ or ""), f"{name}: {parameter}"
        assert searcher.name == name
        assert searcher.summary


def test_naming_searchers_loads_no_optional_package() -> None:
    code = (
        "import sys\n"
        "from fiberloom.mapper.search import searchers\n"
        "assert all(c.summary for c in searchers().values())\n"
        "loaded = {'torch', 'scipy', 'cmaes', 'pandas'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_mistyped_searcher_or_hyper_parameter_is_told_the_right_one() -> None:
    target = gemm_problem()
    with pytest.raises(SpecError, match="'genetic'"):
        make("gentic", target, 0)
    with pytest.raises(SpecError, match="'population'"):
        make("genetic", target, 0, poplation=3)
    with pytest.raises(SpecError, match="from 0 to 1"):
        make("genetic", target, 0, elites=2)
    with pytest.raises(SpecError, match="hottest"):
        make("annealing", target, 0, hottest=0.1, coldest=0.2)


def trials(name: str, batch: int, seed: int = 0, budget: int = 600) -> PackedMappings:
    """What a searcher proposes."""
    target = gemm_problem()
    searcher = Recorder(make(name, target, seed, **UNSTOPPED.get(name, {})))
    run(searcher, target, evaluations=budget, batch=batch)
    return PackedMappings.concatenate(searcher.asked)


def assert_same_trials(a: PackedMappings, b: PackedMappings) -> None:
    assert len(a) == len(b)
    for row in ROWS:
        assert np.array_equal(getattr(a, row), getattr(b, row)), row


class Recorder(Searcher):
    """A searcher whose proposals are kept."""

    name = "recorder"
    summary = "keeps what another searcher proposes"

    def __init__(self, inner: Searcher) -> None:
        super().__init__(inner.target, inner.rng)
        self.inner = inner
        self.asked: list[PackedMappings] = []

    def ask(self, n: int) -> PackedMappings | None:
        packed = self.inner.ask(n)
        if packed is not None:
            self.asked.append(packed.take(slice(None)))
        return packed

    def tell(self, packed: PackedMappings, outcome: Outcome) -> None:
        self.inner.tell(packed, outcome)
