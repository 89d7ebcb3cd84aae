"""From answered layers to a `NetworkResult`: entries, other operators, what is kept on chip, totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fiberloom import __version__
from fiberloom.network_evaluation.account import number
from fiberloom.network_evaluation.cache import ResultCache
from fiberloom.network_evaluation.cases import Case, Layer, Widths
from fiberloom.network_evaluation.chip_residency import (
    Residency,
    holding_level,
    plan,
    summary,
    with_held,
)
from fiberloom.network_evaluation.designs import Bound, Design, describe_design
from fiberloom.network_evaluation.fusion import fused, streamed
from fiberloom.network_evaluation.other_operators import Prices, cost, prices
from fiberloom.network_evaluation.result import RESULT_VERSION, NetworkResult, layer_entry, operator_entries
from fiberloom.network_evaluation.totals import comparison, total
from fiberloom.workload.network import Network, Operator


@dataclass
class Placed:
    """A layer of a case on a design."""

    case: Case
    design: Design
    layer: Layer
    bound: Bound | None
    key: str | None
    answer: dict[str, Any] | None = None
    cached: bool = False


def assemble(
    cases: Sequence[Case],
    designs: Sequence[Design],
    placed: Sequence[Placed],
    search: Mapping[str, Any],
    widths: Widths,
    store: ResultCache,
    *,
    keep_on_chip: bool,
    fuse: bool,
) -> NetworkResult:
    """The result of `placed` layers that have their answers.

    Args:
        search: its facts, ``objective`` and ``mapper``.
        store: whose warnings become notes.
    """
    described = {design.name: describe_design(design) for design in designs}
    layers, operators, totals = [], [], []
    for design in designs:
        price = prices(design.architecture)
        for case in cases:
            mine = [p for p in placed if p.case is case and p.design is design]
            fusion = fused(case.network) if fuse else {}
            residency = _residency(case.network, design, mine, widths, fusion) if keep_on_chip else Residency(None)
            here = [entry for p in mine for entry in _entries(p, residency, price)]
            costs = {
                o.name: cost(o, case.network, widths, price, residency.of(i), streamed(case.network, fusion, i))
                for i, o in enumerate(case.network.operators)
                if o.einsum is None
            }
            others = operator_entries(case.name, design, case.network, costs)
            whole = total(described[design.name], here, others, case.network)
            if keep_on_chip:
                whole["kept_on_chip"] = {
                    **summary(residency, design.architecture, case.network),
                    **_held_back(here, case.network, residency, fusion, widths, price),
                }
            totals.append({"case": case.name, "design": design.name, **whole})
            layers += here
            operators += others
    order = {case.name: i for i, case in enumerate(cases)}
    for entries in (totals, layers, operators):
        entries.sort(key=lambda entry: order[entry["case"]])
    for name, facts in described.items():
        mapped = next((e for e in layers if e["design"] == name and e["status"] == "mapped"), None)
        facts["area_um2"] = None if mapped is None else mapped["area_um2"]
        facts["area_by_component_um2"] = {} if mapped is None else mapped["area_by_component_um2"]
        facts["provenance"] = {} if mapped is None else mapped["provenance"]
    first = cases[0].network
    return NetworkResult(
        {
            "version": RESULT_VERSION,
            "fiberloom": __version__,
            "network": {
                "name": first.name,
                "source": first.source,
                "parameters": first.parameters,
                "notes": list(first.notes),
            },
            **search,
            "widths": widths.value,
            "fused": fuse,
            "cases": [
                {"name": c.name, **c.settings, "macs": c.network.macs, "operators": len(c.network.operators)}
                for c in cases
            ],
            "designs": list(described.values()),
            "totals": totals,
            "comparison": comparison(layers, totals),
            "layers": layers,
            "operators": operators,
            "provenance": {name: facts["provenance"] for name, facts in described.items()},
            "notes": _notes(cases, placed, widths, store, fuse),
        }
    )


def _residency(
    network: Network, design: Design, placed: Sequence[Placed], widths: Widths, fusion: Mapping[int, str]
) -> Residency:
    """What of a network stays on a design's chip."""
    level = holding_level(design.architecture)
    if level is None:
        return Residency(None)
    mapped: dict[str, Mapping[str, Any]] = {}
    keeps: dict[str, frozenset[str] | None] = {}
    for p in placed:
        if p.bound is None or p.answer is None or p.answer["status"] != "mapped":
            continue
        allowed = p.bound.architecture.level(level.name).keep
        for operator in p.layer.operators:
            mapped[operator.name] = p.answer
            keeps[operator.name] = None if allowed is None else frozenset(allowed)
    return plan(network, design.architecture, mapped, keeps, widths, fusion)


