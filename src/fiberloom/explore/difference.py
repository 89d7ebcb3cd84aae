"""What differs between the problem of a store and another one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fiberloom.errors import SpecError
from fiberloom.explore.space import Parameter, SpaceFile
from fiberloom.explore.space.reading import parse_space

_PROSE: Final = ("space",)
"""Section whose parameters and requirements are compared one by one; its titles and named designs don't matter."""


def differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Parts of `DesignProblem.facts` that differ, in words; of the space's text only what evaluations depend on."""
    now = json.loads(json.dumps(now))
    found: list[str] = []
    for part in sorted(stored.keys() | now.keys()):
        if stored.get(part) == now.get(part):
            continue
        if part == "space" and part in stored and part in now:
            found += _of_spaces(stored[part], now[part])
        else:
            found.append(part)
    return found


def _of_spaces(stored: str, now: str) -> Iterator[str]:
    try:
        old, new = parse_space(stored), parse_space(now)
    except SpecError:
        yield "the space's file"
        return
    yield from _of_parameters(old, new)
    if [r.text for r in old.space.requirements] != [r.text for r in new.space.requirements]:
        yield "what the space requires"
    for section in sorted(old.sections.keys() | new.sections.keys()):
        if section not in _PROSE and _data(old).get(section) != _data(new).get(section):
            yield f"'{section}:'"


def _of_parameters(old: SpaceFile, new: SpaceFile) -> Iterator[str]:
    before, after = ({p.name: p for p in file.space.parameters} for file in (old, new))
    for name in sorted(before.keys() - after.keys()):
        yield f"the parameter '{name}' is gone"
    for name in sorted(after.keys() - before.keys()):
        yield f"the parameter '{name}' is new"
    for name in sorted(before.keys() & after.keys()):
        if before[name].values != after[name].values:
            yield f"'{name}' was {_listed(before[name])} and is {_listed(after[name])}"
        elif (before[name].when, before[name].otherwise) != (after[name].when, after[name].otherwise):
            yield f"when there is a '{name}'"
    if before.keys() == after.keys() and list(before) != list(after):
        yield "the order of the parameters"


def _listed(parameter: Parameter) -> str:
    shown = ", ".join(map(str, parameter.values[:8]))
    return f"[{shown}, …]" if len(parameter.values) > 8 else f"[{shown}]"


def _data(file: SpaceFile) -> Mapping[str, Any]:
    data: Mapping[str, Any] = file.template.source.data
    return data
