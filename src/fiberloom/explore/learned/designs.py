"""AIRCHITECT's design space in fiberloom's own model: 64 arrays times 12 buffers, under three dataflows.

A design is a number of *clusters* of 16 lanes (1 to 64 of them) and the size of the buffer that they share. Public data of
AIRCHITECT v2 (DATE'25) counts its 64 levels the same way; sizes, bandwidths and areas are ours and stand below.

The dataflows are those of ConfuciuX (MICRO'20) on a matrix product ``O[m,n] = W[m,k] * I[n,k]``; convolutions come as the
product of their im2col, as in AIRCHITECT's own data:

=====  ==================  =============  ==========================================
name   over the clusters   over the lanes stays while the innermost loop runs
=====  ==================  =============  ==========================================
dla    output rows m       reduction k    weights (NVDLA), while columns stream
eye    output columns n    reduction k    inputs, a row of them per lane (Eyeriss), while rows stream
shi    output columns n    columns n      outputs (ShiDianNao)
=====  ==================  =============  ==========================================
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.errors import SpecError, nearest
from fiberloom.explore.learned.tiling import lay_out
from fiberloom.mapping.nest import Mapping
from fiberloom.mapping.packed import PackedMappings, unpack
from fiberloom.model import kernel
from fiberloom.model.compiled import announced, compile_kernel
from fiberloom.model.lower import Problem, lower
from fiberloom.model.records import MAPPING, WORK
from fiberloom.model.tables import OccupancyTables
from fiberloom.workload.einsum import Einsum

Array = NDArray[Any]
Floats = NDArray[np.float64]

DATAFLOWS: Final = ("dla", "eye", "shi")
CLUSTERS: Final = tuple(range(1, 65))
BUFFER_KIB: Final = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
"""Steps of 1.33 to 1.5; the largest is about as large as the largest array, so that area is a choice between the two."""

LANES: Final = 16
"""Lanes of a cluster, as wide as an atomic operation of NVDLA's small configuration."""

WORD_BITS: Final = 16  # source: Eyeriss (JSSC'17) and ShiDianNao (ISCA'15) compute on 16-bit fixed point
_ACCUMULATORS: Final = 256  # partial sums per cluster; assumption
_REGISTERS: Final = 16  # words per lane: a row of 8 weights and a row of 8 inputs; assumption
_DRAM_WORDS_PER_CYCLE: Final = 4  # 8 GB/s at 1 GHz: one 16-bit channel of LPDDR4-4266 peaks at 8.5 GB/s
_BUFFER_WORDS_PER_CYCLE: Final = 64  # four banks of 256-bit rows
_BUFFER_ROW_BITS: Final = 256
LARGEST_BOUND: Final = 65536
"""Largest m, n and k that labels were drawn for; see `fiberloom.explore.learned.workloads`."""

COUNT: Final = len(CLUSTERS) * len(BUFFER_KIB)


@dataclass(frozen=True)
class MatrixProduct:
    """A layer: ``O[m,n] = W[m,k] * I[n,k]``, `count` times, under a dataflow.

    Raises:
        SpecError: for bounds below 1, or an unknown dataflow.
    """

    m: int
    n: int
    k: int
    dataflow: str
    count: int = 1
    name: str = "matrix product"

    def __post_init__(self) -> None:
        if self.dataflow not in DATAFLOWS:
            raise SpecError(f"there is no dataflow '{self.dataflow}'", hint=nearest(self.dataflow, DATAFLOWS))
        for variable, bound in zip("mnk", self.bounds, strict=True):
            if bound < 1:
                raise SpecError(f"{self.name}: {variable} is {bound}", hint="bounds are whole numbers from 1")

    @property
    def bounds(self) -> tuple[int, int, int]:
        """m, n, k."""
        return self.m, self.n, self.k

    def under(self, dataflow: str) -> MatrixProduct:
        """The same product under another dataflow."""
        return replace(self, dataflow=dataflow)

    @property
    def einsum(self) -> Einsum:
        """The product as a workload of the model."""
        return _einsum(*self.bounds)


def _einsum(m: int, n: int, k: int) -> Einsum:
    return Einsum.parse("O[m,n] = W[m,k] * I[n,k]", {"m": m, "n": n, "k": k})


