"""``fiberloom explore proxy``: a proxy model of a store, trained and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.cli.saving import refuse_unwritable


def explore_proxy(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="What 'explore --store' wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="OUT.npz", help="Keep the trained proxy here.")
    ] = None,
    test_share: Annotated[
        float, typer.Option("--test-share", metavar="X", help="Share of the designs that errors are measured on.")
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the choice of those designs.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a proxy on every evaluated design of a store: its errors by metric and region, its speed-up."""
    from fiberloom.cli.explore_report import opened
    from fiberloom.explore.problems import stored_problem
    from fiberloom.explore.proxy import train_on_designs
    from fiberloom.report.proxy import proxy_dict, proxy_report

    refuse_unwritable(out)
    with opened(store) as kept:
        problem = stored_problem(kept)
        proxy = train_on_designs(
            problem.space.names, kept.designs(problem), facts=kept.facts, test_share=test_share, seed=seed
        )
    if out is not None:
        proxy.save(out)
    if as_json:
        print_json(proxy_dict(proxy))
        return
    print_all(proxy_report(proxy))
    if out is not None:
        print(f"\nproxy: {out}")
