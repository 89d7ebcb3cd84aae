"""What representations cost in quality on small networks: pruning, TASD, TASDER, HSS, SDQ and number formats, several seeds.

    python benchmarks/representation_methods.py digits             # CNN on scikit-learn's digits
    python benchmarks/representation_methods.py bytes              # byte-level language model on Python's own sources
    python benchmarks/representation_methods.py minilm --model DIR # all-MiniLM-L6-v2: safetensors and tokenizer in DIR

Networks are trained here (``--weights DIR`` keeps what was trained). Tables go to ``--out`` as Markdown, figures beside them as JSON.
Needs the extra `torch`; digits scikit-learn, minilm safetensors and tokenizers.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fiberloom.representation.models import (
    Accuracy,
    Agreement,
    Perplexity,
    Quality,
    Search,
    compress,
    finetune,
    plain,
    tasder_activations,
    tasder_weights,
)
from fiberloom.representation.notation import read_representation
from fiberloom.representation.sdq import SDQ
from fiberloom.representation.term import Representation
from representation_minilm import minilm
from representation_networks import (
    ByteModel,
    Split,
    accuracy,
    cached,
    digits,
    digits_network,
    python_sources,
    train_bytes,
    train_digits,
)

V16 = "v16/e4m3"
SERIES = ("4:8+2:8", "4:8+1:8", "4:8", "2:4", "2:8+1:8", "2:8", "1:4", "1:8")
HSS = ("C1(4:4)->C0(2:4)", "C1(4:6)->C0(2:4)", "C1(4:8)->C0(2:4)", "C1(4:8)->C0(2:3)", "C1(4:8)->C0(2:2)")
METHODS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("int8", f"int8/{V16}", {"activations": "terms"}),
    ("fp8", f"fp8/{V16}", {"activations": "terms"}),
    ("int4", f"int4/{V16}", {"activations": "terms"}),
    ("fp4", f"fp4/{V16}", {"activations": "terms"}),
    ("mxfp4", "mxfp4", {"activations": "terms"}),
    ("magnitude 4:8", "4:8", {}),
    ("Wanda 4:8", "4:8", {"method": "wanda"}),
    ("SparseGPT 4:8", "4:8", {"method": "sparsegpt"}),
    ("Wanda 2:8", "2:8", {"method": "wanda"}),
    ("SparseGPT 2:8", "2:8", {"method": "sparsegpt"}),
    ("Wanda 4:8, int8", f"4:8 int8/{V16}", {"method": "wanda", "activations": "terms"}),
    ("SparseGPT 4:8, int8", f"4:8 int8/{V16}", {"method": "sparsegpt", "activations": "terms"}),
    ("SDQ 8:8, magnitude", f"1:8 int8/{V16} + 7:8 fp4/{V16}", {"activations": "terms"}),
    *(
        (f"SDQ {letter}, {criterion}", text, {"method": method, "criterion": criterion, "activations": "terms"})
        for text in ("7:8 => 1:8 int8 + 6:8 fp4", "7:8 => 1:8 int8 + 6:8 int4", "6:8 => 2:8 int8 + 4:8 fp4")
        for letter, method in (("Wanda", "wanda"), ("SparseGPT", "sparsegpt"))
        for criterion in ("magnitude", "product")
        if criterion == "product" or "6:8 fp4" in text
    ),
)
"""Label, weights, and how; formats of activations are those of the weights' term."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["digits", "bytes", "minilm"])
    parser.add_argument("--seeds", type=int, default=3, help="networks trained (digits, bytes)")
    parser.add_argument("--epochs", type=int, default=15, help="of training the digit CNN")
    parser.add_argument("--steps", type=int, default=460, help="of training the byte model, 4,096 bytes each")
    parser.add_argument("--weights", type=Path, help="folder to keep trained weights in")
    parser.add_argument("--model", type=Path, help="folder with MiniLM's model.safetensors and tokenizer.json")
    parser.add_argument("--texts", type=int, default=256, help="calibration texts of MiniLM; half as many judge")
    parser.add_argument("--threads", type=int, help="of PyTorch")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/representation"))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    {"digits": run_digits, "bytes": run_bytes, "minilm": run_minilm}[arguments.network](arguments)


