"""A specification with choices in it: what a design's values make of it, every field keeping its line.

Anywhere in the file may stand

* ``${expression}`` in a text; a text that is nothing else becomes the value itself, with its type;
* a mapping with ``when: condition`` beside its own fields: it is there only if the condition holds; ``{when: …, value: …}`` does the
  same for a value of another kind;
* ``{switch: expression, cases: {value: …}, otherwise: …}``: one of several;
* a choice: ``{choice: […]}``, ``{linear: [first, last, step]}`` or ``{powers_of_two: [first, last]}``, with `name`, `when` and
  `otherwise` as wanted (`fiberloom.explore.space.reading` finds these and names them).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fiberloom.errors import SpecError, nearest
from fiberloom.explore.space.parameter import comparable
from fiberloom.input.expressions import Number, evaluate
from fiberloom.input.yaml_source import FieldPath, Source

CHOICES: Final = ("choice", "linear", "powers_of_two")
"""Fields that make a mapping a choice."""

_ABSENT: Final = object()
_SLOT: Final = re.compile(r"\$\{([^{}]*)\}")


@dataclass(frozen=True)
class Template:
    """A document with choices in it.

    Attributes:
        source: the document.
        named: parameter of every place where a choice stands.
    """

    source: Source
    named: Mapping[FieldPath, str] = field(default_factory=dict)

    def fill(self, values: Mapping[str, Any]) -> Source:
        """The document of one design; places in it are those of the template.

        Numbers among the values also become ``variables``, so that expressions of the specification may use them.

        Raises:
            SpecError: for an expression that can't be computed, or a switch without a fitting case.
        """
        filling = _Filling(self, values)
        data = filling.node(self.source.data, (), ())
        numbers = {k: v for k, v in filling.scope.items() if not isinstance(v, (str, bool))}
        data["variables"] = {**numbers, **(data.get("variables") or {})}
        return Source(data, self.source.file, filling.lines, self.source.tags)


class _Filling:
    """One pass through a template."""

    def __init__(self, template: Template, values: Mapping[str, Any]) -> None:
        self.template = template
        self.values = values
        self.scope: dict[str, Number | str] = comparable(values)
        self.lines: dict[FieldPath, int] = {}

    def node(self, value: Any, old: FieldPath, new: FieldPath) -> Any:
        """`value` of the template's place `old`, which stands at `new` in the document; `_ABSENT`: it is left out."""
        line = self.template.source.lines.get(old)
        if line is not None:
            self.lines.setdefault(new, line)
        if old in self.template.named:
            return self.values[self.template.named[old]]
        if isinstance(value, dict):
            return self._mapping(value, old, new)
        if isinstance(value, list):
            made: list[Any] = []
            for i, item in enumerate(value):
                found = self.node(item, (*old, i), (*new, len(made)))
                if found is not _ABSENT:
                    made.append(found)
            return made
        return self._text(value, old) if isinstance(value, str) and "${" in value else value

    def _mapping(self, value: dict[str, Any], old: FieldPath, new: FieldPath) -> Any:
        if "when" in value and not self._compute(str(value["when"]), (*old, "when")):
            return _ABSENT
        if "switch" in value:
            return self._switch(value, old, new)
        if value.keys() == {"when", "value"}:
            return self.node(value["value"], (*old, "value"), new)
        made: dict[str, Any] = {}
        for key, item in value.items():
            if key != "when":
                found = self.node(item, (*old, key), (*new, key))
                if found is not _ABSENT:
                    made[key] = found
        return made

    def _switch(self, value: dict[str, Any], old: FieldPath, new: FieldPath) -> Any:
        place = self.template.source.where(old)
        cases = value.get("cases")
        unknown = [key for key in value if key not in ("switch", "cases", "otherwise", "when")]
        if unknown or not isinstance(cases, dict):
            raise SpecError(
                f"a switch with '{unknown[0]}'" if unknown else "a switch without cases",
                where=place,
                hint="write {switch: parameter, cases: {value: …, value: …}, otherwise: …}",
            )
        name = str(value["switch"])
        chosen = self.values[name] if name in self.values else self._compute(name, (*old, "switch"))
        for key, item in cases.items():
            if key == _spelled(chosen):
                return self.node(item, (*old, "cases", key), new)
        if "otherwise" in value:
            return self.node(value["otherwise"], (*old, "otherwise"), new)
        raise SpecError(
            f"'{name}' is {_spelled(chosen)}, which is none of the cases",
            where=place,
            hint=f"{nearest(_spelled(chosen), cases)}; or add 'otherwise:'",
        )

    def _text(self, text: str, old: FieldPath) -> Any:
        whole = _SLOT.fullmatch(text.strip())
        if whole:
            return self._slot(whole[1], old)
        return _SLOT.sub(lambda m: _spelled(self._slot(m[1], old)), text)

    def _slot(self, inside: str, old: FieldPath) -> Any:
        name = inside.strip()
        return self.values[name] if name in self.values else self._compute(inside, old)

    def _compute(self, text: str, old: FieldPath) -> Number:
        return evaluate(text, self.scope, where=self.template.source.where(old))


def _spelled(value: Any) -> str:
    """As YAML writes a scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
