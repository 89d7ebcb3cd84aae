"""Intermediates that stay on chip from the operator that makes them to the last that needs them.

A tensor may be held in the outermost level of bounded capacity, if that level may keep it where it is made and where it is
used, and if it fits there beside the working tiles of every operator from the first to the last, as those are mapped. Its tile
in the operators that make or use it is a part of the whole tensor, so it takes no room of its own.

What is held never crosses the outermost memory: its reads and writes there go away, with their energy and their share of the
bandwidth. Moves between the held tensor and a working tile stay as the mapping has them; where an operator's mapping passes the level
by, its accesses of the outermost memory become accesses of the level.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fiberloom.architecture.levels import Architecture, StorageLevel
from fiberloom.network_evaluation.account import number
from fiberloom.network_evaluation.cases import Widths
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role


@dataclass(frozen=True)
class Held:
    """A tensor that stays on chip.

    Attributes:
        names: of the network's tensors that are this one; layout operators that only rename give it further names.
        first, last: index of the operator that makes it, and of the last that needs it.
        words: of the level.
    """

    names: frozenset[str]
    first: int
    last: int
    words: float


@dataclass(frozen=True)
class Residency:
    """What is held in a level of a design while a network runs.

    Attributes:
        level: its name; None where the design has none.
        held: the tensors.
        taken: words by operator index.
    """

    level: str | None
    held: tuple[Held, ...] = ()
    taken: Mapping[int, float] = field(default_factory=dict)

    def of(self, index: int) -> frozenset[str]:
        """Tensors that operator `index` makes or uses and that are held."""
        return frozenset(name for held in self.held if held.first <= index <= held.last for name in held.names)


def holding_level(architecture: Architecture) -> StorageLevel | None:
    """The outermost level of bounded capacity inside the outermost memory."""
    return next((level for level in architecture.levels[1:] if level.capacity_words is not None), None)


def plan(
    network: Network,
    architecture: Architecture,
    layers: Mapping[str, Mapping[str, Any]],
    keeps: Mapping[str, frozenset[str] | None],
    widths: Widths,
    fusion: Mapping[int, str],
) -> Residency:
    """What can be held, tensors that save most per word and operator first.

    Args:
        layers: account by operator name, as `solve` gives it; operators that are not mapped are not there.
        keeps: tensors of an operator's Einsum that the level may keep, by operator name; None: any.
        fusion: operators that work on a tensor as it is made, by index, and that tensor (`fusion.fused`).
    """
    level = holding_level(architecture)
    if level is None or level.capacity_words is None:
        return Residency(None)
    capacity = float(level.capacity_words) * level.instances
    operators = network.operators
    free = {i: capacity - _own_words(layers.get(o.name), level.name) * level.instances for i, o in enumerate(operators)}
    chosen = []
    for held in sorted(_candidates(network, architecture, level, layers, keeps, widths, fusion), key=_worth):
        own = {i: _tile(operators[i], layers, level, held.names) for i in range(held.first, held.last + 1)}
        if all(free[i] + own[i] >= held.words for i in own):
            chosen.append(held)
            for i, tile in own.items():
                free[i] -= held.words - tile
    taken = {
        i: sum(h.words for h in chosen if h.first <= i <= h.last)
        for i in range(len(operators))
        if any(h.first <= i <= h.last for h in chosen)
    }
    return Residency(level.name, tuple(sorted(chosen, key=lambda h: h.first)), taken)


def _worth(held: Held) -> tuple[float, float]:
    return float(held.last - held.first), held.words


def _own_words(layer: Mapping[str, Any] | None, level: str) -> float:
    if layer is None:
        return 0.0
    return float(next((at["used_words"] for at in layer["levels"] if at["name"] == level), 0.0))


def _tile(
    operator: Operator, layers: Mapping[str, Mapping[str, Any]], level: StorageLevel, names: frozenset[str]
) -> float:
    """Words of the level that an operator's own mapping gives to tensors `names`."""
    layer = layers.get(operator.name)
    if layer is None:
        return 0.0
    tensors: Mapping[str, Any] = next((at["tensors"] for at in layer["levels"] if at["name"] == level.name), {})
    mine = [t for t, name in operator.operands.items() if name in names and t in tensors]
    return float(sum(tensors[t]["occupied_words"] for t in mine)) * level.instances


