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
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.model.evaluate import evaluate
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
