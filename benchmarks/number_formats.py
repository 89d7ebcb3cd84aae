"""Number formats: speed and memory on a 4096×4096 matrix, noise by distribution, and noise against the crest factor.

python benchmarks/number_formats.py [--quick]
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np
from numpy.typing import NDArray

from fiberloom.representation.formats import EXAMPLES, Integer, crest_factor, fidelity, number_format
from fiberloom.representation.formats.crest import crossover, foretold_qsnr_db
from fiberloom.representation.formats.minifloats import FP4_E2M1, FP6_E2M3, FP8_E4M3

BLOCK = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller matrix")
    quick = parser.parse_args().quick
    speed(1024 if quick else 4096)
    distributions(256 if quick else 1024)
    crests()


def speed(size: int) -> None:
    """CPU-seconds of rounding and storing (two threads share them), and most memory beside the array, of every format."""
    array = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    print(
        f"\n| {size}×{size} | round, CPU-s | quantize | dequantize | memory, × array |\n| --- | --- | --- | --- | --- |"
    )
    for name in EXAMPLES:
        if name == "uint8":
            continue
        found = number_format(name)
        found.round(array[:64])
        begin = time.process_time()
        found.round(array)
        rounded = time.process_time()
        quantized = found.quantize(array)
        stored = time.process_time()
        quantized.dequantize()
        seconds = (rounded - begin, stored - rounded, time.process_time() - stored)
        del quantized
        tracemalloc.start()
        found.round(array)
        peak = tracemalloc.get_traced_memory()[1] / array.nbytes
        tracemalloc.stop()
        print(f"| {name} | {' | '.join(f'{s:.2f}' for s in seconds)} | {peak:.2f} |")


def distributions(rows: int) -> None:
    """QSNR by distribution."""
    rng = np.random.default_rng(0)
    shape = (rows, 4096)
    drawn = {
        "Gaussian": rng.standard_normal(shape),
        "Laplace": rng.laplace(size=shape),
        "Student t, 3 degrees": rng.standard_t(3, shape),
        "Gaussian, 1 % of columns × 40": rng.standard_normal(shape) * np.where(rng.random(shape[1]) < 0.01, 40, 1),
    }
    names = ("mxint8/ceil", "mxfp8/ceil", "int8", "fp8", "mxint4/ceil", "mxfp4/ceil", "nvint4", "nvfp4")
    names += ("hadamard(nvint4)", "hadamard(nvfp4)")
    print(f"\n| QSNR, dB | crest factor of 32 | {' | '.join(names)} |\n| --- | --- |{' --- |' * len(names)}")
    for title, values in drawn.items():
        array = values.astype(np.float32)
        noise = " | ".join(f"{qsnr(name, array):.1f}" for name in names)
        print(f"| {title} | {crest_factor(array, 32):.2f} | {noise} |")


def crests() -> None:
    """Closed forms beside measured noise, and crossovers."""
    print(
        "\n| crest factor | int8 foretold | measured | fp8-e4m3 foretold | measured |\n| --- | --- | --- | --- | --- |"
    )
    for crest in (4.5, 6.0, 7.0, 7.55, 8.0, 9.0, 12.0, 20.0):
        array = with_crest(crest)
        cells = [
            figure
            for name, element in (("int8", Integer(8)), ("fp8", FP8_E4M3))
            for figure in (foretold_qsnr_db(element, crest), qsnr(f"{name}/v{BLOCK}/e8m0/ceil", array))
        ]
        print(f"| {crest} | {' | '.join(f'{c:.2f}' for c in cells)} |")
    print()
    for bits, element in ((8, FP8_E4M3), (6, FP6_E2M3), (4, FP4_E2M1)):
        print(f"crossover of int{bits} and {element.symbol}: {crossover(Integer(bits), element):.2f}")


def with_crest(crest: float, blocks: int = 1000) -> NDArray[np.float32]:
    """Blocks of Gaussian values with one more that makes the crest factor, at scales spread over a factor of 2."""
    rng = np.random.default_rng(0)
    values = np.clip(rng.standard_normal((blocks, BLOCK)), -0.99 * crest, 0.99 * crest)
    values[:, 0] = crest * np.sqrt(np.square(values[:, 1:]).sum(axis=1) / (BLOCK - crest**2))
    return (values * np.exp2(rng.uniform(0, 1, (blocks, 1)))).astype(np.float32)


def qsnr(name: str, array: NDArray[np.float32]) -> float:
    return fidelity(array, number_format(name).round(array)).qsnr_db


if __name__ == "__main__":
    main()
