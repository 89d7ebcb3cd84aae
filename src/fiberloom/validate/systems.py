"""The tensor-core family of Sparseloop's case study: TC, STC, flexible STC and DSTC on one memory hierarchy.

One streaming multiprocessor of a GPU, int8: DRAM, a shared memory of 256 KiB, four sub-partitions with a register file
each, 256 multipliers a sub-partition (Sparseloop, MICRO'22, Fig. 15; sizes, bandwidths and energies per action
as in the energy tables published with it). TC's energies are those of its own, 65 nm-like, table; the others share one
at 45 nm, so that TC's energy is not like for like with the rest.
"""

from __future__ import annotations

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import (
    ActionOptimization,
    Format,
    LeaderFollower,
    RankFormat,
    SafKind,
    TensorFormat,
)

SPARSELOOP = "Wu et al., Sparseloop, MICRO'22"

SUBPARTITIONS = 4
MULTIPLIERS = 1024
"""Multipliers of all sub-partitions."""

_OUTER_RANKS = {"DRAM": 6, "SMEM": 4}
"""Uncompressed ranks above the compressed one: loops that split a tensor at and below that level."""


def _energies(read: float, write: float, gated: float, metadata: tuple[float, float, float]) -> dict[str, float]:
    """Energy table of a memory: pJ per vector access; `metadata` is (read, write, gated)."""
    metadata_read, metadata_write, metadata_gated = metadata
    return {
        "read": read,
        "write": write,
        "gated_read": gated,
        "gated_write": gated,
        "metadata_read": metadata_read,
        "metadata_write": metadata_write,
        "gated_metadata_read": metadata_gated,
        "gated_metadata_write": metadata_gated,
    }


# pJ per access of the 45 nm table that STC, its variants and DSTC share (Sparseloop's artifact, Fig. 15).
_SMEM_45 = _energies(285.71464, 316.96744, 0.03325, (25.8695, 19.6486, 0.00276))
_RF_45 = _energies(1.65889, 1.67589, 0.00006, (0.0, 0.0, 0.0))
_LRF_45 = _energies(0.072, 0.072, 0.00296, (0.072, 0.072, 0.00296))
_MAC_45 = {"mac_random": 0.5608, "mac_gated": 0.01798, "mac_skipped": 0.01798}
# DSTC's register file carries the bitmasks; its line buffer holds vectors instead of single words.
_RF_DSTC = _energies(1.65889, 1.67589, 0.00006, (0.95642, 0.95642, 0.00931))
_LRF_DSTC = _energies(0.49218, 0.49218, 0.00737, (0.18108, 0.18108, 0.00209))
# TC's table (65 nm-like; Sparseloop's artifact, Fig. 15).
_SMEM_TC = _energies(536.05005, 599.806, 0.26703, (0.0, 0.0, 0.0))
_RF_TC = _energies(3.1647, 3.20183, 0.00081, (0.0, 0.0, 0.0))
_LRF_TC = _energies(0.02435, 0.02435, 0.0, (0.02435, 0.02435, 0.0))
_MAC_TC = {"mac_random": 0.44688, "mac_gated": 0.0, "mac_skipped": 0.0}


def _dram(formats: dict[str, TensorFormat], write_bandwidth: float) -> StorageLevel:
    """LPDDR4: 64-bit words at 512 pJ, 32 bytes a cycle."""
    return StorageLevel(
        name="DRAM",
        component=ComponentClass.DRAM,
        word_bits=8,
        width_bits=64,
        metadata_word_bits=0,
        metadata_width_bits=64,
        read_bandwidth=32,
        write_bandwidth=write_bandwidth,
        energy_pj={"read": 512.0, "write": 512.0},
        area_um2=0,
        can_accumulate=False,
        formats=formats,
    )


def _shared_memory(formats: dict[str, TensorFormat], energy_pj: dict[str, float], area_um2: float) -> StorageLevel:
    """256 KiB of data in rows of 64 bytes, 64 KiB of metadata, 42 bytes a cycle each way."""
    return StorageLevel(
        name="SMEM",
        word_bits=8,
        depth=4096,
        width_bits=512,
        metadata_word_bits=0,
        metadata_width_bits=64,
        metadata_depth=8192,
        read_bandwidth=42,
        write_bandwidth=42,
        energy_pj=energy_pj,
        area_um2=area_um2,
        formats=formats,
    )


def _multipliers(energy_pj: dict[str, float], area_um2: float) -> Compute:
    return Compute(
        name="MAC",
        word_bits=8,
        instances=MULTIPLIERS,
        mesh_x=16,
        mesh_y=64,
        energy_pj=energy_pj,
        area_um2=area_um2,
    )


def coordinates(bits: int) -> RankFormat:
    """A compressed rank with explicit coordinates of `bits`."""
    return RankFormat(format=Format.CP, metadata_word_bits=bits)


def run_lengths(bits: int) -> RankFormat:
    """A compressed rank with run lengths of `bits`."""
    return RankFormat(format=Format.RLE, metadata_word_bits=bits)


def bitmask(bits: int = 1, payload_bits: int | None = None) -> RankFormat:
    """A compressed rank with `bits` of mask for every coordinate; 0 where another rank's mask covers it."""
    return RankFormat(format=Format.B, metadata_word_bits=bits, payload_word_bits=payload_bits)


def _offsets(count: int) -> tuple[RankFormat, ...]:
    """Uncompressed ranks whose offsets are implied, hence free: every fibre below has a known size."""
    return (RankFormat(format=Format.UOP, payload_word_bits=0),) * count


