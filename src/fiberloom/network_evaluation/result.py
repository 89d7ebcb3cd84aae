"""What a network costs: `NetworkResult`, and the entries that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fiberloom.network_evaluation.account import number
from fiberloom.network_evaluation.cases import Layer, density_of, effectual_macs
from fiberloom.network_evaluation.designs import Bound, Design
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Kind, Network, Operator

if TYPE_CHECKING:
    import pandas
    import plotly.graph_objects as go

RESULT_VERSION: Final = 1
"""Version of the object that `NetworkResult.to_dict` returns; raised when a field changes meaning or goes."""

_NESTED: Final = ("levels", "compute", "loop_nest", "mapping", "saved", "tensors", "warnings", "notes", "provenance")


@dataclass(frozen=True)
class NetworkResult:
    """Cycles, energy, traffic and bottlenecks of a network on one or several designs.

    Attributes:
        content: the JSON object of ``fiberloom network --json`` (docs/network.md lists its fields).
    """

    content: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return dict(self.content)

    @property
    def totals(self) -> Sequence[Mapping[str, Any]]:
        """One entry per case and design."""
        found: Sequence[Mapping[str, Any]] = self.content["totals"]
        return found

    @property
    def layers(self) -> Sequence[Mapping[str, Any]]:
        """One entry per case, design and different Einsum; its numbers are of one computation, `count` says how many there are."""
        found: Sequence[Mapping[str, Any]] = self.content["layers"]
        return found

    def total(self, design: str | None = None, case: str | None = None) -> Mapping[str, Any]:
        """The totals of a design (None: the first) in a case (None: the first).

        Raises:
            KeyError: if there is none of those names.
        """
        for entry in self.totals:
            if design in (None, entry["design"]) and case in (None, entry["case"]):
                return entry
        raise KeyError((design, case))

    def to_frame(self) -> pandas.DataFrame:
        """One row per case, design and layer, nested fields left out.

        Raises:
            MissingExtraError: without pandas.
        """
        try:
            import pandas
        except ImportError:
            from fiberloom.errors import MissingExtraError

            raise MissingExtraError("pandas", "frames", "NetworkResult.to_frame") from None
        return pandas.DataFrame(list(self.rows()))

    def plot(self, kind: str = "energy", *, design: str | None = None, case: str | None = None) -> go.Figure:
        """A plotly figure.

        Args:
            kind: ``energy`` or ``cycles`` of every design, ``edp`` against the first design, ``layers`` (energy of every layer of a
                design), ``roofline`` (every layer under the roofs of a design).
            design: for ``layers`` and ``roofline``; None: the design of least energy–delay product.
            case: None: the first.

        Raises:
            MissingExtraError: without plotly.
            SpecError: for a kind, design or case that there is not.
        """
        from fiberloom.report.plots import network_plot

        return network_plot(self.content, kind, design=design, case=case)

    def rows(self) -> list[dict[str, Any]]:
        """`layers` and the other operators as flat rows, for CSV and Parquet: one column per component's energy and cycles."""
        rows = [_flat(e, "layer") for e in self.layers]
        rows += [_flat(e, "operator") for e in self.content["operators"]]
        columns = dict.fromkeys(key for row in rows for key in row)
        return [{column: row.get(column) for column in columns} for row in rows]

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{t['design']}{'' if t['case'] == 'all' else ' ' + t['case']}: {t['cycles']:,.0f} cycles {t['energy_pj']:,.4g} pJ"
            for t in self.totals
        )
        return f"NetworkResult({self.content['network']['name']}: {parts})"


def _flat(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "case": entry["case"],
        "design": entry["design"],
        "name": entry["operators"][0],
        "kind": entry["kind"],
        "count": entry["count"],
        "what": entry.get("einsum") or entry["op"],
        "shape": " ".join(f"{v}={n}" for v, n in entry.get("shape", {}).items()) or None,
    }
    for field in (
        "macs",
        "effectual_macs",
        "operations",
        "cycles",
        "seconds",
        "energy_pj",
        "edp_j_s",
        "utilization",
        "bottleneck",
    ):
        row[field] = entry.get(field)
    certificate = entry.get("certificate") or {}
    row |= {"certificate": certificate.get("status"), "gap": certificate.get("gap")}
    row["not_counted"] = entry.get("reason") or (entry.get("note") if entry["kind"] == Kind.UNKNOWN else None)
    for tensor, facts in entry.get("tensors", {}).items():
        row[f"density_{tensor}"] = facts["density"]
    for component, pj in entry.get("energy_by_component_pj", {}).items():
        row[f"energy_pj_{component}"] = pj
    for component, cycles in entry.get("cycles_by_component", {}).items():
        row[f"cycles_{component}"] = cycles
    return row


