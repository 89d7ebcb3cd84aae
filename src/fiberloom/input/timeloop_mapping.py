"""Timeloop mapping directives → `Mapping`."""

from __future__ import annotations

import re
from collections.abc import Mapping as NamedValues
from dataclasses import dataclass, field

from fiberloom.architecture.levels import Architecture
from fiberloom.errors import nearest
from fiberloom.input.construct import construct
from fiberloom.input.field import Field
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.workload.einsum import Einsum

_FACTOR = re.compile(r"([A-Za-z_]+)\s*=*\s*(\d+)(?:\s*,\s*(\d+))?")
_LONG_FACTOR = re.compile(r"([A-Za-z_]\w*)\s*=+\s*(\d+)(?:\s*,\s*(\d+))?")
_BYPASS = ("bypass", "datatype", "dataspace")
_COMMON = ("target", "type", "name")
_LOOPS = (*_COMMON, "factors", "permutation", "no_temporal_reuse", "no_reuse", "rmw_first_update", "stream")
_SPATIAL = (
    *_COMMON,
    "factors",
    "permutation",
    "split",
    "no_link_transfer",
    "no_multicast",
    "no_multicast_no_reduction",
    "no_reuse",
    "stream",
)
_KEEPS = (*_COMMON, "keep", "bypass", "stream", "no_coalesce")


@dataclass
class _Level:
    """What the directives said so far about one level."""

    temporal: dict[str, int] = field(default_factory=dict)
    spatial: dict[str, int] = field(default_factory=dict)
    temporal_order: list[str] | None = None  # innermost first, complete
    spatial_order: list[str] | None = None
    split: int | None = None
    bypassed: set[str] = field(default_factory=set)
    multicast: dict[str, bool] = field(default_factory=dict)
    peer_links: dict[str, bool] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


def read_mapping(
    root: Field, einsum: Einsum, architecture: Architecture, aliases: NamedValues[str, str], warnings: list[str]
) -> Mapping:
    """The mapping of a Timeloop ``mapping`` section, complete: every level, with the order of all dimensions.

    Raises:
        SpecError: with the place of what is wrong.
        UnsupportedError: for skews and reuse switches that are not modelled.
    """
    names = [level.name for level in architecture.levels]
    tensors = [t.name for t in einsum.tensors]
    levels = {
        level.name: _Level(bypassed=set() if level.keep is None else set(tensors) - set(level.keep))
        for level in architecture.levels
    }
    directives = root.mapping().get("nodes", root) if root.is_mapping else root
    streamed = False
    whole: dict[str, Field] = {}
    residuals: dict[tuple[str, bool], dict[str, tuple[int, Field]]] = {}
    for directive in directives.items():
        fields = directive.mapping(hyphens=True)
        if "type" not in fields or "target" not in fields:
            raise directive.error(
                "a directive needs a target and a type", "write {target: buffer, type: temporal, factors: M=4 N=2}"
            )
        kind = fields["type"].one_of(("temporal", "spatial", *_BYPASS, "skew"), "directive type")
        if kind == "skew":
            raise directive.unsupported("skewed loops are not supported")
        target = target_level(fields["target"], names, aliases, kind)
        level = levels[target]
        streamed |= bool("stream" in fields and fields["stream"].value)
        if kind in _BYPASS:
            directive.refuse_unknown(fields, _KEEPS)
            _refuse_switches(fields, ("no_coalesce",))
            _keeps(fields, level, tensors)
            continue
        if kind in level.seen:
            warnings.append(
                f"{directive.where}: a second {kind} directive for '{fields['target'].text()}' replaces the first"
            )
        level.seen.add(kind)
        stated = residuals[target, kind == "spatial"] = {}
        factors = _factors(fields["factors"], einsum, whole, stated) if "factors" in fields else {}
        order = _order(fields.get("permutation"), list(einsum.shape))
        if kind == "temporal":
            directive.refuse_unknown(fields, _LOOPS)
            _refuse_switches(fields, ("no_temporal_reuse", "no_reuse", "rmw_first_update"))
            level.temporal, level.temporal_order = factors, order
        else:
            directive.refuse_unknown(fields, _SPATIAL)
            level.spatial, level.spatial_order = factors, order
            split = fields.get("split")
            level.split = None if split is None or split.value is None else split.integer(minimum=0)
            level.peer_links = dict.fromkeys(_tensors(fields.get("no_link_transfer"), tensors), False)
            for switch in ("no_multicast", "no_multicast_no_reduction", "no_reuse"):
                level.multicast |= dict.fromkeys(_tensors(fields.get(switch), tensors), False)
    if whole:
        listed = ", ".join(f"{dimension}={einsum.shape[dimension]}" for dimension in whole)
        warnings.append(f"{next(iter(whole.values())).where}: factor 0 is taken as the whole dimension ({listed})")
    if streamed:
        warnings.append(f"{root.where}: 'stream' is ignored")
    finished = {
        name: _finish(level, einsum, tensors, root, architecture.fanout(name) != (1, 1))
        for name, level in levels.items()
    }
    mapping = construct(Mapping, {"levels": finished}, root)
    _check_residuals(mapping, einsum, names, residuals)
    return mapping


