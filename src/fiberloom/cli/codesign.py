"""``fiberloom codesign``: the Pareto front of quality against energy–delay product over designs and representations."""

from __future__ import annotations

from typing import Annotated

import typer

from fiberloom.cli.compress import Model
from fiberloom.cli.representation_options import Options, takes_options
from fiberloom.errors import SpecError


@takes_options
def codesign(
    model: Model,
    designs: Annotated[
        list[str] | None,
        typer.Option(
            "--designs",
            metavar="NAME,…",
            help="Designs of the library that state what they run; repeat it or list them.",
        ),
    ] = None,
    representations: Annotated[
        list[str] | None,
        typer.Option(
            "--representations",
            metavar="TEXT,…",
            help='Such as 2:4, 2:4+2:8, int8, "7:8 => 1:8 int8 + 6:8 fp4"; repeat it or list them.',
        ),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="Of SDQ: magnitude | wanda | sparsegpt.")
    ] = "magnitude",
    criterion: Annotated[
        str, typer.Option("--criterion", metavar="NAME", help="Of SDQ: what makes an outlier, magnitude | product.")
    ] = "magnitude",
    *,
    options: Options,
) -> None:
    """Every representation on every design: what is left of the model, what it costs, and which points are worth considering."""
    from fiberloom.cli.representation_run import assessed, checked_designs, listed
    from fiberloom.codesign.assessment import read_scheme

    names, texts = listed(designs or []), listed(representations or [])
    if not names:
        raise SpecError("no design is given", hint="name some: --designs dense-tensor-core,stc,highlight")
    if not texts:
        raise SpecError("no representation is given", hint="name some: --representations 2:4,4:8,int8")
    schemes = [read_scheme(text, method, criterion) for text in texts]
    assessed(model, options, checked_designs(names), schemes)