def run_digits(arguments: argparse.Namespace) -> None:
    """Unstructured pruning, uniform TASD-W, TASDER, TASD-A, and HSS at once and fine-tuned."""
    rows: dict[str, list[dict[str, float]]] = {}

    def note(label: str, **figures: float) -> None:
        rows.setdefault(label, []).append(figures)
        print(label, {k: round(v, 4) for k, v in figures.items()}, flush=True)

    for seed in range(arguments.seeds):
        data = digits(seed)
        torch.manual_seed(seed)
        dense = digits_network()
        file = arguments.weights / f"digits-{arguments.epochs}-{seed}.pt" if arguments.weights else None
        cached(dense, file, lambda d=dense, p=data.train, s=seed: train_digits(d, p, arguments.epochs, s))
        extra = max(1, 2 * arguments.epochs // 3)
        more = tuned(dense, data.train, extra, seed)
        note("dense", test=accuracy(dense, data.test))
        note("dense, as many more epochs", test=accuracy(more, data.test))
        batches = list(data.train.images.split(128))
        search, judged = (Accuracy(part.images, part.labels) for part in (data.search, data.test))
        for sparsity in (0.8, 0.9, 0.95):
            pruned = compress(dense, largest(dense, 1 - sparsity)).model
            sparse = plain(tuned(pruned, data.train, extra, seed))
            note(f"unstructured {sparsity:g}, fine-tuned", test=accuracy(sparse, data.test))
            for text in SERIES:
                share = float(read_representation(text).stored_share or 0)
                found = accuracy(compress(sparse, text).model, data.test)
                note(f"unstructured {sparsity:g}, TASD-W {text} everywhere", compute=share, test=found)
            for rule, confidence in (("plain rule", None), ("bound", 0.95)):
                found_series = tasder_weights(sparse, search, batches, held_out=judged, confidence=confidence)
                note(f"unstructured {sparsity:g}, TASDER-W, {rule}", **searched(found_series))
        for text in SERIES:
            share = float(read_representation(text).stored_share or 0)
            held = compress(dense, "dense", activations=text).model
            note(f"dense, TASD-A {text} everywhere", compute=share, test=accuracy(held, data.test))
        for rule, confidence in (("plain rule", None), ("bound", 0.95)):
            found_series = tasder_activations(dense, search, batches, held_out=judged, confidence=confidence)
            note(f"dense, TASDER-A, {rule}", **searched(found_series))
        for text in HSS:
            compressed = compress(dense, text)
            density = sum(layer.density * math.prod(layer.shape) for layer in compressed.layers)
            density /= sum(math.prod(layer.shape) for layer in compressed.layers)
            note(f"HSS {text}, at once", density=density, test=accuracy(compressed.model, data.test))
            after = accuracy(tuned(compressed.model, data.train, extra, seed), data.test)
            note(f"HSS {text}, fine-tuned", density=density, test=after)
    columns = ("compute", "density", "search", "share_searched", "test", "share_test")
    write(
        arguments,
        "digits",
        rows,
        columns,
        f"{arguments.seeds} seeds, {arguments.epochs} epochs and {2 * arguments.epochs // 3} of fine-tuning, 540 test images",
    )


def largest(model: nn.Module, share: float) -> dict[str, str]:
    """For every layer, the share of its weights that are among the largest `share` of all weights."""
    weights = {
        name: m.weight.detach().abs() for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)
    }
    everything = torch.cat([w.flatten() for w in weights.values()])
    threshold = everything.kthvalue(int(len(everything) * (1 - share))).values
    return {name: f"unstructured({float((w > threshold).float().mean()):.6f})" for name, w in weights.items()}


def tuned(model: nn.Module, data: Split, epochs: int, seed: int) -> nn.Module:
    """Trained on for some epochs more, Adam with a learning rate of 1e-3."""
    generator = torch.Generator().manual_seed(seed + 1000)

    def batches() -> list[Tensor]:
        return list(torch.randperm(len(data), generator=generator).split(64))

    def loss(candidate: nn.Module, batch: Tensor) -> Tensor:
        return F.cross_entropy(candidate(data.images[batch]), data.labels[batch])

    return finetune(model, batches, loss, epochs, lambda parameters: torch.optim.Adam(parameters, lr=1e-3))


