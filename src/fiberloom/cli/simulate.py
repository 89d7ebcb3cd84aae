"""``fiberloom simulate``: execute a small mapping over real tensors and count everything."""

from __future__ import annotations

from typing import Annotated

import typer

from fiberloom.cli.files import ArchitectureChoice, AsJson, Files, complete, placed, read_files
from fiberloom.cli.output import print_all, print_json


def simulate(
    files: Files,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the first sample's random tensors.")] = 0,
    samples: Annotated[int, typer.Option("--samples", min=1, max=10_000, help="Random tensors to average over.")] = 1,
    json: AsJson = False,
    arch: ArchitectureChoice = None,
) -> None:
    """Execute the loop nest over real tensors, element by element, and count every action (small problems)."""
    specification = read_files(files, arch)
    workload, architecture, mapping = complete(specification, files)

    from fiberloom.report.simulation import simulation_report, simulation_summary
    from fiberloom.simulate import Simulator

    with placed(files):
        simulator = Simulator(workload, architecture, mapping)
        runs = [simulator.run(seed=seed + i) for i in range(samples)]
    if json:
        print_json({"version": 1, "seed": seed, "samples": samples, **simulation_summary(runs)})
        return

    print_all(simulation_report(runs))
