"""The same hardware without its sparse features."""

from __future__ import annotations

from collections.abc import Collection

from fiberloom.architecture.levels import Architecture, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, LeaderFollower


def without_features(architecture: Architecture, tensors: Collection[str] | None = None) -> Architecture:
    """`architecture` with formats, gating and skipping taken away: what the features save is the difference.

    Energies and areas stay as they are, so the comparison is of what the hardware does and not of what it is made of.

    Args:
        tensors: only the features that use the sparsity of these: their formats, and they lead no more. None: all,
            compute's own gating and skipping too.
    """
    levels = tuple(_plain(level, tensors) for level in architecture.levels)
    compute = architecture.compute
    if tensors is None:
        compute = compute.model_copy(update={"gating": False, "skipping": False})
    suffix = "sparse features" if tensors is None else f"features for {', '.join(sorted(tensors))}"
    name = f"{architecture.name} without {suffix}"
    return architecture.model_copy(update={"name": name, "levels": levels, "compute": compute})


def _plain(level: StorageLevel, tensors: Collection[str] | None) -> StorageLevel:
    if tensors is None:
        return level.model_copy(update={"formats": {}, "optimizations": ()})
    formats = {tensor: layout for tensor, layout in level.formats.items() if tensor not in tensors}
    entries = [_unled(entry, tensors) for entry in level.optimizations]
    return level.model_copy(update={"formats": formats, "optimizations": tuple(e for e in entries if e is not None)})


def _unled(entry: ActionOptimization, tensors: Collection[str]) -> ActionOptimization | None:
    """The entry without `tensors` as leaders, and without position skipping of them; None when nothing is left."""
    options = []
    for option in entry.options:
        leaders = tuple(leader for leader in option.leaders if leader not in tensors)
        if leaders or (not option.leaders and option.follower not in tensors):
            options.append(LeaderFollower(follower=option.follower, leaders=leaders))
    return ActionOptimization(kind=entry.kind, options=tuple(options)) if options else None
