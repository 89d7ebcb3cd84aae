"""Designs that an exploration is held against: those that its space names, and accelerators of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiberloom.errors import FiberloomError, UnsupportedError
from fiberloom.explore.front import dominates
from fiberloom.explore.trial import Evaluated, Status, Trial

if TYPE_CHECKING:
    from fiberloom.architecture.levels import Architecture
    from fiberloom.explore import DesignProblem, Exploration, ExplorationStore
    from fiberloom.explore.space import Point


@dataclass(frozen=True)
class Reference:
    """A design to compare with.

    Attributes:
        point: where the space has it; None for an accelerator from elsewhere.
        architecture: of one from elsewhere.
        source: ``the space``, ``the library`` or a file.
    """

    name: str
    source: str
    trial: Trial
    point: Point | None = None
    architecture: Architecture | None = None


def known_references(found: Exploration, store: ExplorationStore | None = None) -> Iterator[Reference]:
    """The space's named designs that the exploration tried, or that another run in the store evaluated."""
    tried = {t.point: t for t in found.trials if t.evaluated.status is not Status.PRUNED}
    space = found.problem.space
    for name, values in found.problem.file.known.items():
        point = space.point(values)
        trial = tried.get(point)
        if trial is None and store is not None:
            evaluated = store.evaluation(space.rank(point))
            trial = None if evaluated is None else Trial.of(point, evaluated, found.goal)
        if trial is not None:
            yield Reference(name, "the space", trial, point)


def library_references(
    found: Exploration, names: Sequence[str], progress: Callable[[str], None] | None = None
) -> Iterator[Reference]:
    """Accelerators of the library or of files, evaluated on the exploration's workloads.

    One that can't run them is a reference of status invalid, with the reason.

    Args:
        progress: told each name before its evaluation.

    Raises:
        SpecError: for a name that there is not.
        UnsupportedError: for a problem whose designs are no accelerators.
    """
    from fiberloom.explore.accelerator import AcceleratorProblem
    from fiberloom.network_evaluation.designs import read_designs

    if not names:
        return
    problem: DesignProblem = found.problem
    if not isinstance(problem, AcceleratorProblem):
        raise UnsupportedError(
            f"'{problem.file.name}' can't evaluate designs of the library",
            hint="leave --with out: it is for spaces of kind accelerator",
        )
    taken = set(problem.file.known)
    for design in read_designs(list(names)):
        label = f"{design.name} (library)" if design.name in taken else design.name
        if progress is not None:
            progress(label)
        try:
            evaluated = problem.measure_design(design)
        except FiberloomError as error:
            evaluated = Evaluated(Status.INVALID, reason=error.problem)
        source = "the library" if design.source == "library" else design.source
        yield Reference(label, source, Trial.of((), evaluated, found.goal), None, design.architecture)


def standing(front: Sequence[Trial], trial: Trial) -> tuple[str, Trial | None]:
    """How a design stands beside a front, and the trial of the front that says so.

    ``beaten``, ``equal`` (on the front, or as good), ``ahead`` (the front does not reach it), ``over the limits``, ``not evaluated``.
    """
    if trial.evaluated.status is not Status.EVALUATED:
        return "not evaluated", None
    if not trial.feasible:
        return "over the limits", None
    for other in front:
        if other.values == trial.values:
            return "equal", other
        if dominates(other.values, trial.values):
            return "beaten", other
    return "ahead", None
