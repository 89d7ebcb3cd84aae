"""The table of `airchitect.py` as Markdown."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from airchitect_workloads import HELD_OUT, NETWORK_CAPS_MM2
from fiberloom.explore.learned.baselines import most_lanes
from fiberloom.explore.learned.designs import BUFFER_KIB, CLUSTERS, COUNT, LANES, areas_mm2, levels
from fiberloom.explore.learned.labelling import Labels
from fiberloom.explore.learned.scoring import Score

SETS = {"random": "Random products", "language": "Layers of language models", "vision": "Layers of vision models"}


@dataclass(frozen=True)
class Row:
    """A predictor.

    Attributes:
        scores: by set.
        networks: regrets on whole networks by family.
        evaluations: designs evaluated on a network, on average.
        seconds: CPU seconds an answer.
        note: what it took to train.
    """

    name: str
    scores: Mapping[str, Score]
    networks: Mapping[str, Sequence[float]]
    evaluations: float
    seconds: float
    note: str


def report(rows: Sequence[Row], train: Labels, sets: Mapping[str, Labels], label_seconds: float) -> str:
    """The whole page."""
    products = int(train.product.max()) + 1
    given = re.sub(r"--folder \S+ ?", "", " ".join(sys.argv[1:]))
    command = f"python benchmarks/airchitect.py {given}".strip()
    lines = [
        "# One-shot design on AIRCHITECT's space",
        "",
        f"`{command}`. Objective {train.objective} under an area cap; {products:,} random products, each with all "
        f"{COUNT} designs evaluated ({products * COUNT:,} designs; {label_seconds:.1f} CPU s a thousand products) and "
        f"labelled for {len(train) // products} caps. The layers of the networks below are left out of training. "
        f"One core; [docs/recommend.md](../../../docs/recommend.md) says what the space, the labels and the models are.",
        "",
        "## The labels",
        "",
        *_statistics(train),
        "",
        "## Who wins",
        "",
        *_verdict(rows),
        "",
        "## Predictors",
        "",
        "*Exact*: the label itself. *Near*: within one level of it in clusters and buffer. *Regret*: cost of the answer over the "
        "least cost under the cap: geometric mean, and 95th percentile. *Optimal*: answers that cost the least, as several designs "
        "may. *Over*: answers over the cap; they are judged as the nearest design within it. *An answer*: CPU seconds.",
    ]
    for kind, title in SETS.items():
        lines += ["", f"### {title}", "", f"{len(sets[kind]):,} rows.", ""]
        lines += _table(
            ("predictor", "exact", "near", "regret", "95 %", "optimal", "over", "an answer"),
            [_cells(row, row.scores[kind]) for row in rows],
        )
    caps = ", ".join(f"{cap:g}" for cap in NETWORK_CAPS_MM2)
    lines += [
        "",
        "### One design for a whole network",
        "",
        f"{len(HELD_OUT)} networks ({'; '.join(n.name for n in HELD_OUT)}) under three dataflows and caps of {caps} mm2. Predictors "
        "answer for every layer; their different answers are evaluated on the whole network, and the best is taken. Searches "
        "evaluate the whole network. *Evaluations*: designs evaluated on a network, on average. Regret: geometric mean, and the "
        "largest.",
        "",
        *_table(
            ("predictor", "language models", "largest", "vision models", "largest", "evaluations"),
            [
                (
                    row.name,
                    *(c for f in ("language", "vision") for c in _regrets(row.networks[f])),
                    f"{row.evaluations:.1f}",
                )
                for row in rows
            ],
        ),
        "",
        "## Training",
        "",
        *[f"* {row.name}: {row.note}." for row in rows if row.note],
        "",
    ]
    return "\n".join(lines)


def _verdict(rows: Sequence[Row]) -> list[str]:
    """For every question, predictors in order of their regret, and where searches stand among them."""
    asked: dict[str, dict[str, float]] = {
        title: {row.name: row.scores[kind].regret for row in rows} for kind, title in SETS.items()
    }
    for family in ("language", "vision"):
        title = f"One design for a whole {family} network"
        asked[title] = {row.name: float(np.exp(np.mean(np.log(row.networks[family])))) for row in rows}
    lines = [
        "Geometric mean of the regret in percent, the best first. Searches, in italics, evaluate designs; the "
        "others none, or for a network their answers for its layers.",
        "",
    ]
    for title, regrets in asked.items():
        ranked = sorted(regrets, key=lambda name: regrets[name])
        shown = [
            f"{f'*{name}*' if 'evaluations' in name else name} {100 * (regrets[name] - 1):.1f}"
            for name in ranked
            if "constant" not in name
        ]
        lines.append(f"* {title}: {'; '.join(shown)}.")
    return lines


def _statistics(train: Labels) -> list[str]:
    top = Counter(train.design.tolist()).most_common(5)
    named = []
    for design, count in top:
        array, buffer = levels(design)
        named.append(f"{LANES * CLUSTERS[array]} lanes, {BUFFER_KIB[buffer]} KiB: {count / len(train):.1%}")
    lanes = most_lanes()(train)
    largest = np.mean(train.array_level == len(CLUSTERS) - 1)
    areas = areas_mm2()
    return [
        f"* {len(set(train.design.tolist()))} of {COUNT} designs are a label; areas are {areas.min():.2f} to {areas.max():.2f} mm2.",
        f"* Most frequent: {'; '.join(named)}.",
        f"* The largest array is the label of {largest:.1%}; the most lanes under the cap (with the largest buffer beside them) of "
        f"{np.mean(lanes == train.design):.1%}; as many lanes as that, with any buffer, of "
        f"{np.mean(levels(lanes)[0] == train.array_level):.1%}.",
        "* Buffers: " + ", ".join(
            f"{size} KiB {share:.1%}"
            for size, share in zip(BUFFER_KIB, np.bincount(train.buffer_level, minlength=12) / len(train), strict=True)
        ) + ".",
    ]  # fmt: skip


def _cells(row: Row, s: Score) -> tuple[str, ...]:
    return (
        row.name, f"{s.exact:.1%}", f"{s.near:.1%}", f"{s.regret:.3f}", f"{s.regret_95:.2f}", f"{s.optimal:.1%}",
        f"{s.outside:.1%}", _seconds(row.seconds),
    )  # fmt: skip


def _seconds(value: float) -> str:
    return f"{value * 1e3:.2g} ms" if value >= 1e-3 else f"{value * 1e6:.2g} µs"


def _regrets(values: Sequence[float]) -> tuple[str, str]:
    return f"{np.exp(np.mean(np.log(values))):.3f}", f"{max(values):.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "| --- |" + " ---: |" * (len(head) - 1),
        *("| " + " | ".join(cells) + " |" for cells in rows),
    ]
