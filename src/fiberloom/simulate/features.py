"""The sparse features of an architecture as the oracle needs them: who holds what compressed, who follows whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fiberloom.architecture.sparse import Format, SafKind, TensorFormat
from fiberloom.errors import UnsupportedError
from fiberloom.simulate.nest import Nest


@dataclass(frozen=True)
class Saf:
    """``follower ← leaders``, acting on what level `level` (which keeps the follower) sends towards compute."""

    kind: SafKind
    level: int
    follower: str
    leaders: tuple[str, ...]


@dataclass(frozen=True)
class Features:
    """Formats with metadata by (level, tensor), and at most one SAF by (level, follower)."""

    formats: Mapping[tuple[int, str], TensorFormat]
    safs: Mapping[tuple[int, str], Saf]

    @classmethod
    def of(cls, nest: Nest) -> Features:
        """Collect formats and SAFs; a SAF acts at its level, or the nearest outer one that keeps its follower.

        Raises:
            UnsupportedError: for spatial and position skipping, alternatives, two SAFs on one (level, follower), and
                SAFs outside every level that keeps the follower.
            SpecError: for a tensor that the workload has not.
        """
        names = [t.name for t in nest.workload.tensors]
        formats = {
            (i, name): format_
            for i, level in enumerate(nest.architecture.levels)
            for name, format_ in level.formats.items()
            if name in names and i in nest.keepers(name) and any(r.format is not Format.U for r in format_.ranks)
        }
        safs: dict[tuple[int, str], Saf] = {}
        for i, level in enumerate(nest.architecture.levels):
            for entry in level.optimizations:
                if entry.kind not in (SafKind.GATING, SafKind.SKIPPING):
                    raise UnsupportedError(f"level '{level.name}': the simulation does not know {entry.kind}")
                if len(entry.options) > 1:
                    raise UnsupportedError(
                        f"level '{level.name}': the simulation does not choose between options: {entry}"
                    )
                option = entry.options[0]
                for name in (option.follower, *option.leaders):
                    nest.workload.tensor(name)
                if not option.leaders:
                    raise UnsupportedError(f"level '{level.name}': {entry} has no leader")
                outward = [k for k in nest.keepers(option.follower) if k <= i]
                if not outward:
                    raise UnsupportedError(
                        f"level '{level.name}': {entry} acts outside every level that keeps '{option.follower}'"
                    )
                key = (outward[-1], option.follower)
                if key in safs:
                    raise UnsupportedError(
                        f"level '{level.name}': two optimizations act on '{option.follower}' at "
                        f"'{nest.architecture.levels[key[0]].name}'; the simulation follows one"
                    )
                safs[key] = Saf(entry.kind, key[0], option.follower, option.leaders)
        return cls(formats, safs)