def layer_entry(
    case: str,
    design: Design,
    network: Network,
    layer: Layer,
    bound: Bound | None,
    answer: Mapping[str, Any],
    cached: bool,
) -> dict[str, Any]:
    """A layer on a design, with everything that is known of it.

    Args:
        bound: None where the design can't take the layer.
        answer: as `solve` gives it.
    """
    einsum = layer.einsum
    seen = bound.einsum if bound is not None else einsum
    entry: dict[str, Any] = {
        "case": case,
        "design": design.name,
        "layer": layer.name,
        "operators": [o.name for o in layer.operators],
        "counts": [o.count for o in layer.operators],
        "op": layer.operators[0].op,
        "kind": "einsum",
        "count": layer.count,
        "einsum": str(einsum),
        "shape": dict(einsum.shape),
        "mapped_as": None if str(seen) == str(einsum) else {"einsum": str(seen), "shape": dict(seen.shape)},
        "tensors": {t.name: _tensor(t.name, seen, einsum, layer.operators[0], network) for t in einsum.tensors},
        "macs": einsum.macs,
        "effectual_macs": number(effectual_macs(einsum)),
        "status": answer["status"],
        "reason": answer.get("reason"),
        "hint": answer.get("hint"),
        "notes": [
            *(bound.notes if bound is not None else ()),
            *([bound.within_menu] if bound is not None and bound.within_menu else ()),
            *(o.note for o in layer.operators[:1] if o.note),
        ],
        "search_seconds": answer["seconds"],
        "cached": cached,
    }
    if answer["status"] == "mapped":
        apart = ("status", "dense", "seconds", "budget", "certain", "unheld")
        found = {k: v for k, v in answer.items() if k not in apart}
        entry |= found
        entry |= timed(found, design.architecture.cycle_seconds)
        entry["saved"] = _saved(answer.get("unheld", answer), answer["dense"])
    return entry


def timed(cost: Mapping[str, Any], cycle_seconds: float) -> dict[str, float]:
    """Time in s, and energy times time in J·s: what designs with different clocks are compared by.

    Args:
        cost: ``cycles`` and ``energy_pj``.
    """
    seconds = cost["cycles"] * cycle_seconds
    return {"seconds": seconds, "edp_j_s": cost["energy_pj"] * 1e-12 * seconds}


def _tensor(name: str, seen: Einsum, einsum: Einsum, operator: Operator, network: Network) -> dict[str, Any]:
    own = network.tensors.get(operator.operands.get(name, ""))
    facts: dict[str, Any] = {
        "name": operator.operands.get(name, name),
        "shape": list(einsum.tensor_shape(name)),
        "density": density_of(einsum, name),
        "pattern": _pattern(einsum.tensor(name).density),
        "is_output": einsum.tensor(name).is_output,
        "bits": seen.tensor(name).word_bits,
    }
    if own is not None:
        facts |= {"role": own.role.value, "number_format": own.number_format, "network_bits": own.bits}
    return facts


def _pattern(density: Any) -> str | None:
    if density is None:
        return "dense"
    if isinstance(density, str):
        return density
    if isinstance(density, Mapping):
        return str(density.get("distribution"))
    return "uniform"


def _saved(found: Mapping[str, Any], dense: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What sparsity saves under the same mapping, in all and by component, and what its metadata costs."""
    if dense is None:
        return None
    metadata = {level["name"]: level["metadata_pj"] for level in found["levels"]}
    return {
        "dense_cycles": dense["cycles"],
        "dense_energy_pj": dense["energy_pj"],
        "speedup": dense["cycles"] / found["cycles"] if found["cycles"] else None,
        "energy_ratio": dense["energy_pj"] / found["energy_pj"] if found["energy_pj"] else None,
        "metadata_pj": number(sum(metadata.values())),
        "dense_fits": dense["fits"],
        "by_component": [
            {
                "name": name,
                "dense_cycles": dense["cycles_by_component"].get(name),
                "cycles": found["cycles_by_component"].get(name),
                "dense_energy_pj": dense["energy_by_component_pj"].get(name),
                "energy_pj": pj,
                "metadata_pj": metadata.get(name, 0),
            }
            for name, pj in found["energy_by_component_pj"].items()
        ],
    }


def operator_entries(
    case: str, design: Design, network: Network, costs: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The operators that are no Einsums, equal ones together, in order of first use.

    Args:
        costs: by operator name, as `other_operators.cost` gives them.
    """
    found: dict[str, dict[str, Any]] = {}
    for operator in network.operators:
        if operator.einsum is not None:
            continue
        moved = sum(network.tensors[t].bytes for t in (*operator.inputs, *operator.outputs))
        known = costs[operator.name]
        identity = repr(
            (operator.op, operator.kind, operator.note, moved, operator.operations, sorted(known.items(), key=str))
        )
        if identity in found:
            found[identity]["operators"].append(operator.name)
            found[identity]["counts"].append(operator.count)
            found[identity]["count"] += operator.count
            continue
        found[identity] = {
            "case": case,
            "design": design.name,
            "operators": [operator.name],
            "counts": [operator.count],
            "op": operator.op,
            "kind": operator.kind.value,
            "count": operator.count,
            "note": operator.note,
            "tensor_bytes": moved,
            "stated_operations": operator.operations,
            **known,
            **(timed(known, design.architecture.cycle_seconds) if operator.kind is not Kind.UNKNOWN else {}),
        }
    return list(found.values())