def searched(search: Search) -> dict[str, float]:
    """Figures of a search: on its own examples, and on others."""
    assert search.held_out is not None
    return {
        "compute": search.compute,
        "search": search.searched.quality,
        "share_searched": search.searched.share,
        "test": search.held_out.quality,
        "share_test": search.held_out.share,
    }


def run_bytes(arguments: argparse.Namespace) -> None:
    """Every method on byte models of several seeds; perplexity of a byte on windows of other files."""
    data = python_sources()
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(arguments.seeds):
        torch.manual_seed(seed)
        model = ByteModel()
        file = arguments.weights / f"bytes-{arguments.steps}-{seed}.pt" if arguments.weights else None
        cached(model, file, lambda m=model, s=seed: train_bytes(m, data, arguments.steps, s))
        judge = Perplexity(data.windows("test", 128, seed=1), batch=32)
        calibration = list(data.windows("train", 64, 128, seed=2).split(32))
        compare(rows, model, calibration, judge, ["head"], lambda quality: {"perplexity": 1 / quality})
    for figures in rows.values():
        for figure, before in zip(figures, rows["dense"], strict=True):
            figure["change_percent"] = 100 * (figure["perplexity"] / before["perplexity"] - 1)
    about = f"{arguments.seeds} seeds, {arguments.steps} steps of training, 128 test windows of 128 bytes"
    write(arguments, "bytes", rows, ("throughput", "bits", "perplexity", "change_percent"), about)


def run_minilm(arguments: argparse.Namespace) -> None:
    """Every method on MiniLM's 36 encoder matrices; mean cosine of embeddings to the original's on texts that calibrate nothing."""
    if arguments.model is None:
        raise SystemExit("minilm needs --model DIR with model.safetensors and tokenizer.json")
    model, texts = minilm(arguments.model, count=arguments.texts * 3 // 2, batch=16)
    calibration, judging = texts[: arguments.texts // 16], texts[arguments.texts // 16 :]
    rows: dict[str, list[dict[str, float]]] = {}
    judge = Agreement(model, judging)
    compare(rows, model, calibration, judge, [], lambda quality: {"cosine": quality})
    about = f"{arguments.texts} calibration and {arguments.texts // 2} test docstrings of Python's standard library, 128 tokens each"
    write(arguments, "minilm", rows, ("throughput", "bits", "cosine", "seconds"), about)


def compare(
    rows: dict[str, list[dict[str, float]]],
    model: nn.Module,
    calibration: Sequence[Any],
    judge: Quality,
    exclude: Sequence[str],
    figures: Callable[[float], dict[str, float]],
) -> None:
    """Add the figures of `METHODS` on one model to `rows`."""
    rows.setdefault("dense", []).append({"throughput": 1.0, "bits": 16.0, **figures(judge(model))})
    for label, text, how in METHODS:
        start = time.perf_counter()
        compressed = compress(model, text, calibration=calibration, exclude=exclude, **how)
        seconds = time.perf_counter() - start
        held: Representation = SDQ.read(text).representation if "=>" in text else read_representation(text)
        name = f"{label}: {text.replace('/' + V16, '')}"
        found = figures(judge(compressed.model))
        cost = {"throughput": held.ideal_throughput(), "bits": held.bits_per_weight()}
        rows.setdefault(name, []).append({**cost, **found, "seconds": seconds})
        print(name, {k: round(v, 4) for k, v in rows[name][-1].items()}, flush=True)


def write(
    arguments: argparse.Namespace,
    name: str,
    rows: dict[str, list[dict[str, float]]],
    columns: Sequence[str],
    about: str,
) -> None:
    """Means over seeds, with the standard deviation where there are several, as a table; all figures as JSON."""
    several = any(len(runs) > 1 for runs in rows.values())
    lines = [f"{name}: {about}." + (" Mean over seeds ± standard deviation." if several else ""), ""]
    lines += ["| | " + " | ".join(c.replace("_", " ") for c in columns) + " |", "| --- |" + " --- |" * len(columns)]
    for label, runs in rows.items():
        cells = []
        for column in columns:
            values = [run[column] for run in runs if column in run]
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 and np.std(values) > 0 else ""
            cells.append(f"{np.mean(values):.4f}{spread}" if values else "")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    (arguments.out / f"methods-{name}.md").write_text("\n".join(lines) + "\n")
    (arguments.out / f"methods-{name}.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
