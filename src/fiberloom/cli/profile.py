"""``fiberloom profile``: what share of a model's tensors is non-zero."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiberloom.cli.files import AsJson
from fiberloom.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable


def profile(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="x.onnx, x.pt2, module.py:function, config.json or a network of the zoo with --weights, "
            "or a file of weights alone (.safetensors, .npz, .pt).",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Save the profile as YAML, for evaluation.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Weights to take instead of the model's own."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE.npz",
            help="Run these inputs and measure activations: one array per input, samples along the first axis.",
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="X", help="Weights of magnitude up to X count as zero.")
    ] = 0.0,
    activation_threshold: Annotated[
        float, typer.Option("--activation-threshold", metavar="X", help="The same for activations.")
    ] = 0.0,
    densities: Annotated[
        str,
        typer.Option(
            "--densities",
            metavar="fitted|actual|auto",
            help="Statistical models of weights, the weights themselves, or those where the model is more than 5 % off.",
        ),
    ] = "fitted",
    dim: Annotated[
        list[str] | None,
        typer.Option("--dim", metavar="NAME=N", help="Extent of a dynamic axis (batch=1, seq=128)."),
    ] = None,
    heat_map: Annotated[
        Path | None, typer.Option("--heat-map", metavar="FILE.html", help="Save table and heat map as HTML.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure what share of each tensor is non-zero, and which statistical model describes it."""
    from fiberloom.cli.output import console, print_json
    from fiberloom.cli.saving import refuse_unwritable, save
    from fiberloom.report.sparsity_profile import heat_map_html, profile_dict, profile_report
    from fiberloom.workload.profile import make_profile

    refuse_unwritable(output)
    refuse_unwritable(heat_map)
    if densities in ("actual", "auto") and output is None:
        raise SpecError("weights themselves are kept beside the profile", hint="say where with -o profile.yaml")
    with _Told(json) as tell:
        found, _ = make_profile(
            model,
            dims=_dims(dim or []),
            weights=weights,
            calibration=calibration,
            threshold=threshold,
            activation_threshold=activation_threshold,
            densities=densities,
            values_file=None if output is None else output.with_suffix(".npz"),
            progress=tell,
        )
    if output is not None:
        found.save(output)
    if heat_map is not None:
        save(heat_map, heat_map_html(found))
    if json:
        print_json(profile_dict(found))
        return
    out = console()
    for part in profile_report(found):
        out.print(part)
    if output is not None:
        out.print(f"saved {output}")


def _dims(given: list[str]) -> dict[str, int]:
    dims = {}
    for text in given:
        name, equals, number = text.partition("=")
        if not equals or not number.isdecimal() or int(number) < 1:
            raise SpecError(f"--dim {text} can't be read", hint="write --dim batch=1")
        dims[name] = int(number)
    return dims


class _Told:
    """A line on stderr that says what is being done, where stderr is a terminal."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._status = self._console.status("") if self._console.is_terminal and not quiet else None

    def __enter__(self) -> Callable[[str], None]:
        if self._status is not None:
            self._status.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def _tell(self, what: str) -> None:
        if self._status is not None:
            self._status.update(what)
