"""Options that commands on representations share, declared once: `takes_options` adds them to a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from fiberloom.cli.files import AsJson


@dataclass(frozen=True)
class Options:
    """What the commands are told beside their method."""

    activations: Annotated[
        str | None,
        typer.Option(
            "--activations",
            metavar="HOW",
            help="How activations are kept where errors are measured: exact | terms (in the format of the weights that they "
            "meet) | a representation such as int8.",
        ),
    ] = None
    activations_density: Annotated[
        float | None,
        typer.Option("--activations-density", metavar="D", help="Share of non-zero activations, for the hardware."),
    ] = None
    axis: Annotated[
        int | None,
        typer.Option(
            "--axis", metavar="N", help="Of a tensor: what products sum over; (out, in) and (out, in, kernel) without."
        ),
    ] = None
    rows: Annotated[
        int | None,
        typer.Option("--rows", metavar="N", help="Of a tensor: rows of activations that meet it; 512 without."),
    ] = None
    tail: Annotated[
        str | None,
        typer.Option(
            "--tail", metavar="HOW", help="Blocks that don't divide the axis: pad (the default) | keep | refuse."
        ),
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Values for a network that has none, by name."),
    ] = None
    random_weights: Annotated[
        int | None,
        typer.Option("--random-weights", metavar="SEED", min=0, help="Gaussian values for a network that has none."),
    ] = None
    dim: Annotated[
        list[str] | None, typer.Option("--dim", metavar="NAME=N", help="Extent of a network's axis, such as batch=8.")
    ] = None
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", metavar="PATTERN", help="Only tensors of such names (encoder.*); repeat it."),
    ] = None
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="No tensors of such names; repeat it.")
    ] = None
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Inputs: of a tensor (rows, in) as .npy; of a file of tensors .npz, one array per tensor; of module.py:function "
            "what it takes, samples along the first axis.",
        ),
    ] = None
    quality: Annotated[
        str | None,
        typer.Option(
            "--quality", metavar="FILE.py:FUNCTION", help="Called with the represented model; returns a number."
        ),
    ] = None
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="Of the quality function's values, such as a perplexity.")
    ] = False
    time: Annotated[
        float | None, typer.Option("--time", metavar="S", help="Most seconds to search a mapping; 30 without.")
    ] = None
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Worker processes; without it, one per core.")
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keep mappings there instead of in the user's cache folder."),
    ] = None
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep mappings.")] = False
    html: Annotated[Path | None, typer.Option("--html", metavar="OUT", help="Save a report as one HTML file.")] = None
    csv: Annotated[Path | None, typer.Option("--csv", metavar="OUT", help="Save the table as CSV.")] = None
    json: AsJson = False


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the fields of `Options` in the place of its parameter ``options``."""
    own = [p for name, p in inspect.signature(command).parameters.items() if name != "options"]
    hints = get_type_hints(command, include_extras=True)
    shared = get_type_hints(Options, include_extras=True)
    added = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=shared[f.name])
        for f in fields(Options)
    ]

    @wraps(command)
    def called(**given: Any) -> None:
        options = Options(**{f.name: given.pop(f.name) for f in fields(Options)})
        command(**given, options=options)

    mine = [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    described: Any = called
    described.__signature__ = inspect.Signature([*mine, *added])
    called.__annotations__ = {p.name: p.annotation for p in (*mine, *added)}
    del called.__wrapped__  # else the signature underneath is looked at
    return called
