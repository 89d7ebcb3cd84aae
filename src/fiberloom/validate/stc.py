"""STC with 2:4 weights: exactly twice the throughput of the dense tensor core.

NVIDIA's A100 doubles the multiply rate of a tensor core when weights keep two of every four values; Sparseloop
reports the same 2.0x, exact because the pattern is deterministic.
"""

from __future__ import annotations

from typing import Final

from fiberloom.model.evaluate import evaluate
from fiberloom.validate.comparison import Comparison
from fiberloom.validate.tensor_cores import LAYERS, system

NAME: Final = "stc"
SOURCE: Final = "NVIDIA A100 Tensor Core GPU Architecture, white paper, 2020; Wu et al., Sparseloop, MICRO'22"

SPEEDUP: Final = 2.0
ALLOWED: Final = 0.0
"""None: the work of a 2:4 pattern is deterministic and every layer here is bound by compute."""


def run() -> list[Comparison]:
    """Dense cycles / sparse cycles of STC on the four layers of the tensor-core study, under the default rules."""
    found = []
    for name, layer in LAYERS.items():
        dense = evaluate(*system("TC", name, 10000))
        sparse = evaluate(*system("STC", name, 5000))
        note = "" if sparse.cycles == sparse.compute.cycles else f"bound by {sparse.bottleneck}, not by compute"
        found.append(
            Comparison(
                NAME,
                f"M{layer.m}-K{layer.k}-N{layer.n}, 2:4 weights",
                "speed-up over dense (x)",
                SPEEDUP,
                dense.cycles / sparse.cycles,
                ALLOWED,
                SOURCE,
                note=note,
            )
        )
    return found
