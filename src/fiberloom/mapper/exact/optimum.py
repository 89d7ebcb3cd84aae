"""`find_optimum`: the face of the exact mapper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiberloom.architecture.levels import Architecture, ComponentClass, Compute, StorageLevel
from fiberloom.errors import UnsupportedError
from fiberloom.mapper.exact.answer import Optimum
from fiberloom.mapper.exact.search import ExactSearch
from fiberloom.mapper.exact.simplified import simplified
from fiberloom.mapper.exact.stand_in import nearly, needs_stand_in
from fiberloom.mapper.objective import Objective
from fiberloom.mapping.space import MapSpace
from fiberloom.model.compiled import announced, compile_kernel
from fiberloom.model.lower import Problem, lower
from fiberloom.workload.einsum import Einsum, IndexTerm, Tensor

_loaded = False


def _load() -> None:
    """Compile (the first time on a machine) or load all that the search runs, on a product of two by two matrices."""
    global _loaded  # noqa: PLW0603 - once per process
    if _loaded:
        return
    with announced():
        compile_kernel()
        index = [(IndexTerm(1, v),) for v in "mkn"]
        tensors = (("A", (0, 1), False), ("B", (1, 2), False), ("Z", (0, 2), True))
        workload = Einsum(
            name="load",
            shape=dict.fromkeys("mkn", 2),
            tensors=tuple(
                Tensor(name=name, ranks=tuple(index[i] for i in ranks), is_output=output)
                for name, ranks, output in tensors
            ),
        )
        energy = {"read": 1.0, "write": 1.0}
        memory = StorageLevel(name="memory", component=ComponentClass.DRAM, energy_pj=energy, area_um2=0.0)
        compute = Compute(name="mac", energy_pj={"compute": 1.0}, area_um2=0.0)
        architecture = Architecture(levels=(memory,), compute=compute)
        space = MapSpace(workload, architecture)
        ExactSearch(lower(workload, architecture), space, Objective()).run()
    _loaded = True


def find_optimum(
    problem: Problem,
    space: MapSpace,
    objective: Objective,
    *,
    seconds: float | None = None,
    memory_mb: float = 4000,
    progress: Callable[[dict[str, Any]], None] | None = None,
    front: bool = False,
) -> Optimum:
    """The best mapping of `space`, or the whole Pareto front, with a certificate.

    Args:
        seconds: stop then, with the best found and a bound.
        memory_mb: most memory for labels; beyond it the least promising are left out, and the certificate says so.
        progress: called after every stage with what is known.
        front: all mappings that no other beats in energy and cycles.

    Raises:
        MappingError: when no mapping fits.
        UnsupportedError: for problems larger than the search takes, and map spaces with remainders.
    """
    if space.remainders:
        raise UnsupportedError(
            "the exact mapper searches factors that divide, and this map space has remainders",
            hint="choose a sampling mapper, such as genetic, or a map space without remainders",
        )
    _load()
    solve = nearly if needs_stand_in(simplified(problem), space) else _proved
    return solve(problem, space, objective, seconds=seconds, memory_mb=memory_mb, progress=progress, front=front)


def _proved(problem: Problem, space: MapSpace, objective: Objective, **options: Any) -> Optimum:
    return ExactSearch(problem, space, objective, **options).run()
