"""Cycles of an Eyeriss v2 processing element on sparse MobileNet layers.

The figures are cycles of a cycle-level baseline running the real tensors; the model sees their densities only, spread
uniformly (Sparseloop, MICRO'22, Fig. 12; hardware: Chen et al., Eyeriss v2, JETCAS'19).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, Format, LeaderFollower, RankFormat, SafKind, TensorFormat
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.model.evaluate import evaluate
from fiberloom.validate.comparison import Comparison
from fiberloom.validate.systems import SPARSELOOP
from fiberloom.workload.einsum import Einsum

NAME: Final = "eyeriss-v2"
SOURCE: Final = f"{SPARSELOOP}, Fig. 12: cycle-level baseline"

ALLOWED_POINT: Final = 0.07
ALLOWED_MEAN: Final = 0.04
"""What the assumption of independent operands costs on these layers (docs/validation.md, *Eyeriss v2*)."""


@dataclass(frozen=True)
class Layer:
    """A pointwise convolution ``Z[m,e,f] = W[c,m] * I[c,e,f]`` of the 0.5-width sparse MobileNet.

    Attributes:
        rows: rows, and columns, of the feature map.
        m_inside: output channels whose weights a processing element holds at a time.
        published: cycles of the baseline.
    """

    c: int
    m: int
    rows: int
    m_inside: int
    inputs: float
    weights: float
    published: int


C_INSIDE: Final = 8
"""Input channels a processing element works on at a time."""

LAYERS: Final = {
    "L07": Layer(64, 64, 32, 8, 0.73, 0.52, 1702140),
    "L09": Layer(64, 128, 16, 16, 0.86, 0.82, 1499682),
    "L13": Layer(128, 256, 8, 16, 0.83, 0.64, 1144158),
    "L19": Layer(256, 256, 8, 16, 0.61, 0.55, 1457458),
    "L21": Layer(256, 256, 8, 16, 0.64, 0.60, 1677684),
    "L23": Layer(256, 256, 8, 16, 0.61, 0.70, 1821557),
    "L25": Layer(256, 512, 4, 16, 0.68, 0.65, 948572),
    "L27": Layer(512, 512, 4, 16, 0.58, 0.30, 775316),
}


def _columns(outer_ranks: int, address_bits: int) -> TensorFormat:
    """Compressed columns: start addresses of every column, then 4-bit run lengths (JETCAS'19)."""
    implied = RankFormat(format=Format.UOP, payload_word_bits=0)
    addresses = RankFormat(format=Format.UOP, payload_word_bits=address_bits)
    runs = RankFormat(format=Format.RLE, metadata_word_bits=4)
    return TensorFormat(ranks=(*(implied,) * outer_ranks, addresses, runs), inner_to_outer=True)


def architecture() -> Architecture:
    """One processing element: scratchpads of activations, weights and sums, and a multiplier that skips zeros."""
    skip_weights = ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower="W", leaders=("I",)),))
    skip_sums = ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower="Z", leaders=("I", "W")),))
    return Architecture(
        name="Eyeriss v2 processing element",
        levels=(
            StorageLevel(
                name="BackingStorage",
                component=ComponentClass.DRAM,
                word_bits=8,
                width_bits=64,
                metadata_word_bits=0,
                metadata_width_bits=8,
                can_accumulate=False,
                formats={"I": _columns(3, 4), "W": _columns(2, 7)},
            ),
            StorageLevel(
                name="ActivationSpad",
                component=ComponentClass.REGFILE,
                word_bits=8,
                depth=16,
                metadata_word_bits=0,
                metadata_width_bits=4,
                metadata_depth=25,
                formats={"I": _columns(0, 4)},
            ),
            StorageLevel(
                name="WeightSpad",
                word_bits=8,
                depth=192,
                metadata_word_bits=0,
                metadata_width_bits=8,
                metadata_depth=128,
                formats={"W": _columns(0, 7)},
                optimizations=(skip_weights,),
            ),
            StorageLevel(
                name="SumSpad",
                component=ComponentClass.REGFILE,
                word_bits=20,
                depth=32,
                metadata_word_bits=0,
                optimizations=(skip_sums,),
            ),
            StorageLevel(
                name="Register",
                component=ComponentClass.REGFILE,
                word_bits=8,
                depth=1,
                metadata_word_bits=0,
                metadata_width_bits=4,
                metadata_depth=1,
                formats={
                    "I": TensorFormat(ranks=(RankFormat(format=Format.RLE, metadata_word_bits=4),), inner_to_outer=True)
                },
            ),
        ),
        compute=Compute(name="MAC", word_bits=8, skipping=True),
        sources=("Chen et al., Eyeriss v2, JETCAS'19", SPARSELOOP),
    )


def mapping(layer: Layer) -> Mapping:
    """For every pixel, a block of input channels times a block of output channels in the element."""
    return Mapping(
        levels={
            "BackingStorage": LevelMapping(
                temporal={
                    "M": layer.m // layer.m_inside,
                    "C": layer.c // C_INSIDE,
                    "F": layer.rows,
                    "E": layer.rows,
                },
                temporal_order=("M", "C", "F", "E"),
            ),
            "ActivationSpad": LevelMapping(keep=("I",)),
            "WeightSpad": LevelMapping(keep=("W",)),
            "SumSpad": LevelMapping(
                temporal={"M": layer.m_inside, "C": C_INSIDE}, temporal_order=("F", "E", "C", "M"), keep=("Z",)
            ),
            "Register": LevelMapping(keep=("I",)),
        }
    )


def cycles(layer: Layer, *, rules: str = "fiberloom") -> float:
    """Cycles of one layer on one processing element."""
    einsum = Einsum.parse(
        "Z[M,F,E] = W[C,M] * I[C,E,F]",
        {"E": layer.rows, "F": layer.rows, "C": layer.c, "M": layer.m},
        densities={
            "I": {"distribution": "uniform", "density": layer.inputs},
            "W": {"distribution": "uniform", "density": layer.weights},
        },
    )
    return evaluate(einsum, architecture(), mapping(layer), rules=rules).cycles


def run() -> list[Comparison]:
    """Eight layers, and their mean error."""
    found = [
        Comparison(
            NAME,
            f"MobileNet {name}: inputs {layer.inputs:g}, weights {layer.weights:g}",
            "cycles",
            layer.published,
            cycles(layer),
            ALLOWED_POINT,
            SOURCE,
        )
        for name, layer in LAYERS.items()
    ]
    mean = sum(abs(c.error) for c in found) / len(found)
    found.append(
        Comparison(NAME, "all eight layers", "agreement: 1 - mean error", 1.0, 1.0 - mean, ALLOWED_MEAN, SOURCE)
    )
    return found
