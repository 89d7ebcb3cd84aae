"""The model's dense counts equal the oracle's, on random problems."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fiberloom.model.evaluate import evaluate
from fiberloom.model.evaluation import ACTIONS
from fiberloom.simulate import simulate
from problems import Features, Problem, random_problem

DENSE = Features()


def disagreements(problem: Problem) -> list[str]:
    """Every count in which the model and the simulation differ, in words."""
    parts = (problem.workload, problem.architecture, problem.mapping)
    model, oracle = evaluate(*parts, rules="fiberloom"), simulate(*parts)
    found = []
    for level in oracle.levels:
        modelled = model.level(level.name).tensors
        for name, counted in level.tensors.items():
            for action in ACTIONS:
                ours, theirs = getattr(modelled[name], action), getattr(counted, action)
                pairs = ((ours.actual, theirs.actual), (ours.gated, theirs.gated), (ours.skipped, theirs.skipped))
                # whole counts are compared exactly; averages over instances that differ, to the last bits of a double
                if any(a != b and not (b % 1 and math.isclose(a, b, rel_tol=1e-12)) for a, b in pairs):
                    found.append(f"{level.name} {name} {action}: model {ours}, oracle {theirs}")
            if modelled[name].instances != counted.instances:
                found.append(
                    f"{level.name} {name} instances: model {modelled[name].instances}, oracle {counted.instances}"
                )
        for name, account in modelled.items():
            if name not in level.tensors and any(getattr(account, action).actual for action in ACTIONS):
                found.append(f"{level.name} {name}: model counts accesses, the level does not keep it")
    for field in ("algorithmic", "actual", "gated", "skipped", "eliminated", "cycles", "instances"):
        ours, theirs = getattr(model.compute, field), getattr(oracle.compute, field)
        if ours != theirs:
            found.append(f"compute {field}: model {ours}, oracle {theirs}")
    return found


def check_seeds(seeds: range, features: Features) -> None:
    for seed in seeds:
        problem = random_problem(random.Random(seed), features)
        found = disagreements(problem)
        assert not found, f"seed {seed}\n{problem}\n" + "\n".join(found)


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_dense_counts_of_the_model_equal_the_oracle(first: int) -> None:
    check_seeds(range(first, first + 20), DENSE)


@pytest.mark.parametrize("first", range(4000, 4100, 20))
def test_dense_counts_equal_the_oracle_where_multicast_is_off(first: int) -> None:
    check_seeds(range(first, first + 20), Features(multicast_off=True))


@pytest.mark.parametrize("first", range(5000, 5300, 100))
def test_dense_counts_equal_the_oracle_where_neighbours_pass_windows_on(first: int) -> None:
    check_seeds(range(first, first + 100), Features(peer_links=True))


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_dense_counts_equal_the_oracle_on_drawn_problems(rng: random.Random) -> None:
    problem = random_problem(rng, Features(max_points=500))
    found = disagreements(problem)
    assert not found, f"{problem}\n" + "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 3000, 100))
def test_dense_counts_of_the_model_equal_the_oracle_on_many_problems(first: int) -> None:
    check_seeds(range(first, first + 100), DENSE)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(3000, 3400, 100))
def test_dense_counts_equal_the_oracle_on_larger_problems(first: int) -> None:
    check_seeds(range(first, first + 100), Features(max_points=40_000, max_lanes=256))
