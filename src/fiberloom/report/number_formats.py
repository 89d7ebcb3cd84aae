"""Number formats side by side on one tensor, and the list of what they are called."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray
from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.architecture.components import bit_serial_energy, estimate
from fiberloom.architecture.levels import Compute
from fiberloom.errors import SpecError
from fiberloom.report.quantities import significant
from fiberloom.report.tables import bullet, heading, plain_table
from fiberloom.representation.formats import (
    EXAMPLES,
    Digits,
    ElementFormat,
    Fidelity,
    NumberFormat,
    crest_factor,
    fidelity,
    mean_digits,
    number_format,
)

JSON_VERSION: Final = 1
USUAL: Final = (
    *("fp16", "bf16", "int8", "int8/asymmetric", "fp8-e4m3", "fp8-e5m2", "mxint8", "mxfp8-e4m3", "mxfp6-e2m3"),
    *("int4", "int4/v16/e4m3", "int4/v16/uint4", "nvint4", "hadamard(nvint4)", "mxint4", "fp4-e2m1", "nvfp4", "mxfp4"),
    *("mxfp4/ceil", "bitmod-fp4", "bitmod-fp3", "ternary/v128"),
)
"""Formats that are compared when nobody says which."""
BLOCKS: Final = (16, 32)
"""Elements of the blocks whose mean crest factor is shown: those of NV and MX formats."""
_CLOCK_SECONDS: Final = 1e-9  # of the estimate; of what is shown nothing depends on it


@dataclass(frozen=True)
class Row:
    """What one format makes of the tensor, and costs.

    Attributes:
        format: compared.
        bits_per_element: of this tensor, every scale counted.
        fidelity: what is left of it; None where the format refuses it.
        digits: mean non-zero ones of the stored elements.
        mac_energy_pj, mac_area_um2: of a multiply–accumulate unit with the other operand's format.
        serial_pj: of a multiplication that goes through the canonic signed digits of the tensor's elements.
        provenance: of the multiply–accumulate unit.
        refused: why, where it is.
    """

    format: NumberFormat
    bits_per_element: float
    fidelity: Fidelity | None
    digits: Digits | None
    mac_energy_pj: float
    mac_area_um2: float
    serial_pj: float | None
    provenance: str
    refused: SpecError | None = None


@dataclass(frozen=True)
class Comparison:
    """Formats on one tensor.

    Attributes:
        tensor: its name.
        shape: of it.
        axis: along which scales run.
        crest_factors: of the whole tensor (None), and the mean over blocks of so many elements.
        technology: of energies and areas.
        beside: format of the other operand; None: the same.
        rows: in the order asked for.
    """

    tensor: str
    shape: tuple[int, ...]
    axis: int
    crest_factors: dict[int | None, float]
    technology: str
    beside: NumberFormat | None
    rows: tuple[Row, ...]


def compare_formats(
    array: NDArray[Any],
    formats: Sequence[str | NumberFormat] = USUAL,
    *,
    axis: int = -1,
    technology: str = "45nm",
    beside: str | NumberFormat | None = None,
    name: str = "tensor",
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Store `array` in every format and compare what is left of it, and what arithmetic on it costs.

    Args:
        array: real numbers, never modified.
        axis: along which scales run.
        technology: of energies and areas.
        beside: format of the other operand of a multiplication; None: the same.
        name: of the tensor.
        progress: is told which format is at work.

    Raises:
        SpecError: for an unknown format or technology, values that are not finite real numbers, an axis that the array
            does not have, and where every format refuses the array.
    """
    read = [number_format(f) for f in formats]
    other = None if beside is None else number_format(beside)
    prices = [_price(f, other, technology) for f in read]
    crests = {block: crest_factor(array, block, axis) for block in (None, *BLOCKS)}
    rows = []
    for found, price in zip(read, prices, strict=True):
        progress(found.name)
        rows.append(_row(array, found, axis, other, technology, price))
    refusals = [row.refused for row in rows if row.refused is not None]
    if rows and len(refusals) == len(rows):
        raise refusals[0]
    return Comparison(name, tuple(array.shape), axis, crests, technology, other, tuple(rows))


def _row(
    array: NDArray[Any],
    found: NumberFormat,
    axis: int,
    other: NumberFormat | None,
    technology: str,
    price: tuple[float, float, str],
) -> Row:
    energy, area, provenance = price
    bits = found.storage_bits(array.shape, axis) / max(1, array.size)
    try:
        quantized = found.quantize(array, axis)
    except SpecError as error:
        return Row(found, bits, None, None, energy, area, None, provenance, error)
    digits = mean_digits(quantized)
    serial = bit_serial_energy(found, other or found, digits.csd, technology)
    return Row(found, bits, fidelity(array, quantized.dequantize()), digits, energy, area, serial, provenance)


