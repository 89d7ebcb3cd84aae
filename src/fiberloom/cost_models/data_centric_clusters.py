"""Clusters and directives: a mapping in the data-centric notation of MAESTRO (Kwon et al., MICRO'19, §3).

A directive says how the indices of one dimension go over time or over the sub-clusters of a cluster: *map* `size`
consecutive indices, and move on by `offset` each step (`TemporalMap`) or each neighbour (`SpatialMap`). Directives stand
in the order in which data moves, the first one slowest. A cluster level has one `SpatialMap`; where the mapping spreads
several loops over one fan-out, each opens a cluster of its own, which has no memory (a *virtual* cluster in Union's words,
Jeong et al., PACT'21, Fig. 5b). Dimensions that are not listed are mapped whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as ByName
from dataclasses import dataclass

from fiberloom.cost_models._loops import Loops


@dataclass(frozen=True)
class Directive:
    """``TemporalMap(size, offset) dimension`` or ``SpatialMap(size, offset) dimension``.

    Attributes:
        steps: chunks that the dimension is cut into here, in time or over sub-clusters.
    """

    dimension: str
    size: int
    offset: int
    steps: int
    spatial: bool = False

    def __str__(self) -> str:
        return f"{'Spatial' if self.spatial else 'Temporal'}Map({self.size},{self.offset}) {self.dimension}"


def directive(dimension: str, size: int, whole: int, *, spatial: bool = False) -> Directive:
    """Chunks of `size` side by side over `whole` indices: ``1 + ⌈(whole − size) / offset⌉`` steps."""
    return Directive(dimension, size, size, 1 + math.ceil((whole - size) / size), spatial)


@dataclass(frozen=True)
class Cluster:
    """The cluster level that one storage level of the architecture heads.

    Attributes:
        level: storage level, 0 the innermost.
        temporal: directives over time, **outermost first**.
        spatial: directives over the sub-clusters, outermost first; each is a cluster level in MAESTRO's narrow sense.
        chunk: indices of each dimension that one sub-cluster gets at a time.
    """

    level: int
    name: str
    temporal: tuple[Directive, ...]
    spatial: tuple[Directive, ...]
    chunk: ByName[str, int]

    @property
    def sub_clusters(self) -> int:
        """Sub-clusters with work."""
        return math.prod(d.steps for d in self.spatial)


def clusters(loops: Loops) -> tuple[Cluster, ...]:
    """The cluster tree of a mapping, **innermost level first**."""
    found = []
    for level in range(loops.levels):
        inner, outer = loops.inside[level], loops.inside[level + 1]
        chunk = dict(inner)
        spatial, temporal = [], []
        for loop in loops.spatial[level]:  # innermost first: the chunk grows as we go out
            size = chunk[loop.variable]
            chunk[loop.variable] = size * loop.bound
            spatial.append(directive(loop.variable, size, size * loop.bound, spatial=True))
        for loop in loops.temporal[level]:
            temporal.append(directive(loop.variable, chunk[loop.variable], outer[loop.variable]))
        found.append(
            Cluster(level, loops.problem.level_names[level], tuple(reversed(temporal)), tuple(reversed(spatial)), inner)
        )
    return tuple(found)


def notation(tree: tuple[Cluster, ...]) -> str:
    """The cluster tree as text, outermost level first."""
    lines = []
    for cluster in reversed(tree):
        parts = [str(d) for d in cluster.temporal]
        left = cluster.sub_clusters
        for i, spread in enumerate(cluster.spatial):
            if i:
                parts.append(f"Cluster({left})")
            parts.append(str(spread))
            left //= spread.steps
        if parts:
            lines.append(f"{cluster.name}: " + "; ".join(parts))
        if cluster.sub_clusters > 1 and cluster.level:
            lines.append(f"  Cluster({cluster.sub_clusters})")
    return "\n".join(lines)
