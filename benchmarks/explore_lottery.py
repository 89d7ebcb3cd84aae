"""The hyper-parameter lottery: ``python benchmarks/explore_lottery.py > benchmarks/results/explore/lottery.md``.

ArchGym (ISCA'23) ran five agents over grids of hyper-parameters and found that each of them reaches the target with some setting, and
which one leads depends on the luck of its settings. The same question here, at our scale, on two environments.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

from explore_environments import RememberedDram, Stages, table
from fiberloom.explore import DesignProblem, Goal, Progress
from fiberloom.explore.comparison import CHANCE, Comparison
from fiberloom.explore.sweep import compare, grid

GRIDS = {
    "ant-colony": {"evaporation": (0.1, 0.5), "greediness": (0.25, 0.75)},
    "genetic": {"population": (20, 100), "mutate": (0.2, 0.8)},
    "annealing": {"hottest": (0.03, 0.3), "reach": (1, 4)},
    "reinforce": {"rate": (0.03, 0.3), "episodes": (200, 2000)},
    "cem": {"population": (20, 100), "elite": (0.1, 0.3)},
}
BAYESIAN = {"tpe": {"startup": (10, 40)}}
"""Its time grows with the square of the designs, so that ArchGym, too, gave Bayesian optimisation a smaller budget."""
BAYESIAN_EVALUATIONS = 300
DESCRIBED = {
    "accelerator": "An array and a buffer of its own for each of AlexNet's 8 layers, all their costs computed once by the model",
    "dram": "The library's DRAM controllers on {requests} requests of `cloud-1`",
}
BUDGETS = (100, 1000, 10_000)
NEAR = 1.01
"""Target: within 1 % of the best value that any run found."""


def main() -> None:
    arguments = _arguments()
    print("# The hyper-parameter lottery\n")
    print(
        "Five agents, a grid of 2 x 2 settings each (ArchGym's grids have up to 600), "
        f"{arguments.seeds} seeds a setting; `random` is the baseline and has no settings. "
        "A run of the largest budget gives the smaller ones, since no agent knows its budget. "
        f"The target is within {NEAR - 1:.0%} of the best value that any run found. "
        '"Beats random" counts settings that do so by an exact one-sided rank-sum test over seeds at '
        f"{CHANCE:.0%}, uncorrected."
    )
    for name, (problem, goal) in environments(arguments.requests).items():
        if name not in arguments.environment:
            continue
        _report(name, problem, goal, arguments)


def environments(requests: int) -> dict[str, tuple[DesignProblem, Goal]]:
    """Problem and goal by name."""
    dram, stages = RememberedDram("cloud-1", requests), Stages("alexnet")
    return {
        "accelerator": (stages, Goal.parse(["edp"], ["area <= 20"], stages.metrics)),
        "dram": (dram, Goal.parse(["latency_ns * power_mw"], ["missed_refreshes <= 0"], dram.metrics)),
    }


def _report(name: str, problem: DesignProblem, goal: Goal, arguments: argparse.Namespace) -> None:
    begun = time.process_time()
    budgets = [b for b in BUDGETS if b <= arguments.evaluations]
    found = compare(
        problem, goal, [s for agent, choices in GRIDS.items() for s in grid(agent, choices)],
        seeds=arguments.seeds, evaluations=budgets[-1], progress=_told,
    )  # fmt: skip
    bayesian = compare(
        problem, goal, [s for agent, choices in BAYESIAN.items() for s in grid(agent, choices)],
        seeds=arguments.seeds, evaluations=BAYESIAN_EVALUATIONS, progress=_told,
    )  # fmt: skip
    best = min(found.value(run, "evaluations", budgets[-1]) for c in found.contestants for run in c.runs)
    minutes = (time.process_time() - begun) / 60
    limits = " and ".join(limit.name for limit in goal.limits)
    print(
        f"\n## {name}\n\n{DESCRIBED[name].format(requests=arguments.requests)}: "
        f"{problem.space.size():.3g} designs of {len(problem.space.parameters)} parameters. "
        f"Least {goal.names[0]} with {limits}; best value found: {best:.5g}. {minutes:.1f} CPU minutes of "
        f"`python benchmarks/explore_lottery.py --environment {name} --evaluations {budgets[-1]}`."
    )
    for evaluations in budgets:
        print(f"\n### {evaluations:,} evaluations\n\n{_table(found, best, evaluations)}")
    print(
        f"\n### Bayesian optimisation, {BAYESIAN_EVALUATIONS} evaluations\n\n{_table(bayesian, best, BAYESIAN_EVALUATIONS)}"
    )
    sys.stdout.flush()


def _table(found: Comparison, best: float, evaluations: int) -> str:
    header = (
        "agent",
        "settings that reach it",
        "runs that reach it",
        "median / best known",
        "quartiles",
        "beats random",
        "best setting",
    )
    rows = []
    for share in found.lottery(NEAR * best, evaluations):
        group = [c for c in found.contestants if c.setting.agent == share.agent]
        beating = sum(found.verdict(c, "evaluations", evaluations).beats_random for c in group)
        low, middle, high = (f"{v / best:.3f}" if math.isfinite(v) else "none feasible" for v in share.quartiles[1:4])
        rows.append(
            (
                share.agent, f"{share.reaching:.0%} of {share.settings}", f"{share.runs:.0%}", middle, f"{low} – {high}",
                "" if share.agent == "random" else f"{beating} of {len(group)}" + ("" if beating else " (**does not**)"),
                share.best.name.removeprefix(share.agent).strip(),
            )
        )  # fmt: skip
    return table(header, rows)


def _told(name: str, seed: int, news: Progress) -> None:
    if sys.stderr.isatty():
        print(f"\r{name}, seed {seed}: {news.trials:,} designs\033[K", end="", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=BUDGETS[-1], help="largest budget: 100, 1000 or 10000")
    parser.add_argument("--requests", type=int, default=400, help="of the DRAM trace")
    parser.add_argument("--environment", nargs="+", default=["accelerator", "dram"], choices=["accelerator", "dram"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