def _price(found: NumberFormat, other: NumberFormat | None, technology: str) -> tuple[float, float, str]:
    unit = Compute(
        name="mac", attributes={"multiplier_format_a": found.name, "multiplier_format_b": (other or found).name}
    )
    answer = estimate(unit, technology=technology, cycle_seconds=_CLOCK_SECONDS)
    return answer.energy_pj["compute"], answer.area_um2, answer.provenance


def comparison_report(found: Comparison) -> Iterator[ConsoleRenderable]:
    """The tensor, one line for each format, and why some are refused."""
    shape = "×".join(str(n) for n in found.shape) or "a single number"
    crests = [f"{value:.2f} of {block}" if block else f"{value:.2f}" for block, value in found.crest_factors.items()]
    yield heading(f"{found.tensor}", f"{shape}, scales along axis {found.axis}, {found.technology}")
    yield Text(f" crest factor {crests[0]}; mean over blocks {', '.join(crests[1:])}")
    table = plain_table()
    table.add_column(" format", no_wrap=True, style="bold")
    columns = ("bits/elem", "QSNR dB", "rel. error", "max error", "digits", "MAC pJ", "MAC µm²")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in found.rows:
        costs = (significant(row.mac_energy_pj), f"{row.mac_area_um2:,.0f}")
        measured = ["refused", "–", "–", "–"]
        if row.fidelity is not None and row.digits is not None:
            f = row.fidelity
            noise = "exact" if f.qsnr_db == math.inf else f"{f.qsnr_db:.2f}"
            measured = [noise, f"{f.relative_error:.4g}", f"{f.max_error:.3g}", f"{row.digits.csd:.2f}"]
        table.add_row(f" {row.format.name}", f"{row.bits_per_element:.3f}", *measured, *costs)
    yield table
    operand = f"with {found.beside.name} as the other operand" if found.beside else "both operands in the same format"
    yield Text(f"\n digits: non-zero ones, canonic signed; MAC: {operand}, with its accumulator", "dim")
    yield Text(" Error of values is no measure of a model's quality", "dim")
    for row in found.rows:
        if row.refused:
            yield bullet(f"{row.format.name}: {row.refused.problem}", "yellow")


def comparison_dict(found: Comparison) -> dict[str, Any]:
    """The object of ``fiberloom formats compare --json`` (docs/json.md)."""
    return {
        "version": JSON_VERSION,
        "tensor": found.tensor,
        "shape": list(found.shape),
        "axis": found.axis,
        "crest_factor": found.crest_factors[None],
        "block_crest_factors": {str(block): found.crest_factors[block] for block in BLOCKS},
        "technology": found.technology,
        "beside": found.beside.name if found.beside else None,
        "formats": [_row_dict(row) for row in found.rows],
    }


def _row_dict(row: Row) -> dict[str, Any]:
    f, d = row.fidelity, row.digits
    return {
        "name": row.format.name,
        "bits": row.format.bits,
        "bits_per_element": row.bits_per_element,
        "qsnr_db": f.qsnr_db if f and math.isfinite(f.qsnr_db) else None,
        "relative_error": f.relative_error if f and math.isfinite(f.relative_error) else None,
        "max_error": f.max_error if f else None,
        "nonzero_digits": {"ones": d.ones, "csd": d.csd, "booth": d.booth} if d else None,
        "mac_energy_pj": row.mac_energy_pj,
        "mac_area_um2": row.mac_area_um2,
        "serial_multiply_pj": row.serial_pj,
        "provenance": row.provenance,
        "refused": row.refused.problem if row.refused else None,
    }


def formats_table() -> Table:
    """One line for each family of names."""
    table = plain_table()
    table.add_column(" name", no_wrap=True, style="bold")
    for column in ("bits", "bits/element"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("largest", "scales"):
        table.add_column(column, overflow="fold")
    for entry in formats_list():
        largest = "" if entry["largest"] is None else f"{entry['largest']:.6g}"
        table.add_row(
            f" {entry['name']}", str(entry["bits"]), f"{entry['bits_per_element']:.3f}", largest, entry["scales"]
        )
    return table


def formats_list() -> list[dict[str, Any]]:
    """Name, bits and scales of the formats that show every family, as plain data."""
    return [_described(number_format(name)) for name in EXAMPLES]


def _described(found: NumberFormat) -> dict[str, Any]:
    element = found if isinstance(found, ElementFormat) else getattr(found, "element", None)
    return {
        "name": found.name,
        "bits": found.bits,
        "bits_per_element": found.bits_per_element,
        "exponent_bits": found.exponent_bits,
        "significand_bits": found.significand_bits,
        "largest": element.largest if isinstance(element, ElementFormat) else None,
        "scales": found.describe_scales(),
    }
