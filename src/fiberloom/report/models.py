"""The zoo beside what is published about it, and the operators of one network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import ConsoleRenderable
from rich.table import Table
from rich.text import Text

from fiberloom.report.quantities import engineering, share
from fiberloom.report.tables import bullet, heading, plain_table
from fiberloom.workload.network import Kind, Network, Operator, Role, signature
from fiberloom.workload.zoo import Model
from fiberloom.workload.zoo.published import MACS, Published


@dataclass(frozen=True)
class Compared:
    """A network of the zoo with what is published about it.

    Attributes:
        macs, parameters: at the sizes that the network has when none are given.
        figures: published figures, and ours at the sizes that they are about.
    """

    model: Model
    macs: int
    parameters: int
    figures: tuple[tuple[Published, int], ...]


def compare(model: Model) -> Compared:
    """A network beside what is published about it."""
    plain = model.make()
    figures = []
    for figure in model.published:
        network = model.make(**figure.dims) if figure.dims else plain
        figures.append((figure, network.macs if figure.quantity == MACS else network.parameters))
    return Compared(model, plain.macs, plain.parameters, tuple(figures))


def models_report(compared: Sequence[Compared]) -> Iterator[ConsoleRenderable]:
    """The table, and what it is about."""
    yield models_table(compared)
    yield Text(
        "\n One image of 224×224, or one sequence of 128 tokens. Difference none: the same in all digits that are published.",
        style="dim",
    )


def models_table(compared: Sequence[Compared]) -> Table:
    """Every figure with the published one, the difference and the source."""
    table = plain_table()
    table.add_column(" network", no_wrap=True, style="bold")
    table.add_column("", no_wrap=True)
    for column in ("ours", "published", "difference"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("published by", overflow="fold", style="dim")
    for one in compared:
        name = " " + one.model.name
        for figure, ours in one.figures:
            table.add_row(
                name, figure.quantity, f"{ours:,}", published(figure), difference(figure, ours), figure.source
            )
            name = ""
    return table


def published(figure: Published) -> str:
    """The value with the digits that it is published in: ``4.089 G``, ``25,557,032``."""
    if figure.unit == 1:
        return f"{figure.value:,}"
    scale, prefix = next(((s, p) for s, p in ((10**9, "G"), (10**6, "M")) if figure.value >= s), (1, ""))
    digits = max(0, len(str(scale)) - len(str(figure.unit)))
    return f"{figure.value / scale:,.{digits}f} {prefix}"


def difference(figure: Published, ours: int) -> str:
    """``none`` when ours, in the digits published, is the published value; else how far off it is."""
    if figure.agrees(ours):
        return "none"
    return f"{(ours - figure.value) / figure.value:+.2%}"


def models_dict(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """Plain data for ``fiberloom models --json``."""
    return [
        {
            "name": one.model.name,
            "defined_by": one.model.defined_by,
            "takes": list(one.model.takes),
            "macs": one.macs,
            "parameters": one.parameters,
            "published": [
                {
                    "quantity": figure.quantity,
                    "value": figure.value,
                    "unit": figure.unit,
                    "dims": dict(figure.dims),
                    "ours": ours,
                    "agrees": figure.agrees(ours),
                    "source": figure.source,
                }
                for figure, ours in one.figures
            ],
        }
        for one in compared
    ]


def network_report(network: Network, *, all_operators: bool = False) -> Iterator[ConsoleRenderable]:
    """Totals, the Einsums (equal ones together unless `all_operators`), the other operators by kind, the unknown ones by name."""
    yield _totals(network)
    yield heading("Einsums", "" if all_operators else "equal ones together; --all lists every one")
    yield _einsums(network, all_operators)
    others = [o for o in network.operators if o.einsum is None and o.kind is not Kind.UNKNOWN]
    if others:
        yield heading("Other operators", "scalar operations; no multiply-accumulates")
        yield _others(others, all_operators)
    yield from _unknown(network)
    if network.notes:
        yield heading("Notes")
        for note in network.notes:
            yield bullet(note, "dim")


def _totals(network: Network) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text(f" {network.name}", style="bold"), Text(network.source, style="dim"))
    table.add_row(" multiply-accumulates", f"{network.macs:,}  ({engineering(network.macs, 'MAC')})")
    formats = ", ".join(dict.fromkeys(t.number_format for t in network.tensors.values() if t.role is Role.PARAMETER))
    size = _bytes(network.bytes(Role.PARAMETER))
    table.add_row(" parameters", f"{network.parameters:,}  ({size}{' in ' + formats if formats else ''})")
    looked_up = _only_looked_up(network)
    if looked_up:
        rest = network.bytes(Role.PARAMETER) - looked_up
        table.add_row("", Text(f"{_bytes(rest)} without tables that are only looked up in", style="dim"))
    state = network.bytes(Role.STATE)
    if state:
        table.add_row(" kept between calls", _bytes(state))
    table.add_row(" operators", f"{len(network.operators):,}, of them {len(network.einsums):,} Einsums")
    return table


def _only_looked_up(network: Network) -> int:
    """Bytes of parameters that no operator but a look-up reads."""
    looked_up = {x for o in network.operators if o.kind is Kind.LOOKUP for x in o.inputs}
    read = {x for o in network.operators if o.kind is not Kind.LOOKUP for x in o.inputs}
    tables = (network.tensors[name] for name in looked_up - read)
    return sum(t.bytes for t in tables if t.role is Role.PARAMETER)


@dataclass
class _Row:
    first: Operator
    members: list[Operator] = field(default_factory=list)


def _grouped(operators: Sequence[Operator], all_operators: bool) -> list[_Row]:
    rows: dict[Any, _Row] = {}
    for i, operator in enumerate(operators):
        same: Any = i
        if not all_operators:
            same = (operator.op, signature(operator.einsum) if operator.einsum else operator.kind)
        rows.setdefault(same, _Row(operator)).members.append(operator)
    return list(rows.values())


def _einsums(network: Network, all_operators: bool) -> Table:
    table = plain_table()
    table.add_column(" first" if not all_operators else " name", overflow="fold", style="bold")
    table.add_column("times", justify="right")
    table.add_column("operator", overflow="fold")
    table.add_column("Einsum and extents", overflow="fold", ratio=1)
    table.add_column("MACs", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for row in _grouped(network.einsums, all_operators):
        einsum = row.first.einsum
        assert einsum is not None
        macs = sum(o.macs for o in row.members)
        extents = " ".join(f"{variable}={bound}" for variable, bound in einsum.shape.items())
        table.add_row(
            f" {row.first.name}", f"{sum(o.count for o in row.members):,}", row.first.op,
            Text.assemble(str(einsum), ("\n" + extents, "dim")),
            engineering(macs, ""), share(macs, network.macs),
        )  # fmt: skip
    return table


def _others(operators: Sequence[Operator], all_operators: bool) -> Table:
    table = plain_table()
    table.add_column(" first" if not all_operators else " name", overflow="fold", style="bold")
    table.add_column("times", justify="right")
    table.add_column("operator", overflow="fold")
    table.add_column("kind")
    table.add_column("operations", justify="right", no_wrap=True)
    for row in _grouped(operators, all_operators):
        operations = sum(o.operations * o.count for o in row.members)
        times = sum(o.count for o in row.members)
        table.add_row(f" {row.first.name}", f"{times:,}", row.first.op, row.first.kind.value, f"{operations:,}")
    return table


def _unknown(network: Network) -> Iterator[ConsoleRenderable]:
    """Operators that no total includes, with their share of all operators and of the elements that operators make."""
    if not network.unknown:
        return
    yield heading("Not understood", "what these cost is in no total")
    table = plain_table()
    for column in (" name", "operator", "why"):
        table.add_column(column, overflow="fold")
    table.add_column("of all elements made", justify="right")
    made = {o.name: sum(network.tensors[x].elements for x in o.outputs) * o.count for o in network.operators}
    total = sum(made.values())
    for operator in network.unknown:
        part = share(made[operator.name], total)
        table.add_row(f" {operator.name}", operator.op, operator.note, part)
    yield table
    yield Text(f" {len(network.unknown):,} of {len(network.operators):,} operators", style="yellow")


def network_dict(network: Network) -> dict[str, Any]:
    """Plain data of a network for ``fiberloom models NAME --json``."""
    return {
        "name": network.name,
        "source": network.source,
        "notes": list(network.notes),
        "macs": network.macs,
        "parameters": network.parameters,
        "bytes": {role.value: network.bytes(role) for role in Role},
        "parameter_bytes_only_looked_up": _only_looked_up(network),
        "operators": [_operator_dict(o) for o in network.operators],
        "unknown": [{"name": o.name, "op": o.op, "why": o.note} for o in network.unknown],
    }


def _operator_dict(operator: Operator) -> dict[str, Any]:
    return {
        "name": operator.name,
        "op": operator.op,
        "kind": operator.kind.value,
        "count": operator.count,
        "inputs": list(operator.inputs),
        "outputs": list(operator.outputs),
        "einsum": str(operator.einsum) if operator.einsum is not None else None,
        "shape": dict(operator.einsum.shape) if operator.einsum is not None else None,
        "macs": operator.macs,
        "operations": operator.operations * operator.count,
        "note": operator.note,
    }


def _bytes(value: int) -> str:
    if value < 2**20:
        return f"{value:,} bytes"
    return f"{value / 2**20:,.1f} MiB"
