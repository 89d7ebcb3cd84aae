"""Run a directory of reference cases: how far apart are the numbers?

A case is a folder with ``input.yaml`` (a complete Timeloop/Sparseloop input) and ``expected.json`` (what a released
build printed for it). Every case is evaluated under the rules of the build that made it, which its name's prefix tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from fiberloom.errors import FiberloomError, Location, SpecError
from fiberloom.model.evaluation import Evaluation, MetadataCounts, TensorAccount

ACTIONS: Final = ("reads", "fills", "updates")
FATES: Final = (("random", "actual"), ("gated", "gated"), ("skipped", "skipped"))
"""Names of what became of an action: in ``expected.json`` and here."""

TOLERANCE: Final = 0.01
"""A share; one unit of the last rounding is allowed too."""
NEEDED: Final = 0.98
"""Share of cases that have to agree in every quantity."""


class Deviation(NamedTuple):
    """One number of a case beside its reference.

    `error` is the share by which they differ; 0 within one unit.
    """

    quantity: str
    where: str
    ours: float
    theirs: float
    error: float


@dataclass(frozen=True)
class CaseResult:
    """One case: its deviations, or why it could not be evaluated.

    Attributes:
        metadata: deviations of metadata counts, which are reported but do not decide whether a case agrees.
    """

    name: str
    deviations: tuple[Deviation, ...] = ()
    failure: str | None = None
    metadata: tuple[Deviation, ...] = field(default=())

    @property
    def worst(self) -> Deviation | None:
        """The largest deviation among those that decide; None without any."""
        return max(self.deviations, key=lambda d: d.error, default=None)

    @property
    def agrees(self) -> bool:
        """Whether cycles, energy and every count are within 1 % or one unit."""
        return self.failure is None and all(d.error <= TOLERANCE for d in self.deviations)


def rules_of(case: str) -> str:
    """The rule set of the build that made a case, by the prefix of its name."""
    if case.startswith("ship_ex"):
        return "timeloop-4"
    return "artifact" if case.startswith("ship_") else "timeloop-3.0.3"


def cases_in(directory: Path) -> list[Path]:
    """Folders of cases, sorted by name.

    Raises:
        SpecError: if there are none.
    """
    where = Location(file=str(directory))
    if not directory.is_dir():
        raise SpecError("there is no such directory", where=where, hint="give a folder that holds one folder per case")
    found = sorted(p.parent for p in directory.glob("*/expected.json") if (p.parent / "input.yaml").is_file())
    if not found:
        raise SpecError("no cases here", where=where, hint="a case is a folder with input.yaml and expected.json")
    return found


def run_case(case: Path) -> CaseResult:
    """Evaluate one case and compare every number."""
    from fiberloom.input.specification import read
    from fiberloom.model.evaluate import evaluate

    try:
        expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
        spec = read([case / "input.yaml"])
        if spec.workload is None or spec.architecture is None or spec.mapping is None:
            return CaseResult(case.name, failure="the input lacks workload, architecture or mapping")
        result = evaluate(
            spec.workload,
            spec.architecture,
            spec.mapping,
            rules=rules_of(case.name),
            base_directory=spec.base_directory,
        )
    except FiberloomError as error:
        return CaseResult(case.name, failure=str(error).replace("\n", " "))
    except (OSError, ValueError) as error:
        return CaseResult(case.name, failure=f"{type(error).__name__}: {error}")
    return CaseResult(case.name, tuple(compare(result, expected)), metadata=tuple(compare_metadata(result, expected)))


def compare(result: Evaluation, expected: dict[str, Any]) -> Iterator[Deviation]:
    """Cycles, energy, computes and data counts of `result` beside a case's ``expected.json``."""
    yield _deviation("cycles", "", result.cycles, expected["cycles"])
    if expected["energy_pj"] is not None:
        yield _deviation("energy", "", result.energy_pj, expected["energy_pj"], unit=0.0)
    for theirs, ours in FATES:
        if expected["compute"].get(theirs) is not None:
            yield _deviation("compute", ours, getattr(result.compute, ours), expected["compute"][theirs])
    for name, tensor, account, row in _pairs(result, expected):
        for action in ACTIONS:
            for theirs, ours in FATES:
                value = getattr(getattr(account, action), ours) if account is not None else float("nan")
                yield _deviation(action, f"{name}.{tensor} {ours}", value, row[action][theirs])


