"""The driver: budgets, curves, interruption, progress."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.mapper.driver import run
from fiberloom.mapper.progress import Progress
from fiberloom.mapper.search import Outcome, SearchProblem, make
from fiberloom.mapping.packed import PackedMappings
from map_problems import GEMM, gemm_problem


def test_a_budget_in_evaluations_is_spent_to_the_last() -> None:
    target = gemm_problem()
    found = run(make("random", target, 1), target, evaluations=777, batch=100)
    assert found.evaluations == target.evaluations == 777
    assert found.stopped == "evaluations"
    assert 0 < found.valid < 777


def test_a_budget_in_seconds_ends_the_search() -> None:
    target = gemm_problem()
    found = run(make("random", target, 1), target, seconds=0.3)
    assert found.stopped == "seconds"
    assert 0.3 <= found.seconds < 5


def test_the_same_seed_gives_the_same_result() -> None:
    results = []
    for _ in range(2):
        target = gemm_problem()
        results.append(run(make("genetic", target, 5), target, evaluations=800))
    a, b = results
    assert a.best == b.best
    assert a.curve.evaluations.tolist() == b.curve.evaluations.tolist()
    assert a.curve.value.tolist() == b.curve.value.tolist()


def test_the_curve_falls_and_ends_at_the_best() -> None:
    target = gemm_problem()
    curve = (found := run(make("random", target, 1), target, evaluations=3000)).curve
    assert (np.diff(curve.value) < 0).all()
    assert (np.diff(curve.evaluations) > 0).all()
    assert (np.diff(curve.seconds) >= 0).all()
    assert curve.value[-1] == found.value
    assert curve.at_evaluations([0, curve.evaluations[0] - 1, curve.evaluations[0], 3000]).tolist() == [
        math.inf,
        math.inf,
        curve.value[0],
        found.value,
    ]


def test_the_curve_is_the_running_minimum_of_the_trials() -> None:
    target = gemm_problem()
    searcher = make("random", target, 9)
    packed = searcher.ask(2000)
    assert packed is not None
    running = np.minimum.accumulate(gemm_problem().evaluate(packed).objective)
    curve = run(make("random", target, 9), target, evaluations=2000, batch=331).curve
    assert (curve.at_evaluations(np.arange(1, 2001)) == running).all()


def test_ties_are_broken_over_batches() -> None:
    target = gemm_problem("latency")
    found = run(make("random", target, 2), target, evaluations=4000, batch=64)
    packed = make("random", target, 2).ask(2048)
    assert packed is not None
    assert found.best_outcome is not None
    outcome = target.evaluate(packed)
    best = target.objective.best(outcome.energy_pj, outcome.cycles)
    assert best is not None
    assert not target.objective.beats(
        outcome.energy_pj[best], outcome.cycles[best], found.best_outcome.energy_pj[0], found.best_outcome.cycles[0]
    )


def test_a_search_ends_when_the_wanted_value_is_reached() -> None:
    target = gemm_problem()
    best = run(make("random", target, 1), target, evaluations=2000).value
    found = run(make("random", target, 1), target, evaluations=2000, reach=best * 1.5, batch=10)
    assert found.stopped == "reached"
    assert found.value <= best * 1.5
    assert found.evaluations < 2000


def test_an_interrupted_search_returns_the_best_so_far() -> None:
    class Interrupted(SearchProblem):
        def evaluate(self, packed: PackedMappings) -> Outcome:
            if self.evaluations >= 500:
                raise KeyboardInterrupt
            return super().evaluate(packed)

    plain = gemm_problem()
    target = Interrupted(plain.problem, plain.space, "edp")
    found = run(make("random", target, 1), target, batch=100)
    assert found.stopped == "interrupted"
    assert found.evaluations == 500
    assert found.value == run(make("random", plain, 1), plain, evaluations=500).value


def test_progress_comes_from_another_thread_and_ends_with_the_end() -> None:
    news: list[tuple[Progress, int]] = []
    target = gemm_problem()
    listener = lambda p: news.append((p, threading.get_ident()))  # noqa: E731
    found = run(make("random", target, 1), target, seconds=0.5, progress=listener)
    last = news[-1][0]
    assert last.phase == "done"
    assert (last.evaluations, last.best) == (found.evaluations, found.value)
    assert last.share == 1.0
    assert {p.phase for p, _ in news} >= {"searching", "done"}
    assert all(thread != threading.get_ident() for _, thread in news)
    assert [p.evaluations for p, _ in news] == sorted(p.evaluations for p, _ in news)


def test_a_slow_listener_does_not_slow_the_search() -> None:
    def slow(progress: Progress) -> None:
        time.sleep(0.4)

    target = gemm_problem()
    found = run(make("random", target, 1), target, evaluations=200, batch=1, progress=slow)
    assert found.evaluations == 200
    assert found.seconds < 40


def test_a_failing_listener_is_heard_after_the_search() -> None:
    def failing(progress: Progress) -> None:
        raise ValueError("no terminal")

    target = gemm_problem()
    with pytest.raises(ValueError, match="no terminal"):
        run(make("random", target, 1), target, seconds=0.3, progress=failing)
    assert target.evaluations > 0


def test_a_space_without_a_fitting_mapping_ends_without_one() -> None:
    target = gemm_problem(text=GEMM.replace("depth: 6", "depth: 1"))
    found = run(make("random", target, 1), target, evaluations=500)
    assert found.best is None
    assert found.value == math.inf
    assert len(found.curve.value) == 0
    for name in ("annealing", "genetic", "cma-es", "random-pruned"):
        assert run(make(name, target, 1), target, evaluations=700).best is None


@pytest.mark.parametrize("budget", [{"evaluations": 0}, {"seconds": -1.0}, {"batch": 0}])
def test_a_budget_is_positive(budget: dict[str, int]) -> None:
    target = gemm_problem()
    with pytest.raises(SpecError, match="positive"):
        run(make("random", target, 1), target, **budget)  # type: ignore[arg-type]
