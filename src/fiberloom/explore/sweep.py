"""Runs agents at equal budget over several seeds, and over grids of their hyper-parameters.

The question of ArchGym (ISCA'23): is an agent better, or were its hyper-parameters luckier? A grid per agent, several seeds per
setting and one budget for all show how often each agent reaches a target, not only how well its best setting did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from fiberloom.errors import MissingExtraError, SpecError, UnsupportedError
from fiberloom.explore.agents._base import make_agent
from fiberloom.explore.comparison import BASELINE, Comparison, Contestant, Run, Setting
from fiberloom.explore.driver import Progress, explore
from fiberloom.explore.executors import Executor
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.store import ExplorationStore

Told = Callable[[str, int, Progress], None]


def grid(agent: str, choices: Mapping[str, Iterable[Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Every combination of values of hyper-parameters, for `compare`."""
    names = list(choices)
    return [(agent, dict(zip(names, values, strict=True))) for values in product(*choices.values())]


def compare(
    problem: DesignProblem,
    goal: Goal,
    agents: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    seeds: int = 5,
    evaluations: int | None = None,
    seconds: float | None = None,
    executor: Executor | None = None,
    store: ExplorationStore | None = None,
    prune: bool = True,
    skip_missing: bool = False,
    progress: Told | None = None,
) -> Comparison:
    """Run every agent with every seed under each budget that is set; random is always among them.

    With both budgets every agent runs twice, so that neither axis is cut short by the other's budget. Ctrl-C leaves out the agents
    that had not finished.

    Args:
        agents: names and hyper-parameters.
        store: evaluations of runs under the budget in evaluations are kept and found there, and such runs are resumed; runs under the
            budget in seconds pay for every evaluation.
        prune: as in `explore`; a design ruled out by its bounds counts as an evaluation.
        skip_missing: leave out agents whose packages are not installed or that don't take such problems, instead of raising.
        progress: told the setting's name, the seed and the news.

    Raises:
        SpecError: for unknown agents or hyper-parameters, budgets that are missing or not positive, less than one seed.
        MissingExtraError, UnsupportedError: when an agent's package is not installed, or it does not take such problems.
        KeyboardInterrupt: when interrupted before the first agent had finished.
    """
    if evaluations is None and seconds is None:
        raise SpecError("a comparison without a budget", hint="give a number of evaluations, seconds, or both")
    if seeds < 1:
        raise SpecError(f"a comparison over {seeds} seeds", hint="at least one; five or more for a verdict")
    settings, left_out = _settings(problem, goal, agents, skip_missing)
    contestants: list[Contestant] = []

    def run(setting: Setting, seed: int, most: int | None, limit: float | None) -> Run:
        def told(news: Progress) -> None:
            if progress is not None:
                progress(setting.name, seed, news)

        found = explore(
            problem, make_agent(setting.agent, problem, goal, seed, **setting.hyper), evaluations=most, seconds=limit,
            seed=seed, executor=executor, store=store if limit is None else None, resume=True, prune=prune,
            progress=None if progress is None else told,
        )  # fmt: skip
        if found.stopped == "interrupted":
            raise KeyboardInterrupt
        return Run.of(found)

    interrupted = False
    for setting in settings:
        try:
            by_evaluations = [run(setting, s, evaluations, None) for s in range(seeds) if evaluations is not None]
            by_seconds = [run(setting, s, None, seconds) for s in range(seeds) if seconds is not None]
        except KeyboardInterrupt:
            if not contestants:
                raise
            interrupted = True
            left_out |= {s.name: "the comparison was interrupted" for s in settings[len(contestants) :]}
            break
        contestants.append(Contestant(setting, tuple(by_evaluations), tuple(by_seconds)))
    return Comparison(goal, evaluations, seconds, seeds, tuple(contestants), left_out, interrupted)


def _settings(
    problem: DesignProblem, goal: Goal, agents: Sequence[tuple[str, Mapping[str, Any]]], skip_missing: bool
) -> tuple[list[Setting], dict[str, str]]:
    """Each setting once, random first, and what can't run; every one is made once, so that a slip of the pen shows before the runs."""
    wanted = {setting.name: setting for setting in (Setting(name, dict(hyper)) for name, hyper in agents)}
    settings = [Setting(BASELINE), *(s for s in wanted.values() if s.name != BASELINE)]
    left_out: dict[str, str] = {}
    for setting in settings:
        try:
            make_agent(setting.agent, problem, goal, 0, **setting.hyper).close()
        except (MissingExtraError, UnsupportedError) as error:
            if not skip_missing:
                raise
            left_out[setting.name] = f"{error.problem} ({error.hint})"
    return [setting for setting in settings if setting.name not in left_out], left_out
