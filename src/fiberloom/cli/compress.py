"""``fiberloom compress``: what a representation does to real tensors, and what it buys."""

from __future__ import annotations

from typing import Annotated

import typer

from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json

compress = typer.Typer(
    help="Represent real tensors as a design would keep them: error, dropped values, throughput.",
    add_completion=False,
    no_args_is_help=True,
)

Subject = Annotated[str, typer.Argument(metavar="TENSOR", help="x.npy, x.npz:name, x.safetensors:name.")]
Axis = Annotated[int, typer.Option("--axis", metavar="N", help="Along which blocks run; the last one by default.")]


@compress.command("tasd")
def tasd(
    subject: Subject,
    series: Annotated[
        list[str], typer.Option("--series", metavar="SERIES", help="Terms such as 2:4+2:8; repeat it to compare.")
    ],
    axis: Axis = -1,
    json: AsJson = False,
) -> None:
    """A sum of structured-sparse terms, each taken greedily from what the ones before it leave over (TASD)."""
    from fiberloom.cli.representation_subject import read_tensor
    from fiberloom.report.representation import measured, representation_dict, representation_report
    from fiberloom.representation import read_representation

    representations = [read_representation(text) for text in series]
    tensor = read_tensor(subject)
    rows = [measured(tensor.values, representation, axis) for representation in representations]
    found = representation_dict("tasd", tensor.name, tensor.values.shape, axis, rows)
    if json:
        print_json(found)
    else:
        print_all(representation_report(found))
