"""The oracle: execute a mapping's loop nest over real tensors and count every action.

Slow, obvious, and independent of the analytical model: dense counts of the model have to equal these, sparse
expectations have to agree with their mean over random tensors.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import FiberloomError, SpecError, UnsupportedError, nearest
from fiberloom.mapping.nest import Mapping
from fiberloom.simulate.count import TensorWalk, compute_account, empty_leaders, level_accounts, walk_tensor
from fiberloom.simulate.draw import draw_tensor, draw_tensors
from fiberloom.simulate.features import Features
from fiberloom.simulate.nest import Nest
from fiberloom.simulate.schedule import boundaries
from fiberloom.simulate.simulation import Simulation
from fiberloom.workload.einsum import Einsum, Tensor

__all__ = ["Simulation", "Simulator", "draw_tensor", "draw_tensors", "simulate"]


class Simulator:
    """A mapping whose dense schedule is laid out once, to be run over many tensors.

    Args:
        max_points: most points of the iteration space that are walked.

    Raises:
        FiberloomError: when the Einsum has more points than `max_points`.
        MappingError: when the mapping does not fit.
        UnsupportedError: for features that the simulation does not know.
    """

    def __init__(
        self, workload: Einsum, architecture: Architecture, mapping: Mapping, *, max_points: int = 2_000_000
    ) -> None:
        if workload.macs > max_points:
            raise FiberloomError(
                f"Einsum '{workload.name}' has {workload.macs} points, and a simulation walks at most {max_points}",
                hint="simulate a smaller shape, or raise max_points and wait",
            )
        self.workload, self.architecture = workload, architecture
        self._nest = nest = Nest.of(workload, architecture, mapping)
        self._features = Features.of(nest)
        for tensor in workload.tensors:
            _check_peer_links(nest, self._features, tensor)
        self._active = nest.active(nest.compute_cut)
        self._walks = {}
        for tensor in workload.tensors:
            chain = boundaries(nest, tensor)
            element_at = chain[-1].tiles[chain[-1].delivery_at, 0]
            self._walks[tensor.name] = TensorWalk(tensor, tuple(chain), element_at)

    def run(self, tensors: MappingOf[str, NDArray[Any]] | None = None, *, seed: int = 0) -> Simulation:
        """Count over `tensors`; those not given are drawn from their densities with `seed`.

        Raises:
            SpecError: for a tensor that the workload has not, or of another shape.
        """
        nonzero = self._nonzero(tensors or {}, seed)
        empty = empty_leaders(self._features, self._walks, self._active, nonzero)
        kept = {}
        shape = next(iter(self._walks.values())).element_at.shape
        dropped, idled = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for tensor in self.workload.tensors:
            kept[tensor.name], skipped, gated = walk_tensor(
                self._nest, self._features, self._walks[tensor.name], empty, nonzero[tensor.name]
            )
            if not tensor.is_output:
                dropped |= skipped
                idled |= gated
        compute, lockstep = compute_account(
            self._nest, self._features, self._walks, self._active, nonzero, dropped, idled
        )
        return Simulation(
            compute=compute,
            levels=level_accounts(self._nest, kept, self._features, compute.cycles),
            lockstep_cycles=lockstep,
            workload=self.workload.name,
            architecture=self.architecture.name,
        )

    def _nonzero(self, tensors: MappingOf[str, NDArray[Any]], seed: int) -> dict[str, NDArray[np.bool_]]:
        names = [t.name for t in self.workload.tensors]
        for name in tensors:
            if name not in names:
                raise SpecError(
                    f"values are given for '{name}', which is no tensor of the Einsum", hint=nearest(name, names)
                )
        rng = np.random.default_rng(seed)
        flat = {}
        for tensor in self.workload.tensors:
            shape = self.workload.tensor_shape(tensor.name)
            values = np.asarray(tensors[tensor.name]) if tensor.name in tensors else draw_tensor(tensor, shape, rng)
            if values.shape != shape:
                raise SpecError(f"tensor '{tensor.name}' has shape {values.shape}", hint=f"the Einsum needs {shape}")
            # the last one, number −1, is what partial tiles lack
            flat[tensor.name] = np.append((values != 0).ravel(), False)
        return flat


def simulate(
    workload: Einsum,
    architecture: Architecture,
    mapping: Mapping,
    tensors: MappingOf[str, NDArray[Any]] | None = None,
    *,
    seed: int = 0,
    max_points: int = 2_000_000,
) -> Simulation:
    """Execute a mapping over real tensors and count every read, fill, update and computation.

    Args:
        tensors: values per tensor, of the shapes that `Einsum.tensor_shape` gives (the output's are the mask of its
            non-zero results); tensors left out are drawn from their densities.
        seed: of the random generator for those.
        max_points: most points of the iteration space that are walked.

    Raises:
        FiberloomError: when the Einsum has more points than `max_points`.
        MappingError: when the mapping does not fit.
        SpecError: for tensors that do not fit the workload.
        UnsupportedError: for features that the simulation does not know.
    """
    return Simulator(workload, architecture, mapping, max_points=max_points).run(tensors, seed=seed)


def _check_peer_links(nest: Nest, features: Features, tensor: Tensor) -> None:
    """Peer links are simulated for inputs without sparse features; tiles that never overlap don't use them at all."""
    if all(len(rank) == 1 for rank in tensor.ranks):
        return
    keepers = nest.keepers(tensor.name)
    if not any(nest.peer_links(child, tensor.name) for child in keepers[1:]):
        return
    sparse = any((level, tensor.name) in (*features.formats, *features.safs) for level in keepers)
    if tensor.is_output or sparse:
        raise UnsupportedError(
            f"the simulation does not know peer links of '{tensor.name}'",
            hint="it knows those of inputs without formats, gating and skipping",
        )