def _entries(p: Placed, residency: Residency, price: Prices) -> list[dict[str, Any]]:
    """The layer's entry; several where some of its operators find tensors on chip and others do not."""
    assert p.answer is not None
    network, design = p.case.network, p.design
    groups: dict[tuple[str, ...], list[Operator]] = {}
    if residency.held:
        index = {o.name: i for i, o in enumerate(network.operators)}
        for operator in p.layer.operators:
            held = residency.of(index[operator.name])
            groups.setdefault(tuple(t for t, name in operator.operands.items() if name in held), []).append(operator)
    else:
        groups[()] = list(p.layer.operators)
    entries = []
    for tensors, operators in groups.items():
        answer = p.answer
        if tensors and p.bound is not None and answer["status"] == "mapped":
            level = holding_level(design.architecture)
            assert level is not None
            per_word = {"read": price.held_read_pj * level.word_bits, "write": price.held_write_pj * level.word_bits}
            answer = with_held(answer, p.bound.architecture, tensors, per_word)
        layer = Layer(p.layer.einsum, tuple(operators))
        entries.append(layer_entry(p.case.name, design, network, layer, p.bound, answer, p.cached))
    return entries


def _held_back(
    layers: Sequence[Mapping[str, Any]],
    network: Network,
    residency: Residency,
    fusion: Mapping[int, str],
    widths: Widths,
    price: Prices,
) -> dict[str, Any]:
    """Bytes that no longer cross the outermost memory, and the energy of that."""
    saved_bytes = saved_pj = 0.0
    for entry in layers:
        kept = entry.get("kept_on_chip")
        if kept is None:
            continue
        for name, facts in kept["tensors"].items():
            bits = entry["tensors"][name]["bits"] or price.memory_bits
            saved_bytes += facts["words"] * bits / 8 * entry["count"]
        saved_pj += kept["saved_pj"] * entry["count"]
    for i, operator in enumerate(network.operators):
        on_chip = residency.of(i)
        if operator.einsum is None and on_chip.intersection((*operator.inputs, *operator.outputs)):
            passing = streamed(network, fusion, i)
            plain = cost(operator, network, widths, price, streamed=passing)
            held = cost(operator, network, widths, price, on_chip, passing)
            saved_pj += plain["energy_pj"] - held["energy_pj"]
            saved_bytes += sum(plain[way] - held[way] for way in ("read_bytes", "written_bytes"))
    return {"saved_bytes": number(saved_bytes), "saved_pj": number(saved_pj)}


def _notes(
    cases: Sequence[Case], placed: Sequence[Placed], widths: Widths, store: ResultCache, fuse: bool
) -> list[str]:
    notes = [note for case in cases for note in case.network.notes]
    narrowed = sorted(
        {
            f"{tensor.number_format} as {bits}-bit words on {p.design.name}"
            for p in placed
            for bits in (p.design.architecture.compute.word_bits,)
            for o in p.layer.operators[:1]
            for name in o.operands.values()
            for tensor in (p.case.network.tensors[name],)
            if widths is not Widths.NETWORK and tensor.bits > bits
        }
    )
    limited = Counter(p.bound.within_menu for p in placed if p.bound is not None and p.bound.within_menu)
    notes += [f"{said} (its menu has no sparser pattern that holds them): {n} layers" for said, n in limited.items()]
    if narrowed:
        notes.append("values are no wider than the words of the designs: " + "; ".join(narrowed))
    if any(o.einsum is None for case in cases for o in case.network.operators):
        notes.append(
            "operators that are no Einsums read and write the outermost memory and compute one operation per lane and cycle; "
            + (
                "element-wise ones behind an Einsum work on its output as it leaves the array"
                if fuse
                else "nothing is fused"
            )
        )
    notes += store.warnings
    if store.damaged:
        notes.append(f"{store.damaged} damaged entries of the cache were computed again")
    return list(dict.fromkeys(notes))
