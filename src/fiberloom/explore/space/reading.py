"""SPACE.yaml → parameters, requirements and the template of the specification."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from fiberloom.errors import SpecError, nearest
from fiberloom.explore.space.design_space import DesignSpace, Requirement
from fiberloom.explore.space.parameter import ABSENT, Parameter, linear, powers_of_two
from fiberloom.explore.space.template import CHOICES, Template
from fiberloom.input.field import Field
from fiberloom.input.yaml_source import FieldPath, Source, parse_yaml, read_yaml

_CHOICE_FIELDS: Final = (*CHOICES, "name", "when", "otherwise")
_SPACE_FIELDS: Final = ("name", "title", "description", "parameters", "requires", "known", "objectives", "limits")
FILE_ENDINGS: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class SpaceFile:
    """A design space as a file says it.

    Attributes:
        text: the whole file, so that a store can repeat it.
        sections: the template's other top-level sections, unfilled, by name (``architecture``, ``design``, ``problem``, …).
        known: designs with names: values of parameters by name of the design.
        objectives, limits: the goal where none is given, as `fiberloom.explore.Goal.parse` reads it.
    """

    name: str
    title: str
    description: str
    space: DesignSpace
    template: Template
    text: str
    sections: dict[str, Field] = field(compare=False, repr=False, default_factory=dict)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    objectives: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def file(self) -> str | None:
        """Its name in messages."""
        return self.template.source.file


def space_names() -> tuple[str, ...]:
    """Names of the library's spaces, sorted."""
    folder = resources.files("fiberloom.explore.library")
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def read_space(choice: str | Path) -> SpaceFile:
    """A space of the library by name, or of a file.

    Raises:
        SpecError: if there is none, with the nearest name; for a file that makes no sense.
    """
    text = str(choice)
    if not text.endswith(FILE_ENDINGS) and not Path(text).exists():
        if text not in space_names():
            raise SpecError(
                f"no design space '{text}': it is neither in the library nor a file", hint=nearest(text, space_names())
            )
        content = resources.files("fiberloom.explore.library").joinpath(f"{text}.yaml").read_text(encoding="utf-8")
        return parse_space(content, f"{text}.yaml")
    sources = read_yaml(Path(text))
    return _read(_only(sources, text), Path(text).read_text(encoding="utf-8-sig"))


def parse_space(content: str, file: str | None = None) -> SpaceFile:
    """A space from text.

    Raises:
        SpecError: for text that makes no sense.
    """
    return _read(_only(parse_yaml(content, file), file or "the text"), content)


def _only(sources: tuple[Source, ...], name: str) -> Source:
    if len(sources) != 1:
        raise SpecError(f"{name} holds {len(sources)} documents", hint="a design space is one document")
    return sources[0]


def _read(source: Source, text: str) -> SpaceFile:
    root = Field(source.data, source)
    sections = root.mapping()
    if "space" not in sections:
        raise root.error("there is no 'space:' section", "add 'space: {parameters: {…}}', or use the file with --arch")
    section = sections["space"]
    fields = section.mapping()
    section.refuse_unknown(fields, _SPACE_FIELDS)
    parameters = [
        _parameter(entry, name, ())
        for name, entry in (fields["parameters"].mapping() if "parameters" in fields else {}).items()
    ]
    named: dict[FieldPath, str] = {}
    for entry, conditions in _inline(root):
        parameter = _parameter(entry, _place_name(entry), conditions)
        if parameter.name in {p.name for p in parameters}:
            raise entry.error(f"two parameters are called '{parameter.name}'", "give this one another 'name'")
        parameters.append(parameter)
        named[entry.path] = parameter.name
    if not parameters:
        raise section.error(
            "the space has no parameters", "add some under 'parameters:', or a {choice: […]} in a field"
        )
    requirements = [
        Requirement(item.text(), item.where) for item in (fields["requires"].items() if "requires" in fields else ())
    ]
    space = DesignSpace(parameters, requirements)
    known = {}
    for name, entry in (fields["known"].mapping() if "known" in fields else {}).items():
        known[name] = {key: value.value for key, value in entry.mapping().items()}
        try:
            space.point(known[name])
        except SpecError as error:
            raise SpecError(error.problem, where=entry.where, hint=error.hint) from None
    return SpaceFile(
        name=fields["name"].text() if "name" in fields else Path(source.file or "space").stem,
        title=fields["title"].text() if "title" in fields else "",
        description=fields["description"].text() if "description" in fields else "",
        space=space,
        template=Template(source, named),
        text=text,
        sections={key: value for key, value in sections.items() if key not in ("space", "fiberloom")},
        known=known,
        objectives=tuple(item.text() for item in fields["objectives"].items()) if "objectives" in fields else (),
        limits=tuple(item.text() for item in fields["limits"].items()) if "limits" in fields else (),
    )


