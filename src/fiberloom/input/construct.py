"""Building spec objects from fields: what pydantic finds wrong becomes a `SpecError` with the field's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fiberloom.errors import SpecError, nearest
from fiberloom.input.field import Field

Model = TypeVar("Model", bound=BaseModel)


def construct(
    model: type[Model], values: Mapping[str, Any], here: Field, places: Mapping[str, Field] | None = None
) -> Model:
    """An instance of `model`.

    Args:
        model: the spec class.
        values: its fields.
        here: where the whole object stands.
        places: where single fields stand, by name, when they are not ``here[name]``.

    Raises:
        SpecError: for the first thing that the class refuses.
    """
    try:
        return model(**values)
    except ValidationError as error:
        raise _spec_error(error, model, here, places or {}) from None


def _spec_error(error: ValidationError, model: type[BaseModel], here: Field, places: Mapping[str, Field]) -> SpecError:
    first = error.errors()[0]
    place = here
    inner = tuple(part for part in first["loc"] if isinstance(part, (str, int)))
    if inner and str(inner[0]) in places:
        place, inner = places[str(inner[0])], inner[1:]
    while inner and isinstance(place.value, (dict, list)):
        part, inner = inner[0], inner[1:]
        if isinstance(place.value, dict) and str(part) in place.value:
            place = place.child(str(part))
        elif isinstance(place.value, list) and isinstance(part, int) and part < len(place.value):
            place = place.child(part)
        else:
            break
    message = str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return place.error(f"unknown field '{name}'", nearest(name, model.model_fields))
    if first["type"] == "missing":
        return here.error(f"'{name}' is missing", f"add '{name}: …'")
    message = message[:1].lower() + message[1:]
    label = f"'{name}': " if name and name not in message else ""
    return place.error(label + message, _hint(first))


def _hint(error: Any) -> str:
    context = {k: v for k, v in error.get("ctx", {}).items() if isinstance(v, (int, float, str))}
    if context:
        return "allowed: " + ", ".join(f"{k} {v}" for k, v in context.items())
    return "see docs/yaml.md for what each field takes"
