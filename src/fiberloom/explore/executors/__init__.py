"""Where designs are evaluated: in this process, in others, on other machines."""

from __future__ import annotations

import math
from typing import Final

from fiberloom.errors import SpecError, nearest
from fiberloom.explore.executors._base import Executor
from fiberloom.explore.executors.processes import Processes
from fiberloom.explore.executors.serial import Serial
from fiberloom.explore.problem import DesignProblem
from fiberloom.workers import cores

__all__ = ["EXECUTORS", "Executor", "Processes", "Serial", "make_executor"]

EXECUTORS: Final = ("serial", "processes", "ray")
"""Names that `make_executor` takes."""


def make_executor(
    name: str | None,
    problem: DesignProblem,
    *,
    workers: int | None = None,
    seconds: float | None = None,
    address: str | None = None,
) -> Executor:
    """The executor `name`; without one, ray for an address, processes for a slow problem where there are several, else serial.

    Args:
        workers: how many designs at a time; None: one per core.
        seconds: most time for an evaluation.
        address: of a Ray cluster.

    Raises:
        MissingExtraError: for ray where it is not installed.
        SpecError: for a name that there is not, and options that the executor does not have.
    """
    if name is None:
        several = (cores() if workers is None else workers) != 1
        name = "processes" if seconds is not None or (several and (problem.slow or workers is not None)) else "serial"
        name = "ray" if address is not None else name
    if name not in EXECUTORS:
        raise SpecError(f"there is no executor '{name}'", hint=nearest(name, EXECUTORS))
    if seconds is not None and not 0 < seconds < math.inf:
        raise SpecError(f"an evaluation may take {seconds:g} s", hint="a time limit is a positive number of seconds")
    if address is not None and name != "ray":
        raise SpecError(f"'{name}' takes no address", hint="use --executor ray, or leave the address out")
    if name == "serial":
        if workers not in (None, 1) or seconds is not None:
            raise SpecError(
                f"'serial' evaluates in this process and takes no {'time limit' if workers in (None, 1) else 'workers'}",
                hint="use --executor processes",
            )
        return Serial(problem)
    if name == "ray":
        from fiberloom.explore.executors.ray import Ray

        return Ray(problem, workers, seconds, address)
    return Processes(problem, workers, seconds)