def _check_residuals(
    mapping: Mapping,
    einsum: Einsum,
    names: list[str],
    residuals: NamedValues[tuple[str, bool], NamedValues[str, tuple[int, Field]]],
) -> None:
    """Raise unless each stated residual, the iterations of a loop's last run, is what bounds and factors leave of it."""
    for place, stated in residuals.items():
        for dimension, (residual, here) in stated.items():
            left = mapping.last_iterations(dimension, einsum.shape[dimension], names)[place]
            if residual != left and mapping.product(dimension) >= einsum.shape[dimension]:
                raise here.error(
                    f"the residual of '{dimension}' is {residual}, but with its factors the last run has {left} "
                    f"iteration{'s' if left > 1 else ''}",
                    f"write {dimension}={{factor}},{left}, or change the factors inside",
                )


def _finish(level: _Level, einsum: Einsum, tensors: list[str], root: Field, fans_out: bool) -> LevelMapping:
    dimensions = list(einsum.shape)
    temporal_order = level.temporal_order or dimensions
    spatial_order = level.spatial_order or dimensions
    along_x = None
    if level.split is not None and level.split < len(dimensions):
        along_x = tuple(reversed(spatial_order[: level.split]))
    spatial = {d: f for d, f in level.spatial.items() if f != 1}
    if not fans_out and not spatial:  # no spatial block here at all
        spatial_order, along_x = [], None
    values = {
        "temporal": {d: f for d, f in level.temporal.items() if f != 1},
        "spatial": spatial,
        "temporal_order": tuple(reversed(temporal_order)),
        "spatial_order": tuple(reversed(spatial_order)),
        "spatial_x": along_x,
        "keep": tuple(t for t in tensors if t not in level.bypassed),
        "multicast": level.multicast,
        "peer_links": level.peer_links,
    }
    return construct(LevelMapping, values, root)


def target_level(target: Field, names: list[str], aliases: NamedValues[str, str], kind: str) -> str:
    """The level that a directive means, by name (``PE[0..13]`` is ``PE``) or by Timeloop's number (0 is the innermost).

    Args:
        target: the directive's field.
        names: storage levels, outermost first.
        aliases: containers, by the fan-out that they open; a spatial directive means the fan-out.
        kind: temporal, spatial, ….

    Raises:
        SpecError: with the nearest name.
    """
    if isinstance(target.value, int) and not isinstance(target.value, bool):
        if not 0 <= target.value < len(names):
            raise target.error(
                f"there is no storage level {target.value}", f"levels are numbered 0 (innermost) to {len(names) - 1}"
            )
        return names[-1 - target.value]
    text = target.text()
    if text not in names and text not in aliases:
        text = text.partition("[")[0].strip()
    if text in aliases and (kind == "spatial" or text not in names):
        return aliases[text]
    if text not in names:
        raise target.error(f"'{text}' is not a storage level", nearest(text, [*names, *aliases]))
    return text


