"""The short notations of fiberloom's own YAML: formats, ``B <- A``, ``m=2 n=4``, ``4x4``, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fiberloom.architecture.sparse import Format, LeaderFollower, RankFormat, TensorFormat
from fiberloom.errors import nearest
from fiberloom.input.construct import construct
from fiberloom.input.field import Field

COMPOSITIONS: dict[str, tuple[Format, ...]] = {
    "CSR": (Format.UOP, Format.CP),
    "CSC": (Format.UOP, Format.CP),
    "BITMASK": (Format.B,),
}
"""Known compositions, outermost rank first. CSR and CSC differ in the order of the mapping's loops only."""

_WHOLE_TENSOR = "COO"
_LOOP = re.compile(r"([A-Za-z_]\w*)\s*=\s*([^\s,=]+)")
_MESH = re.compile(r"\s*(\d+)\s*[xX×]\s*(\d+)\s*")
_ARROW = re.compile(r"<->|<-|←|↔")
_RANK_FIELDS = ("format", "variables", "metadata_word_bits", "payload_word_bits")


def read_format(field: Field, variables: Sequence[str] | None, known_variables: Sequence[str] | None) -> TensorFormat:
    """Representation of one tensor: ``CSR``, ``UOP-CP``, a list of ranks, or ``{ranks: […], inner_to_outer: true}``.

    Args:
        field: where it stands.
        variables: iteration variables of the tensor, for ``COO``; None where no workload is known.
        known_variables: variables that ranks may name; None where no workload is known.

    Raises:
        SpecError: with the place of what is wrong.
    """
    inner_to_outer = False
    ranks_field = field
    if field.is_mapping:
        fields = field.mapping()
        field.refuse_unknown(fields, ("ranks", "inner_to_outer"))
        if "ranks" not in fields:
            raise field.error("'ranks' is missing", "write {ranks: [UOP, CP], inner_to_outer: true}")
        ranks_field = fields["ranks"]
        inner_to_outer = fields["inner_to_outer"].boolean() if "inner_to_outer" in fields else False
    if ranks_field.is_text:
        ranks = _composition(ranks_field, variables)
    else:
        ranks = [_rank(rank, known_variables) for rank in ranks_field.items()]
    values = {"ranks": tuple(ranks), "inner_to_outer": inner_to_outer}
    return construct(TensorFormat, values, ranks_field, {"ranks": ranks_field})


def _composition(field: Field, variables: Sequence[str] | None) -> list[RankFormat]:
    text = field.text()
    if text.upper() in COMPOSITIONS:
        return [RankFormat(format=f) for f in COMPOSITIONS[text.upper()]]
    if text.upper() == _WHOLE_TENSOR:
        if variables is None:
            raise field.error(
                "COO needs to know the tensor's variables",
                "give the workload too, or write {format: CP, variables: […]}",
            )
        return [RankFormat(format=Format.CP, variables=tuple(variables))]
    return [RankFormat(format=_format(word, field)) for word in re.split(r"[\s,-]+", text) if word]


def _format(word: str, field: Field) -> Format:
    if word.upper() not in list(Format):
        raise field.error(
            f"format '{word}' is not known", nearest(word.upper(), [*Format, *COMPOSITIONS, _WHOLE_TENSOR])
        )
    return Format(word.upper())


def _rank(rank: Field, known_variables: Sequence[str] | None) -> RankFormat:
    if rank.is_text:
        return RankFormat(format=_format(rank.text(), rank))
    fields = rank.mapping()
    rank.refuse_unknown(fields, _RANK_FIELDS)
    if "format" not in fields:
        raise rank.error("'format' is missing", "known: " + ", ".join(Format))
    values: dict[str, object] = {"format": _format(fields["format"].text(), fields["format"])}
    if "variables" in fields and fields["variables"].value is not None:
        names = fields["variables"].names()
        for name in names:
            if known_variables is not None and name not in known_variables:
                raise fields["variables"].error(
                    f"'{name}' is not an iteration variable", nearest(name, known_variables)
                )
        values["variables"] = tuple(names)
    for bits in ("metadata_word_bits", "payload_word_bits"):
        if bits in fields and fields[bits].value is not None:
            values[bits] = fields[bits].integer(minimum=0)
    return construct(RankFormat, values, rank)


def format_text(tensor_format: TensorFormat) -> object:
    """What `read_format` reads as `tensor_format`: a string where one is enough."""
    plain = all(
        r.variables is None and r.metadata_word_bits is None and r.payload_word_bits is None
        for r in tensor_format.ranks
    )
    ranks: object
    if plain:
        ranks = " ".join(rank.format.value for rank in tensor_format.ranks)
    else:
        ranks = [_rank_text(rank) for rank in tensor_format.ranks]
    return {"ranks": ranks, "inner_to_outer": True} if tensor_format.inner_to_outer else ranks