def _candidates(
    network: Network,
    architecture: Architecture,
    level: StorageLevel,
    layers: Mapping[str, Mapping[str, Any]],
    keeps: Mapping[str, frozenset[str] | None],
    widths: Widths,
    fusion: Mapping[int, str],
) -> list[Held]:
    alias: dict[str, str] = {}
    for i, operator in enumerate(network.operators):
        if i in fusion:  # its output takes the place of its input
            alias[operator.outputs[0]] = alias.get(fusion[i], fusion[i])
        elif (
            operator.kind is Kind.LAYOUT
            and not operator.operations
            and len(operator.inputs) == len(operator.outputs) == 1
        ):
            alias[operator.outputs[0]] = alias.get(operator.inputs[0], operator.inputs[0])

    def root(name: str) -> str:
        return alias.get(name, name)

    made: dict[str, list[int]] = {}
    used: dict[str, list[int]] = {}
    for i, operator in enumerate(network.operators):
        renames = bool(operator.outputs) and operator.outputs[0] in alias
        for name in () if renames else operator.outputs:
            made.setdefault(root(name), []).append(i)
        for name in operator.inputs:
            if not renames or (i in fusion and name != fusion[i]):
                used.setdefault(root(name), []).append(i)
    found = []
    for name, makers in made.items():
        names = frozenset({name, *(other for other, of in alias.items() if of == name)})
        tensors = [network.tensors[n] for n in names]
        users = used.get(name, [])
        if (
            len(makers) != 1
            or not users
            or min(users) <= makers[0]
            or any(t.role is not Role.ACTIVATION for t in tensors)
        ):
            continue
        if all(_may_hold(network.operators[i], names, layers, keeps) for i in (*makers, *users)):
            words = _words(network.tensors[name], level, architecture, widths)
            found.append(Held(names, makers[0], max(users), words))
    return found


def _may_hold(
    operator: Operator,
    names: frozenset[str],
    layers: Mapping[str, Mapping[str, Any]],
    keeps: Mapping[str, frozenset[str] | None],
) -> bool:
    """Whether an operator can find or leave a tensor in the level; repeated ones have other data every time."""
    if operator.count != 1 or operator.kind is Kind.UNKNOWN:
        return False
    if operator.einsum is None:
        return True
    allowed = keeps.get(operator.name)
    mine = [t for t, name in operator.operands.items() if name in names]
    return operator.name in layers and (allowed is None or all(t in allowed for t in mine))


def _words(tensor: NetworkTensor, level: StorageLevel, architecture: Architecture, widths: Widths) -> float:
    bits = tensor.bits
    if widths is Widths.DESIGN or (widths is Widths.FIT and bits >= architecture.compute.word_bits):
        bits = level.word_bits
    return tensor.elements * bits / level.word_bits


