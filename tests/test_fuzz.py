"""Damaged specifications: each is evaluated or refused with an error of ours; no hang, no NaN, no negative count."""

import contextlib
import copy
import math
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fiberloom.architecture import library
from fiberloom.errors import FiberloomError
from fiberloom.input.native_dump import dump
from fiberloom.input.specification import Specification, parse
from fiberloom.model.evaluate import evaluate
from gemm import GEMM
from input_examples import NATIVE, TIMELOOP

REFERENCE = Path(os.environ.get("FIBERLOOM_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))
SECONDS = 20
"""Time that one specification may take; reading and evaluating takes milliseconds."""

ODD = (
    *(-1, 0, 1, 2, 3, 7, 1.5, 0.0, -0.5, 1e-300, 1e300, 10**9, 2**31, 2**62, 2**64, 10**18),
    *(math.nan, math.inf, -math.inf, None, True, False, "", "x", "A", "0", "-1", "2:4", "4:2", "9**99", "1/0"),
    *("a = b", "é", "dram", "SRAM", "UOP-CP", "U"),
    *([], {}, [[]], [None], {"": None}, ["A", "A"], {"A": -1}, {"distribution": "uniform"}, {"density": 2}),
)  # fmt: skip


def corpus() -> list[str]:
    """Own examples, designs of the library on two layers, and a sample of the reference inputs where there are any."""
    designs = [
        dump(Specification(run.workload, run.architecture, run.mapping))
        for title, runs in library.demo(("dense-tensor-core", "dstc", "eyeriss"))
        for run in runs
    ]
    inputs = sorted(REFERENCE.glob("cases/*/input.yaml"))
    return [
        NATIVE,
        TIMELOOP,
        GEMM,
        *designs,
        *(path.read_text(encoding="utf-8") for path in inputs[:: max(1, len(inputs) // 60)]),
    ]


def damaged(text: str, rng: random.Random) -> str:
    """`text` after one to three mutations of its structure or its characters."""
    if rng.random() < 0.75:
        tree = yaml.load(text, Loader=yaml.CSafeLoader)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            mutate_tree(tree, rng)
        return yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False)
    for _ in range(rng.choice((1, 1, 2))):
        text = mutate_text(text, rng)
    return text


def mutate_tree(tree, rng):
    places = list(walk(tree))
    if not places:
        return
    parent, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[str(key) + rng.choice("sx_")] = parent.pop(key)
        case 2 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        case 3:
            other, other_key = rng.choice(places)
            with contextlib.suppress(KeyError, IndexError, TypeError):
                parent[key] = copy.deepcopy(other[other_key])
        case 4 | 5 if isinstance(parent[key], (int, float)) and not isinstance(parent[key], bool):
            parent[key] = rng.choice(
                (parent[key] * 2, parent[key] + 1, parent[key] - 1, -parent[key], parent[key] * 10**6)
            )
        case 6 if isinstance(parent[key], str) and parent[key]:
            parent[key] = mutate_text(parent[key], rng)
        case _:
            parent[key] = copy.deepcopy(rng.choice(ODD))


def walk(value) -> Iterator[tuple]:
    """Every (container, key) inside `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from walk(inner)


def mutate_text(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text)) if text else 0
    match rng.randrange(7):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + text[at + rng.randrange(1, 12) :]
        case 2:
            return text[:at] + rng.choice("0123456789-:{}[],&*!|>'\"\t\n\x00 ~<=/é") + text[at:]
        case 3:
            lines = text.split("\n")
            del lines[rng.randrange(len(lines))]
            return "\n".join(lines)
        case 4:
            lines = text.split("\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            return "\n".join(lines)
        case 5:
            digits = [i for i, character in enumerate(text) if character.isdigit()]
            if not digits:
                return text
            i = rng.choice(digits)
            return text[:i] + rng.choice("0123456789") + text[i + 1 :]
        case _:
            j = rng.randrange(len(text)) if text else 0
            return text[: min(at, j)] + text[max(at, j) :]


def numbers(value, path="") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from numbers(inner, f"{path}[{i}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


class Hang(BaseException):
    """Not an `Exception`, so that nothing on the way catches it."""


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    def stop(number, frame):
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


RULES = ("fiberloom", "fiberloom", "timeloop-4", "timeloop-3.0.3", "artifact")


def fate(text: str, rules: str) -> str:
    """``evaluated``, ``refused``, or what went wrong."""
    try:
        with alarm(SECONDS):
            spec = parse(text, file="damaged.yaml")
            if spec.workload is None or spec.architecture is None or spec.mapping is None:
                return "refused"
            result = evaluate(spec.workload, spec.architecture, spec.mapping, rules=rules).to_dict()
    except FiberloomError as error:
        return "refused" if len(str(error)) < 5000 else f"an error of {len(str(error))} characters"
    except Hang:
        return f"took more than {SECONDS} s"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    wrong = [(path, x) for path, x in numbers(result) if not math.isfinite(x) or x < 0]
    return f"numbers {wrong[:3]}" if wrong else "evaluated"


def fuzz(count: int, seed: int, folder: Path) -> dict[str, int]:
    """How often each fate befell `count` mutations; fails at the first that is none, and keeps its file in `folder`."""
    texts, fates = corpus(), {}
    for i in range(count):
        rng = random.Random(seed * 1_000_003 + i)
        text = damaged(rng.choice(texts), rng)
        rules = rng.choice(RULES)
        result = fate(text, rules)
        fates[result] = fates.get(result, 0) + 1
        if result not in {"evaluated", "refused"}:
            kept = folder / "damaged.yaml"
            kept.write_text(text, encoding="utf-8", errors="surrogatepass")
            pytest.fail(f"seed {seed}, mutation {i}, rules {rules}: {result}; the file is {kept}")
    return fates


def test_undamaged_examples_are_evaluated():
    fates = [fate(text, "fiberloom") for text in corpus()[2:]]
    # A few reference inputs name files or technologies that are nowhere.
    assert fates.count("evaluated") >= 0.95 * len(fates)
    assert set(fates) <= {"evaluated", "refused"}


def test_hundreds_of_damaged_specifications(tmp_path):
    fates = fuzz(300, 1, tmp_path)
    assert min(fates["evaluated"], fates["refused"]) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 22))
def test_thousands_of_damaged_specifications(seed, tmp_path):
    fates = fuzz(600, seed, tmp_path)
    assert min(fates["evaluated"], fates["refused"]) >= 40
