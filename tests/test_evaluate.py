"""Facts about single evaluations: Sparseloop's sparse matrix product worked by hand, misfits, warnings."""

from __future__ import annotations

import pytest

from fiberloom.architecture.levels import Architecture, Compute, StorageLevel
from fiberloom.architecture.sparse import (
    ActionOptimization,
    Format,
    LeaderFollower,
    RankFormat,
    SafKind,
    TensorFormat,
)
from fiberloom.errors import MappingError
from fiberloom.input.specification import parse
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.model.evaluate import evaluate
from fiberloom.model.evaluation import Evaluation
from fiberloom.workload.einsum import Einsum

CSR = TensorFormat(ranks=(RankFormat(format=Format.UOP), RankFormat(format=Format.CP)))


def skip(follower: str, *leaders: str) -> ActionOptimization:
    return ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower=follower, leaders=leaders),))


def product(depth: int = 128) -> tuple[Einsum, Architecture, Mapping]:
    """8×8×8 with a quarter and half of the operands non-zero; A streams past a buffer that holds B and Z."""
    density = {t: {"distribution": "fixed-structured", "density": d} for t, d in (("A", 0.25), ("B", 0.5))}
    einsum = Einsum.parse("Z[m,n] = A[m,k] * B[n,k]", {"m": 8, "n": 8, "k": 8}, densities=density)
    backing = StorageLevel(
        name="Backing", depth=512, width_bits=32, word_bits=8, metadata_word_bits=4, metadata_width_bits=4,
        metadata_depth=128, keep=("A", "B", "Z"), formats={"A": CSR, "B": CSR},
    )  # fmt: skip
    buffer = StorageLevel(
        name="Buffer", depth=depth, width_bits=8, word_bits=8, metadata_word_bits=4, metadata_width_bits=4,
        metadata_depth=128, read_bandwidth=5, write_bandwidth=5, keep=("B", "Z"), formats={"A": CSR, "B": CSR},
        optimizations=(skip("A", "B"), skip("B", "A"), skip("Z", "A", "B")),
    )  # fmt: skip
    mapping = Mapping(
        levels={"Buffer": LevelMapping(temporal={"m": 8, "n": 8, "k": 8}, temporal_order=("k", "n", "m"))}
    )
    return einsum, Architecture(levels=(backing, buffer), compute=Compute(name="MAC", word_bits=8)), mapping


@pytest.mark.parametrize("rules", ["timeloop-4", "fiberloom"])
def test_a_sparse_matrix_product_counts_as_worked_by_hand(rules: str) -> None:
    result = evaluate(*product(), rules=rules)
    a, b = result.level("Backing").tensors["A"], result.level("Buffer").tensors["B"]
    z = result.level("Buffer").tensors["Z"]
    # every operand of 512 products: one in eight has both
    assert (result.compute.actual, result.compute.eliminated, result.cycles) == (64, 448, 64)
    # 512 reads of A, a quarter stored, half of those meet a non-zero of B (blocks of four lie along m)
    assert (a.reads.actual, a.reads.skipped) == (64, 64)
    assert (b.reads.actual, b.reads.skipped, b.fills.actual) == (64, 192, 32)
    # 64 of the 512 results are first visits, which need no read
    assert (z.reads.actual, z.reads.skipped, z.updates.actual) == (56, 392, 64)
    assert sum(z.updates.to_dict().values()) == z.dense_updates == 512


def test_tiles_that_do_not_fit_are_refused_with_their_sizes() -> None:
    with pytest.raises(MappingError, match=r"'Buffer' need 96 words \(B 32, Z 64\), but it holds 64"):
        evaluate(*product(depth=64))
    warned = evaluate(*product(depth=64), check_fit=False)
    assert warned.cycles == 64 and "does not fit" in warned.warnings[0]


def test_an_inner_entry_weaker_than_an_outer_one_is_reported() -> None:
    einsum, architecture, _ = product()
    outer = architecture.levels[0].model_copy(update={"optimizations": (skip("B", "A"),), "block_words": 1})
    inner = architecture.levels[1].model_copy(
        update={"optimizations": (skip("B", "Z"),), "keep": ("A", "B", "Z"), "formats": {}}
    )
    weaker = architecture.model_copy(update={"levels": (outer, inner)})
    sparse = einsum.model_copy(
        update={
            "tensors": tuple(
                t.model_copy(update={"density": {"distribution": "uniform", "density": 0.02 if t.name == "A" else 0.9}})
                for t in einsum.tensors
            )
        }
    )
    moved = Mapping(
        levels={
            "Backing": LevelMapping(temporal={"n": 8, "k": 8}, temporal_order=("n", "k")),
            "Buffer": LevelMapping(temporal={"m": 8}, temporal_order=("m",)),
        }
    )
    result = evaluate(sparse, weaker, moved, rules="timeloop-3.0.3")
    assert any("weaker than an outer one" in warning for warning in result.warnings)
    for level in result.levels:
        for tensor in level.tensors.values():
            assert min(tensor.reads.to_dict().values()) >= 0


def test_networks_list_the_words_that_cross_between_keepers() -> None:
    moved = {network.name: dict(network.words) for network in evaluate(*product()).networks}
    assert moved["Backing <==> Buffer"] == {"B": 32, "Z": 64}
    assert moved["Backing <==> MAC"] == {"A": 64}
    assert moved["Buffer <==> MAC"] == {"B": 64, "Z": 56 + 64}


def streamed(weight_bits: int) -> Evaluation:
    """A product that waits for its weights: 64 × 64 of them through a memory of 4 words a cycle."""
    given = parse(f"""
fiberloom: 1
workload:
  einsum: Z[m] = W[m,k] * X[k]
  shape: {{m: 64, k: 64}}
  word_bits: {{W: {weight_bits}}}
architecture:
  levels:
    - {{name: DRAM, component: dram, word_bits: 8, width_bits: 64, shared_bandwidth: 4, energy_pj: {{read: 8, write: 8}}}}
    - {{name: Buffer, word_bits: 8, depth: 4096, keep: [X, Z], energy_pj: {{read: 1, write: 1}}}}
  compute: {{name: MAC, word_bits: 8, mesh: 64x1, energy_pj: {{mac: 1}}}}
mapping:
  - {{level: DRAM}}
  - {{level: Buffer, temporal: m=64, spatial: k=64}}
""")
    assert given.workload is not None and given.architecture is not None and given.mapping is not None
    return evaluate(given.workload, given.architecture, given.mapping)


def test_values_of_half_the_width_take_half_the_bandwidth_and_half_the_accesses():
    whole, half = streamed(8), streamed(4)
    weights = [e.level("DRAM").tensors["W"] for e in (whole, half)]
    assert weights[0].reads.actual == weights[1].reads.actual == 64 * 64
    assert weights[1].energy_pj == weights[0].energy_pj / 2 == 64 * 64 / 8 * 8 / 2
    # X is read once (64 words), Z written once (64): the weights are what is left of the traffic
    assert whole.cycles == (64 * 64 + 64 + 64) / 4
    assert half.cycles == (64 * 64 / 2 + 64 + 64) / 4


def test_a_value_wider_than_a_row_takes_several_accesses():
    narrow, wide = streamed(8), streamed(128)
    weights = [e.level("DRAM").tensors["W"].energy_pj for e in (narrow, wide)]
    assert weights[1] == 16 * weights[0]
    assert wide.cycles == (64 * 64 * 16 + 64 + 64) / 4
