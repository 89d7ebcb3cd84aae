"""Timeloop's constraints of a map space (v0.3 target lists, v0.4 nodes) → `Constraints`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import nearest
from fiberloom.input.field import Field
from fiberloom.input.timeloop_constraint_text import Block, Written, place_of, read_factors, read_order
from fiberloom.input.timeloop_mapping import target_level
from fiberloom.mapping.constraints import Constraints, LevelConstraints, LoopConstraints
from fiberloom.workload.einsum import Einsum

SECTIONS = ("architecture_constraints", "arch_constraints", "mapspace_constraints", "mapspace", "constraints")
"""Top-level sections that constrain the map space; all that are there hold together."""

_KINDS = {
    "temporal": "temporal",
    "spatial": "spatial",
    "bypass": "dataspace",
    "bypassing": "dataspace",
    "datatype": "dataspace",
    "dataspace": "dataspace",
    "utilization": "utilization",
    "parallelism": "utilization",
    "max_overbooked_proportion": "overbooking",
}
_COMMON = ("target", "name", "type", "version")
_LOOPS = (
    *_COMMON, "factors", "permutation", "default_max_factor", "default_min_factor", "factors_only",
    "no_iteration_over_dataspaces", "must_iterate_over_dataspaces",
)  # fmt: skip
_NO_MULTICAST = ("no_multicast", "no_multicast_no_reduction", "no_reuse")
_KNOWN = {
    "temporal": _LOOPS,
    "spatial": (*_LOOPS, "split", "no_link_transfer", *_NO_MULTICAST),
    "dataspace": (*_COMMON, "keep", "bypass", "keep_only", "bypass_only"),
    "utilization": (*_COMMON, "min"),
}
_REFUSED = {
    "remainders": "imperfect factors are not supported",
    "maximize_dims": "'maximize_dims' is not supported",
    "maximize_dims_capacity": "'maximize_dims_capacity' is not supported",
    "no_temporal_reuse": "'no_temporal_reuse' is not supported",
    "rmw_first_update": "'rmw_first_update' is not supported",
    "no_coalesce": "'no_coalesce' is not supported",
    "proportion": "overbooking is not supported",
}


def read_constraints(
    sections: Mapping[str, Field],
    nodes: Sequence[tuple[Field, Field]],
    einsum: Einsum,
    architecture: Architecture,
    aliases: Mapping[str, str],
    warnings: list[str],
) -> Constraints:
    """Constraints of all of Timeloop's sections and of the architecture's nodes (v0.4) together.

    Meanings follow the public sources (NVlabs/timeloop, src/mapping/constraints.cpp and src/mapspaces): orders are
    innermost first, loops that are not listed stand outside those listed and are free, ``_`` comes before loops that
    stand outermost; the first `split` spatial loops run along X; data spaces not named are searched, but the outermost
    level keeps them. A factor 0 is what other levels leave of the bound.

    Args:
        sections: the file's; those of `SECTIONS` are read.
        nodes: name and constraints of the nodes that have some.
        einsum, architecture, aliases: what the constraints name; `aliases` are containers, by the fan-out they open.
        warnings: what was ignored is added here.

    Raises:
        SpecError: with the place of what is wrong.
        UnsupportedError: for what fiberloom can't express and would change the map space.
    """
    reader = _Reader(einsum, architecture, aliases, warnings)
    for name, group in nodes:
        for key, constraint in group.mapping(hyphens=True).items():
            fields = constraint.mapping(hyphens=True)
            if any(value.value not in (None, [], {}, "") for value in fields.values()):
                reader.read(name, _kind(key, constraint), fields, constraint)
    for section in SECTIONS:
        for directive, kind, fields in _directives(sections.get(section)):
            target = fields.get("target", fields.get("name"))
            if target is None:
                raise directive.error("a constraint needs a target", "write {target: buffer, type: temporal, …}")
            reader.read(target, _kind(kind.text(), kind), fields, directive)
    return reader.finish()


def _directives(section: Field | None) -> Iterator[tuple[Field, Field, dict[str, Field]]]:
    """Constraints of a section: place, type and fields of each, in all the ways that Timeloop takes them."""
    if section is None or section.value is None:
        return
    listed = section
    if section.is_mapping:
        fields = section.mapping(hyphens=True)
        if "template" in fields and fields["template"].value not in (None, "uber"):
            raise fields["template"].unsupported(
                f"map-space template '{fields['template'].value}' is not supported", "perfect factors only: uber"
            )
        section.refuse_unknown(fields, ("version", "template", "targets", "constraints", "parser_version"))
        if "targets" not in fields and "constraints" not in fields:
            return
        listed = fields["constraints"] if "constraints" in fields else fields["targets"]
    for target in listed.items():
        outer = target.mapping(hyphens=True)
        inside = outer.pop("constraints", None)
        for constraint in [target] if inside is None else inside.items():
            fields = outer if inside is None else outer | constraint.mapping(hyphens=True)
            if "attributes" in fields:
                fields |= fields.pop("attributes").mapping(hyphens=True)
            if "type" not in fields:
                raise constraint.error("a constraint needs a type", "known: " + ", ".join(_KINDS))
            yield constraint, fields["type"], fields


def _kind(name: str, here: Field) -> str:
    kind = _KINDS.get(name)
    if kind is None:
        raise here.error(f"constraint type '{name}' is not known", nearest(name, _KINDS))
    if kind == "overbooking":
        raise here.unsupported("overbooking is not supported")
    return kind


@dataclass
class _Level:
    """What the directives said so far about one level."""

    temporal: Block = field(default_factory=Block)
    spatial: Block = field(default_factory=Block)
    keep: dict[str, bool] = field(default_factory=dict)
    multicast: dict[str, bool] = field(default_factory=dict)
    peer_links: dict[str, bool] = field(default_factory=dict)

    def block(self, kind: str) -> Block:
        return self.temporal if kind == "temporal" else self.spatial


class _Reader:
    def __init__(
        self, einsum: Einsum, architecture: Architecture, aliases: Mapping[str, str], warnings: list[str]
    ) -> None:
        self.einsum = einsum
        self.architecture = architecture
        self.aliases = aliases
        self.warnings = warnings
        self.dimensions = list(einsum.shape)
        self.tensors = [t.name for t in einsum.tensors]
        self.names = [level.name for level in architecture.levels]
        self.levels = {name: _Level() for name in self.names}
        self.written = Written()
        self.share: tuple[float, Field] | None = None  # of all fan-outs together

    def read(self, target: Field, kind: str, fields: Mapping[str, Field], here: Field) -> None:
        """One constraint: `fields` of `kind` at the level that `target` means."""
        for key, problem in _REFUSED.items():
            if key in fields and fields[key].value not in (None, [], False):
                raise fields[key].unsupported(problem)
        if kind == "temporal" and "no_reuse" in fields and fields["no_reuse"].value:
            raise fields["no_reuse"].unsupported("temporal loops without reuse are not supported")
        fields = {k: v for k, v in fields.items() if k not in _REFUSED and (k != "no_reuse" or kind == "spatial")}
        here.refuse_unknown(fields, _KNOWN[kind], "constraint")
        name = target_level(target, self.names, self.aliases, kind)
        if kind != "spatial" and name in self.aliases.values() and target.value != name:
            self.warnings.append(
                f"{place_of(here)}: '{target.value}' is a container; its {kind} constraints are ignored"
            )
            return
        if kind == "dataspace":
            self._keeps(name, fields)
        elif kind == "utilization":
            self._utilization(name, fields, here)
        else:
            self._loops(name, kind, fields)
        if kind == "spatial":
            self._axes(name, fields)

    def _loops(self, level: str, kind: str, fields: Mapping[str, Field]) -> None:
        block, path = self.levels[level].block(kind), f"{level}.{kind}"
        given = {key: value for key, value in fields.items() if value.value is not None}
        for key in ("factors", "factors_only"):
            if key in given:
                read_factors(given[key], self.einsum.shape, block, path, self.written, self.warnings)
        ones: list[tuple[str, Field]] = []
        if "factors_only" in given:
            said = {*block.factors, *block.remaining, *block.at_least, *block.at_most}
            ones += [(d, given["factors_only"]) for d in self.dimensions if d not in said]
        if here := given.get("no_iteration_over_dataspaces"):
            ones += [(d, here) for d in self._iterating(here)]
        if (here := given.get("must_iterate_over_dataspaces")) and here.value:
            ones += [(d, here) for d in self.dimensions if d not in self._iterating(here)]
        for dimension, here in ones:
            self.written.put(block.factors, dimension, 1, f"{path}.factors.{dimension}", here)
        for key, name, limits in (
            ("default_max_factor", "at_most", block.at_most),
            ("default_min_factor", "at_least", block.at_least),
        ):
            if key in given:
                limit = given[key].integer(minimum=1)
                for dimension in [d for d in self.dimensions if d not in limits]:
                    self.written.put(limits, dimension, limit, f"{path}.{name}.{dimension}", given[key])
        if "permutation" in given:
            read_order(given["permutation"], self.dimensions, block, path, self.written)

    def _iterating(self, names: Field) -> set[str]:
        """Dimensions of the data spaces of a list."""
        return {d for name in self._data_spaces(names) for d in self.einsum.tensor(name).variables}

    def _data_spaces(self, listed: Field | None) -> list[str]:
        """Data spaces of a list; ``*`` is all of them."""
        names = listed.names() if listed is not None else []
        for name in names:
            if listed is not None and name != "*" and name not in self.tensors:
                raise listed.error(f"'{name}' is not a data space", nearest(name, self.tensors))
        return list(self.tensors) if "*" in names else names

    def _axes(self, level: str, fields: Mapping[str, Field]) -> None:
        said = self.levels[level]
        if "split" in fields and fields["split"].value is not None:
            said.spatial.split_at = fields["split"]
            count = fields["split"].integer(minimum=0)
            for path in (f"{level}.spatial.x", f"{level}.spatial.y"):
                self.written.put(said.spatial.splits, "split", count, path, fields["split"])
        for key in _NO_MULTICAST:
            said.multicast |= dict.fromkeys(self._data_spaces(fields.get(key)), False)
        said.peer_links |= dict.fromkeys(self._data_spaces(fields.get("no_link_transfer")), False)

    def _keeps(self, level: str, fields: Mapping[str, Field]) -> None:
        for key, kept in (("keep", True), ("bypass", False), ("keep_only", True), ("bypass_only", False)):
            if key not in fields or fields[key].value is None:
                continue
            named = self._data_spaces(fields[key])
            said = {tensor: (tensor in named) is kept for tensor in self.tensors if tensor in named or "_only" in key}
            for tensor, keeps in said.items():
                if self.levels[level].keep.setdefault(tensor, keeps) is not keeps:
                    raise fields[key].error(f"'{tensor}' is both kept and bypassed at '{level}'", "list it once")
                self.written.note(f"{level}.{'keep' if keeps else 'bypass'}", fields[key])

    def _utilization(self, level: str, fields: Mapping[str, Field], here: Field) -> None:
        if level != self.names[-1]:
            raise here.error(
                f"utilization is constrained at '{level}'", f"it is that of all fan-outs: target '{self.names[-1]}'"
            )
        if "min" not in fields:
            raise here.error("'min' is missing", "write min: 0.5")
        self.share = float(fields["min"].number(minimum=0, maximum=1)), fields["min"]

    def finish(self) -> Constraints:
        """Everything said, with Timeloop's defaults: the outermost level keeps all; containers' fan-outs don't iterate."""
        for fan_out in set(self.aliases.values()):
            block = self.levels[fan_out].temporal
            for dimension in self.dimensions:
                block.factors.setdefault(dimension, 1)
        for tensor in self.tensors:
            self.levels[self.names[0]].keep.setdefault(tensor, True)
        self._leave_free()
        least = self._least_fanouts()
        found = {name: self._level(level, least.get(name)) for name, level in self.levels.items()}
        nothing = LevelConstraints()
        return Constraints(levels={k: v for k, v in found.items() if v != nothing}, where=self.written.where)

    def _level(self, level: _Level, least_fanout: int | None) -> LevelConstraints:
        spatial = level.spatial.values() | level.spatial.axes(self.dimensions) | {"least_fanout": least_fanout}
        return LevelConstraints(
            temporal=LoopConstraints(**level.temporal.values()),
            spatial=LoopConstraints(**spatial),
            keep=tuple(t for t in self.tensors if level.keep.get(t) is True),
            bypass=tuple(t for t in self.tensors if level.keep.get(t) is False),
            multicast=level.multicast,
            peer_links=level.peer_links,
        )

    def _least_fanouts(self) -> dict[str, int]:
        """The least product of spatial factors per level: Timeloop limits the share of all fan-outs together."""
        if self.share is None or self.share[0] == 0:
            return {}
        share, here = self.share
        sizes = {name: x * y for name in self.names for x, y in [self.architecture.fanout(name)] if x * y > 1}
        if len(sizes) > 1 and share < 1:
            raise here.unsupported(
                f"a utilization of {share} of {len(sizes)} fan-outs together is not supported",
                "limit 'least_fanout' per level in fiberloom's own YAML",
            )
        for name in sizes:
            self.written.note(f"{name}.spatial.least_fanout", here)
        return {name: -int(-share * size // 1) for name, size in sizes.items()}

    def _leave_free(self) -> None:
        """Leave free what can't divide the bound, innermost first, spatial before temporal: so does Timeloop 3.0.3."""
        for dimension, bound in self.einsum.shape.items():
            product, whole = 1, False
            for name in reversed(self.names):
                for kind in ("spatial", "temporal"):
                    block = self.levels[name].block(kind)
                    if dimension in block.remaining and whole:
                        block.remaining.remove(dimension)
                        self._left_free(
                            f"{name}.{kind}.remaining.{dimension}", f"{dimension}=0", "it is taken further in"
                        )
                    elif dimension in block.remaining:
                        whole = True
                    factor = block.factors.get(dimension, 1)
                    if bound % (product * factor):
                        del block.factors[dimension]
                        why = f"{product * factor} does not divide the bound {bound}"
                        self._left_free(f"{name}.{kind}.factors.{dimension}", f"{dimension}={factor}", why)
                    else:
                        product *= factor

    def _left_free(self, path: str, factor: str, why: str) -> None:
        self.warnings.append(f"{self.written.where.pop(path, path)}: {factor} is left free: {why}")
