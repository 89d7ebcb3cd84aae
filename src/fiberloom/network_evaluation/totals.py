"""Sums over the layers of a network on a design, and what they leave out; designs side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fiberloom.network_evaluation.account import number
from fiberloom.network_evaluation.result import timed
from fiberloom.workload.network import Kind, Network


def total(
    design: Mapping[str, Any],
    layers: Sequence[Mapping[str, Any]],
    operators: Sequence[Mapping[str, Any]],
    network: Network,
) -> dict[str, Any]:
    """Everything of one case on one design.

    Args:
        design: as `describe_design` makes it.
        layers, operators: entries of the Einsums and of everything else; each counts `count` times.
    """
    mapped = [layer for layer in layers if layer["status"] == "mapped"]
    counted = [operator for operator in operators if operator["kind"] != Kind.UNKNOWN]
    cycles = sum(e["cycles"] * e["count"] for e in (*mapped, *counted))
    energy = sum(e["energy_pj"] * e["count"] for e in (*mapped, *counted))
    macs = sum(e["macs"] * e["count"] for e in mapped)
    done = sum(e["compute"]["actual"] * e["count"] for e in mapped)
    einsum_cycles = sum(e["cycles"] * e["count"] for e in mapped)
    return {
        "cycles": number(cycles),
        "energy_pj": number(energy),
        **timed({"cycles": cycles, "energy_pj": energy}, design["cycle_seconds"]),
        "area_um2": next((e["area_um2"] for e in mapped), None),
        "utilization": done / (design["lanes"] * einsum_cycles) if einsum_cycles else 0.0,
        "macs": macs,
        "effectual_macs": number(sum(e["effectual_macs"] * e["count"] for e in mapped)),
        "einsums": _part(mapped),
        "other_operators": {**_part(counted), "by_kind": _by_kind(counted)},
        "energy_by_component_pj": _summed((e["energy_by_component_pj"], e["count"]) for e in (*mapped, *counted)),
        "energy_by_action_pj": _energy_by_action(mapped),
        "traffic": _traffic(mapped),
        "cycles_by_bottleneck": _bottlenecks((*mapped, *counted)),
        "certificate": _certificates(mapped),
        "saved": _saved(mapped),
        "left_out": _left_out(layers, operators, network),
    }


def _part(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "cycles": number(sum(e["cycles"] * e["count"] for e in entries)),
        "energy_pj": number(sum(e["energy_pj"] * e["count"] for e in entries)),
        "computed": sum(e["count"] for e in entries),
        "different": len(entries),
    }


def _by_kind(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    kinds = dict.fromkeys(e["kind"] for e in entries)
    return {kind: _part([e for e in entries if e["kind"] == kind]) for kind in kinds}


def _summed(parts: Iterable[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    whole: dict[str, float] = {}
    for amounts, count in parts:
        for name, amount in amounts.items():
            whole[name] = whole.get(name, 0.0) + amount * count
    return {name: number(amount) for name, amount in whole.items()}


def _energy_by_action(mapped: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Component → action → pJ of the Einsums."""
    parts: dict[str, list[tuple[Mapping[str, float], int]]] = {}
    for e in mapped:
        for level in e["levels"]:
            here = parts.setdefault(level["name"], [])
            here += [(tensor["energy_by_action_pj"], e["count"]) for tensor in level["tensors"].values()]
            here.append(({"leakage": level["leakage_pj"]}, e["count"]))
        compute = e["compute"]
        spent = {"compute": compute["energy_pj"], "leakage": compute["leakage_pj"]}
        parts.setdefault(compute["name"], []).append((spent, e["count"]))
    return {name: {action: pj for action, pj in _summed(found).items() if pj} for name, found in parts.items()}


