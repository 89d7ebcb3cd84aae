"""Reading YAML safely, and remembering the line of every field.

Documents are built from parser events, not from constructed objects, so that every limit is checked while the file is
read and nothing in a file can run code. Scalars follow YAML 1.2: only ``true`` and ``false`` are booleans (``N``,
``Y``, ``no`` and ``on`` stay strings, because they are also rank names) and ``1e-9`` is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fiberloom.errors import Location, SpecError

MAX_BYTES = 16 * 1024 * 1024
MAX_LINES = 400_000
MAX_NODES = 300_000
MAX_DEPTH = 64
MAX_DIGITS = 40

FieldPath = tuple[str | int, ...]

KEPT_TAGS = frozenset({"!Component", "!Container"})
"""Application tags that are remembered (`Source.tags`); those of Timeloop's v0.4 architectures."""

_YAML = "tag:yaml.org,2002:"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


def field_name(path: FieldPath) -> str:
    """``("levels", 0, "name")`` as people write it: ``levels[0].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


@dataclass(frozen=True)
class Source:
    """One YAML document.

    Attributes:
        data: plain dicts (string keys), lists and scalars.
        file: its name in messages.
        lines: 1-based line of each field path.
        tags: application tag of each field path that has one (see `KEPT_TAGS`).
    """

    data: Any
    file: str | None = None
    lines: Mapping[FieldPath, int] = field(default_factory=dict, repr=False)
    tags: Mapping[FieldPath, str] = field(default_factory=dict, repr=False)

    def where(self, path: FieldPath = ()) -> Location:
        """The place of a field, or of the nearest field around it that the file has."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return Location(self.file, line, field_name(path) or None)
        return Location(self.file, None, field_name(path) or None)