def with_held(
    answer: Mapping[str, Any], architecture: Architecture, tensors: Sequence[str], energy_of: Mapping[str, float]
) -> dict[str, Any]:
    """The account of a layer whose `tensors` (of its Einsum) are held on chip, and what that saves under ``kept_on_chip``.

    Args:
        energy_of: pJ per word read from and written to the level, ``read`` and ``write``.
    """
    outermost, level = architecture.levels[0], holding_level(architecture)
    assert level is not None
    made = copy.deepcopy(dict(answer))
    made["unheld"] = answer
    by_name = {at["name"]: at for at in made["levels"]}
    memory, holder = by_name[outermost.name], by_name[level.name]
    saved_pj = added_pj = 0.0
    saved: dict[str, Any] = {}
    for name in tensors:
        account = memory["tensors"].get(name)
        if account is None:
            continue
        moved = {action: words["actual"] + words["gated"] for action, words in account["traffic"].items()}
        saved[name] = {"words": number(sum(moved.values())), "energy_pj": account["energy_pj"], "by_action": moved}
        saved_pj += account["energy_pj"]
        if name not in holder["tensors"]:
            pj = moved.get("read", 0) * energy_of["read"]
            pj += (moved.get("update", 0) + moved.get("fill", 0)) * energy_of["write"]
            holder["tensors"][name] = {**account, "energy_pj": number(pj), "metadata_pj": 0, "metadata_bits": {}}
            holder["tensors"][name]["energy_by_action_pj"] = {"read": number(pj)} if pj else {}
            holder["energy_pj"] = number(holder["energy_pj"] + pj)
            added_pj += pj
        memory["energy_pj"] = number(memory["energy_pj"] - account["energy_pj"])
        memory["metadata_pj"] = number(memory["metadata_pj"] - account["metadata_pj"])
        made["energy_by_tensor_pj"][name] = number(
            sum(at["tensors"][name]["energy_pj"] for at in made["levels"] if name in at["tensors"])
            - account["energy_pj"]
        )
        del memory["tensors"][name]
    for at, spec, changed in ((memory, outermost, bool(saved)), (holder, level, added_pj > 0)):
        if changed:
            at["cycles"] = number(max(bandwidth_cycles(at, spec), made["compute"]["cycles"]))
            made["cycles_by_component"][at["name"]] = at["cycles"]
    made["cycles"] = number(max(made["cycles_by_component"].values()))
    compute = made["compute"]["name"]
    made["bottleneck"] = max(made["cycles_by_component"], key=lambda n: (made["cycles_by_component"][n], n == compute))
    _leak_shorter(made, made["cycles"] / answer["cycles"] if answer["cycles"] else 1.0)
    made["energy_by_component_pj"] |= {at["name"]: at["energy_pj"] for at in made["levels"]}
    made["energy_pj"] = number(sum(made["energy_by_component_pj"].values()))
    lane_cycles = architecture.compute.instances * made["cycles"]
    made["utilization"] = made["compute"]["actual"] / lane_cycles if lane_cycles else 0.0
    made["kept_on_chip"] = {
        "level": level.name,
        "tensors": saved,
        "saved_pj": number(saved_pj - added_pj),
        "saved_cycles": number(answer["cycles"] - made["cycles"]),
    }
    return made


def _leak_shorter(made: dict[str, Any], share: float) -> None:
    """Leakage of a run of `share` of its cycles."""
    for at in made["levels"]:
        kept = at["leakage_pj"] * share
        at["energy_pj"] = number(at["energy_pj"] - at["leakage_pj"] + kept)
        at["leakage_pj"] = number(kept)
    compute = made["compute"]
    compute["leakage_pj"] = number(compute["leakage_pj"] * share)
    made["energy_by_component_pj"][compute["name"]] = number(compute["energy_pj"] + compute["leakage_pj"])


def summary(residency: Residency, architecture: Architecture, network: Network) -> dict[str, Any]:
    """Which tensors are held where and from when to when, for reports."""
    level = holding_level(architecture)
    if level is None or level.capacity_words is None:
        return {"level": None, "tensors": [], "most_bytes": 0, "capacity_bytes": None}
    per_word = level.word_bits / 8
    return {
        "level": level.name,
        "capacity_bytes": number(level.capacity_words * level.instances * per_word),
        "most_bytes": number(max(residency.taken.values(), default=0.0) * per_word),
        "tensors": [
            {
                "names": sorted(held.names),
                "bytes": number(held.words * per_word),
                "from": network.operators[held.first].name,
                "to": network.operators[held.last].name,
            }
            for held in residency.held
        ],
    }


def bandwidth_cycles(at: Mapping[str, Any], spec: StorageLevel) -> float:
    """Cycles that a level's bandwidth needs for the traffic of its account, metadata included.

    Equal to the model's own count for levels whose instances all move the same words.
    """
    reads = writes = 0.0
    for tensor in at["tensors"].values():
        width = tensor["word_bits"] / spec.word_bits
        moved = {a: (words["actual"] + words["gated"]) * width for a, words in tensor["traffic"].items()}
        metadata = {action: bits / spec.word_bits for action, bits in tensor["metadata_bits"].items()}
        share = 1 / max(1.0, at["instances"])
        reads += (moved.get("read", 0) + metadata.get("read", 0)) * share
        writes += sum(d.get(action, 0) for d in (moved, metadata) for action in ("fill", "update")) * share
    needs = [0.0]
    for words, bandwidth in (
        (reads, spec.read_bandwidth),
        (writes, spec.write_bandwidth),
        (reads + writes, spec.shared_bandwidth),
    ):
        if bandwidth:
            needs.append(words / bandwidth)
    return float(-(-max(needs) // 1))
