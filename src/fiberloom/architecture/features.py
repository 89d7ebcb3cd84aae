"""The same hardware without its sparse features."""

from __future__ import annotations

from fiberloom.architecture.levels import Architecture


def without_features(architecture: Architecture) -> Architecture:
    """`architecture` with every format, gating and skipping taken away: what the features save is the difference.

    Energies and areas stay as they are, so the comparison is of what the hardware does and not of what it is made of.
    """
    levels = tuple(level.model_copy(update={"formats": {}, "optimizations": ()}) for level in architecture.levels)
    compute = architecture.compute.model_copy(update={"gating": False, "skipping": False})
    name = f"{architecture.name} without sparse features"
    return architecture.model_copy(update={"name": name, "levels": levels, "compute": compute})
