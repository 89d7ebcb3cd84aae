"""What a simulation counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fiberloom.model.evaluation import ComputeAccount, LevelAccount


@dataclass(frozen=True)
class Simulation:
    """Counts of one mapping executed over one set of tensors; no energy, no bandwidth.

    Attributes:
        compute: the arithmetic, over all lanes.
        levels: storage levels, outermost first; counts are averages per instance in use, for the tensors that the
            level keeps.
        lockstep_cycles: time steps in which at least one lane works, when all lanes wait for each other.
    """

    compute: ComputeAccount
    levels: tuple[LevelAccount, ...]
    lockstep_cycles: int
    workload: str = ""
    architecture: str = ""

    @property
    def cycles(self) -> float:
        """Cycles of perfectly balanced lanes without bandwidth limits."""
        return self.compute.cycles

    def level(self, name: str) -> LevelAccount:
        """Account of one storage level.

        Raises:
            KeyError: if there is none of that name.
        """
        for level in self.levels:
            if level.name == name:
                return level
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the field names of `Evaluation.to_dict`, as far as a simulation knows them."""
        return {
            "workload": self.workload,
            "architecture": self.architecture,
            "cycles": self.cycles,
            "lockstep_cycles": self.lockstep_cycles,
            "compute": self.compute.to_dict(),
            "levels": [level.to_dict() for level in self.levels],
        }

    def __repr__(self) -> str:
        traffic = "; ".join(
            f"{level.name} "
            + ", ".join(
                f"{t.tensor} {t.reads.actual:g}r {t.fills.actual:g}f {t.updates.actual:g}u"
                for t in level.tensors.values()
            )
            for level in self.levels
        )
        return (
            f"Simulation({self.workload} on {self.architecture}: {self.cycles:g} cycles "
            f"({self.lockstep_cycles} in lockstep), {self.compute.actual:g} of {self.compute.algorithmic:g} computes; "
            f"{traffic})"
        )
