"""AIRCHITECT v2 and v1 beside tables, trees, neighbours, constants and searches, on labels made exhaustively by fiberloom.

    python benchmarks/airchitect.py                      # label, train, judge, write benchmarks/results/explore/airchitect.md
    python benchmarks/airchitect.py --quick              # a few minutes' look
    python benchmarks/airchitect.py --ship               # … and keep the v2 model where `fiberloom recommend` finds it

Labels and models are kept in `--folder` and made only where they are missing. Needs the extras ``torch``, ``learn``, ``onnx``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from airchitect_report import Row, report
from airchitect_workloads import HELD_OUT, NETWORK_CAPS_MM2, HeldOut, held_out_bounds, layer_labels
from fiberloom.explore.learned import baselines, training
from fiberloom.explore.learned.advice import best_answer, total_costs
from fiberloom.explore.learned.designs import DATAFLOWS, OBJECTIVES, DesignSpaceModel
from fiberloom.explore.learned.export import export_onnx, one_shot
from fiberloom.explore.learned.inputs import tokens
from fiberloom.explore.learned.labelling import Labels, best_designs, label, random_labels
from fiberloom.explore.learned.ordinal import OrdinalCode
from fiberloom.explore.learned.recommender import SHIPPED, OneShot
from fiberloom.explore.learned.scoring import into_caps, score

RESULTS = Path(__file__).parent / "results" / "explore"
PACKAGE = Path(training.__file__).parent
TEST_PRODUCTS = 2500


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    train, seconds = _training_labels(arguments)
    learned, notes = _learned(train, arguments)
    plain, more_notes = _plain(train)
    predictors = plain | learned
    notes |= more_notes
    sets = {
        "random": _labels(arguments, "test", lambda: random_labels(
            300 if arguments.quick else TEST_PRODUCTS, seed=2, objective=arguments.objective, keep_costs=True,
            without=held_out_bounds(),
        )),
        "language": layer_labels("language", arguments.objective),
        "vision": layer_labels("vision", arguments.objective),
    }  # fmt: skip
    networks = [_NetworkCase(network, dataflow, arguments.objective) for network in HELD_OUT for dataflow in DATAFLOWS]
    rows = []
    searches = _searches()
    for name, predict in (predictors | searches).items():
        begun = time.process_time()
        scores = {kind: score(labels, predict(labels)) for kind, labels in sets.items()}
        per_row = (time.process_time() - begun) / sum(len(labels) for labels in sets.values())
        budget = searches[name].evaluations if name in searches else None
        answers = [(case.family, case.answers(predict, budget)) for case in networks]
        regrets = {f: [r for family, found in answers for r, _ in found if family == f] for f in _FAMILIES}
        evaluated = float(np.mean([count for _, found in answers for _, count in found]))
        rows.append(Row(name, scores, regrets, evaluated, per_row, notes.get(name, "")))
        print(f"{name}: {scores['random']}", file=sys.stderr, flush=True)
    text = report(rows, train, sets, seconds)
    if not arguments.quick:
        RESULTS.mkdir(parents=True, exist_ok=True)
        suffix = "" if arguments.objective == "latency" else f"-{arguments.objective}"
        (RESULTS / f"airchitect{suffix}.md").write_text(text)
    print(text)


_FAMILIES = ("language", "vision")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=120_000, help="random products to label and train on")
    parser.add_argument("--objective", choices=OBJECTIVES, default=OBJECTIVES[0])
    parser.add_argument(
        "--epochs", type=int, default=6, help="of v2's encoder and decoder each; v1 trains twice as many"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("build/airchitect"), help="where labels and models are kept"
    )
    parser.add_argument(
        "--ablations", action="store_true", help="v2 without contrast, without performance head, with other codes"
    )
    parser.add_argument("--ship", action="store_true", help="keep the v2 model in the package")
    parser.add_argument("--quick", action="store_true", help="2,000 products, two epochs; nothing is recorded")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.products, arguments.epochs = min(arguments.products, 2000), 2
        arguments.folder = arguments.folder / "quick"
    return arguments


def _labels(arguments: argparse.Namespace, kind: str, make: Callable[[], Labels]) -> Labels:
    path: Path = arguments.folder / f"{kind}-{arguments.objective}.npz"
    if not path.exists():
        make().save(path)
    return Labels.load(path)


def _training_labels(arguments: argparse.Namespace) -> tuple[Labels, float]:
    """Training rows, and the CPU seconds that a thousand of its products take to label."""

    def told(done: int) -> None:
        if done % 5000 == 0:
            print(f"{done:,} of {arguments.products:,} products labelled", file=sys.stderr, flush=True)

    train = _labels(arguments, f"train-{arguments.products}", lambda: random_labels(
        arguments.products, seed=1, objective=arguments.objective, without=held_out_bounds(), progress=told
    ))  # fmt: skip
    begun = time.process_time()
    random_labels(200, seed=3, objective=arguments.objective)
    return train, 5 * (time.process_time() - begun)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _plain(train: Labels) -> tuple[dict[str, baselines.Predictor], dict[str, str]]:
    """Predictors without networks by name, and what is to be said about some."""
    notes: dict[str, str] = {}
    made: dict[str, baselines.Predictor] = {
        "constant: most frequent design": baselines.most_frequent(train),
        "constant: most lanes under the cap": baselines.most_lanes(),
        "constant: largest buffer under the cap": baselines.largest_buffer(),
    }
    for name, fit in (
        ("table", baselines.table),
        ("nearest neighbour", lambda rows: baselines.neighbours(rows, 1)),
        ("five nearest neighbours", baselines.neighbours),
        ("gradient-boosted trees", baselines.trees),
    ):
        begun = time.process_time()
        made[name] = fit(train)
        notes[name] = f"{time.process_time() - begun:.0f} CPU s to fit"
        _say(f"{name}: {notes[name]}")
    return made, notes


def _learned(train: Labels, arguments: argparse.Namespace) -> tuple[dict[str, baselines.Predictor], dict[str, str]]:
    """AIRCHITECT v1, v2 and variants by name, and what is to be said about them."""
    notes: dict[str, str] = {}
    made: dict[str, baselines.Predictor] = {}
    schedule = training.Schedule(arguments.epochs)
    twice = training.Schedule(2 * arguments.epochs)  # an epoch of it costs a fifth of one of v2
    keep = Kept(arguments.folder, f"{arguments.objective}-{arguments.products}-{arguments.epochs}")
    classifier, log = keep("v1", training.Classifier, lambda: training.train_classifier(train, twice, _say))
    made["AIRCHITECT v1"] = _by_classifier(classifier)
    notes["AIRCHITECT v1"] = f"{log:.0f} CPU s to train, {_parameters(classifier):,} parameters"
    for name, variant in _variants(arguments.ablations).items():
        stage = f"encoder{'' if variant.contrast else '-no-contrast'}{'' if variant.performance else '-no-performance'}"

        def fit_encoder(v: _Variant = variant) -> tuple[training.Encoder, training.Log]:
            return training.train_encoder(train, schedule, contrast=v.contrast, performance=v.performance, report=_say)

        encoder, first = keep(stage, training.Encoder, fit_encoder)

        def fit_decoder(v: _Variant = variant, encoder: training.Encoder = encoder) -> tuple[nn.Module, training.Log]:
            decoder, log = training.train_decoder(encoder, train, schedule, codes=v.codes, hold=v.hold, report=_say)
            return nn.ModuleList([encoder, decoder]), log

        outputs = (64, 12) if variant.codes is None else (variant.codes[0].buckets, variant.codes[1].buckets)
        both, second = keep(
            name, lambda o=outputs: nn.ModuleList([training.Encoder(), training.Decoder(o)]), fit_decoder
        )
        encoder, decoder = both
        made[name] = _by_decoder(encoder, decoder, variant.codes)
        notes[name] = f"{first + second:.0f} CPU s to train, {_parameters(both):,} parameters"
        if name == _SHIPPED_VARIANT and variant.codes is not None:
            path = arguments.folder / SHIPPED
            command = (
                f"python benchmarks/airchitect.py --products {arguments.products} --epochs {arguments.epochs} --ship"
            )
            export_onnx(one_shot(encoder, decoder, train), path, codes=variant.codes, labels=train, made_by=command)
            made[name] = _by_file(path)
            notes[name] += f"; {path.stat().st_size / 1e6:.2f} MB as ONNX, which is what is judged here"
            if arguments.ship:
                (PACKAGE / SHIPPED).write_bytes(path.read_bytes())
    return made, notes


@dataclass(frozen=True)
class Kept:
    """Trained networks in a folder.

    Attributes:
        setting: what tells them from those of other settings.
    """

    folder: Path
    setting: str

    def __call__(
        self, name: str, make: Callable[[], nn.Module], fit: Callable[[], tuple[nn.Module, training.Log]]
    ) -> tuple[Any, float]:
        """The network and the CPU seconds of its training, from its file or from `fit`."""
        path = self.folder / f"{name.replace(' ', '-').replace(',', '')}-{self.setting}.pt"
        if not path.exists():
            fitted, log = fit()
            torch.save({"weights": fitted.state_dict(), "seconds": log.seconds}, path)
        content = torch.load(path, weights_only=True)
        network = make()
        network.load_state_dict(content["weights"])
        return network.eval(), content["seconds"]


@dataclass(frozen=True)
class _Variant:
    """v2, or v2 with one thing changed."""

    contrast: bool = True
    performance: bool = True
    hold: bool = True
    codes: tuple[OrdinalCode, OrdinalCode] | None = field(default_factory=training.default_codes)


_SHIPPED_VARIANT = "v2, encoder trained on with the decoder"


def _variants(ablations: bool) -> dict[str, _Variant]:
    made = {"AIRCHITECT v2": _Variant(), _SHIPPED_VARIANT: _Variant(hold=False)}
    if ablations:
        made |= {
            "v2, 16 buckets of arrays": _Variant(codes=training.default_codes(16)),
            "v2, classes for ordinal vectors": _Variant(codes=None),
            "v2 without contrast": _Variant(contrast=False),
            "v2 without performance head": _Variant(performance=False),
        }
    return made


@dataclass(frozen=True)
class _Search:
    """A search that looks the true costs up, under a budget."""

    search: Callable[[Labels, int], baselines.Designs]
    evaluations: int

    def __call__(self, labels: Labels) -> baselines.Designs:
        return self.search(labels, self.evaluations)


def _searches() -> dict[str, _Search]:
    return {
        f"{name}, {evaluations} evaluations": _Search(search, evaluations)
        for evaluations in (50, 500)
        for name, search in (("random search", baselines.random_search), ("genetic algorithm", baselines.genetic))
    }


def _parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _inputs(labels: Labels) -> tuple[torch.Tensor, torch.Tensor]:
    buckets, numbers = tokens(labels.bounds, labels.dataflow, labels.cap_mm2)
    return torch.from_numpy(buckets), torch.from_numpy(numbers)


def _by_classifier(model: training.Classifier) -> baselines.Predictor:
    def predict(labels: Labels) -> baselines.Designs:
        with torch.no_grad():
            return np.asarray(model(*_inputs(labels)).argmax(1).numpy())

    return predict


def _by_decoder(encoder: training.Encoder, decoder: training.Decoder, codes: object) -> baselines.Predictor:
    def predict(labels: Labels) -> baselines.Designs:
        with torch.no_grad():
            held, features, _ = encoder(*_inputs(labels))
            parts = decoder(held, features)
        if codes is None:
            array, buffer = (part.argmax(1).numpy() for part in parts)
        else:
            array, buffer = (code.decode(torch.sigmoid(part).numpy()) for code, part in zip(codes, parts, strict=True))
        return np.asarray(array * 12 + buffer)

    return predict


def _by_file(path: Path) -> baselines.Predictor:
    model = OneShot(path)
    return lambda labels: model.predict(labels.bounds, labels.dataflow, labels.cap_mm2).foretold


class _NetworkCase:
    """One design for a whole network under a dataflow: what predictors choose, and the exhaustive optimum."""

    def __init__(self, network: HeldOut, dataflow: str, objective: str) -> None:
        self.family = network.family
        self._products = network.products(dataflow)
        total = total_costs(DesignSpaceModel(), self._products, objective)
        caps = np.array(NETWORK_CAPS_MM2)
        self._layers = label(
            self._products, np.tile(caps, (len(self._products), 1)), objective=objective, keep_costs=True
        )
        best = best_designs(total, caps)
        first = self._layers.take(slice(len(caps)))
        self._whole = replace(first, design=best, best=total[best], product=np.zeros(len(caps), int), costs=total[None])

    def answers(self, predict: baselines.Predictor, budget: int | None) -> list[tuple[float, int]]:
        """For every cap, the cost of one design for the network over the best design's, and how many were evaluated.

        Args:
            budget: evaluations of a search on the whole network; None: `predict` answers for every layer, and the best of its
                different answers is taken.
        """
        caps, costs = self._whole.cap_mm2, self._whole.costs[0]
        if budget is not None:
            chosen, counts = predict(self._whole), [budget] * len(caps)
        else:
            within = into_caps(predict(self._layers), self._layers.cap_mm2)
            by_cap = within.reshape(len(self._products), len(caps)).T
            chosen = np.array([best_answer(designs, costs) for designs in by_cap])
            counts = [len(np.unique(designs)) for designs in by_cap]
        ratios = costs[chosen] / self._whole.best
        return [(float(ratio), count) for ratio, count in zip(ratios, counts, strict=True)]


if __name__ == "__main__":
    main()
