"""Memory traces: who asks for which line when. Synthetic ones from a seed; `trace_files` reads given ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fiberloom.errors import SpecError, nearest
from fiberloom.explore.dram.device import CAPACITY_BYTES, LINE_BYTES, Integers, place

MOST_CLOCKS: Final = 10**10
"""Longest trace, 8.3 s: a slip in a time stamp should not become a simulation of weeks."""

MOST_INITIATORS: Final = 64


@dataclass(frozen=True)
class Trace:
    """Requests of one 64-byte line each, N of them. Each initiator's requests are in order.

    Attributes:
        when: (N,) memory clock of the request; of one that waits, clocks after the initiator's latest response.
        waits: (N,) whether it waits until all earlier requests of its initiator are answered.
        write: (N,).
        address: (N,) bytes.
        initiator: (N,) from 0.
    """

    when: Integers
    waits: NDArray[np.bool_]
    write: NDArray[np.bool_]
    address: Integers
    initiator: Integers

    def __post_init__(self) -> None:
        if not len(self.when):
            raise SpecError("the trace has no requests", hint="give at least one")
        if int(self.address.min()) < 0 or int(self.address.max()) >= CAPACITY_BYTES:
            raise SpecError(
                "an address of the trace lies outside the memory", hint=f"the rank holds {CAPACITY_BYTES:,} bytes"
            )
        if int(self.when.min()) < 0 or int(self.when.max()) > MOST_CLOCKS:
            raise SpecError("a time of the trace is out of range", hint=f"0 to {MOST_CLOCKS:,} memory clocks")
        if int(self.initiator.min()) < 0 or int(self.initiator.max()) >= MOST_INITIATORS:
            raise SpecError("an initiator of the trace is out of range", hint=f"0 to {MOST_INITIATORS - 1}")

    def __len__(self) -> int:
        return len(self.when)

    def to_dict(self) -> dict[str, list[int]]:
        """As plain numbers, by attribute."""
        return {field.name: getattr(self, field.name).astype(np.int64).tolist() for field in fields(self)}

    @classmethod
    def from_dict(cls, columns: Mapping[str, Sequence[int]]) -> Trace:
        """From what `to_dict` gave."""
        when, waits, write, address, initiator = (np.array(columns[f.name], dtype=np.int64) for f in fields(cls))
        return cls(when, waits.astype(bool), write.astype(bool), address, initiator)

    @cached_property
    def packed(self) -> tuple[Integers, Integers, Integers]:
        """As the simulation reads it: requests, their sequence by initiators, and where each initiator begins in that."""
        bank, row, column = place(self.address)
        present, initiator = np.unique(self.initiator, return_inverse=True)
        counted = np.bincount(initiator, minlength=len(present))
        return (
            np.column_stack([self.when, self.waits, self.write, bank, row, column, initiator]).astype(np.int64),
            np.argsort(initiator, kind="stable").astype(np.int64),
            np.concatenate([[0], np.cumsum(counted)]).astype(np.int64),
        )


def merge(parts: Sequence[Trace]) -> Trace:
    """Traces that run at the same time, each by initiators of its own."""
    offsets = np.cumsum([0, *(int(p.initiator.max()) + 1 for p in parts)])
    return Trace(
        np.concatenate([p.when for p in parts]),
        np.concatenate([p.waits for p in parts]),
        np.concatenate([p.write for p in parts]),
        np.concatenate([p.address for p in parts]),
        np.concatenate([p.initiator + o for p, o in zip(parts, offsets[:-1], strict=True)]),
    )


def synthetic(kind: str, requests: int = 1000, seed: int = 0) -> Trace:
    """A synthetic trace; the same arguments give the same trace.

    Args:
        kind: a name in `KINDS`.

    Raises:
        SpecError: for a kind that there is not, or no requests.
    """
    if kind not in KINDS:
        raise SpecError(f"there is no trace '{kind}'", hint=nearest(kind, KINDS))
    if isinstance(requests, bool) or not isinstance(requests, int) or not 1 <= requests <= 10_000_000:
        raise SpecError(f"{requests} requests", hint="a whole number from 1 to 10,000,000")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SpecError(f"the seed is {seed}", hint="a whole number from 0")
    return KINDS[kind](requests, np.random.default_rng(seed))


def _trace(
    when: Integers, line: Integers, write: NDArray[np.bool_], *, waits: bool = False, initiator: int = 0
) -> Trace:
    n = len(when)
    return Trace(
        when.astype(np.int64),
        np.full(n, waits),
        write,
        line.astype(np.int64) % (CAPACITY_BYTES // LINE_BYTES) * LINE_BYTES,
        np.full(n, initiator, np.int64),
    )


def _gaps(rng: np.random.Generator, n: int, mean: float) -> Integers:
    """Clocks between requests that come at random, at least one."""
    return 1 + rng.geometric(1 / mean, n).astype(np.int64) - 1 if mean > 1 else np.ones(n, np.int64)


def _lines(rng: np.random.Generator, n: int) -> Integers:
    return rng.integers(CAPACITY_BYTES // LINE_BYTES, size=n)


def stream(n: int, rng: np.random.Generator) -> Trace:
    """c = a + b over long arrays: two reads and a write in turn, a request every 5 clocks (80 % of the data bus)."""
    step = np.arange(n)
    base = _lines(rng, 3)
    return _trace(step * 5, base[step % 3] + step // 3, step % 3 == 2)


def random(n: int, rng: np.random.Generator) -> Trace:
    """Lines all over the memory, 70 % reads, 10 clocks apart on average: rows hardly ever hit."""
    return _trace(np.cumsum(_gaps(rng, n, 10)), _lines(rng, n), rng.random(n) > 0.7)


def strided(n: int, rng: np.random.Generator) -> Trace:
    """A column of a row-major matrix with rows of 32 KiB, read and now and then (1 in 4) written, every 16 clocks."""
    step = np.arange(n)
    return _trace(step * 16, _lines(rng, 1)[0] + step * (32_768 // LINE_BYTES), step % 4 == 3)


def pointer_chase(n: int, rng: np.random.Generator) -> Trace:
    """Each read needs the answer of the one before and comes 10 clocks after it."""
    return _trace(np.full(n, 10), _lines(rng, n), np.zeros(n, bool), waits=True)


def cloud(n: int, rng: np.random.Generator, *, writes: float, calm: float, burst: int) -> Trace:
    """Four initiators at once: a server that works in bursts on popular rows, one that copies, one that chases pointers, and
    random background traffic.

    Args:
        writes: share of the bursts' requests.
        calm: mean clocks between bursts.
        burst: mean requests of a burst.
    """
    shares = [n - 3 * (n // 5), n // 5, n // 5, n // 5]
    m = shares[0]
    starts = rng.random(m) < 1 / burst
    when = np.cumsum(np.where(starts, _gaps(rng, m, calm), 3))
    popular = _lines(rng, 32) // 4
    rank = np.minimum(rng.zipf(1.5, m), len(popular)) - 1  # a few rows get most requests
    bursts = _trace(when, popular[rank] * 4 + rng.integers(4 * 128, size=m), rng.random(m) < writes)
    span = int(when[-1])
    parts = [bursts]
    if shares[1]:
        each = max(span // shares[1], 1)
        step = np.arange(shares[1])
        parts.append(_trace(step * each, _lines(rng, 2)[step % 2] + step // 2, step % 2 == 1))
        parts.append(_trace(np.full(shares[2], each // 2), _lines(rng, shares[2]), step < 0, waits=True))
        parts.append(
            _trace(np.cumsum(_gaps(rng, shares[3], each)), _lines(rng, shares[3]), rng.random(shares[3]) < 0.3)
        )
    return merge(parts)


def cloud_1(n: int, rng: np.random.Generator) -> Trace:
    """`cloud`, mostly reading, in short bursts."""
    return cloud(n, rng, writes=0.2, calm=400, burst=12)


def cloud_2(n: int, rng: np.random.Generator) -> Trace:
    """`cloud`, writing as much as reading, in long bursts with long pauses."""
    return cloud(n, rng, writes=0.5, calm=6000, burst=60)


KINDS: Final[dict[str, Callable[[int, np.random.Generator], Trace]]] = {
    "stream": stream,
    "random": random,
    "strided": strided,
    "pointer-chase": pointer_chase,
    "cloud-1": cloud_1,
    "cloud-2": cloud_2,
}
"""Synthetic traces by name."""
