"""What each tensor sees of the loop order at each level of an architecture (the rules are those of `fiberloom.mapping.orders`)."""

from __future__ import annotations

from fiberloom.architecture.levels import Architecture
from fiberloom.mapping.allowed import Allowed
from fiberloom.mapping.constraints import Constraints
from fiberloom.mapping.orders import LevelOrders, View
from fiberloom.workload.einsum import Einsum, Tensor


def level_orders(
    workload: Einsum, architecture: Architecture, constraints: Constraints, allowed: Allowed, level: int
) -> LevelOrders:
    """Loop orders of storage level `level`, counted from the innermost."""
    variables = list(workload.shape)
    slot = allowed.slots.index((level, False))
    choices = [f.choices[slot] for f in allowed.factorizations]
    active = [d for d in range(len(variables)) if int(choices[d][-1]) > 1]
    loops = constraints.at(architecture.levels[-1 - level].name).temporal
    inner = tuple(d for d in map(variables.index, reversed(loops.inner)) if d in active)
    outer = tuple(d for d in map(variables.index, reversed(loops.outer)) if d in active)
    middle = tuple(d for d in active if d not in inner and d not in outer)
    return LevelOrders(
        variables=len(variables),
        inner=inner,
        middle=middle,
        outer=outer,
        idle=tuple(d for d in range(len(variables)) if d not in active),
        may_be_unit=sum(1 << d for d in inner if int(choices[d][0]) == 1),
        views=tuple(_view(workload, architecture, allowed, level, t) for t in range(len(workload.tensors))),
    )


def _view(workload: Einsum, architecture: Architecture, allowed: Allowed, level: int, t: int) -> View:
    levels = tuple(reversed(architecture.levels))
    tensor = workload.tensors[t]
    may_keep = allowed.fixed_keep[:, t] | allowed.free_keep[:, t]
    relevant, lone = _indexing(workload, tensor)
    # In its last tile a partial variable may have one iteration: it moves the tensor in some steps only, and what stands
    # outside it is seen too.
    lone &= ~sum(1 << d for d, found in enumerate(allowed.factorizations) if found.partial)
    # Levels that may read this one's loops as part of the tile that they hold: no level from here to there surely keeps it.
    reading = []
    for at in range(level, len(levels)):
        if may_keep[at]:
            reading.append(at)
        if allowed.fixed_keep[at, t]:
            break
    entries = {
        at
        for at, spec in enumerate(levels)
        for entry in spec.optimizations
        if any(option.follower == tensor.name for option in entry.options)
    }
    return View(
        relevant=relevant,
        lone=lone,
        sequence=lone != relevant
        and any(
            allowed.peer_links[at, t] and allowed.fan[at].prod() > 1 and may_keep[at - 1] for at in range(1, level + 1)
        ),
        first=any(
            levels[at].words_per_access * levels[at].word_bits > (tensor.word_bits or levels[at].word_bits)
            for at in reading
            if any(entry <= at for entry in entries)
        ),
        ranked=any(levels[at].formats.get(tensor.name) is not None for at in reading),
        resident=bool(may_keep[:level].any()),
    )


def _indexing(workload: Einsum, tensor: Tensor) -> tuple[int, int]:
    """Bit sets of the variables that index a tensor, and of those that index one of its ranks alone.

    Variables of bound 1 have no loops, so that a window of theirs is as good as none.
    """
    variables = list(workload.shape)
    relevant = lone = 0
    for rank in tensor.ranks:
        bits = {1 << variables.index(term.variable) for term in rank if workload.shape[term.variable] > 1}
        relevant |= sum(bits)
        if len(bits) == 1:
            lone |= sum(bits)
    return relevant, lone
