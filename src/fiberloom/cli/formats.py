"""``fiberloom formats``: number formats by name, and what they make of a tensor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fiberloom.cli.files import AsJson
from fiberloom.errors import SpecError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

formats = typer.Typer(
    help="Number formats: list them, or compare what they make of a tensor and cost.", add_completion=False
)

_DRAWN: Final = re.compile(r"([a-z-]+)\(([0-9][0-9,\s]*)\)")
_MOST_DRAWN: Final = 1 << 28
STUDENT_DEGREES: Final = 3
"""Degrees of freedom of ``student``: heavy tails, with a variance."""


@formats.callback(invoke_without_command=True)
def _bare(context: typer.Context) -> None:
    """List the formats where no command is given."""
    if context.invoked_subcommand is None:
        list_formats()


@formats.command("list")
def list_formats(json: AsJson = False) -> None:
    """List names of every family of number formats; they compose, see docs/number-formats.md."""
    from fiberloom.cli.output import console, print_json
    from fiberloom.report.number_formats import JSON_VERSION, formats_list, formats_table

    if json:
        print_json({"version": JSON_VERSION, "formats": formats_list()})
        return
    out = console()
    out.print(formats_table())
    out.print("\n They compose, an element and then words about its scales: int4/v16/e4m3, fp6-e3m2/v32/e8m0/ceil.")
    out.print(" what has a scale    v16 (16 elements), channel, tensor, unscaled")
    out.print(" its format          e8m0, e4m3, ue5m3, fp16, bf16, fp32, uintN")
    out.print(" scale of scales     tensor, channel, single (none)")
    out.print(" how it is rounded   floor, nearest, ceil")
    out.print(" others              asymmetric (a zero point), hadamard(NAME), hadamard64(NAME)")


@formats.command("compare")
def compare(
    tensor: Annotated[
        str,
        typer.Argument(
            metavar="TENSOR",
            help="x.npy, x.npz:name, x.safetensors:name, x.mtx, or drawn values: gaussian(1024,4096), laplace(…), "
            "uniform(…), student(…).",
        ),
    ],
    names: Annotated[
        str | None,
        typer.Option("--formats", metavar="NAME,NAME…", help="Formats to compare; absent: the usual ones."),
    ] = None,
    axis: Annotated[int, typer.Option("--axis", metavar="N", help="Along which scales run; -1 is the last.")] = -1,
    technology: Annotated[str, typer.Option("--technology", metavar="NODE", help="Of energies and areas.")] = "45nm",
    beside: Annotated[
        str | None,
        typer.Option("--beside", metavar="NAME", help="Format of the other operand; absent: the same."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of drawn values.")] = 0,
    json: AsJson = False,
) -> None:
    """Bits, noise and arithmetic cost of number formats on one tensor."""
    from rich.console import Console

    from fiberloom.cli.output import print_all, print_json
    from fiberloom.report.number_formats import USUAL, compare_formats, comparison_dict, comparison_report
    from fiberloom.representation.tensor_file import read_tensor

    chosen = USUAL if names is None else tuple(name.strip() for name in names.split(",") if name.strip())
    if not chosen:
        raise SpecError("--formats names none", hint="such as --formats int8,mxfp4,nvfp4")
    drawn = _draw(tensor, seed)
    array = read_tensor(tensor) if drawn is None else drawn
    told = Console(stderr=True)
    with told.status(f"{tensor}: {array.size:,} values") as status:
        found = compare_formats(
            array, chosen, axis=axis, technology=technology, beside=beside, name=tensor,
            progress=lambda name: status.update(f"{tensor}: {name}"),
        )  # fmt: skip
    if json:
        print_json(comparison_dict(found))
    else:
        print_all(comparison_report(found))


def _draw(text: str, seed: int) -> NDArray[np.float32] | None:
    """The values that ``gaussian(1024,4096)`` and its like stand for; None for what is not written so."""
    match = _DRAWN.fullmatch(text.strip())
    if match is None:
        return None
    import numpy as np

    rng = np.random.default_rng(seed)
    draw: dict[str, Any] = {
        "gaussian": rng.standard_normal,
        "laplace": lambda shape: rng.laplace(size=shape),
        "uniform": lambda shape: rng.uniform(-1, 1, shape),
        "student": lambda shape: rng.standard_t(STUDENT_DEGREES, shape),
    }
    if match[1] not in draw:
        raise SpecError(f"no distribution is called '{match[1]}'", hint=nearest(match[1], draw))
    shape = tuple(int(n) for n in match[2].split(",") if n.strip())
    if 0 in shape:
        raise SpecError(f"{text} has no values")
    if (size := int(np.prod(shape, dtype=object))) > _MOST_DRAWN:
        raise SpecError(f"{text} has {size:,} values", hint=f"up to {_MOST_DRAWN:,} are drawn")
    values: NDArray[np.float32] = draw[match[1]](shape).astype(np.float32)
    return values