def _traffic(mapped: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Level → action → words actual, gated, skipped and dense, and bytes actual, of the Einsums."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for e in mapped:
        for level in e["levels"]:
            for tensor in level["tensors"].values():
                for action, words in tensor["traffic"].items():
                    here = found.setdefault(level["name"], {}).setdefault(action, {})
                    for kind, amount in words.items():
                        here[kind] = number(here.get(kind, 0.0) + amount * e["count"])
    return found


def _bottlenecks(entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for e in entries:
        if e["cycles"]:
            found[e["bottleneck"]] = found.get(e["bottleneck"], 0.0) + e["cycles"] * e["count"]
    return {name: number(cycles) for name, cycles in sorted(found.items(), key=lambda item: -item[1])}


def _certificates(mapped: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    states: dict[str, int] = {}
    for e in mapped:
        status = e["certificate"]["status"]
        states[status] = states.get(status, 0) + 1
    gaps = {e["layer"]: e["certificate"]["gap"] for e in mapped if e["certificate"]["status"] != "optimal"}
    worst = max(gaps, key=lambda name: gaps[name], default=None)
    return {
        "layers": len(mapped),
        "proved": states.get("optimal", 0),
        "bounded": states.get("bound", 0),
        "unproved": states.get("none", 0),
        "worst_gap": gaps[worst] if worst is not None else 0.0,
        "worst_layer": worst,
    }


def _saved(mapped: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = [e for e in mapped if e["saved"] is not None]
    return {
        "dense_cycles": number(sum(e["saved"]["dense_cycles"] * e["count"] for e in known)),
        "dense_energy_pj": number(sum(e["saved"]["dense_energy_pj"] * e["count"] for e in known)),
        "cycles": number(sum(e["cycles"] * e["count"] for e in known)),
        "energy_pj": number(sum(e["energy_pj"] * e["count"] for e in known)),
        "metadata_pj": number(sum(e["saved"]["metadata_pj"] * e["count"] for e in known)),
    }


def _left_out(
    layers: Sequence[Mapping[str, Any]], operators: Sequence[Mapping[str, Any]], network: Network
) -> dict[str, Any]:
    """What the totals do not include: layers without a mapping, and operators that were not understood."""
    every_mac = sum(e["macs"] * e["count"] for e in layers)
    missing = [e for e in layers if e["status"] != "mapped"]
    every_byte = sum(_moved(network, o.inputs, o.outputs) * o.count for o in network.operators)
    unknown = [e for e in operators if e["kind"] == Kind.UNKNOWN]
    return {
        "not_mapped": [
            {
                "layer": e["layer"],
                "operators": e["operators"],
                "macs": e["macs"] * e["count"],
                "share_of_macs": e["macs"] * e["count"] / every_mac if every_mac else 0.0,
                "reason": e["reason"],
                "hint": e["hint"],
            }
            for e in missing
        ],
        "unknown": [
            {
                "operators": e["operators"],
                "op": e["op"],
                "reason": e["note"],
                "share_of_bytes": e["tensor_bytes"] * e["count"] / every_byte if every_byte else 0.0,
                "operations": e["stated_operations"] * e["count"],
            }
            for e in unknown
        ],
        "share_of_macs": sum(e["macs"] * e["count"] for e in missing) / every_mac if every_mac else 0.0,
        "share_of_bytes": sum(e["tensor_bytes"] * e["count"] for e in unknown) / every_byte if every_byte else 0.0,
    }


def _moved(network: Network, inputs: Sequence[str], outputs: Sequence[str]) -> int:
    return sum(network.tensors[t].bytes for t in (*inputs, *outputs))


def comparison(layers: Sequence[Mapping[str, Any]], totals: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every design against the first, case by case: ratios above 1 say that the first needs less.

    EDP is energy times time: designs may have different clocks. The geometric mean goes over the operators that both have mapped,
    each as often as it is computed. Operators, not layers, are matched: what is held on chip splits equal operators into several
    layers on one design and not on another.
    """
    entries = []
    for case in dict.fromkeys(t["case"] for t in totals):
        here = [t for t in totals if t["case"] == case]
        base = here[0]
        costs = {t["design"]: _edps(layers, case, t["design"]) for t in here}
        for t in here:
            common = costs[t["design"]].keys() & costs[base["design"]].keys()
            weights = {name: costs[base["design"]][name][1] for name in common}
            logs = [
                math.log(costs[t["design"]][name][0] / costs[base["design"]][name][0]) * weight
                for name, weight in weights.items()
            ]
            entries.append(
                {
                    "case": case,
                    "design": t["design"],
                    "baseline": base["design"],
                    "layers": sum(weights.values()),
                    "geomean_edp_ratio": math.exp(math.fsum(logs) / sum(weights.values())) if logs else None,
                    "edp_ratio": _ratio(t["edp_j_s"], base["edp_j_s"]),
                    "seconds_ratio": _ratio(t["seconds"], base["seconds"]),
                    "cycles_ratio": _ratio(t["cycles"], base["cycles"]),
                    "energy_ratio": _ratio(t["energy_pj"], base["energy_pj"]),
                }
            )
    return entries


def _edps(layers: Sequence[Mapping[str, Any]], case: str, design: str) -> dict[str, tuple[float, int]]:
    """J·s of one computation, and how often it is computed, by operator."""
    return {
        name: (e["edp_j_s"], count)
        for e in layers
        if e["case"] == case and e["design"] == design and e["status"] == "mapped" and e["edp_j_s"] > 0
        for name, count in zip(e["operators"], e["counts"], strict=True)
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole and part else None
