"""``fiberloom models``: the zoo beside what is published about it, or the operators of one network."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.errors import SpecError


def models(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A network of the zoo, or a file: x.onnx, config.json, x.mlir, x.stablehlo, x.pt2, module.py:function. "
            "The zoo is listed without one.",
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, metavar="N", help="Images or sequences.")] = None,
    seq: Annotated[int | None, typer.Option("--seq", min=1, metavar="N", help="Tokens per sequence.")] = None,
    prompt: Annotated[
        int | None, typer.Option("--prompt", min=1, metavar="N", help="Tokens per sequence computed at once (prefill).")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--context", min=1, metavar="N", help="Tokens in the cache, prompt and answer; alone: decode one."
        ),
    ] = None,
    phase: Annotated[str | None, typer.Option("--phase", metavar="NAME", help="prefill | decode.")] = None,
    dim: Annotated[
        list[str] | None, typer.Option("--dim", metavar="NAME=N", help="Any other extent by name; repeatable.")
    ] = None,
    number_format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Number format of all tensors: fp32, bf16, int8, …")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the model's source, such as stride_in=1x1."),
    ] = None,
    all_operators: Annotated[bool, typer.Option("--all", help="Every operator on a line of its own.")] = False,
    json: AsJson = False,
) -> None:
    """List the zoo with published figures, or show the operators of one network."""
    dims = {"batch": batch, "seq": seq, "prompt": prompt, "context": context}
    given = {name: extent for name, extent in dims.items() if extent is not None}
    given |= {name: _whole(name, value) for name, value in _pairs("--dim", dim)}
    options: dict[str, Any] = dict(_pairs("--set", option))
    options |= {k: v for k, v in (("phase", phase), ("number_format", number_format)) if v is not None}
    for name in options.keys() & {"model", "dims", "progress"}:
        raise SpecError(f"--set {name}: no model has an option of that name", hint="extents are given with --dim")
    if model is None:
        if given or options or all_operators:
            raise SpecError("sizes and options are those of one network", hint="name it: fiberloom models resnet50 …")
        _list(json)
        return
    from fiberloom.cli.reading_progress import reading
    from fiberloom.report.models import network_dict, network_report
    from fiberloom.workload.importers import read_network

    with reading(model) as progress:
        network = read_network(model, dims=given, progress=progress, **options)
    if json:
        print_json({"version": 1, "network": network_dict(network)})
        return
    print_all(network_report(network, all_operators=all_operators))


def _list(json: bool) -> None:
    from fiberloom.report.models import compare, models_dict, models_report
    from fiberloom.workload.zoo import MODELS

    compared = [compare(model) for model in MODELS.values()]
    if json:
        print_json({"version": 1, "models": models_dict(compared)})
        return
    print_all(models_report(compared))


def _pairs(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    """Name and value of every ``NAME=VALUE``.

    Raises:
        SpecError: for one that is none.
    """
    pairs = []
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise SpecError(f"{option} takes NAME=VALUE, not '{text}'")
        pairs.append((name, value))
    return pairs


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise SpecError(f"--dim {name}={value}: extents are whole numbers from 1")
    return int(value)
