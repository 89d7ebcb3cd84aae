"""Objectives: what they are worth, how ties are broken, and what a typo is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.mapper.objective import Objective, parse_objective


@pytest.mark.parametrize(
    ("text", "powers"),
    [
        ("energy", (1, 0)),
        ("latency", (0, 1)),
        ("cycles", (0, 1)),
        ("edp", (1, 1)),
        ("EDP", (1, 1)),
        ("energy*latency^2", (1, 2)),
        ("energy * delay**2", (1, 2)),
        ("energy^0.5*latency", (0.5, 1)),
        ("edp^2", (2, 2)),
        ("energy*energy*latency", (2, 1)),
    ],
)
def test_an_objective_is_a_product_of_powers(text: str, powers: tuple[float, float]) -> None:
    objective = parse_objective(text)
    assert (objective.energy_power, objective.latency_power) == powers
    assert parse_objective(objective.name) == objective


def test_a_value_is_energy_and_cycles_to_their_powers() -> None:
    energy, cycles = np.array([2.0, 3.0]), np.array([5.0, 7.0])
    assert parse_objective("edp").value(energy, cycles).tolist() == [10.0, 21.0]
    assert parse_objective("energy*latency^2").value(energy, cycles).tolist() == [50.0, 147.0]


def test_energy_and_latency_are_worth_themselves_to_the_last_digit() -> None:
    numbers = np.random.default_rng(0).random(100) * 1e9
    assert (parse_objective("energy").value(numbers, 1.0) == numbers).all()
    assert (parse_objective("latency").value(1.0, numbers) == numbers).all()


def test_a_mapping_that_does_not_fit_is_infinitely_bad() -> None:
    for text in ("energy", "latency", "edp"):
        assert parse_objective(text).value([np.nan, 1.0], [np.nan, 1.0]).tolist() == [math.inf, 1.0]


def test_among_the_fastest_the_least_energy_wins() -> None:
    latency = parse_objective("latency")
    assert latency.beats(1.0, 10.0, 2.0, 10.0)
    assert not latency.beats(1.0, 11.0, 2.0, 10.0)
    assert latency.best([3.0, 2.0, 1.0], [10.0, 10.0, 11.0]) == 1


def test_among_equal_energies_and_equal_products_the_fastest_wins() -> None:
    assert parse_objective("energy").best([5.0, 5.0], [9.0, 8.0]) == 1
    assert parse_objective("edp").best([4.0, 2.0, 8.0], [2.0, 4.0, 1.0]) == 2


def test_nothing_beats_itself_and_nothing_invalid_beats_anything() -> None:
    edp = parse_objective("edp")
    assert not edp.beats(2.0, 3.0, 2.0, 3.0)
    assert not edp.beats(np.nan, np.nan, np.nan, np.nan)
    assert edp.beats(1e30, 1e30, np.nan, np.nan)
    assert edp.best([np.nan, np.nan], [np.nan, np.nan]) is None
    assert edp.best([], []) is None


def test_an_objective_never_gets_worse_when_energy_or_latency_falls() -> None:
    rng = np.random.default_rng(1)
    for text in ("energy", "latency", "edp", "energy^0.3*latency^2.5"):
        objective = parse_objective(text)
        energy, cycles = rng.random((2, 200)) * 1e6 + 1
        assert (objective.value(energy * 0.9, cycles) <= objective.value(energy, cycles)).all()
        assert (objective.value(energy, cycles * 0.9) <= objective.value(energy, cycles)).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latensy", "'latency'"),
        ("enrgy", "'energy'"),
        ("edpp", "'edp'"),
        ("energy*latencey^2", "'latency'"),
        ("energy^-1", "'-1'"),
        ("energy^x", "'x'"),
        ("energy^99", "0 to 8"),
        ("", "empty"),
        ("energy*", "empty"),
        ("energy^0", "above 0"),
        ("throughput", "known"),
    ],
)
def test_a_wrong_objective_is_told_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_objective(text)
    assert said in str(caught.value)


def test_powers_are_limited_where_doubles_would_overflow() -> None:
    with pytest.raises(SpecError):
        Objective(9.0, 1.0)
    assert np.isfinite(Objective(8.0, 8.0).value(1e20, 1e15))
