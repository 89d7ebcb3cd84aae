"""Small problems that agents are tried on: closed formulas over spaces with every kind of parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from fiberloom.errors import SpecError
from fiberloom.explore import DesignProblem, Evaluated, Status
from fiberloom.explore.space import Point, parse_space

MIXED = """
fiberloom: 1
space:
  parameters:
    rows: {powers_of_two: [1, 128]}
    columns: {powers_of_two: [1, 128]}
    banks: {linear: [1, 16]}
    order: {choice: [weights, inputs, outputs]}
    skipping: {choice: [false, true]}
    queue: {linear: [1, 8], when: skipping == 1}
    policy: {choice: [oldest, nearest], when: skipping == 1}
  requires: [rows * columns <= 4096]
"""

ONE_DESIGN = """
fiberloom: 1
space:
  parameters:
    rows: {choice: [4]}
    order: {choice: [weights]}
"""


class Formula(DesignProblem):
    """Delay and area of an array, by a formula with one best design; designs of 13 banks can't be evaluated."""

    kind = "formula"
    metrics: ClassVar[Mapping[str, str]] = {"delay": "s", "area": "mm2", "lanes": ""}

    def __init__(self, text: str = MIXED) -> None:
        super().__init__(parse_space(text, "formula.yaml"))

    def measure(self, point: Point) -> Evaluated:
        v = self.space.values(point)
        banks = v.get("banks", 4)
        if banks == 13:
            raise SpecError("13 banks bring bad luck")
        lanes = v["rows"] * v.get("columns", 1)
        delay = 4096 / lanes + abs(math.log2(v["rows"]) - 6) + abs(banks - 9) / 4
        delay += {"weights": 2, "inputs": 0.5, "outputs": 0}[v["order"]]
        if v.get("skipping"):
            delay = 0.5 * delay + abs(v["queue"] - 6) / 8 + (v["policy"] == "oldest")
        return Evaluated(Status.EVALUATED, {"delay": delay, "area": lanes * (1 + banks / 64), "lanes": float(lanes)})
