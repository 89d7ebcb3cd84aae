"""A run of a store as an exploration, so that it is reported like one that has just ended."""

from __future__ import annotations

from fiberloom.errors import SpecError
from fiberloom.explore import DesignProblem, Exploration, ExplorationStore, front
from fiberloom.explore.store import StoredRun
from fiberloom.explore.trial import Status


def chosen_run(store: ExplorationStore, number: int | None = None) -> StoredRun:
    """A run by its number; without one, the last that has trials.

    Raises:
        SpecError: when there is none.
    """
    runs = store.runs()
    tried = [run for run in runs if run.trials]
    if number is None and tried:
        return tried[-1]
    for run in runs:
        if run.run == number:
            return run
    listed = "; ".join(f"{r.run}: {r.agent}, {r.trials} designs" for r in runs[-8:])
    raise SpecError(
        f"{store.path} has no run {number}" if number is not None else f"{store.path} holds no trials",
        hint=f"its runs are {listed}" if listed else "run 'fiberloom explore SPACE --store FILE' first",
    )


def stored_exploration(store: ExplorationStore, problem: DesignProblem, run: StoredRun) -> Exploration:
    """The run as far as the store has it; why it stopped is not kept."""
    pairs = list(store.trials(problem, run.run))
    trials, times = tuple(t for t, _ in pairs), tuple(at for _, at in pairs)
    evaluated = sum(t.evaluated.status is not Status.PRUNED for t in trials)
    return Exploration(
        problem, run.goal, run.agent, run.seed, trials, times, tuple(front(trials)), "", times[-1] if times else 0.0,
        evaluated, hyper_parameters=run.hyper_parameters,
    )  # fmt: skip


def same_goal(store: ExplorationStore, run: StoredRun) -> list[StoredRun]:
    """Other runs of a store with the run's goal, oldest first."""
    return [other for other in store.runs() if other.run != run.run and other.goal == run.goal and other.trials]