def _rank_text(rank: RankFormat) -> object:
    given = rank.model_dump(mode="json", exclude_none=True)
    if list(given) == ["format"]:
        return rank.format.value
    return given


def read_leader_followers(
    field: Field, tensors: Sequence[str] | None, leaders: bool = True
) -> list[tuple[LeaderFollower, ...]]:
    """Entries of a ``skip`` or ``gate`` list, each with its options.

    ``B <- A`` drops B's access where A is empty; ``A <-> B`` is both ways, hence two entries; ``B <- A | B <- C`` are
    options of one entry; ``Z <- A, B`` has two leaders.

    Args:
        field: a list of such strings, or one.
        tensors: known tensors; None where no workload is known.
        leaders: False reads plain tensor names (position skipping).

    Raises:
        SpecError: with the place of what is wrong.
    """
    entries: list[tuple[LeaderFollower, ...]] = []
    for item in [field] if field.is_text else field.items():
        text = item.text()
        if not leaders:
            entries += [(LeaderFollower(follower=_tensor(name, item, tensors)),) for name in item.names()]
            continue
        options = text.split("|")
        if _ARROW.findall(text) in (["<->"], ["↔"]) and len(options) == 1:
            a, b = (_tensor(side, item, tensors) for side in _ARROW.split(text))
            entries.append((LeaderFollower(follower=a, leaders=(b,)),))
            entries.append((LeaderFollower(follower=b, leaders=(a,)),))
            continue
        pairs = []
        for option in options:
            sides = _ARROW.split(option)
            if len(sides) != 2 or _ARROW.findall(option)[0] in ("<->", "↔"):
                raise item.error(
                    f"'{option.strip()}' is not 'follower <- leaders'", "write B <- A, Z <- A, B, or A <-> B"
                )
            names = tuple(_tensor(name, item, tensors) for name in sides[1].split(","))
            pairs.append(LeaderFollower(follower=_tensor(sides[0], item, tensors), leaders=names))
        entries.append(tuple(pairs))
    return entries


def leader_follower_text(options: Sequence[LeaderFollower]) -> str:
    """What `read_leader_followers` reads as one entry with `options`."""
    if not options[0].leaders:
        return options[0].follower
    return " | ".join(f"{o.follower} <- {', '.join(o.leaders)}" for o in options)


def _tensor(name: str, field: Field, tensors: Sequence[str] | None) -> str:
    name = name.strip()
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise field.error(f"'{name}' is not a tensor", "write B <- A")
    if tensors is not None and name not in tensors:
        raise field.error(f"'{name}' is not a tensor of the workload", nearest(name, tensors))
    return name


def read_loops(field: Field, variables: Sequence[str] | None) -> list[tuple[str, int]]:
    """Loops, outermost first, from ``m=2 n=4`` or a mapping ``{m: 2, n: 4}``.

    Raises:
        SpecError: for unknown or repeated variables and for factors that are not whole numbers from 1.
    """
    loops: list[tuple[str, int]] = []
    if field.is_mapping:
        pairs = [(name, factor) for name, factor in field.mapping().items()]
    elif field.value is None:
        pairs = []
    else:
        if not field.is_text:
            raise field.wrong("loops such as m=2 n=4")
        rest = _LOOP.sub("", field.value).strip(" ,\t\n")
        if rest:
            raise field.error(f"'{rest}' is not a loop", "write m=2 n=4, outermost first")
        pairs = [(m[1], Field(m[2], field.source, field.path, field.scope)) for m in _LOOP.finditer(field.value)]
    for name, factor in pairs:
        if variables is not None and name not in variables:
            raise factor.error(f"'{name}' is not an iteration variable", nearest(name, variables))
        if any(name == other for other, _ in loops):
            raise factor.error(f"'{name}' stands twice", "write one loop per variable and level; multiply the factors")
        loops.append((name, factor.integer(minimum=1)))
    return loops


def read_mesh(field: Field) -> tuple[int, int]:
    """``4x4`` or one number (all along X) as instances along X and Y.

    Raises:
        SpecError: for anything else.
    """
    match = _MESH.fullmatch(field.value) if field.is_text else None
    if match and 0 < len(match[1]) < 10 and len(match[2]) < 10:
        x, y = int(match[1]), int(match[2])
        if x and y:
            return x, y
    if field.is_number:
        return field.integer(minimum=1), 1
    raise field.wrong("a mesh such as 4x4")