def design_id(clusters: int, buffer_kib: int) -> int:
    """Number 0..767 of a design: array by array, buffers ascending.

    Raises:
        SpecError: for a design that is not in the space.
    """
    if clusters not in CLUSTERS or buffer_kib not in BUFFER_KIB:
        raise SpecError(
            f"{clusters} clusters with {buffer_kib} KiB is no design of the space",
            hint=f"1 to {CLUSTERS[-1]} clusters; buffers of {', '.join(map(str, BUFFER_KIB))} KiB",
        )
    return (clusters - 1) * len(BUFFER_KIB) + BUFFER_KIB.index(buffer_kib)


def levels(design: Any) -> tuple[Any, Any]:
    """Index of the array (0..63) and of the buffer (0..11) of design numbers, whatever their shape."""
    return np.divmod(design, len(BUFFER_KIB))


def architecture(clusters: int, buffer_kib: int) -> Architecture:
    """The design as an architecture of the model, at 45 nm and 1 GHz."""
    lanes = LANES * clusters
    return Architecture(
        name=f"{lanes} lanes, {buffer_kib} KiB",
        levels=(
            StorageLevel(
                name="DRAM",
                component=ComponentClass.DRAM,
                width_bits=64,
                read_bandwidth=_DRAM_WORDS_PER_CYCLE,
                write_bandwidth=_DRAM_WORDS_PER_CYCLE,
            ),
            StorageLevel(
                name="Buffer",
                depth=buffer_kib * 1024 * 8 // _BUFFER_ROW_BITS,
                width_bits=_BUFFER_ROW_BITS,
                multiple_buffering=2,
                read_bandwidth=_BUFFER_WORDS_PER_CYCLE,
                write_bandwidth=_BUFFER_WORDS_PER_CYCLE,
                attributes={"banks": _BUFFER_WORDS_PER_CYCLE * WORD_BITS // _BUFFER_ROW_BITS},
            ),
            StorageLevel(name="Accumulator", instances=clusters, mesh_x=1, depth=_ACCUMULATORS, keep=("O",)),
            StorageLevel(
                name="Registers",
                component=ComponentClass.REGFILE,
                instances=lanes,
                mesh_x=LANES,
                depth=_REGISTERS,
                keep=("W", "I"),
            ),
        ),
        compute=Compute(name="MAC", instances=lanes, mesh_x=LANES),
    )


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Short hash of the whole space: learned models are of no use in another one."""
    ends = [
        architecture(clusters, size).model_dump_json()
        for clusters in CLUSTERS[:: len(CLUSTERS) - 1]
        for size in BUFFER_KIB
    ]
    text = "\n".join([*ends, *DATAFLOWS, *(f"{area:.6f}" for area in areas_mm2())])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@lru_cache(maxsize=1)
def _problems() -> tuple[Problem, ...]:
    """The largest array with every buffer, lowered."""
    return tuple(lower(_einsum(1, 1, 1), architecture(CLUSTERS[-1], size)) for size in BUFFER_KIB)


@lru_cache(maxsize=1)
def areas_mm2() -> Floats:
    """Area of every design, ``(768,)``, mm2 by fiberloom's component library at 45 nm; DRAM is not on the chip."""
    areas = [problem.areas_um2 for problem in _problems()]
    buffers = np.array([a["Buffer"] for a in areas])
    cluster = areas[0]["Accumulator"] + LANES * (areas[0]["Registers"] + areas[0]["MAC"])
    return np.asarray((np.array(CLUSTERS)[:, None] * cluster + buffers).reshape(-1) * 1e-6)


@dataclass(frozen=True)
class DesignCosts:
    """What every design costs, ``(768,)``; infinite where the dataflow does not fit."""

    cycles: Floats
    energy_pj: Floats

    def objective(self, name: str) -> Floats:
        """Cycles (``latency``) or pJ·cycles (``edp``), each with the fastest array of at most the design's clusters.

        A design may leave clusters idle, and does where that is faster; for latency, it may also leave a part of its buffer
        unused. (The energy of a tile depends on the buffer that holds it, so that this does not hold for ``edp``.)

        Raises:
            SpecError: for an unknown objective.
        """
        grid = (-1, len(BUFFER_KIB))
        if name == "latency":
            best = np.minimum.accumulate(self.cycles.reshape(grid), axis=0)
            return np.asarray(np.minimum.accumulate(best, axis=1).reshape(-1))
        if name == "edp":
            return np.asarray(np.minimum.accumulate((self.cycles * self.energy_pj).reshape(grid), axis=0).reshape(-1))
        raise SpecError(f"there is no objective '{name}'", hint=nearest(name, OBJECTIVES))


OBJECTIVES: Final = ("latency", "edp")


class DesignSpaceModel:
    """Evaluates all 768 designs for one matrix product: the model's kernel on the loops of `tiling`.

    The twelve problems are lowered once; for another product only bounds and tensor shapes change.
    """

    def __init__(self) -> None:
        compile_kernel()
        self._records = np.concatenate([problem.arrays for problem in _problems()])
        self._tables = OccupancyTables(_problems()[0]).arrays
        self._capacities = self._records["capacity"][:, 2].astype(np.int64)
        n = COUNT
        self._temporal = np.ones((n, 4, 3), np.int64)
        self._spatial = np.ones((n, 4, 3), np.int64)
        self._order = np.zeros((n, 4, 3), np.int64)
        self._spatial_order = np.zeros((n, 4, 3), np.int64) + np.arange(3)
        self._on_x = np.zeros((n, 4), np.int64) + np.array([0, 0b111, 0, 0])  # lanes along X, clusters along Y
        self._keep = np.ones((n, 4, 3), np.bool_)
        self._keep[:, 0, 2] = self._keep[:, 1, :2] = False
        self._same, self._fits = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        self._row = np.zeros(1, MAPPING)
        self._row["multicast"] = True
        self._work = np.zeros(1, WORK)
        with announced():  # the first evaluation of a process loads the compiled kernel, or compiles it
            self(MatrixProduct(1, 1, 1, DATAFLOWS[0]))

    def __call__(self, product: MatrixProduct) -> DesignCosts:
        """What each design costs for `product` alone, once (its `count` is not looked at)."""
        arrays, buffers = len(CLUSTERS), len(BUFFER_KIB)
        self._lay_out(product)
        m, n, k = product.bounds
        self._records["bounds"][:, :3] = m, n, k
        for tensor, shape in enumerate(((m, k), (n, k), (m, n))):
            self._records["tensor_shape"][:, tensor, :2] = shape
        status, cycles, energy = np.zeros(COUNT, np.int64), np.zeros(COUNT), np.zeros(COUNT)
        own = self._fits & ~self._same
        for b in range(buffers):
            todo = np.flatnonzero(own[b * arrays : (b + 1) * arrays]) + b * arrays
            kernel.evaluate_part(
                self._records[b : b + 1], self._temporal, self._spatial, self._order, self._spatial_order, self._on_x,
                self._keep, self._row, self._tables, self._work, todo, status, cycles, energy, 0, 1,
            )  # fmt: skip
        if status.any():
            raise AssertionError(f"the kernel refuses a design: status {sorted(set(status.tolist()))} for {product}")
        source = np.maximum.accumulate(np.where(own, np.arange(COUNT), 0))
        by_array = (buffers, arrays)
        cycles, energy = (
            np.where(self._fits, x[source], np.inf).reshape(by_array).T.reshape(-1) for x in (cycles, energy)
        )
        return DesignCosts(cycles, energy)

    def mapping(self, product: MatrixProduct, clusters: int, buffer_kib: int) -> Mapping | None:
        """The loops of one design; None where they do not fit."""
        self._lay_out(product)
        i = BUFFER_KIB.index(buffer_kib) * len(CLUSTERS) + clusters - 1
        if not self._fits[i]:
            return None
        packed = PackedMappings(
            temporal=self._temporal[i : i + 1].copy(),
            spatial=self._spatial[i : i + 1].copy(),
            temporal_order=self._order[i : i + 1].copy(),
            spatial_order=self._spatial_order[i : i + 1],
            on_x=self._on_x[i : i + 1],
            keep=self._keep[i : i + 1],
            multicast=np.ones((4, 3), np.bool_),
            peer_links=np.zeros((4, 3), np.bool_),
        )
        return unpack(product.einsum, architecture(clusters, buffer_kib), packed, 0)

    def _lay_out(self, product: MatrixProduct) -> None:
        lay_out(
            DATAFLOWS.index(product.dataflow), np.array(product.bounds), np.array(CLUSTERS), self._capacities, LANES,
            _ACCUMULATORS, _REGISTERS, self._temporal, self._spatial, self._order, self._same, self._fits,
        )  # fmt: skip