def compare_metadata(result: Evaluation, expected: dict[str, Any]) -> Iterator[Deviation]:
    """Metadata counts per rank of `result` beside a case's ``expected.json``."""
    for name, tensor, account, row in _pairs(result, expected):
        for action in ACTIONS:
            counts = getattr(account, f"metadata_{action}") if account is not None else MetadataCounts()
            for theirs, ours in FATES:
                mine = getattr(counts, ours)
                for rank, pair in enumerate(row.get(f"metadata_{action}", {}).get(theirs) or ()):
                    for k, kind in enumerate(("items", "payloads")):
                        value = mine[rank][k] if rank < len(mine) else 0.0
                        yield _deviation(
                            "metadata", f"{name}.{tensor} {action} {ours} rank {rank} {kind}", value, pair[k]
                        )


def _pairs(
    result: Evaluation, expected: dict[str, Any]
) -> Iterator[tuple[str, str, TensorAccount | None, dict[str, Any]]]:
    """Level, tensor, our account and their row."""
    levels = {level.name: level for level in result.levels}
    for level in expected["levels"]:
        for tensor, row in level["tensors"].items():
            ours = levels.get(level["name"])
            yield level["name"], tensor, ours.tensors.get(tensor) if ours is not None else None, row


def _deviation(quantity: str, where: str, ours: float, theirs: float, *, unit: float = 1.0001) -> Deviation:
    """`unit`: difference that never counts."""
    difference = abs(ours - theirs)
    if difference <= unit:
        error = 0.0
    elif theirs:
        error = difference / abs(theirs)
    else:
        error = float("inf")
    return Deviation(quantity, where, ours, theirs, float("inf") if np.isnan(error) else error)


def passed(results: Sequence[CaseResult]) -> bool:
    """Whether at least 98 % of the cases agree in cycles, energy and every data count."""
    return sum(result.agrees for result in results) >= NEEDED * len(results)


def summary(results: Sequence[CaseResult]) -> dict[str, Any]:
    """Plain data of a run: shares and percentiles per quantity, and the cases that do not agree."""
    return {
        "version": 1,
        "cases": len(results),
        "agreeing": sum(result.agrees for result in results),
        "passed": passed(results),
        "quantities": {
            name: {key: value if np.isfinite(value) else None for key, value in row.items()}
            for name, row in distribution(results).items()
        },
        "disagreeing": [
            {"case": r.name, "failure": r.failure, "worst": _plain(r.worst)} for r in results if not r.agrees
        ],
    }


def _plain(worst: Deviation | None) -> dict[str, Any] | None:
    if worst is None:
        return None
    values = worst._asdict()
    return {key: None if isinstance(v, float) and not np.isfinite(v) else v for key, v in values.items()}


def distribution(results: Sequence[CaseResult]) -> dict[str, dict[str, float]]:
    """Per quantity: how many numbers, the share within tolerance, and percentiles of the errors (shares)."""
    errors: dict[str, list[float]] = {
        name: [] for name in ("cycles", "energy", "compute", "reads", "fills", "updates", "metadata")
    }
    for result in results:
        for deviation in (*result.deviations, *result.metadata):
            errors[deviation.quantity].append(deviation.error)
    table = {}
    for name, values in errors.items():
        if values:
            ordered = np.sort(np.array(values))
            table[name] = {
                "numbers": float(len(ordered)),
                "within": float(np.mean(ordered <= TOLERANCE)),
                **{
                    key: float(ordered[min(len(ordered) - 1, int(q * len(ordered)))])
                    for key, q in (("median", 0.5), ("p90", 0.9), ("p99", 0.99))
                },
                "max": float(ordered[-1]),
            }
    return table
