"""Which words move when, if every value mattered: the dense schedule of one tensor between two levels.

Between a level that keeps a tensor and the next inner one that does, time runs through every setting of the temporal
loops above the inner tile. At each step each inner instance needs its tile, still holds its previous tile, and is sent
what is missing. One *delivery* is one such set of words leaving one outer instance for all children that need exactly
that set at that step (multicast; for results: one spatially reduced set coming back).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fiberloom.simulate.nest import Nest
from fiberloom.workload.einsum import Tensor

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Boundary:
    """All deliveries of one tensor from level `parent` to level `child`.

    Attributes:
        parent: level index; None above the outermost keeper, whose tiles are simply there (its deliveries cost nothing
            and only name its tiles).
        child: level index, or the number of levels for compute.
        delivery_at: delivery that each child lives on, ``(steps, instances)`` of the child; each lasts until the
            child's tile changes. Before a child's first point, and for children without any, some other's.
        words: elements of all deliveries, flat: element numbers (row-major in the tensor), shape ``(W,)``.
        word_delivery: the delivery that each word belongs to, ``(W,)``.
        word_revisited: whether the receivers of a result have held it before; else they start from zero, ``(W,)``.
        word_accumulated: whether the parent has received the result before, and has to add to it, ``(W,)``. The same,
            unless results of several children come back one by one.
        tiles: elements of the whole tile held by the child, row-major within a full tile, ``(D, tile size)``; −1 where a
            partial tile has none.
        receivers: children served, ``(D,)``.
        outer_delivery: the delivery of the boundary above that the parent's instance lives on, ``(D,)``.
        passed_on: whether the receivers take the words from mesh neighbours instead of the parent, ``(D,)``.
    """

    tensor: str
    parent: int | None
    child: int
    delivery_at: Integers
    words: Integers
    word_delivery: Integers
    word_revisited: NDArray[np.bool_]
    word_accumulated: NDArray[np.bool_]
    tiles: Integers
    receivers: Integers
    outer_delivery: Integers
    passed_on: NDArray[np.bool_]

    @property
    def deliveries(self) -> int:
        return len(self.receivers)

    def per_delivery(self, word_weight: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Words of each delivery, ``(D,)``; with `word_weight` of shape ``(W,)``, those for which it is true."""
        return np.bincount(self.word_delivery, weights=word_weight, minlength=self.deliveries).astype(np.float64)

    def at_points(self, steps: int, lanes: int) -> Integers:
        """Delivery behind every point of the whole nest, ``(steps, lanes)`` of compute."""
        here_steps, here_lanes = self.delivery_at.shape
        return np.repeat(np.repeat(self.delivery_at, steps // here_steps, axis=0), lanes // here_lanes, axis=1)


def boundaries(nest: Nest, tensor: Tensor) -> list[Boundary]:
    """The boundaries of one tensor, outermost first: above its outermost keeper, between keepers, and to compute."""
    keepers = nest.keepers(tensor.name)
    chain: list[Boundary] = []
    for parent, child in zip([None, *keepers], [*keepers, nest.compute_cut], strict=True):
        chain.append(_boundary(nest, tensor, parent, child, chain[-1] if chain else None))
    return chain


def _boundary(nest: Nest, tensor: Tensor, parent: int | None, child: int, above: Boundary | None) -> Boundary:
    to_compute = child == nest.compute_cut
    origins, lengths = nest.tiles(tensor, child)
    steps, instances, _ = origins.shape

    # Needed minus held. A tile that stays put needs nothing, and nor does an idle child; compute holds nothing.
    moved = active = nest.active(child)
    before = _previous_step(active)
    if not to_compute:
        moved = active & (before < 0)
        for boxes in (origins, lengths):
            held = np.take_along_axis(boxes, np.maximum(before, 0)[:, :, None], axis=0)
            moved |= active & (boxes != held).any(axis=2)
    when, who = np.nonzero(moved)
    tile_shape = tensor.tile_shape(nest.extents(child))
    tiles = element_numbers(origins[when, who], tile_shape, nest.workload.tensor_shape(tensor.name))
    fetched = _inside(np.zeros_like(origins[when, who]), lengths[when, who], tile_shape)
    tiles[~fetched] = -1
    if not to_compute:
        earlier = before[when, who]
        shift = origins[when, who] - origins[np.maximum(earlier, 0), who]
        still_held = _inside(shift, lengths[np.maximum(earlier, 0), who], tile_shape)
        fetched &= ~still_held | (earlier < 0)[:, None]

    # Results start from zero at the first visit of an element by a child that holds it.
    parent_instances = nest.instances(parent) if parent is not None else 1
    parent_of = who // (instances // parent_instances)
    size = math.prod(nest.workload.tensor_shape(tensor.name))
    revisited = np.zeros(tiles.shape, dtype=bool)
    if tensor.is_output and not to_compute:
        revisited[fetched] = _seen_before((who[:, None] * size + tiles)[fetched])

    # Children with the same set at the same step share one delivery.
    sets = np.sort(np.where(fetched, 2 * tiles + revisited, -1), axis=1)
    sharing = parent_of if parent is not None else who
    lane = _unshared_lanes(nest, tensor.name, parent, child)[who]
    rows = np.ascontiguousarray(np.column_stack([when, sharing, lane, sets]))
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, example, delivery, receivers = np.unique(as_bytes, return_index=True, return_inverse=True, return_counts=True)
    delivery = delivery.ravel()

    passed_on = np.zeros(len(example), dtype=bool)
    if parent is not None and nest.peer_links(child, tensor.name):
        content = np.full((steps, instances), -1, dtype=np.int64)
        content[when, who] = np.unique(sets, axis=0, return_inverse=True)[1].ravel()
        linked = _neighbour_had_it(nest, child, content)[when, who]
        passed_on = np.bincount(delivery, weights=linked) == receivers

    delivery_at = np.zeros((steps, instances), dtype=np.int64)
    delivery_at[when, who] = delivery
    last_moved = np.maximum.accumulate(np.where(moved, np.arange(steps)[:, None], 0), axis=0)
    delivery_at = np.take_along_axis(delivery_at, last_moved, axis=0)

    # In order of time, so that the first of each word at its parent can be told from the others.
    row, column = np.nonzero(fetched[example])
    in_time = np.argsort(when[example][row], kind="stable")
    row, column = row[in_time], column[in_time]
    words = tiles[example][row, column]
    accumulated = _seen_before(parent_of[example][row] * size + words)
    if above is None:
        outer = np.zeros(len(example), dtype=np.int64)
    else:
        outer_steps, outer_instances = above.delivery_at.shape
        outer = above.delivery_at[
            when[example] // (steps // outer_steps), who[example] // (instances // outer_instances)
        ]
    return Boundary(
        tensor=tensor.name,
        parent=parent,
        child=child,
        delivery_at=delivery_at,
        words=words,
        word_delivery=row,
        word_revisited=revisited[example][row, column],
        word_accumulated=accumulated,
        tiles=tiles[example],
        receivers=receivers.astype(np.int64),
        outer_delivery=outer,
        passed_on=passed_on,
    )


def element_numbers(origins: Integers, tile_shape: tuple[int, ...], shape: tuple[int, ...]) -> Integers:
    """Row-major numbers of all elements of the boxes at `origins` ``(n, ranks)``: ``(n, prod(tile_shape))``."""
    strides = np.array([math.prod(shape[r + 1 :]) for r in range(len(shape))], dtype=np.int64)
    offsets = np.indices(tile_shape).reshape(len(shape), math.prod(tile_shape))
    numbers: Integers = (origins @ strides)[:, None] + (strides @ offsets)[None, :]
    return numbers


def _previous_step(active: NDArray[np.bool_]) -> Integers:
    """The last step before each in which the same instance was active, −1 where there was none: ``(steps, instances)``."""
    latest = np.maximum.accumulate(np.where(active, np.arange(len(active))[:, None], -1), axis=0)
    return np.concatenate([np.full((1, active.shape[1]), -1), latest[:-1]])


def _inside(shift: Integers, lengths: Integers, tile_shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which elements of tiles of `tile_shape` lie inside boxes of `lengths` when moved by `shift`, both ``(n, ranks)``."""
    inside = np.ones((len(shift), math.prod(tile_shape)), dtype=bool)
    for rank, offset in enumerate(np.indices(tile_shape).reshape(len(tile_shape), math.prod(tile_shape))):
        place = shift[:, rank, None] + offset[None, :]
        inside &= (place >= 0) & (place < lengths[:, rank, None])
    return inside


def _seen_before(keys: Integers) -> NDArray[np.bool_]:
    """Whether each key, in order of time, stands earlier in the list too: ``(n,)``."""
    seen = np.ones(len(keys), dtype=bool)
    seen[np.unique(keys, return_index=True)[1]] = False
    return seen


def _neighbour_had_it(nest: Nest, child: int, content: Integers) -> NDArray[np.bool_]:
    """Which children are sent what one of their four mesh neighbours was sent one step earlier.

    Neighbours hang on the same instance of the level right above; X and Y count the iterations of the spatial loops
    along each.

    Args:
        content: a number per distinct set of words, −1 where nothing is sent, ``(steps, instances)``.
    """
    indices = nest.indices(child, spatial=True)
    x = y = owner = np.zeros(nest.instances(child), dtype=np.int64)
    for loop, index in indices.items():
        if loop.level < child - 1:
            owner = owner * loop.bound + index
        elif nest.along_x(loop):
            x = x * loop.bound + index
        else:
            y = y * loop.bound + index
    at = {place: child for child, place in enumerate(zip(owner.tolist(), x.tolist(), y.tolist(), strict=True))}
    had = np.zeros(content.shape, dtype=bool)
    for (o, i, j), child_index in at.items():
        for place in ((o, i + 1, j), (o, i - 1, j), (o, i, j + 1), (o, i, j - 1)):
            if place in at:
                before = content[:-1, at[place]]
                had[1:, child_index] |= (content[1:, child_index] == before) & (before >= 0)
    return had


def _unshared_lanes(nest: Nest, tensor: str, parent: int | None, child: int) -> Integers:
    """A number per child that differs where a fan-out without multicast separates them."""
    lanes = np.zeros(nest.instances(child), dtype=np.int64)
    for loop, index in nest.indices(child, spatial=True).items():
        if parent is not None and loop.level >= parent and not nest.multicast(loop.level, tensor):
            lanes = lanes * loop.bound + index
    return lanes