def _nested(level: str, *compressed: RankFormat) -> TensorFormat:
    return TensorFormat(ranks=(*_offsets(_OUTER_RANKS[level]), *compressed), inner_to_outer=True)


def sparse_tensor_core(weights: RankFormat | None, *, compressed_activations: bool = False) -> Architecture:
    """STC and its flexible variants: weights A compressed, spatially skipping the activations B of empty weights.

    Args:
        weights: format of the compressed rank of A; None keeps A uncompressed.
        compressed_activations: whether B travels as a bitmask down to the shared memory ("dual compress").
    """
    formats: dict[str, dict[str, TensorFormat]] = {"DRAM": {}, "SMEM": {}, "LRF": {}}
    for level in ("DRAM", "SMEM"):
        if weights is not None:
            formats[level]["A"] = _nested(level, weights)
        if compressed_activations:
            formats[level]["B"] = _nested(level, bitmask(0, 0), bitmask(1, 0))
    if weights is not None:
        formats["LRF"]["A"] = TensorFormat(ranks=(weights,))
    skipping = tuple(
        ActionOptimization(kind=SafKind.SPATIAL_SKIPPING, options=(LeaderFollower(follower=t, leaders=("A",)),))
        for t in ("B", "Z")
    )
    return Architecture(
        name="sparse tensor core",
        levels=(
            _dram(formats["DRAM"], write_bandwidth=32),
            _shared_memory(formats["SMEM"], _SMEM_45, 2604256),
            StorageLevel(
                name="RF",
                word_bits=8,
                instances=SUBPARTITIONS,
                mesh_x=1,
                depth=2048,
                width_bits=8,
                metadata_word_bits=0,
                energy_pj=_RF_45,
                area_um2=23384,
                optimizations=skipping,
            ),
            StorageLevel(
                name="LRF",
                word_bits=8,
                instances=MULTIPLIERS,
                mesh_x=16,
                depth=1,
                width_bits=8,
                metadata_word_bits=0,
                metadata_width_bits=8,
                metadata_depth=1,
                energy_pj=_LRF_45,
                area_um2=95.68,
                formats=formats["LRF"],
            ),
        ),
        compute=_multipliers(_MAC_45, 332.25),
        sources=(SPARSELOOP,),
    )


def dense_tensor_core() -> Architecture:
    """TC: the same hierarchy without sparse features, with its own energy table."""
    sparse = sparse_tensor_core(None)
    dram, _, rf, lrf = sparse.levels
    return sparse.model_copy(
        update={
            "name": "tensor core",
            "levels": (
                dram.model_copy(update={"write_bandwidth": 16.0}),
                _shared_memory({}, _SMEM_TC, 3617260),
                rf.model_copy(update={"energy_pj": _RF_TC, "area_um2": 48735.6, "optimizations": ()}),
                lrf.model_copy(update={"energy_pj": _LRF_TC, "area_um2": 20.0}),
            ),
            "compute": _multipliers(_MAC_TC, 687.75),
        }
    )


def dual_side_tensor_core(*, compressed: tuple[str, ...]) -> Architecture:
    """DSTC: outer products of condensed vectors, position skipping on both operands.

    Args:
        compressed: operands kept as two-level bitmasks, out of ``A`` and ``B``.
    """
    mask, covered = bitmask(1), bitmask(0, 0)
    formats: dict[str, dict[str, TensorFormat]] = {"DRAM": {}, "SMEM": {}, "LRF": {}}
    for tensor in compressed:
        for level in ("DRAM", "SMEM"):
            outer = _offsets(_OUTER_RANKS[level] - 1)
            formats[level][tensor] = TensorFormat(ranks=(*outer, bitmask(1, 0), covered, mask), inner_to_outer=True)
        formats["LRF"][tensor] = TensorFormat(ranks=(covered, mask), inner_to_outer=True)
    # The accumulation buffer skips what no pair of non-zeros produces; a fully dense run is steered by A alone.
    leaders = ("A", "B") if compressed else ("A",)
    return Architecture(
        name="dual-side sparse tensor core",
        levels=(
            _dram(formats["DRAM"], write_bandwidth=32),
            _shared_memory(formats["SMEM"], _SMEM_45, 2604256),
            StorageLevel(
                name="RF",
                word_bits=8,
                instances=SUBPARTITIONS,
                mesh_x=1,
                depth=2048,
                width_bits=8,
                metadata_word_bits=0,
                metadata_width_bits=16,
                metadata_depth=128,
                read_bandwidth=256,
                write_bandwidth=257,
                energy_pj=_RF_DSTC,
                area_um2=25439.68,
                optimizations=(
                    ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower="Z", leaders=leaders),)),
                ),
            ),
            StorageLevel(
                name="LRF",
                word_bits=8,
                instances=SUBPARTITIONS,
                mesh_x=1,
                depth=64,
                width_bits=16,
                metadata_word_bits=0,
                metadata_width_bits=4,
                metadata_depth=32,
                energy_pj=_LRF_DSTC,
                area_um2=1309.6,
                formats=formats["LRF"],
                optimizations=tuple(position_skipping(t) for t in leaders),
            ),
        ),
        compute=_multipliers(_MAC_45, 332.25),
        sources=(SPARSELOOP, "Wang et al., Dual-side Sparse Tensor Core, ISCA'21"),
    )


def position_skipping(tensor: str) -> ActionOptimization:
    """Lanes filled with `tensor`'s own non-zeros."""
    return ActionOptimization(kind=SafKind.POSITION_SKIPPING, options=(LeaderFollower(follower=tensor),))
