"""What all storage levels have in common: the shape of their arrays and the names of their actions."""

from __future__ import annotations

from dataclasses import dataclass

from fiberloom.architecture.components._base import GATED_SHARE
from fiberloom.architecture.components.sparse_units import LevelLogic, level_logic
from fiberloom.architecture.components.technology import Technology
from fiberloom.architecture.levels import StorageLevel
from fiberloom.errors import Location, SpecError


@dataclass(frozen=True)
class StorageShape:
    """Arrays of one instance (of one cluster, where instances share rows).

    Attributes:
        width: bits moved by one data access.
        bits: bits of the data array.
        metadata_width: bits moved by one metadata access; 0 without metadata.
        metadata_bits: bits of the metadata array.
    """

    width: int
    bits: int
    metadata_width: int
    metadata_bits: int

    @classmethod
    def of(cls, level: StorageLevel, *, bounded: bool = True) -> StorageShape:
        """The arrays that a level describes; sizes are 0 where `bounded` is False.

        Raises:
            SpecError: for a level without depth when `bounded`.
        """
        width = level.width_bits
        if width is None:
            width = level.word_bits * level.words_per_access * level.cluster_size
        described = level.metadata_width_bits if level.metadata_width_bits is not None else level.metadata_word_bits
        metadata_width = described or 0
        if not bounded:
            return cls(width, 0, metadata_width, 0)
        if level.depth is None:
            raise SpecError(
                f"'{level.name}' is {level.component.value} without a depth: its energy and area can't be estimated",
                where=Location(field=f"{level.name}.depth"),
                hint="give the rows of one instance, or energy_pj and area_um2",
            )
        depth = max(level.depth, 1)
        metadata_depth = 0
        if metadata_width:
            metadata_depth = level.metadata_depth if level.metadata_depth is not None else depth
        return cls(width, width * depth, metadata_width, metadata_width * metadata_depth)


def storage_actions(
    level: StorageLevel,
    tech: Technology,
    shape: StorageShape,
    *,
    data_pj: float,
    metadata_pj: float,
    gated_share: float = GATED_SHARE,
) -> tuple[dict[str, float], LevelLogic]:
    """Energy in pJ per action from that of one data and one metadata access, with the level's sparse logic added.

    Reads and writes cost the same: the published anchors do not tell them apart. An update is one write; the read of
    the old partial sum is counted as a read, and the adder belongs to the network or the compute. Metadata reads pass
    through the decoders of the level's formats, and through an intersection unit where the level skips; what is
    written was encoded by the compressor. ``leak`` is left to the caller.

    Returns:
        energies by action, and the sparse logic.
    """
    logic = level_logic(level, shape.metadata_width)
    energy: dict[str, float] = {}
    for action in ("read", "write", "update"):
        metadata = metadata_pj + (logic.decode.energy_pj(tech) if action == "read" else 0.0)
        energy[action] = data_pj
        energy[f"metadata_{action}"] = metadata
        energy[f"gated_{action}"] = gated_share * data_pj
        energy[f"gated_metadata_{action}"] = gated_share * metadata
        energy[f"skipped_{action}"] = 0.0
        energy[f"skipped_metadata_{action}"] = 0.0
    energy["decompression_count"] = logic.decompress.energy_pj(tech)
    energy["compression_count"] = logic.compress.energy_pj(tech)
    return energy, logic
