"""``fiberloom recommend``: one design for a layer or a network under an area cap, by a learned model, in one shot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fiberloom.cli.files import AsJson
from fiberloom.cli.output import print_all, print_json
from fiberloom.errors import SpecError, nearest

if TYPE_CHECKING:
    from fiberloom.explore.learned.designs import MatrixProduct

_ALL = "all"


def recommend(
    workload: Annotated[
        str,
        typer.Option(
            "--workload",
            metavar="M,N,K|MODEL|FILE",
            help="A matrix product m=512,n=784,k=1152; a network of the zoo or a model file, as 'fiberloom network' takes it; or a "
            "YAML file with a workload.",
        ),
    ],
    area_cap: Annotated[float, typer.Option("--area-cap", metavar="MM2", help="Largest area of the chip, at 45 nm.")],
    dataflow: Annotated[
        str,
        typer.Option(
            "--dataflow", metavar="NAME", help="dla | eye | shi | all, the one foretold to be cheapest first."
        ),
    ] = _ALL,
    dim: Annotated[
        list[str] | None,
        typer.Option("--dim", metavar="NAME=N", help="Extent of a network's axis, such as prompt=2048."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="A trained model (ONNX) instead of fiberloom's own.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Recommend lanes and a buffer for a workload under an area cap, beside the simplest rule and the best of all designs."""
    from fiberloom.explore.learned.advice import advise
    from fiberloom.explore.learned.designs import DATAFLOWS
    from fiberloom.explore.learned.recommender import OneShot
    from fiberloom.explore.learned.workloads import check_cap
    from fiberloom.report.recommendation import recommendation_dict, recommendation_report

    if dataflow not in (*DATAFLOWS, _ALL):
        raise SpecError(f"there is no dataflow '{dataflow}'", hint=nearest(dataflow, (*DATAFLOWS, _ALL)))
    check_cap(area_cap)
    one_shot = OneShot(model)
    name, products = _products(workload, dim or [])
    advice = [
        advise(one_shot, [product.under(flow) for product in products], area_cap)
        for flow in (DATAFLOWS if dataflow == _ALL else (dataflow,))
    ]
    advice.sort(key=lambda a: a.foretold or 0.0)
    arguments = name, len(products), area_cap, advice, one_shot.card
    if json:
        print_json(recommendation_dict(*arguments))
    else:
        print_all(recommendation_report(*arguments))


def _products(workload: str, dims: list[str]) -> tuple[str, list[MatrixProduct]]:
    """The workload's name and its layers, under the first dataflow.

    Raises:
        SpecError: for anything that can't be read, or is no matrix product.
    """
    from fiberloom.explore.learned.designs import DATAFLOWS, MatrixProduct
    from fiberloom.explore.learned.workloads import product_of, products_of

    first = DATAFLOWS[0]
    if re.fullmatch(r"\s*\w+\s*=[^,]*(,\s*\w+\s*=[^,]*)*", workload):
        bounds = _bounds(workload)
        if dims:
            raise SpecError("--dim beside a matrix product", hint="its bounds are m, n and k")
        return workload, [MatrixProduct(bounds["m"], bounds["n"], bounds["k"], first)]
    if workload.endswith((".yaml", ".yml")):
        from fiberloom.cli.files import placed, read_files

        if dims:
            raise SpecError("--dim beside a workload of a file", hint="its bounds stand in the file")
        path = Path(workload)
        einsum = read_files([path]).workload
        if einsum is None:
            raise SpecError(f"there is no workload in {workload}", hint="add a section 'workload:' (docs/yaml.md)")
        with placed([path]):
            return workload, [product_of(einsum, first)]
    from fiberloom.cli.network import read_cases

    (case,) = read_cases(workload, None, dims, None, None, None)
    return case.network.name, products_of(case.network, first)


def _bounds(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in ("m", "n", "k") or name in found or not re.fullmatch(r"[0-9]+", value) or int(value) < 1:
            raise SpecError(
                f"--workload {text}: '{part.strip()}'",
                hint="a matrix product is m=512,n=784,k=1152, whole numbers from 1",
            )
        found[name] = int(value)
    if missing := [name for name in "mnk" if name not in found]:
        raise SpecError(
            f"--workload {text} lacks {' and '.join(missing)}", hint="a matrix product is m=512,n=784,k=1152"
        )
    return found
