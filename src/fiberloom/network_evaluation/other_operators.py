"""What the operators that are no Einsums cost: element-wise functions, normalisation, softmax, pooling, look-ups, copies.

The model is plain and the same for every design: an operator reads its inputs from the outermost memory and writes its
outputs there, at that memory's bandwidth and energy per access, and its scalar operations run on the design's lanes, one per lane
and cycle, at the energy of one operation of the compute. Reading, writing and computing overlap, and nothing leaks meanwhile.
Nothing is fused with its neighbours unless that is asked for (`fusion`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fiberloom.architecture.features import without_features
from fiberloom.architecture.levels import Architecture
from fiberloom.network_evaluation.account import number
from fiberloom.network_evaluation.cases import Widths
from fiberloom.network_evaluation.chip_residency import holding_level
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role


@dataclass(frozen=True)
class Prices:
    """What the outermost memory and the lanes of a design cost.

    Attributes:
        memory, compute: names.
        bits_per_access: moved by one access.
        read_pj, write_pj: of one access; `compute_pj`: of one operation.
        read_bits, write_bits, shared_bits: per cycle, all instances; None never throttles.
        held_level, held_read_pj, held_write_pj: the level that holds tensors on chip, and pJ per bit read there and written.
        memory_bits, compute_bits: width of the words that the memory holds, and that compute takes.
    """

    memory: str
    compute: str
    bits_per_access: int
    read_pj: float
    write_pj: float
    compute_pj: float
    read_bits: float | None
    write_bits: float | None
    shared_bits: float | None
    held_level: str | None
    held_read_pj: float
    held_write_pj: float
    lanes: int
    memory_bits: int
    compute_bits: int


def prices(architecture: Architecture) -> Prices:
    """The prices that the model itself uses for Einsums on `architecture`."""
    from fiberloom.model.lower import lower

    plain = without_features(architecture)
    levels = tuple(level.model_copy(update={"keep": None}) for level in plain.levels)
    problem = lower(
        Einsum.parse("Z[m] = A[m] * B[m]", {"m": 1}), plain.model_copy(update={"levels": levels}), rule_set="fiberloom"
    )
    outermost, compute = architecture.levels[0], architecture.compute
    energy = problem.arrays[0]["energy"][len(levels) - 1]
    holder = holding_level(architecture)
    held = [0.0, 0.0]
    if holder is not None:
        table = problem.arrays[0]["energy"][problem.level_names.index(holder.name)]
        held = [float(table[action, 0]) / (holder.words_per_access * holder.word_bits) for action in (0, 1)]

    def bits(words: float | None) -> float | None:
        return None if words is None else words * outermost.word_bits * outermost.instances

    return Prices(
        memory=outermost.name,
        compute=compute.name,
        bits_per_access=outermost.words_per_access * outermost.word_bits,
        read_pj=float(energy[0, 0]),
        write_pj=float(energy[2, 0]),
        compute_pj=float(problem.arrays[0]["compute_energy"][0]),
        read_bits=bits(outermost.read_bandwidth),
        write_bits=bits(outermost.write_bandwidth),
        shared_bits=bits(outermost.shared_bandwidth),
        held_level=None if holder is None else holder.name,
        held_read_pj=held[0],
        held_write_pj=held[1],
        lanes=compute.instances,
        memory_bits=outermost.word_bits,
        compute_bits=compute.word_bits,
    )


def stored_bits(tensor: NetworkTensor, widths: Widths, price: Prices) -> float:
    """Bits of a dense tensor in the outermost memory of a design."""
    width = tensor.bits
    if widths is Widths.DESIGN or (widths is Widths.FIT and width >= price.compute_bits):
        width = price.memory_bits
    return float(tensor.elements * width)


def cost(
    operator: Operator,
    network: Network,
    widths: Widths,
    price: Prices,
    on_chip: frozenset[str] = frozenset(),
    streamed: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Cycles, energy and traffic of one computation of an operator that is no Einsum.

    A layout operator with `Operator.operations` moves that many elements; one without only renames and is free. A look-up reads
    the rows it returns, not the whole table. What an unknown operator costs is not known, and nothing is made up.

    Args:
        on_chip: tensors that are held on chip, which are read and written there instead.
        streamed: tensors that pass by as they are made, and are neither read nor written here.
    """
    tensors: Mapping[str, NetworkTensor] = network.tensors
    moves = operator.kind is not Kind.UNKNOWN and not (operator.kind is Kind.LAYOUT and not operator.operations)
    out = sum(stored_bits(tensors[t], widths, price) for t in operator.outputs) if moves else 0.0
    elsewhere = on_chip | streamed
    read = [t for t in operator.inputs if t not in elsewhere] if moves else []
    if operator.kind is Kind.LOOKUP:
        tables = [t for t in read if tensors[t].role is Role.PARAMETER]
        into = sum(stored_bits(tensors[t], widths, price) for t in read if t not in tables)
        into += sum(min(out, stored_bits(tensors[t], widths, price)) for t in tables)
    else:
        into = sum(stored_bits(tensors[t], widths, price) for t in read)
    written = (
        sum(stored_bits(tensors[t], widths, price) for t in operator.outputs if t not in elsewhere) if moves else 0.0
    )
    operations = 0 if operator.kind in (Kind.LAYOUT, Kind.UNKNOWN) else operator.operations
    held = [
        [t for t in names if t in on_chip - streamed] if moves else [] for names in (operator.inputs, operator.outputs)
    ]
    held_pj = sum(
        pj * sum(stored_bits(tensors[t], widths, price) for t in names)
        for names, pj in zip(held, (price.held_read_pj, price.held_write_pj), strict=True)
    )
    by_component = {
        price.memory: (into * price.read_pj + written * price.write_pj) / price.bits_per_access,
        price.compute: operations * price.compute_pj,
    }
    if price.held_level is not None and held_pj:
        by_component[price.held_level] = held_pj
    memory_cycles = max(
        into / price.read_bits if price.read_bits else 0.0,
        written / price.write_bits if price.write_bits else 0.0,
        (into + written) / price.shared_bits if price.shared_bits else 0.0,
    )
    compute_cycles = operations / price.lanes
    return {
        "operations": operations,
        "fused": bool(streamed),
        "read_bytes": number(into / 8),
        "written_bytes": number(written / 8),
        "cycles": number(-(-max(memory_cycles, compute_cycles) // 1)),
        "energy_pj": number(sum(by_component.values())),
        "energy_by_component_pj": {name: number(pj) for name, pj in by_component.items()},
        "bottleneck": price.compute if compute_cycles >= memory_cycles else price.memory,
    }
