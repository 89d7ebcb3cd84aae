"""Architectures: storage levels, fan-outs and compute, outermost first."""

from __future__ import annotations

import itertools
import math
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fiberloom.architecture.sparse import ActionOptimization, TensorFormat
from fiberloom.errors import SpecError, nearest

MAX_ENERGY_PJ = 1e15
"""Most energy that one action may take: a kilojoule, so that a mistyped exponent is noticed."""


class ComponentClass(StrEnum):
    """What a level is built of; chooses the built-in energy and area model when no table is given."""

    DRAM = "dram"
    SRAM = "sram"
    REGFILE = "regfile"
    DUMMY = "dummy"  # a wire: no capacity limit, no energy
    MAC = "mac"


class Component(BaseModel):
    """What storage levels and compute have in common.

    Attributes:
        instances: how many there are in the whole chip.
        mesh_x: how many of them lie along X; `mesh_y` follows as instances / mesh_x. None: all along X.
        energy_pj: energy per action in pJ (per vector access of a storage level, per operation of compute); None asks
            the component library. Names as in Timeloop's energy tables (``read``, ``write``, ``update``, ``gated_read``,
            ``metadata_read``, ``leak`` …).
        area_um2: area of one instance; None asks the component library.
        attributes: what the component library needs beyond the fields here (number format, banks, ports …).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    component: ComponentClass
    instances: int = Field(default=1, ge=1, le=2**31)
    mesh_x: int | None = Field(default=None, ge=1)
    mesh_y: int | None = Field(default=None, ge=1)
    word_bits: int = Field(default=16, ge=1, le=4096)
    energy_pj: dict[str, float] | None = None
    area_um2: float | None = Field(default=None, ge=0)
    attributes: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_component(self) -> Component:
        if self.mesh_x is not None and self.mesh_y is not None and self.mesh_x * self.mesh_y != self.instances:
            raise ValueError(
                f"'{self.name}': mesh {self.mesh_x} x {self.mesh_y} holds {self.mesh_x * self.mesh_y} instances, "
                f"but instances is {self.instances}"
            )
        for axis in (self.mesh_x, self.mesh_y):
            if axis is not None and self.instances % axis:
                raise ValueError(
                    f"'{self.name}': {self.instances} instances can't be laid out with {axis} along one axis"
                )
        for action, energy in (self.energy_pj or {}).items():
            if not 0 <= energy <= MAX_ENERGY_PJ:
                raise ValueError(
                    f"'{self.name}': energy of action '{action}' is {energy} pJ; energies are from 0 to {MAX_ENERGY_PJ:g}"
                )
        return self

    @property
    def mesh(self) -> tuple[int, int]:
        """Instances along X and Y."""
        if self.mesh_x is not None:
            return self.mesh_x, self.instances // self.mesh_x
        if self.mesh_y is not None:
            return self.instances // self.mesh_y, self.mesh_y
        return self.instances, 1


class StorageLevel(Component):
    """A memory level. Widths and capacities are those of one instance.

    Attributes:
        depth: rows; None is unbounded (DRAM).
        width_bits: bits of one row, moved by one vector access; None is one word.
        block_words: words moved by one vector access; None is width / word (per cluster).
        cluster_size: words of a row that belong to different instances of a cluster.
        multiple_buffering: capacity is divided by this (2 for double buffering).
        min_utilization: least share of the capacity that a mapping must use.
        read_bandwidth, write_bandwidth, shared_bandwidth: words per cycle and instance; None never throttles.
        metadata_word_bits: bits of a metadata word unless a rank says otherwise.
        metadata_width_bits, metadata_depth: shape of the metadata array; None: no limit and no vector access.
        can_accumulate: whether the level accumulates partial sums sent to it.
        decompress, compress: whether an uncompressed tile may be filled from, or drained to, a compressed parent.
        keep: tensors held here unless the mapping says otherwise; None is all.
        formats: representation per tensor; tensors not named are plainly uncompressed.
        optimizations: gating and skipping at this level.
        peer_links: whether neighbours pass tiles on (systolic forwarding) from this level's children to each other.
        multicast: whether one read of this level serves all children that need the same words.
    """

    component: ComponentClass = ComponentClass.SRAM
    depth: int | None = Field(default=None, ge=0)
    width_bits: int | None = Field(default=None, ge=1)
    block_words: int | None = Field(default=None, ge=1)
    cluster_size: int = Field(default=1, ge=1)
    multiple_buffering: float = Field(default=1.0, gt=0)
    min_utilization: float = Field(default=0.0, ge=0, le=1)
    read_bandwidth: float | None = Field(default=None, gt=0)
    write_bandwidth: float | None = Field(default=None, gt=0)
    shared_bandwidth: float | None = Field(default=None, gt=0)
    metadata_word_bits: int | None = Field(default=None, ge=0)
    metadata_width_bits: int | None = Field(default=None, ge=0)
    metadata_depth: int | None = Field(default=None, ge=0)
    can_accumulate: bool = True
    decompress: bool = True
    compress: bool = True
    keep: tuple[str, ...] | None = None
    formats: dict[str, TensorFormat] = Field(default_factory=dict)
    optimizations: tuple[ActionOptimization, ...] = ()
    peer_links: bool = False
    multicast: bool = True

    @property
    def words_per_access(self) -> int:
        """Words moved by one vector access (the *block*)."""
        if self.block_words is not None:
            return self.block_words
        width = self.width_bits if self.width_bits is not None else self.word_bits
        return max(1, width // (self.word_bits * self.cluster_size))

    @property
    def capacity_words(self) -> int | None:
        """Words that one instance can hold of what is mapped to it; None is unbounded."""
        if self.depth is None or self.component in (ComponentClass.DRAM, ComponentClass.DUMMY):
            return None
        return math.floor(self.depth * self.words_per_access / self.multiple_buffering)


class Compute(Component):
    """The arithmetic at the bottom.

    Attributes:
        gating: idle the unit for a cycle when an operand is zero.
        skipping: do not spend the cycle when an operand does not exist in its compressed stream.
    """

    component: ComponentClass = ComponentClass.MAC
    gating: bool = False
    skipping: bool = False


class Architecture(BaseModel):
    """An accelerator: storage levels from the outermost memory inwards, then compute.

    Attributes:
        technology: node for the component library, e.g. ``45nm``.
        cycle_seconds: clock period, for leakage of the component library and for seconds in reports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "architecture"
    technology: str = "45nm"
    cycle_seconds: float = Field(default=1e-9, gt=0)
    levels: tuple[StorageLevel, ...] = Field(min_length=1, description="outermost first")
    compute: Compute
    description: str = ""
    sources: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Architecture:
        names = [level.name for level in self.levels] + [self.compute.name]
        if len(set(names)) != len(names):
            raise ValueError(f"level names repeat: {names}")
        chain: list[Component] = [*self.levels, self.compute]
        for outer, inner in itertools.pairwise(chain):
            for axis, a, b in zip("XY", outer.mesh, inner.mesh, strict=True):
                if b % a:
                    raise ValueError(
                        f"'{inner.name}' has {b} instances along {axis}, not a multiple of the {a} of '{outer.name}' above it"
                    )
        return self

    def level(self, name: str) -> StorageLevel:
        """The storage level called `name`.

        Raises:
            SpecError: if there is none.
        """
        for level in self.levels:
            if level.name == name:
                return level
        raise SpecError(
            f"no storage level '{name}' in architecture '{self.name}'",
            hint=nearest(name, [lv.name for lv in self.levels]),
        )

    def fanout(self, name: str) -> tuple[int, int]:
        """Children along X and Y that one instance of level `name` feeds."""
        chain: list[Component] = [*self.levels, self.compute]
        i = chain.index(self.level(name))
        (ax, ay), (bx, by) = chain[i].mesh, chain[i + 1].mesh
        return bx // ax, by // ay
