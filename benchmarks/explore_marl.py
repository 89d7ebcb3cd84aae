"""Multi-agent against single-agent learners: ``python benchmarks/explore_marl.py > benchmarks/results/explore/marl.md``.

The question of *Multi-agent reinforcement learning for microprocessor design space exploration* (arXiv 2211.16385): does one learner
per parameter with a shared reward find better DRAM controllers than one joint PPO or SAC? The cross-entropy method and random search
stand beside them, since a factored policy gradient is nearly the former. Needs the extra ``rl``.
"""

from __future__ import annotations

import argparse
import time

from explore_environments import RememberedDram, table
from fiberloom.explore import Goal
from fiberloom.explore.comparison import CHANCE, Comparison
from fiberloom.explore.sweep import compare

AGENTS = ("multi-agent", "ppo", "sac", "cem", "genetic")
GOALS = {"low power": "power_mw", "low latency": "latency_ns"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--traces", nargs="+", default=["cloud-1"])
    arguments = parser.parse_args()
    points = [p for p in (100, 300, 1000, 3000, 10_000) if p < arguments.evaluations] + [arguments.evaluations]
    print("# Multi-agent reinforcement learning beside PPO, SAC, CEM and random\n")
    print(
        f"Made by `python benchmarks/explore_marl.py --evaluations {arguments.evaluations}`: {arguments.seeds} seeds, "
        f"default hyper-parameters, 1,769,472 DRAM controllers, {arguments.requests} requests of each trace, no missed refreshes. "
        "Medians over seeds, relative to the best value that any run found. "
        f'"Beats random" is an exact one-sided rank-sum test over seeds at {CHANCE:.0%}, uncorrected.'
    )
    for trace in arguments.traces:
        problem = RememberedDram(trace, arguments.requests)
        for name, metric in GOALS.items():
            begun = time.process_time()
            goal = Goal.parse([metric], ["missed_refreshes <= 0"], problem.metrics)
            found = compare(
                problem,
                goal,
                [(agent, {}) for agent in AGENTS],
                seeds=arguments.seeds,
                evaluations=arguments.evaluations,
            )
            print(f"\n## {trace}, {name}\n\n{_table(found, points)}")
            print(f"\n{(time.process_time() - begun) / 60:.1f} CPU minutes.", flush=True)


def _table(found: Comparison, points: list[int]) -> str:
    end = points[-1]
    best = min(float(found.values(c, "evaluations", end).min()) for c in found.contestants)
    rows = []
    for contestant in found.contestants:
        quartiles = found.quartiles(contestant, "evaluations", [float(p) for p in points]) / best
        verdict = found.verdict(contestant, "evaluations", end)
        rows.append(
            (
                contestant.name, *(f"{v:.3f}" for v in quartiles[1]), f"{quartiles[0, -1]:.3f} – {quartiles[2, -1]:.3f}",
                "" if contestant.name == "random" else f"{'yes' if verdict.beats_random else '**no**'} (p = {verdict.chance:.3f})",
                f"{contestant.rate:,.0f}",
            )
        )  # fmt: skip
    return table(
        ("agent", *(f"{p:,}" for p in points), "quartiles at the end", "beats random", "designs a second"), rows
    )


if __name__ == "__main__":
    main()
