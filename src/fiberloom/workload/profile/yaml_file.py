"""Sparsity profiles as YAML."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from fiberloom.errors import FiberloomError, Location, SpecError, nearest
from fiberloom.workload.profile.document import DensitySpec, SparsityProfile, TensorProfile, TileCheck

_VERSION: Final = 1
_MAX_BYTES: Final = 64 << 20
_TOP: Final = ("sparsity_profile", "network", "notes", "entries", "tensors")
_ENTRY: Final = (
    "density", "role", "shape", "nonzero", "spread", "samples", "model", "misfit", "tiles", "channels", "empty_channels", "note",
)  # fmt: skip
_TILE: Final = ("tile", "empty", "predicted_empty", "misfit")
_DENSITIES: Final = "a number from 0 to 1, '2:4', dense, or {distribution: …}"
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def read_profile(path: Path) -> SparsityProfile:
    """The profile in a file.

    Raises:
        SpecError: with file, line and field.
    """
    file = str(path)
    root = _root(path)
    top = _mapping(root, file, "a sparsity profile is a mapping with 'tensors:'")
    _known(top, _TOP, file, "", "field")
    version = _plain(top["sparsity_profile"], file) if "sparsity_profile" in top else _VERSION
    if version != _VERSION:
        raise SpecError(
            f"version {version} of sparsity profiles is not known", where=Location(file), hint=f"known: {_VERSION}"
        )
    if "tensors" not in top:
        raise SpecError("'tensors:' is missing", where=Location(file), hint="tensors: {'conv*.weight': '2:4'}")
    tensors, places = {}, {}
    for name, node in _mapping(top["tensors"], file, "tensors: a mapping from names to densities").items():
        where = Location(file, node.start_mark.line + 1, f"tensors.{name}")
        tensors[name], places[name] = _entry(node, where), where
    entries = _plain(top["entries"], file) if "entries" in top else len(tensors)
    if entries != len(tensors):
        hint = "the file is cut off, or 'entries:' was left behind when it was edited: delete that line"
        raise SpecError(
            f"it says that it has {entries} tensors; it has {len(tensors)}", where=Location(file), hint=hint
        )
    notes = _plain(top["notes"], file) if "notes" in top else []
    network = _plain(top["network"], file) if "network" in top else ""
    if not isinstance(notes, list):
        raise SpecError("'notes' is not a list", where=Location(file, None, "notes"))
    return SparsityProfile(tensors, str(network or ""), tuple(str(n) for n in notes), path.resolve().parent, places)


def write_profile(profile: SparsityProfile, path: Path) -> None:
    """Write a profile; the file is complete or not there.

    Raises:
        FiberloomError: when the system refuses.
    """
    document = {
        "sparsity_profile": _VERSION,
        "network": profile.network,
        "notes": list(profile.notes),
        "entries": len(profile.tensors),
        "tensors": {name: _as_dict(entry) for name, entry in profile.tensors.items()},
    }
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    write_whole(path, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name first, so that no half of it is ever found.

    Raises:
        FiberloomError: when the system refuses.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FiberloomError(
            f"can't write {path}: {error.strerror}", hint="give a file in a folder that exists"
        ) from None


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def _as_dict(entry: TensorProfile) -> Any:
    """The fields that say something; a stated density alone is written as such."""
    fields: dict[str, Any] = {"density": 1.0 if entry.density is None else entry.density}
    for name in _ENTRY[1:]:
        value = getattr(entry, name)
        if name == "tiles":
            value = [
                {"tile": "x".join(map(str, t.tile))} | {n: _short(getattr(t, n)) for n in _TILE[1:]} for t in value
            ]
        if isinstance(value, tuple):
            value = [_short(v) if isinstance(v, float) else v for v in value]
        if value is None or value in ("", []):
            continue
        fields[name] = _short(value) if isinstance(value, float) and name != "nonzero" else value
    return fields if len(fields) > 1 else fields["density"]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _root(path: Path) -> yaml.Node:
    where = Location(str(path))
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SpecError(f"larger than {_MAX_BYTES >> 20} MiB: not a sparsity profile", where=where)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"can't be read: {error.strerror}", where=where) from None
    except UnicodeDecodeError:
        raise SpecError("not text", where=where, hint="a sparsity profile is YAML") from None
    try:
        if any(
            isinstance(e, yaml.AliasEvent)
            for e in yaml.parse(text, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
        ):
            raise SpecError(
                "aliases (*name) are not taken in sparsity profiles", where=where, hint='quote patterns: "*.weight"'
            )
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        hint = 'quote patterns that begin with *: "*.weight"' if "alias" in str(error) else None
        raise SpecError(
            f"not YAML, or cut off: {error.problem or error.context}", where=Location(str(path), line), hint=hint
        ) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"not YAML: {str(error).splitlines()[0]}", where=where) from None
    if root is None:
        raise SpecError("the file is empty", where=where)
    return root


def _mapping(node: yaml.Node, file: str, expected: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise SpecError("not a mapping", where=Location(file, node.start_mark.line + 1), hint=expected)
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        where = Location(file, key.start_mark.line + 1)
        if not isinstance(key, yaml.ScalarNode):
            raise SpecError("a name is not text", where=where)
        if key.value in found:
            raise SpecError(f"'{key.value}' stands here twice", where=where)
        found[key.value] = value
    return found


def _known(given: Mapping[str, Any], known: tuple[str, ...], file: str, path: str, what: str) -> None:
    for name, node in given.items():
        if name not in known:
            where = Location(file, node.start_mark.line + 1, f"{path}.{name}" if path else name)
            raise SpecError(f"unknown {what} '{name}'", where=where, hint=nearest(name, known))


def _entry(node: yaml.Node, where: Location) -> TensorProfile:
    """A density alone, a mapping with ``distribution``, or a whole entry with ``density``."""
    file = where.file or ""
    if not isinstance(node, yaml.MappingNode):
        return TensorProfile(_density(_plain(node, file), where))
    fields = _mapping(node, file, "")
    if "distribution" in fields:
        return TensorProfile(_density(_plain(node, file), where))
    _known(fields, _ENTRY, file, where.field or "", "field")
    if "density" not in fields:
        raise SpecError("'density' is missing", where=where, hint=_DENSITIES)
    values = {name: _plain(value, file) for name, value in fields.items()}
    try:
        return TensorProfile(
            _density(values["density"], where),
            str(values.get("role", "")),
            tuple(int(s) for s in values["shape"]) if "shape" in values else None,
            _number(values.get("nonzero")),
            _number(values.get("spread")),
            int(values["samples"]) if "samples" in values else None,
            str(values.get("model", "")),
            _number(values.get("misfit")),
            tuple(
                TileCheck(tuple(int(e) for e in str(t["tile"]).split("x")), *(float(t[n]) for n in _TILE[1:]))
                for t in values.get("tiles", ())
            ),
            tuple(float(c) for c in values.get("channels", ())),
            int(values["empty_channels"]) if "empty_channels" in values else None,
            str(values.get("note", "")),
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise SpecError(
            f"a measured value can't be read: {error}", where=where, hint="'density' alone is enough"
        ) from None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _density(value: Any, where: Location) -> DensitySpec:
    if value == "dense":
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value <= 1:
            raise SpecError(
                f"density {value} is not in 0..1", where=where, hint="a share, not per cent" if value <= 100 else None
            )
        return None if value == 1 else float(value)
    if isinstance(value, dict) or (isinstance(value, str) and ":" in value):
        return value
    shown = f"'{value}'" if isinstance(value, str) else repr(value)
    raise SpecError(f"{shown} is not a density", where=where, hint=_DENSITIES)


def _plain(node: yaml.Node, file: str) -> Any:
    """Lists, dicts and scalars; scalars as in YAML 1.2, so that 2:4 is text and not a number of base 60."""
    if isinstance(node, yaml.MappingNode):
        return {name: _plain(value, file) for name, value in _mapping(node, file, "").items()}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, file) for value in node.value]
    text = str(node.value)
    if getattr(node, "style", None) in ("'", '"', "|", ">"):
        return text
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text) and len(text) < 20:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