def _inline(node: Field, conditions: tuple[str, ...] = ()) -> Iterator[tuple[Field, tuple[str, ...]]]:
    """Choices that stand in the specification itself, in order, with the conditions of what they stand in."""
    if node.path == ("space",):
        return
    if node.is_list:
        for item in node.items():
            yield from _inline(item, conditions)
    elif node.is_mapping:
        if any(key in node.value for key in CHOICES):
            yield node, conditions
            return
        if "when" in node.value:
            conditions = (*conditions, str(node.value["when"]))
        for key, item in node.mapping().items():
            if key == "cases" and "switch" in node.value and item.is_mapping:
                for case, inner in item.mapping().items():
                    yield from _inline(inner, (*conditions, _case(str(node.value["switch"]), case)))
            elif key != "when":
                yield from _inline(item, conditions)


def _case(switch: str, case: str) -> str:
    try:
        float(case)
    except ValueError:
        return f"({switch}) == {case!r}" if not switch.isidentifier() else f"{switch} == {case!r}"
    return f"({switch}) == {case}"


def _place_name(entry: Field) -> str:
    """A name for a choice after its place: ``GLB.depth`` for a field of the level GLB."""
    if isinstance(entry.value.get("name"), str):
        return str(entry.value["name"])
    parts: list[str] = []
    value: Any = entry.source.data
    for key in entry.path:
        if isinstance(key, int):
            item = value[key]
            label = item.get("name") or item.get("level") if isinstance(item, dict) else None
            parts = [str(label)] if label else [*parts, str(key)]
        elif key not in ("architecture", "cases"):
            parts.append(str(key))
        value = value[key]
    return ".".join(part.replace(" ", "_") for part in parts)


def _parameter(entry: Field, name: str, conditions: tuple[str, ...]) -> Parameter:
    if entry.is_list:  # short for a choice
        return Parameter(name, *_chosen(entry), conditions, where=entry.where)
    fields = entry.mapping()
    entry.refuse_unknown(fields, _CHOICE_FIELDS)
    kinds = [kind for kind in CHOICES if kind in fields]
    if len(kinds) != 1:
        raise entry.error(
            f"'{name}' says {'nothing' if not kinds else ' and '.join(kinds)} about its values",
            "give one of choice: […], linear: [first, last, step], powers_of_two: [first, last]",
        )
    own = (str(fields["when"].value),) if "when" in fields else ()
    if kinds == ["choice"]:
        values, ordered = _chosen(fields["choice"])
    else:
        values, ordered = _ranged(fields[kinds[0]], kinds[0]), True
    otherwise = fields["otherwise"].value if "otherwise" in fields else ABSENT
    return Parameter(name, values, ordered, (*conditions, *own), otherwise, entry.where)


def _chosen(listed: Field) -> tuple[tuple[Any, ...], bool]:
    values = tuple(item.value for item in listed.items())
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    return values, numbers and list(values) == sorted(values)


def _ranged(entry: Field, kind: str) -> tuple[Any, ...]:
    numbers = [item.number() for item in entry.items()]
    try:
        if kind == "powers_of_two" and len(numbers) == 2:
            return powers_of_two(int(numbers[0]), int(numbers[1]))
        if kind == "linear" and len(numbers) in (2, 3):
            return linear(numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 1)
    except ValueError as error:
        raise entry.error(str(error), "write [first, last] or, for linear, [first, last, step]") from None
    raise entry.error(f"{len(numbers)} numbers", "write [first, last] or, for linear, [first, last, step]")
