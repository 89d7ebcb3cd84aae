"""Projects and measures a 4096 × 4096 weight under 17 series of N:M terms (TASD), with the time and memory of each.

    python benchmarks/representation_series.py [--size 4096]

Prints the relative error, the share of non-zeros dropped and the seconds of every series; the greedy error beside the least
possible where greedy is not optimal; and the most memory allocated beside the array, as a multiple of it. The first run compiles
(some ten seconds) before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc

import numpy as np

from fiberloom.representation import compare, decompose_optimally, greedy_is_optimal, measure, read_representation

SERIES = (
    "2:4", "1:4", "1:8", "2:8", "4:8", "2:4+1:4", "2:4+2:8", "2:4+1:8", "2:8+1:8", "4:8+1:8", "4:8+2:8", "2:4+2:4", "1:4+1:4",
    "4:8+2:8+1:8", "2:4+2:16", "4:16", "8:16",
)  # fmt: skip
ORDERS = ("2:8+2:4", "2:4+1:6", "1:6+2:4", "2:5+1:7", "4:8+2:12")
"""Series whose blocks are not nested, finest first."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    size = parser.parse_args().size
    rng = np.random.default_rng(0)
    array = rng.standard_normal((size, size), dtype=np.float32)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{size} × {size} float32, {cores} cores; numpy {np.__version__}")
    for text in SERIES:  # compile
        measure(array[:64, :480], read_representation(text))
    print(f"{'series':<14}{'error':>8}{'dropped':>9}{'seconds':>9}")
    total = 0.0
    for text in SERIES:
        start = time.perf_counter()
        found = measure(array, read_representation(text))
        took = time.perf_counter() - start
        total += took
        print(f"{text:<14}{found.relative_error:>8.4f}{found.dropped_nonzeros:>9.3f}{took:>9.2f}")
    print(f"{'all 17':<31}{total:>9.2f}")
    print(f"\nmost memory beside the array, as a multiple of it: {_memory(array):.2f}")
    print(f"\n{'greedy is not optimal':<22}{'greedy':>8}{'least':>8}{'seconds':>9}")
    part = array[: size // 4]
    for text in ORDERS:
        series = read_representation(text)
        assert not greedy_is_optimal(series)
        decompose_optimally(part[:8], series)  # compile
        start = time.perf_counter()
        least = compare(part, sum(decompose_optimally(part, series)))
        took = time.perf_counter() - start
        print(f"{text:<22}{measure(part, series).relative_error:>8.4f}{least.relative_error:>8.4f}{took:>9.2f}")


def _memory(array: np.ndarray) -> float:
    """Most bytes allocated while a series is projected whole, the result included, and while it is measured; the larger."""
    series = read_representation("4:8+2:8+1:8")
    tracemalloc.start()
    peaks = []
    for work in (lambda: series.project(array), lambda: measure(array, series)):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        work()
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    return max(peaks) / array.nbytes


if __name__ == "__main__":
    main()
