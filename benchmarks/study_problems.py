"""Accelerators and tables that the studies share.

Accelerators are built for the tensors of an Einsum, and keep every tensor at every level: bypass is not part of the published
map spaces.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, Format, LeaderFollower, RankFormat, SafKind, TensorFormat
from fiberloom.errors import MappingError
from fiberloom.mapper.comparison import Yardstick, yardstick
from fiberloom.mapper.search import SearchProblem
from fiberloom.mapping.space import MapSpace
from fiberloom.model.lower import lower
from fiberloom.workload.einsum import Einsum

RESULTS = Path(__file__).parent / "results" / "study"

# source: Mind Mappings, ASPLOS'21, public code (relative energies per access; capacities).
DRAM_ENERGY, L2_ENERGY, L1_ENERGY, MAC_ENERGY = 200.0, 2.2, 1.12, 1.0
L2_BYTES, L1_BYTES, PROCESSING_ELEMENTS = 512 * 1024, 64 * 1024, 256
WORD_BITS = 16  # own choice: the code gives widths of memory rows only

# source: the version of GAMMA for Timeloop on which the IISWC'22 study builds (default architecture).
SPARSE_BUFFER_BYTES, SPARSE_LOCAL_BYTES, SPARSE_LOCALS, SPARSE_MACS = 128 * 1024, 512, 256, 1024
METADATA_BITS = 8  # own choice


def dense_accelerator(einsum: Einsum) -> Architecture:
    """Mind Mappings' accelerator: DRAM, an L2 of 512 KB, 256 processing elements with 64 KB of L1 each; energies relative to a MAC.

    Bandwidths do not bind. There, 16 banks of each buffer are split between the tensors as part of the mapping; here the tensors
    share the buffer, which is as good as the best split into arbitrarily small banks.
    """
    keep = tuple(t.name for t in einsum.tensors)

    def level(name: str, energy: float, **fields: Any) -> StorageLevel:
        priced = {"read": energy, "write": energy}
        return StorageLevel(name=name, word_bits=WORD_BITS, keep=keep, energy_pj=priced, area_um2=0, **fields)

    return Architecture(
        name="mind-mappings",
        levels=(
            level("DRAM", DRAM_ENERGY, component=ComponentClass.DRAM),
            level("L2", L2_ENERGY, depth=L2_BYTES * 8 // WORD_BITS),
            level("L1", L1_ENERGY, depth=L1_BYTES * 8 // WORD_BITS, instances=PROCESSING_ELEMENTS),
        ),
        compute=Compute(
            name="MAC",
            instances=PROCESSING_ELEMENTS,
            energy_pj={"mac_random": MAC_ENERGY, "mac_reuse": MAC_ENERGY, "mac_gated": 0},
            area_um2=0,
        ),
    )


def sparse_accelerator(einsum: Einsum) -> Architecture:
    """A buffer of 128 KB, 256 local buffers of 512 B with four MACs each; operands as coordinates, skipped where the other is zero.

    The sizes are those of the study's code base; where it skips, and the width of metadata, are our choice. Energies are the
    component library's at 45 nm.
    """
    keep = tuple(t.name for t in einsum.tensors)
    left, right = (t.name for t in einsum.inputs)

    def formats(ranks: int) -> dict[str, TensorFormat]:
        every = tuple(einsum.shape)
        outer = [RankFormat(format=Format.UOP, variables=every, metadata_word_bits=METADATA_BITS)] * (ranks - 1)
        inner = RankFormat(format=Format.CP, variables=every, metadata_word_bits=METADATA_BITS)
        return {name: TensorFormat(ranks=(*outer, inner)) for name in (left, right)}

    def skip(*pairs: tuple[str, tuple[str, ...]]) -> tuple[ActionOptimization, ...]:
        return tuple(
            ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower=f, leaders=leaders),))
            for f, leaders in pairs
        )

    both = skip((left, (right,)), (einsum.output.name, (left, right)))
    return Architecture(
        name="sparse",
        levels=(
            StorageLevel(
                name="DRAM", component=ComponentClass.DRAM, word_bits=WORD_BITS, width_bits=64, metadata_width_bits=64,
                keep=keep, formats=formats(3),
            ),
            StorageLevel(
                name="Buffer", word_bits=WORD_BITS, width_bits=64, depth=SPARSE_BUFFER_BYTES * 8 // 64, metadata_width_bits=64,
                keep=keep, formats=formats(2),
            ),
            StorageLevel(
                name="Local", word_bits=WORD_BITS, depth=SPARSE_LOCAL_BYTES * 8 // WORD_BITS, metadata_width_bits=16,
                instances=SPARSE_LOCALS, keep=keep, formats=formats(1), optimizations=both,
            ),
        ),
        compute=Compute(name="MAC", instances=SPARSE_MACS, skipping=True),
    )  # fmt: skip


def dense_target(einsum: Einsum, objective: str = "edp") -> SearchProblem:
    """The search problem of an Einsum on `dense_accelerator`."""
    architecture = dense_accelerator(einsum)
    return SearchProblem(lower(einsum, architecture), MapSpace(einsum, architecture), objective)


def algorithmic_minimum(einsum: Einsum) -> float:
    """Mind Mappings' unit of EDP on `dense_accelerator`, in pJ·cycles: every tensor touched once per level, every PE busy."""
    words = sum(math.prod(einsum.tensor_shape(t.name)) for t in einsum.tensors)
    energy = words * (DRAM_ENERGY + L2_ENERGY + L1_ENERGY) + einsum.macs * MAC_ENERGY
    return energy * einsum.macs / PROCESSING_ELEMENTS


def proof(target: SearchProblem, seconds: float) -> Yardstick:
    """What the exact mapper proves within `seconds`; nothing, where it finds no mapping in that time."""
    target.prepare()
    try:
        return yardstick(target, seconds=seconds, memory_mb=4000)
    except MappingError as error:
        return Yardstick(math.inf, 0.0, proved=False, seconds=None, note=error.problem)


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    low, middle, high = np.quantile(np.asarray(list(values), float), [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def spread(values: Iterable[float], form: str = ".3g") -> str:
    """``median (quartile–quartile)``."""
    low, middle, high = quartiles(values)
    return f"{middle:{form}} ({low:{form}}–{high:{form}})"


def geometric_mean(values: Iterable[float]) -> float:
    """Geometric mean of positive numbers."""
    return float(np.exp(np.mean(np.log(np.asarray(list(values), float)))))


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with the fields of the first as columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Text, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
