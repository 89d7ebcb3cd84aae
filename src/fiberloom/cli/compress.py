"""``fiberloom compress``: what a representation leaves of real tensors, and what it buys on a design."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fiberloom.cli.representation_options import Options, takes_options
from fiberloom.errors import SpecError

compress = typer.Typer(
    help="Represent a model's weights as a design would keep them: error, bits, throughput, cycles, energy, EDP.",
    add_completion=False,
    no_args_is_help=True,
)

DEFAULT_DESIGNS: Final = {
    "hss": "highlight",
    "tasd": "ttc-vegeta-m8",
    "sdq": "sdq-core",
    "quantize": "dense-tensor-core-45nm",
}
"""The design that a method was made for; of number formats alone, the one without sparse features."""
BESIDE_SDQ: Final = "int8,int4,fp4"
"""What SDQ has to beat: plain formats of the widths that it mixes."""

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A tensor (x.npy, x.npz:name, x.safetensors:name), a file of them, x.onnx, x.pt2, module.py:function, or a network "
        "without values (resnet50, config.json) with --weights or --random-weights.",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="DESIGN", help="A design of the library instead of the method's own; none: no hardware."
    ),
]
Format = Annotated[str | None, typer.Option("--format", metavar="NAME", help="Number format of the values that stay.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="OUT", help="Save the represented tensors: .npy, .npz, .safetensors."),
]
SaveTerms = Annotated[
    Path | None,
    typer.Option("--save-terms", metavar="OUT", help="Save every term for itself: .npz, .safetensors; NAME.term1 …"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Let -o replace the file that is read.")]


@compress.command("hss")
@takes_options
def hss(
    model: Model,
    pattern: Annotated[
        list[str] | None,
        typer.Option("--pattern", metavar="PATTERN", help='Such as "C1(4:8)->C0(2:4)"; repeat it to compare.'),
    ] = None,
    degree: Annotated[
        float | None,
        typer.Option("--degree", metavar="D", help="Only the design's patterns whose density is nearest to D."),
    ] = None,
    number_format: Format = None,
    on: On = None,
    output: Output = None,
    save_terms: SaveTerms = None,
    overwrite: Overwrite = False,
    *,
    options: Options,
) -> None:
    """Hierarchical structured sparsity; without a pattern all degrees of the design, which is highlight."""
    from fiberloom.cli.representation_run import Request, compressed, hss_menu, with_format

    if pattern and degree is not None:
        raise SpecError("--pattern beside --degree", hint="give one of them")
    design = on or DEFAULT_DESIGNS["hss"]
    texts = [with_format(text, number_format) for text in pattern or hss_menu(design, degree)]
    compressed(Request("hss", model, design, tuple(texts)), options, output, save_terms, overwrite=overwrite)


@compress.command("tasd")
@takes_options
def tasd(
    model: Model,
    series: Annotated[
        list[str], typer.Option("--series", metavar="SERIES", help="Terms such as 2:4+2:8; repeat it to compare.")
    ],
    number_format: Format = None,
    on: On = None,
    output: Output = None,
    save_terms: SaveTerms = None,
    overwrite: Overwrite = False,
    *,
    options: Options,
) -> None:
    """A sum of structured-sparse terms, each taken from what the ones before it leave over (TASD); on ttc-vegeta-m8."""
    from fiberloom.cli.representation_run import Request, compressed, with_format

    texts = [with_format(text, number_format) for text in series]
    design = on or DEFAULT_DESIGNS["tasd"]
    compressed(Request("tasd", model, design, tuple(texts)), options, output, save_terms, overwrite=overwrite)


@compress.command("sdq")
@takes_options
def sdq(
    model: Model,
    sparsify: Annotated[
        str, typer.Option("--sparsify", metavar="N:M", help="What sparsification leaves; none: nothing is taken away.")
    ] = "7:8",
    terms: Annotated[
        list[str] | None,
        typer.Option("--terms", metavar="TERMS", help='Outliers and inliers, "1:8 int8 + 6:8 fp4" without; repeat it.'),
    ] = None,
    method: Annotated[
        str,
        typer.Option("--method", metavar="NAME", help="How weights to keep are chosen: magnitude | wanda | sparsegpt."),
    ] = "magnitude",
    criterion: Annotated[
        str, typer.Option("--criterion", metavar="NAME", help="What makes an outlier: magnitude | product.")
    ] = "magnitude",
    vector: Annotated[int, typer.Option("--vector", min=1, metavar="N", help="Stored values that share a scale.")] = 16,
    scale: Annotated[str, typer.Option("--scale", metavar="NAME", help="Number format of scales.")] = "e4m3",
    beside: Annotated[
        str,
        typer.Option(
            "--beside", metavar="FORMAT,…", help="Plain formats with the same scales to compare; none: without."
        ),
    ] = BESIDE_SDQ,
    on: On = None,
    output: Output = None,
    save_terms: SaveTerms = None,
    overwrite: Overwrite = False,
    *,
    options: Options,
) -> None:
    """Sparsify, split into outliers and inliers, quantise each for itself (SDQ); on sdq-core."""
    from fiberloom.cli.representation_run import Request, compressed, plain_formats

    front = "" if sparsify.strip().lower() == "none" else f"{sparsify} => "
    texts = tuple(front + text for text in terms or ["1:8 int8 + 6:8 fp4"])
    choice: dict[str, Any] = {"pruning": method, "criterion": criterion, "scales": f"v{vector}/{scale}"}
    plain = plain_formats(beside, choice["scales"])
    request = Request("sdq", model, on or DEFAULT_DESIGNS["sdq"], texts, beside=plain, activations="terms", **choice)
    compressed(request, options, output, save_terms, overwrite=overwrite)


@compress.command("quantize")
@takes_options
def quantize(
    model: Model,
    number_format: Annotated[
        list[str],
        typer.Option("--format", metavar="NAME", help="int8, mxfp4, int4/v16/e4m3 …; repeat it to compare."),
    ],
    on: On = None,
    output: Output = None,
    save_terms: SaveTerms = None,
    overwrite: Overwrite = False,
    *,
    options: Options,
) -> None:
    """Weights, and the activations that meet them, in a number format; on dense-tensor-core."""
    from fiberloom.cli.representation_run import Request, compressed

    design = on or DEFAULT_DESIGNS["quantize"]
    request = Request("quantize", model, design, tuple(number_format), activations="terms")
    compressed(request, options, output, save_terms, overwrite=overwrite)
