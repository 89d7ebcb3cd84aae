"""Walk the dense schedule over real tensors and count what is accessed, gated and skipped."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fiberloom.architecture.sparse import SafKind
from fiberloom.model.evaluation import ComputeAccount, Counts, LevelAccount, MetadataCounts, TensorAccount
from fiberloom.simulate.features import Features
from fiberloom.simulate.metadata import Fibertree
from fiberloom.simulate.nest import Nest
from fiberloom.simulate.schedule import Boundary, Integers
from fiberloom.workload.einsum import Tensor

Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TensorWalk:
    """What does not depend on values: the deliveries of one tensor and the element used at each point of the nest.

    Attributes:
        element_at: element used at every (time step, lane) of compute.
    """

    tensor: Tensor
    boundaries: tuple[Boundary, ...]
    element_at: Integers


@dataclass
class Tally:
    """Words and metadata items of one action over all instances, by what became of them."""

    actual: float = 0.0
    gated: float = 0.0
    skipped: float = 0.0
    dense: float = 0.0
    items: dict[str, Floats] = field(default_factory=dict)

    def add(self, fate: str, words: float, items: Floats | None) -> None:
        setattr(self, fate, getattr(self, fate) + words)
        if items is not None:
            self.items[fate] = self.items.get(fate, 0.0) + items

    def counts(self, instances: int) -> Counts:
        return Counts(self.actual / instances, self.gated / instances, self.skipped / instances)

    def metadata(self, instances: int, ranks: int) -> MetadataCounts:
        def innermost_first(fate: str) -> tuple[tuple[float, float], ...]:
            items = self.items.get(fate, np.zeros((ranks, 2))) / instances
            return tuple((float(a), float(b)) for a, b in items[::-1])

        return MetadataCounts(innermost_first("actual"), innermost_first("gated"), innermost_first("skipped"))


@dataclass
class KeptTensor:
    """Tallies of one tensor at one level."""

    reads: Tally = field(default_factory=Tally)
    fills: Tally = field(default_factory=Tally)
    updates: Tally = field(default_factory=Tally)
    largest: float = 0.0
    handed_on: float = 0.0
    eliminated_share: float = 0.0


def walk_tensor(
    nest: Nest,
    features: Features,
    walk: TensorWalk,
    empty_leader: MappingOf[tuple[int, str], Booleans],
    nonzero: Booleans,
) -> tuple[dict[int, KeptTensor], Booleans, Booleans]:
    """Follow the deliveries of one tensor from the outermost level to compute.

    Args:
        empty_leader: for each (level, follower) with a SAF, whether some leader's box is empty, per delivery.
        nonzero: the tensor, flat, and one False at its end (see `Boundary.tiles`).

    Returns:
        Tallies by level, and whether skipping, and whether gating, dropped the operand, per (time step, lane).
    """
    name = walk.tensor.name
    kept: dict[int, KeptTensor] = {b.child: KeptTensor() for b in walk.boundaries[:-1]}
    first = walk.boundaries[0]
    arrived = np.ones(first.deliveries, dtype=bool)
    gone = {kind: np.zeros(first.deliveries, dtype=bool) for kind in (SafKind.SKIPPING, SafKind.GATING)}
    items = _items_of_tiles(nest, features, walk.tensor, first, nonzero)
    if first.child in kept:
        kept[first.child].largest = _largest(features, first, nonzero)

    for above, here in zip(walk.boundaries, walk.boundaries[1:], strict=False):
        parent, child = above.child, here.child
        at_parent, at_child = kept[parent], kept.get(child)
        parent_compressed, child_compressed = (parent, name) in features.formats, (child, name) in features.formats
        outer_arrived = arrived[here.outer_delivery]
        saf = features.safs.get((parent, name))
        empty = empty_leader[parent, name] if saf is not None else np.zeros(here.deliveries, dtype=bool)
        eliminated, alive = outer_arrived & empty, outer_arrived & ~empty
        fate = "gated" if saf is not None and saf.kind is SafKind.GATING else "skipped"
        gone = {kind: before[here.outer_delivery] for kind, before in gone.items()}
        if saf is not None:
            gone[saf.kind] |= empty
        at_parent.eliminated_share = float((gone[SafKind.SKIPPING] | gone[SafKind.GATING]).mean())

        # Words that cross, as the parent and as the child see them: all, or the non-zero ones where compressed.
        present = nonzero[here.words]
        again = here.word_revisited if walk.tensor.is_output else np.ones(len(here.words), dtype=bool)
        read = here.word_accumulated if walk.tensor.is_output else again
        up = np.ones(len(here.words), dtype=bool)
        tile_words = above.tiles.shape[1]
        for tally, words in ((at_parent.reads, read), (at_parent.updates, up if walk.tensor.is_output else None)):
            if words is None:
                continue
            dense = here.per_delivery(words) * ~here.passed_on
            seen = here.per_delivery(words & present) if parent_compressed else dense
            tally.dense += float(dense.sum())
            for which, what in ((alive, "actual"), (eliminated, fate)):
                weights = np.bincount(here.outer_delivery, weights=dense * which, minlength=above.deliveries)
                metadata = None if items is None else np.tensordot(weights, items, 1) / tile_words
                tally.add(what, float(seen[which].sum()), metadata)

        # A tile of zeros is not sent by a parent that knows its non-zeros.
        arrived = alive
        if at_child is not None:
            if parent_compressed:
                arrived = alive & nonzero[here.tiles].any(axis=1)
            dense = here.per_delivery(again) * here.receivers
            seen = here.per_delivery(again & present) * here.receivers if child_compressed else dense
            items = _items_of_tiles(nest, features, walk.tensor, here, nonzero)
            filled = dense * arrived
            at_child.fills.dense += float(dense.sum())
            handed_on = float(dense[here.passed_on].sum())
            at_child.handed_on = handed_on
            at_child.reads.dense += handed_on
            at_child.reads.add("actual", handed_on, None)
            at_child.fills.add(
                "actual",
                float(seen[arrived].sum()),
                None if items is None else np.tensordot(filled, items, 1) / here.tiles.shape[1],
            )
            at_child.largest = _largest(features, here, nonzero)

    points = walk.boundaries[-1].at_points(*walk.element_at.shape)
    return kept, gone[SafKind.SKIPPING][points], gone[SafKind.GATING][points]


def empty_leaders(
    features: Features, walks: MappingOf[str, TensorWalk], active: Booleans, nonzero: MappingOf[str, Booleans]
) -> dict[tuple[int, str], Booleans]:
    """For each SAF, per delivery of its follower: whether a leader is zero at all points that the delivery serves.

    Args:
        active: the (time step, lane) that are points of the Einsum.
    """
    empty: dict[tuple[int, str], Booleans] = {}
    for (level, follower), saf in features.safs.items():
        boundary = next(b for b in walks[follower].boundaries if b.parent == level)
        served = boundary.at_points(*walks[follower].element_at.shape).ravel()
        any_empty = np.zeros(boundary.deliveries, dtype=bool)
        for leader in saf.leaders:
            values = (nonzero[leader][walks[leader].element_at] & active).ravel()
            any_empty |= np.bincount(served, weights=values, minlength=boundary.deliveries) == 0
        empty[level, follower] = any_empty
    return empty


def compute_account(
    nest: Nest,
    features: Features,
    walks: MappingOf[str, TensorWalk],
    active: Booleans,
    nonzero: MappingOf[str, Booleans],
    dropped: Booleans,
    idled: Booleans,
) -> tuple[ComputeAccount, int]:
    """Classify every point of the nest; also count the steps in which at least one lane works.

    Cycles are those of a lane that has a point in every step that any lane has one in (the first lane is such a one), with
    an average share of work.

    Args:
        active: the (time step, lane) that are points of the Einsum.
        dropped: whether skipping of an operand removed the computation, per (time step, lane).
        idled: whether gating of an operand leaves its cycle idle; skipping prevails.
    """
    compute = nest.architecture.compute
    shape = dropped.shape
    all_nonzero, any_absent, all_absent = (
        np.ones(shape, dtype=bool),
        np.zeros(shape, dtype=bool),
        np.ones(shape, dtype=bool),
    )
    for tensor in nest.workload.inputs:
        value = nonzero[tensor.name][walks[tensor.name].element_at]
        compressed = (nest.keepers(tensor.name)[-1], tensor.name) in features.formats
        absent = ~value & compressed
        all_nonzero &= value
        any_absent |= absent
        all_absent &= absent
    with_zero = ~all_nonzero & ~any_absent
    lacking = any_absent & ~all_absent
    gated = np.zeros(shape, dtype=bool)
    skipped = np.zeros(shape, dtype=bool)
    if compute.gating:
        gated |= with_zero
    if compute.skipping:
        skipped |= lacking
    elif compute.gating:
        gated |= lacking
    left = active & ~dropped & ~all_absent
    skipped &= left & ~idled
    gated = (gated | idled) & left
    actual = left & ~gated & ~skipped
    working = actual | gated
    total, lanes = nest.workload.macs, shape[1]
    account = ComputeAccount(
        name=compute.name,
        algorithmic=float(total),
        actual=float(actual.sum()),
        gated=float(gated.sum()),
        skipped=float(skipped.sum()),
        eliminated=float(total - left.sum()),
        instances=float(lanes),
        cycles=int(working.sum()) * int(active.any(axis=1).sum()) / total,
        energy_pj=0.0,
    )
    return account, int(working.any(axis=1).sum())


def level_accounts(
    nest: Nest, kept: MappingOf[str, MappingOf[int, KeptTensor]], features: Features, cycles: float
) -> tuple[LevelAccount, ...]:
    """Averages per instance in use, per level and tensor kept there."""
    accounts = []
    for i, level in enumerate(nest.architecture.levels):
        instances = nest.instances(i)
        extents = nest.extents(i)
        tensors = {}
        for tensor in nest.workload.tensors:
            tallies = kept[tensor.name].get(i)
            if tallies is None:
                continue
            ranks = len(features.formats[i, tensor.name].ranks) if (i, tensor.name) in features.formats else 0
            reads, fills, updates = tallies.reads, tallies.fills, tallies.updates
            tensors[tensor.name] = TensorAccount(
                tensor=tensor.name,
                tile_words=float(np.prod(tensor.tile_shape(extents))),
                occupied_words=tallies.largest,
                instances=float(instances),
                reads=reads.counts(instances),
                fills=fills.counts(instances),
                updates=updates.counts(instances),
                metadata_reads=reads.metadata(instances, ranks),
                metadata_fills=fills.metadata(instances, ranks),
                metadata_updates=updates.metadata(instances, ranks),
                energy_by_action_pj={},
                dense_reads=reads.dense / instances,
                dense_fills=fills.dense / instances,
                dense_updates=updates.dense / instances,
                peer_words=tallies.handed_on / instances,
                elimination_probability=tallies.eliminated_share,
            )
        accounts.append(
            LevelAccount(
                name=level.name,
                cycles=cycles,
                slowdown=1.0,
                used_words=sum(t.occupied_words for t in tensors.values()),
                capacity_words=None if level.capacity_words is None else float(level.capacity_words),
                instances=float(instances),
                tensors=tensors,
            )
        )
    return tuple(accounts)


def _items_of_tiles(
    nest: Nest, features: Features, tensor: Tensor, boundary: Boundary, nonzero: Booleans
) -> Floats | None:
    """Metadata of the tile behind each delivery, ``(deliveries, ranks, 2)``; None where the child keeps none."""
    if (boundary.child, tensor.name) not in features.formats:
        return None
    return Fibertree.of(nest, tensor, boundary.child, features.formats).items(boundary.tiles[:, 0], nonzero)


def _largest(features: Features, boundary: Boundary, nonzero: Booleans) -> float:
    """Words of the fullest tile seen at a level."""
    if (boundary.child, boundary.tensor) not in features.formats:
        return float(boundary.tiles.shape[1])
    return float(nonzero[boundary.tiles].sum(axis=1).max())
