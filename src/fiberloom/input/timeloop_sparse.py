"""Timeloop's ``sparse_optimizations`` → formats, gating and skipping of levels and compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fiberloom.architecture.levels import Architecture, StorageLevel
from fiberloom.architecture.sparse import ActionOptimization, Format, LeaderFollower, RankFormat, SafKind, TensorFormat
from fiberloom.errors import nearest
from fiberloom.input.construct import construct
from fiberloom.input.field import Field
from fiberloom.workload.einsum import Einsum

_KINDS = {
    "gating": SafKind.GATING,
    "skipping": SafKind.SKIPPING,
    "skipping_spatial": SafKind.SPATIAL_SKIPPING,
    "spatial_skipping": SafKind.SPATIAL_SKIPPING,
    "position_skipping": SafKind.POSITION_SKIPPING,
}
_COMPUTE_KINDS = {
    "gating": "gating",
    "gate_on_zero_operand": "gating",
    "skipping": "skipping",
    "skip_on_not_aligned_operands": "skipping",
}
_TARGET_FIELDS = ("name", "target", "action_optimization", "representation_format", "compute_optimization")
_ORDERS = {"inner_to_outer": True, "outer_to_inner": False}


def apply_sparse_optimizations(
    architecture: Architecture,
    einsum: Einsum,
    sections: Sequence[tuple[str | None, Field]],
    *,
    underscore_flattening: bool,
    warnings: list[str],
) -> Architecture:
    """The architecture with the sparse features of `sections`.

    Args:
        architecture: without sparse features.
        einsum: whose tensors and dimensions the sections name.
        sections: ``sparse_optimizations``, or ones of a single level with its name.
        underscore_flattening: whether ``flattened_rankIDs`` counts; v0.3 reads ``flattened-rankIDs`` only and ignores
            the other spelling.
        warnings: what a reader should know is added here.

    Raises:
        SpecError: with the place of what is wrong.
    """
    levels = {level.name: level for level in architecture.levels}
    compute = architecture.compute
    formats: dict[str, dict[str, TensorFormat]] = {}
    actions: dict[str, list[ActionOptimization]] = {}
    switches: dict[str, bool] = {}
    reader = _Reader(einsum, underscore_flattening, warnings)
    for owner, section in sections:
        for target in _targets(section, owner):
            fields = target.mapping(hyphens=True)
            target.refuse_unknown(fields, _TARGET_FIELDS)
            place = fields.get("name", fields.get("target"))
            name = owner or (place.text() if place is not None else "")
            if not name or name not in {*levels, compute.name}:
                hint = nearest(name, [*levels, compute.name])
                raise (place or target).error(f"'{name}' is not a level of the architecture", hint)
            if name == compute.name:
                for wrong in ("action_optimization", "representation_format"):
                    if wrong in fields and fields[wrong].value:
                        raise fields[wrong].error(
                            f"'{fields[wrong].name}' at the compute level", "it belongs to a storage level"
                        )
                switches |= dict.fromkeys(_compute(fields.get("compute_optimization")), True)
                continue
            if "compute_optimization" in fields and fields["compute_optimization"].value:
                raise fields["compute_optimization"].error(
                    "compute optimisation at a storage level", f"it belongs to '{compute.name}'"
                )
            if "representation_format" in fields:
                formats.setdefault(name, {}).update(reader.formats(fields["representation_format"], levels[name]))
            if "action_optimization" in fields:
                actions.setdefault(name, []).extend(reader.actions(fields["action_optimization"]))
    updated = tuple(
        level.model_copy(update={"formats": formats.get(name, {}), "optimizations": tuple(actions.get(name, ()))})
        for name, level in levels.items()
    )
    return architecture.model_copy(update={"levels": updated, "compute": compute.model_copy(update=switches)})


def _targets(section: Field, owner: str | None) -> list[Field]:
    if owner is not None:
        return [section] if section.value else []
    if section.is_list:
        return section.items()
    fields = section.mapping()
    section.refuse_unknown(fields, ("version", "targets"))
    return fields["targets"].items() if "targets" in fields else []


def _compute(section: Field | None) -> list[str]:
    switches = []
    for entry in section.items() if section is not None else []:
        fields = entry.mapping()
        entry.refuse_unknown(fields, ("type",))
        if "type" not in fields:
            raise entry.error("'type' is missing", "known: gating, skipping")
        switches.append(_COMPUTE_KINDS[fields["type"].one_of(_COMPUTE_KINDS, "compute optimisation")])
    return switches


class _Reader:
    def __init__(self, einsum: Einsum, underscore_flattening: bool, warnings: list[str]) -> None:
        self.tensors = [t.name for t in einsum.tensors]
        self.dimensions = list(einsum.shape)
        self.underscore_flattening = underscore_flattening
        self.warnings = warnings
        self.warned = False

    def tensor(self, name: Field) -> str:
        return name.one_of(self.tensors, "data space")

    def formats(self, section: Field, level: StorageLevel) -> dict[str, TensorFormat]:
        found: dict[str, TensorFormat] = {}
        outer = section.mapping(hyphens=True)
        section.refuse_unknown(outer, ("data_spaces",))
        for space in outer["data_spaces"].items() if "data_spaces" in outer else []:
            fields = space.mapping(hyphens=True)
            space.refuse_unknown(fields, ("name", "ranks", "rank_application_order", "compression_rate"))
            if "name" not in fields or "ranks" not in fields:
                raise space.error(
                    "a format needs a name and ranks", "write {name: A, ranks: [{format: UOP}, {format: CP}]}"
                )
            if "compression_rate" in fields:
                raise fields["compression_rate"].unsupported(
                    "'compression-rate' is not supported", "remove it; densities say the rate"
                )
            order = fields.get("rank_application_order")
            inward = "outer_to_inner" if order is None else order.text().replace("-", "_")
            if order is not None and inward not in _ORDERS:
                raise order.error(f"rank order '{order.text()}' is not known", nearest(inward, _ORDERS))
            ranks = tuple(self.rank(rank, level) for rank in fields["ranks"].items())
            values = {"ranks": ranks, "inner_to_outer": _ORDERS[inward]}
            found[self.tensor(fields["name"])] = construct(TensorFormat, values, space, {"ranks": fields["ranks"]})
        return found

    def rank(self, rank: Field, level: StorageLevel) -> RankFormat:
        raw = rank.mapping()
        ignored = "flattened_rankIDs" if "flattened_rankIDs" in raw and not self.underscore_flattening else None
        if ignored and not self.warned:
            self.warned = True
            self.warnings.append(
                f"{raw[ignored].where}: 'flattened_rankIDs' is ignored in v0.3; the keyword is 'flattened-rankIDs'"
            )
        fields = {k.replace("-", "_"): v for k, v in raw.items() if k != ignored}
        rank.refuse_unknown(fields, ("format", "metadata_word_bits", "payload_word_bits", "flattened_rankIDs", "name"))
        if "format" not in fields:
            raise rank.error("'format' is missing", "known: " + ", ".join(Format))
        name = fields["format"].text().upper()
        if name not in list(Format):
            raise fields["format"].error(
                f"format '{fields['format'].text()}' is not known", nearest(name, list(Format))
            )
        values: dict[str, Any] = {"format": name, "variables": self.flattened(fields.get("flattened_rankIDs"))}
        for bits in ("metadata_word_bits", "payload_word_bits"):
            if bits in fields and fields[bits].value is not None:
                values[bits] = self.whole_words(fields[bits].integer(minimum=0, maximum=4096), level)
        return construct(RankFormat, values, rank)

    def flattened(self, ids: Field | None) -> tuple[str, ...] | None:
        if ids is None or ids.value is None:
            return None
        groups = ids.items() if ids.is_list and any(item.is_list for item in ids.items()) else [ids]
        groups = [group for group in groups if group.value]
        if len(groups) > 1:
            raise ids.unsupported("several groups of flattened dimensions in one rank", "write one list of dimensions")
        names = groups[0].names() if groups else []
        for name in names:
            if name not in self.dimensions:
                raise ids.error(f"'{name}' is not a dimension", nearest(name, self.dimensions))
        return tuple(names) or None

    def whole_words(self, bits: int, level: StorageLevel) -> int:
        """Timeloop widens an item until it divides a row of the metadata store, so that none straddles two rows."""
        width = level.metadata_width_bits
        if not width or not bits or bits > width:
            return bits
        return next(wider for wider in range(bits, width + 1) if width % wider == 0)

    def actions(self, section: Field) -> list[ActionOptimization]:
        found = []
        for entry in section.items():
            fields = entry.mapping(hyphens=True)
            entry.refuse_unknown(fields, ("type", "options", "target", "condition_on", "name"))
            if "type" not in fields:
                raise entry.error("'type' is missing", "known: " + ", ".join(_KINDS))
            given = fields["type"].text().replace("-", "_")
            if given not in _KINDS:
                raise fields["type"].error(
                    f"optimisation '{fields['type'].text()}' is not known", nearest(given, _KINDS)
                )
            kind = _KINDS[given]
            options = fields["options"].items() if "options" in fields else [entry]
            pairs = tuple(self.pair(option, kind) for option in options)
            found.append(construct(ActionOptimization, {"kind": kind, "options": pairs}, entry))
        return found

    def pair(self, option: Field, kind: SafKind) -> LeaderFollower:
        fields = option.mapping(hyphens=True)
        option.refuse_unknown(fields, ("type", "target", "condition_on", "name"))
        if "target" not in fields:
            raise option.error("'target' is missing", "write {target: B, condition-on: [A]}")
        condition = fields.get("condition_on")
        leaders: list[str] = []
        for item in condition.items() if condition is not None and condition.is_list else []:
            leaders.append(self.tensor(item))
        if condition is not None and condition.is_text:
            leaders.append(self.tensor(condition))
        if not leaders and kind is not SafKind.POSITION_SKIPPING:
            raise option.error("'condition-on' is missing", "name the leaders: condition-on: [A]")
        follower = self.tensor(fields["target"])
        return construct(LeaderFollower, {"follower": follower, "leaders": tuple(leaders)}, option)