def read_yaml(path: Path) -> tuple[Source, ...]:
    """Read a file; one `Source` per document.

    Raises:
        SpecError: for a file that can't be opened, is too large, is not text, is empty, or is not YAML.
    """
    name = str(path)
    here = Location(name)
    try:
        if path.is_dir():
            raise SpecError("this is a folder", where=here, hint="name the YAML files in it")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError("there is no such file", where=here, hint="check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"can't be read: {reason}", where=here, hint="give the path of a readable YAML file") from None
    if len(raw) > MAX_BYTES:
        raise SpecError(
            f"the file is larger than {MAX_BYTES // 2**20} MiB", where=here, hint="specifications are a few kilobytes"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError(
            "this is not text in UTF-8", where=Location(name, line), hint="save the file as UTF-8 text"
        ) from None
    return parse_yaml(text, name)


def parse_yaml(text: str, file: str | None = None) -> tuple[Source, ...]:
    """Read YAML from a string; one `Source` per document that is not empty.

    Raises:
        SpecError: for text that is empty, over the limits, or not YAML.
    """
    if text.count("\n") > MAX_LINES:
        raise SpecError(
            f"the file has more than {MAX_LINES:,} lines",
            where=Location(file),
            hint="specifications are a few hundred lines",
        )
    loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loader = loader_class(text)
        try:
            sources = tuple(_documents(loader, file))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part) or "this is not YAML"
        last = text.count("\n") + 1
        raise SpecError(
            f"not valid YAML: {problem}",
            where=Location(file, None if mark is None else min(mark.line + 1, last)),
            hint="check the brackets, quotes, colons and indentation at and just before this line",
        ) from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        line = None if position is None else text.encode("utf-8").count(b"\n", 0, int(position)) + 1
        reason = getattr(error, "reason", None) or "this is not YAML"
        raise SpecError(
            f"not valid YAML: {reason}", where=Location(file, line), hint="a YAML file is plain text"
        ) from None
    if not sources:
        raise SpecError(
            "the file is empty",
            where=Location(file, 1),
            hint="a specification has the sections workload, architecture, mapping",
        )
    return sources


def _documents(loader: Any, file: str | None) -> Iterator[Source]:
    while True:
        event = loader.get_event()
        if isinstance(event, yaml.StreamEndEvent):
            return
        if isinstance(event, yaml.DocumentStartEvent):
            composer = _Composer(loader, file)
            data = composer.node(loader.get_event(), (), 0)
            if data is not None:
                yield Source(data, file, composer.lines, composer.tags)


class _Composer:
    """Turns the events of one document into plain data, checking every limit on the way."""

    def __init__(self, loader: Any, file: str | None) -> None:
        self.loader = loader
        self.file = file
        self.lines: dict[FieldPath, int] = {}
        self.tags: dict[FieldPath, str] = {}
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.open_anchors: set[str] = set()
        self.nodes = 0

    def refuse(self, problem: str, line: int, path: FieldPath, hint: str) -> SpecError:
        return SpecError(problem, where=Location(self.file, line, field_name(path) or None), hint=hint)

    def count(self, nodes: int, line: int, path: FieldPath) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self.refuse(
                f"the file has more than {MAX_NODES:,} values (aliases count as what they stand for)",
                line,
                path[:2],
                "specifications have a few thousand",
            )

    def node(self, event: Any, path: FieldPath, depth: int) -> Any:
        line = event.start_mark.line + 1
        self.lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event.anchor, line, path)
        self.count(1, line, path)
        before = self.nodes
        if event.anchor is not None:
            self.open_anchors.add(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            value = self.scalar(event, line, path)
        else:
            if depth >= MAX_DEPTH:
                raise self.refuse(f"nested more than {MAX_DEPTH} deep", line, path[:4], "flatten the structure")
            self.collection_tag(event, line, path)
            value = (
                self.sequence(path, depth) if isinstance(event, yaml.SequenceStartEvent) else self.mapping(path, depth)
            )
        if event.anchor is not None:
            self.open_anchors.discard(event.anchor)
            self.anchors[event.anchor] = (value, self.nodes - before + 1)
        return value

    def alias(self, anchor: str | None, line: int, path: FieldPath) -> Any:
        if anchor in self.open_anchors:
            raise self.refuse(
                f"alias '*{anchor}' stands inside what it names", line, path, "an alias can't contain itself"
            )
        if anchor is None or anchor not in self.anchors:
            raise self.refuse(
                f"alias '*{anchor}' has no anchor '&{anchor}' before it", line, path, "define the anchor first"
            )
        value, size = self.anchors[anchor]
        self.count(size, line, path)
        return value

    def collection_tag(self, event: Any, line: int, path: FieldPath) -> None:
        tag = event.tag
        if tag in (None, "!", _YAML + "map", _YAML + "seq"):
            return
        if tag in KEPT_TAGS:
            self.tags[path] = tag
            return
        raise self.refuse(
            f"tag '{_short(tag)}' is not known", line, path, "remove the tag; plain YAML values are enough"
        )

    def sequence(self, path: FieldPath, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := self.loader.get_event(), yaml.SequenceEndEvent):
            values.append(self.node(event, (*path, len(values)), depth + 1))
        return values

    def mapping(self, path: FieldPath, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while not isinstance(event := self.loader.get_event(), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            key = self.key(event, line, path)
            here = (*path, key)
            if key == "<<" and not event.style:
                merged += self.merge(self.node(self.loader.get_event(), here, depth + 1), line, path)
                continue
            if key in values:
                raise self.refuse(
                    f"'{key}' stands twice here: lines {self.lines[here]} and {line}", line, here, "keep one of the two"
                )
            self.lines[here] = line
            self.count(1, line, here)
            values[key] = self.node(self.loader.get_event(), here, depth + 1)
        for extra in merged:
            for key, value in extra.items():
                values.setdefault(key, value)
        return values

    def key(self, event: Any, line: int, path: FieldPath) -> str:
        if isinstance(event, yaml.AliasEvent):
            value = self.alias(event.anchor, line, path)
            if isinstance(value, str):
                return value
        elif isinstance(event, yaml.ScalarEvent) and event.tag in (None, "!", _YAML + "str"):
            return str(event.value)
        raise self.refuse("a field name must be a word", line, path, "write 'name: value'")

    def merge(self, value: Any, line: int, path: FieldPath) -> list[dict[str, Any]]:
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            raise self.refuse("'<<' merges mappings only", line, path, "write '<<: *name_of_a_mapping'")
        return parts

    def scalar(self, event: Any, line: int, path: FieldPath) -> Any:
        text, tag = event.value, event.tag
        if tag is None or tag == "!":
            plain = tag is None and not event.style
            return _resolve(text, lambda problem, hint: self.refuse(problem, line, path, hint)) if plain else text
        kind = tag.removeprefix(_YAML)
        if kind == "str":
            return text
        if kind in ("int", "float", "bool", "null"):
            value = _resolve(text, lambda problem, hint: self.refuse(problem, line, path, hint))
            if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value).__name__.replace("NoneType", "null") == kind:
                return value
            raise self.refuse(f"'{text}' is not what its tag '{_short(tag)}' says", line, path, "remove the tag")
        if tag in KEPT_TAGS and text == "":
            self.tags[path] = tag
            return None
        raise self.refuse(
            f"tag '{_short(tag)}' is not known", line, path, "remove the tag; plain YAML values are enough"
        )


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_YAML) if tag.startswith(_YAML) else tag


def _resolve(text: str, refuse: Any) -> Any:
    """The value of a plain scalar."""
    if text in _NULLS:
        return None
    first = text[0]
    if first in "0123456789.+-":
        if _INTEGER.fullmatch(text):
            if len(text) > MAX_DIGITS:
                raise refuse(f"a number of {len(text)} digits", f"numbers have at most {MAX_DIGITS} digits")
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _INFINITE.fullmatch(text):
            return float("-inf" if first == "-" else "inf")
        if text in _NAN:
            return float("nan")
        return text
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    return text