def _factors(
    factors: Field, einsum: Einsum, whole: dict[str, Field], residuals: dict[str, tuple[int, Field]]
) -> dict[str, int]:
    """Factor per dimension from ``C=1 M=2``, ``C1 M2``, a list of such, or a mapping.

    A factor 0 is the whole dimension (not what the other levels leave of it) and is noted in `whole`; the residual in
    ``C=4,3`` is noted in `residuals`.
    """
    found: dict[str, int] = {}

    def add(dimension: str, factor: int, here: Field) -> None:
        if dimension not in einsum.shape:
            raise here.error(f"'{dimension}' is not a dimension", nearest(dimension, einsum.shape))
        if dimension in found:
            raise here.error(f"'{dimension}' has two factors here", "give each dimension one factor")
        if factor == 0:
            whole.setdefault(dimension, here)
        found[dimension] = factor or einsum.shape[dimension]

    if factors.is_mapping:
        for dimension, value in factors.mapping().items():
            add(dimension, value.integer(minimum=0), value)
        return found
    long_names = any(len(name) > 1 for name in einsum.shape)
    for part in factors.items() if factors.is_list else [factors]:
        text = part.text().partition("#")[0] if part.value is not None else ""
        pattern = _LONG_FACTOR if long_names else _FACTOR
        rest = pattern.sub("", text).strip(" ,;\t\n")
        if rest:
            raise part.error(f"'{rest}' is not a factor", "write e.g. C=1 M=2")
        for match in pattern.finditer(text):
            if len(match[2]) > 18 or len(match[3] or "") > 18:
                raise part.error(f"factor '{match[0]}' is too large", "factors are at most the dimension's bound")
            add(match[1], int(match[2]), part)
            if match[3] is not None:
                residuals[match[1]] = int(match[3]), part
    return found


def _order(permutation: Field | None, dimensions: list[str]) -> list[str]:
    """All dimensions, innermost first: those listed, then the others in declaration order."""
    listed: list[str] = []
    if permutation is not None and permutation.value is not None:
        if permutation.is_list:
            listed = permutation.names()
        else:
            text = permutation.text()
            words = [w for w in re.split(r"[\s,]+", text) if w]
            listed = words if all(w in dimensions for w in words) else [c for c in text if not c.isspace() and c != ","]
        for dimension in listed:
            if dimension not in dimensions:
                raise permutation.error(f"'{dimension}' is not a dimension", nearest(dimension, dimensions))
            if listed.count(dimension) > 1:
                raise permutation.error(
                    f"'{dimension}' stands twice in the permutation", "list each dimension once, innermost first"
                )
    return listed + [d for d in dimensions if d not in listed]


def _tensors(names: Field | None, tensors: list[str]) -> list[str]:
    listed = names.names() if names is not None else []
    for name in listed:
        if names is not None and name not in tensors:
            raise names.error(f"'{name}' is not a data space", nearest(name, tensors))
    return listed


def _keeps(fields: dict[str, Field], level: _Level, tensors: list[str]) -> None:
    kept = set(_tensors(fields.get("keep"), tensors))
    bypassed = set(_tensors(fields.get("bypass"), tensors))
    if both := kept & bypassed:
        raise fields["bypass"].error(f"'{sorted(both)[0]}' is both kept and bypassed", "list it once")
    level.bypassed = (level.bypassed - kept) | bypassed


def _refuse_switches(fields: dict[str, Field], switches: tuple[str, ...]) -> None:
    for switch in switches:
        if switch in fields and fields[switch].value:
            raise fields[switch].unsupported(f"'{fields[switch].name}' is not supported")
