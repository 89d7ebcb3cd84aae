"""Problems of the exact mapper's benchmarks: AccelForge's examples as it resolves them, and what was recorded for it.

The architectures in `peers/*.yaml` hold its energies, capacities and throughputs. What is said here is what it lets a mapping do
on them: which memory may hold which tensor, and which loops may run along which fan-out. ``I`` is the input, ``W`` the
weight, ``O`` the output of every workload.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fiberloom.architecture.levels import Architecture
from fiberloom.architecture.sparse import ActionOptimization, Format, LeaderFollower, RankFormat, SafKind, TensorFormat
from fiberloom.errors import MappingError
from fiberloom.input.specification import parse
from fiberloom.mapper.exact import Optimum, find_optimum
from fiberloom.mapper.search import SearchProblem
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.mapping.nest import LevelMapping
from fiberloom.mapping.nest import Mapping as LoopNest
from fiberloom.mapping.space import MapSpace
from fiberloom.model.evaluate import evaluate_problem
from fiberloom.model.lower import Problem, lower
from fiberloom.workload.einsum import Einsum

PEERS: Final = Path(__file__).parent / "peers"
RESULTS: Final = Path(__file__).parent / "results" / "exact"
TENSORS: Final = ("I", "W", "O")
METADATA_BITS: Final = 4
"""Run lengths of the sparse versions; own choice, as in Eyeriss (JSSC'17) but for one bit."""


@dataclass(frozen=True)
class Recorded:
    """What AccelForge (1c1929c2, one process) found and took, as measured on another day of the same kind of machine.

    Attributes:
        joules, seconds: of the mapping it found.
        cold, warm: CPU seconds of the first call in a process, and of the second.
        nest: that mapping, as loops of our levels; empty where it was not kept.
    """

    joules: float
    seconds: float
    cold: float
    warm: float
    nest: Mapping[str, LevelMapping] = field(default_factory=dict)


def gemm(n: int, densities: Mapping[str, Any] | None = None) -> Einsum:
    """A square matrix product."""
    return Einsum.parse("O[m,n] = I[m,k] * W[k,n]", {"m": n, "n": n, "k": n}, name=f"gemm{n}", densities=densities)


def convolution(densities: Mapping[str, Any] | None = None) -> Einsum:
    """ResNet-50's 3×3 convolution of 128 to 128 channels, 28×28 outputs."""
    shape = {"m": 128, "c": 128, "p": 28, "q": 28, "r": 3, "s": 3}
    return Einsum.parse("O[m,p,q] = I[c,p+r,q+s] * W[m,c,r,s]", shape, name="conv3x3", densities=densities)


def decoder_layer(
    tokens: int = 2048, heads: int = 32, per_head: int = 128, wide: int = 16384
) -> list[tuple[Einsum, int]]:
    """The products of a GPT-3 6.7B decoder layer with how often each shape occurs; 446,676,598,784 MACs."""
    t, h, e, d = tokens, heads, per_head, heads * per_head
    return [
        (Einsum.parse("O[m,h,e] = I[m,d] * W[h,e,d]", {"m": t, "h": h, "e": e, "d": d}, name="V, K, Q"), 3),
        (Einsum.parse("O[m,p,h] = I[m,h,e] * W[p,h,e]", {"m": t, "p": t, "h": h, "e": e}, name="QK"), 1),
        (Einsum.parse("O[m,h,f] = I[m,p,h] * W[p,h,f]", {"m": t, "p": t, "h": h, "f": e}, name="AV"), 1),
        (Einsum.parse("O[m,g] = I[m,h,f] * W[h,f,g]", {"m": t, "g": d, "h": h, "f": e}, name="Z"), 1),
        (Einsum.parse("O[m,c] = I[m,g] * W[g,c]", {"m": t, "g": d, "c": wide}, name="FFA"), 1),
        (Einsum.parse("O[m,j] = I[m,c] * W[c,j]", {"m": t, "c": wide, "j": d}, name="FFB"), 1),
    ]


def architecture(name: str, word_bits: int = 8) -> Architecture:
    """One of `peers/*.yaml`, for values of `word_bits`."""
    text = (PEERS / f"{name}.yaml").read_text(encoding="utf-8").replace("word: 8", f"word: {word_bits}")
    found = parse(text, file=f"{name}.yaml").architecture
    assert found is not None
    return found


def _fan(along_x: tuple[str, ...], along_y: tuple[str, ...], least: int | None) -> LoopConstraints:
    return LoopConstraints(x=along_x, y=along_y, least_fanout=least)


def _widest(einsum: Einsum, variables: tuple[str, ...], lanes: int) -> int:
    """The most of `lanes` that divisors of `variables` can fill."""
    best = {1}
    for v in variables:
        best = {a * f for a in best for f in range(1, lanes + 1) if einsum.shape[v] % f == 0 and a * f <= lanes}
    return max(best)


def constraints(name: str, einsum: Einsum, *, filled: bool = True) -> Constraints:
    """What AccelForge lets mappings of `einsum` do on the architecture `name`.

    A fan-out that reuses a tensor takes loops that this tensor has not. With `filled`, every fan-out is used as far as
    divisors can (its ``min_usage: 1``); without, lanes may idle, which is more mappings.
    """
    indexes = {t.name: set(t.variables) for t in einsum.tensors}
    every = tuple(einsum.shape)
    reuses = {t: tuple(v for v in every if v not in indexes[t]) for t in TENSORS}

    def fan(x: tuple[str, ...], width: int, y: tuple[str, ...] = (), height: int = 1) -> LoopConstraints:
        least = _widest(einsum, x, width) * _widest(einsum, y, height) if filled else None
        return _fan(x, y, least)

    keeps = LevelConstraints
    match name:
        case "tpu_v4i":
            levels = {
                "MainMemory": keeps(keep=TENSORS),
                "GlobalBuffer": keeps(free=TENSORS, spatial=fan(every, 4)),
                "LocalBuffer": keeps(keep=("I", "O"), bypass=("W",), spatial=fan(reuses["O"], 128, reuses["I"], 128)),
                "Register": keeps(keep=("W",), bypass=("I", "O")),
            }
        case "eyeriss":
            levels = {
                "MainMemory": keeps(keep=TENSORS),
                "GlobalBuffer": keeps(free=TENSORS, spatial=fan(reuses["W"], 14, reuses["O"], 12)),
                "InputScratchpad": keeps(keep=("I",), bypass=("W", "O")),
                "WeightScratchpad": keeps(keep=("W",), bypass=("I", "O")),
                "OutputScratchpad": keeps(keep=("O",), bypass=("I", "W")),
            }
        case _:
            levels = {
                "MainMemory": keeps(keep=TENSORS),
                "GlobalBuffer": keeps(keep=("I", "O"), bypass=("W",), spatial=fan(every, 16)),
                "InputBuffer": keeps(keep=("I",), bypass=("W", "O")),
                "WeightBuffer": keeps(keep=("W",), bypass=("I", "O")),
                "AccumulationBuffer": keeps(
                    keep=("O",), bypass=("I", "W"), spatial=fan(reuses["O"], 8, reuses["I"], 8)
                ),
                "Register": keeps(keep=("W",), bypass=("I", "O")),
            }
    return Constraints(levels=levels)


def sparse(dense: Architecture, einsum: Einsum, at: str) -> Architecture:
    """The design with run lengths in the main memory and both operands skipped at the level `at`."""
    every = tuple(einsum.shape)
    form = TensorFormat(
        ranks=(
            RankFormat(format=Format.UOP, payload_word_bits=0, metadata_word_bits=0),
            RankFormat(format=Format.RLE, variables=every, metadata_word_bits=METADATA_BITS),
        )
    )
    skips = tuple(
        ActionOptimization(kind=SafKind.SKIPPING, options=(LeaderFollower(follower=f, leaders=(t,)),))
        for f, t in (("I", "W"), ("W", "I"))
    )
    levels = []
    for i, level in enumerate(dense.levels):
        change: dict[str, Any] = {}
        if i == 0:
            bits = level.word_bits
            change |= {
                "formats": {"I": form, "W": form},
                "metadata_width_bits": bits,
                "metadata_word_bits": METADATA_BITS,
            }
            energy = dict(level.energy_pj or {})
            change["energy_pj"] = energy | {"metadata_read": energy["read"], "metadata_write": energy["write"]}
        if level.name == at:
            change["optimizations"] = skips
        levels.append(level.model_copy(update=change))
    return dense.model_copy(update={"levels": tuple(levels)})


def drained(problem: Problem, einsum: Einsum, nest: LoopNest) -> float:
    """Energy in pJ of reading outputs on their way up, which AccelForge charges to the memory that they leave.

    Our model, like Timeloop, charges the memory that takes them. Words that leave are those that are filled back and, per
    lane that adds to the same output, one each.
    """
    result = evaluate_problem(problem, nest)
    indexes = set(einsum.output.variables)
    outputs = math.prod(einsum.tensor_shape("O"))
    total, lanes = 0.0, 1
    for level in result.levels:
        account = level.tensors.get("O")
        if account is not None and level is not result.levels[0]:
            words = account.fills.actual * account.instances + outputs * lanes
            read = problem.architecture.level(level.name).energy_pj or {}
            total += words * read.get("read", 0.0)
        lanes *= math.prod(f for v, f in nest.at(level.name).spatial.items() if v not in indexes)
    return total


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Interrupt, as Ctrl-C does, after so many CPU seconds of this process: on a busy machine a clock on the wall would say little."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def timed(target: SearchProblem, seconds: float, memory_mb: float = 2000) -> tuple[Optimum, float]:
    """Search with a limit in CPU seconds: the answer and the CPU seconds it took.

    Raises:
        MappingError: when nothing that fits was found by then.
    """
    started = time.process_time()
    try:
        with cpu_limit(seconds):
            found = find_optimum(target.problem, target.space, target.objective, memory_mb=memory_mb)
    except KeyboardInterrupt:
        raise MappingError("the search was stopped before it had begun", hint="give it more time") from None
    return found, time.process_time() - started


@dataclass(frozen=True)
class Run:
    """An exact search: its answer and the CPU seconds of this process, after compilation."""

    optimum: Optimum
    cpu: float
    target: SearchProblem


def optimum(
    einsum: Einsum, design: Architecture, limits: Constraints, objective: str, seconds: float, memory_mb: float = 2000
) -> Run:
    """Build the map space and search it; both count."""
    problem = lower(einsum, design)
    SearchProblem(problem, MapSpace(einsum, design, limits), objective).prepare()
    started = time.process_time()
    target = SearchProblem(problem, MapSpace(einsum, design, limits), objective)
    laid_out = time.process_time() - started
    found, cpu = timed(target, seconds, memory_mb)
    return Run(found, laid_out + cpu, target)


def _nest(**levels: str) -> dict[str, LevelMapping]:
    """Mappings in short: ``temporal ; spatial X ; spatial Y ; keep``, loops outermost first."""
    out = {}
    for name, text in levels.items():
        temporal, x, y, keep = ([*part.split()] for part in text.split(";"))
        factors = [dict((v, int(f)) for v, _, f in (w.partition("=") for w in part)) for part in (temporal, x, y)]
        out[name] = LevelMapping(
            temporal=factors[0],
            temporal_order=tuple(factors[0]),
            spatial=factors[1] | factors[2],
            spatial_order=(*factors[2], *factors[1]),
            spatial_x=tuple(factors[1]),
            keep=tuple(keep),
        )
    return out


def _eyeriss_nest(outer: str) -> dict[str, LevelMapping]:
    return _nest(
        MainMemory=f"{outer} ; ; ; I W O", GlobalBuffer="m=8 ; m=8 ; k=8 ; W O", InputScratchpad="n=256 ; ; ; I",
        WeightScratchpad="m=4 ; ; ; W", OutputScratchpad="k=4 ; ; ; O",
    )  # fmt: skip


def _simba_nest(outer: str) -> dict[str, LevelMapping]:
    return _nest(
        MainMemory=f"{outer} ; ; ; I W O", GlobalBuffer="; n=4 k=4 ; ; I O", InputBuffer="n=8 ; ; ; I",
        WeightBuffer="; ; ; W", AccumulationBuffer="k=8 ; k=8 ; n=8 ; O", Register="m=128 ; ; ; W",
    )  # fmt: skip


_TPU_1024: Final = _nest(
    MainMemory="; ; ; I W O", GlobalBuffer="n=8 ; m=4 ; ; W", LocalBuffer="k=8 ; k=128 ; n=128 ; I O", Register="m=256 ; ; ; W"
)  # fmt: skip
_TPU_4096: Final = _nest(
    MainMemory="; ; ; I W O", GlobalBuffer="m=2 k=32 ; n=2 m=2 ; ; I W", LocalBuffer="n=16 ; k=128 ; n=128 ; I O",
    Register="m=1024 ; ; ; W",
)  # fmt: skip

RECORDED: Final[dict[tuple[str, str, str], Recorded]] = {
    ("tpu_v4i", "gemm1024", "energy"): Recorded(4.055304802e-4, 1.5603809516e-5, 4.13, 2.33, _TPU_1024),
    ("tpu_v4i", "gemm1024", "edp"): Recorded(4.055304802e-4, 1.5603809516e-5, 4.44, 2.23, _TPU_1024),
    ("tpu_v4i", "gemm4096", "energy"): Recorded(1.422654236e-2, 9.986438090e-4, 5.35, 2.45, _TPU_4096),
    ("tpu_v4i", "gemm4096", "edp"): Recorded(1.422654236e-2, 9.986438090e-4, 9.98, 3.11, _TPU_4096),
    ("eyeriss", "gemm1024", "energy"): Recorded(
        4.692443511e-3, 8.388607949e-2, 3.27, 1.16, _eyeriss_nest("m=4 n=4 k=32")
    ),
    ("eyeriss", "gemm1024", "edp"): Recorded(4.692443511e-3, 8.388607949e-2, 2.89, 1.24, _eyeriss_nest("m=4 n=4 k=32")),
    ("eyeriss", "gemm4096", "energy"): Recorded(
        0.2972998193, 5.368709087, 4.46, 1.30, _eyeriss_nest("m=16 n=16 k=128")
    ),
    ("eyeriss", "gemm4096", "edp"): Recorded(0.2972998193, 5.368709087, 5.84, 1.83, _eyeriss_nest("m=16 n=16 k=128")),
    ("simba", "gemm1024", "energy"): Recorded(1.221395136e-3, 3.249999881e-2, 5.33, 0.47, _simba_nest("m=8 n=4 k=4")),
    ("simba", "gemm1024", "edp"): Recorded(1.221395136e-3, 3.249999881e-2, 5.93, 0.52, _simba_nest("m=8 n=4 k=4")),
    ("simba", "gemm4096", "edp"): Recorded(7.486807429e-2, 1.960000038, 7.23, 0.65, _simba_nest("m=32 n=16 k=16")),
}
"""AccelForge's optima of its own model (facts recorded once; see `benchmarks/README.md`)."""

UNFINISHED: Final = {"eyeriss": 626.0, "tpu_v4i": 55.0, "simba": 86.0}
"""CPU seconds after which AccelForge had not finished the 3×3 convolution."""

DECODER: Final = {
    "energy": Recorded(0.2193226412, 7.849925838e-3, 53.9, 31.7),
    "edp": Recorded(0.2193226412, 7.849925838e-3, 100.6, 41.2),
}
