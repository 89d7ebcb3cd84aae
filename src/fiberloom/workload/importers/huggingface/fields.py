"""Fields of a config.json, read with their types; an error names file, line and field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fiberloom.errors import Location, SpecError, nearest

_LARGEST_FILE: Final = 10 * 2**20
"""Bytes. Published configurations have a few thousand; a larger file is something else."""
_LARGEST: Final = 2**40
"""Of any number in a configuration: far beyond all published, far below where products overflow the counters."""

FUNCTIONS: Final[Mapping[str, str]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "gelu_quick",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
}
"""Names of functions in configurations, and ours."""

FORMATS: Final[Mapping[str, str]] = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
}
"""Names of number formats in configurations, and ours."""


class Config:
    """A configuration: `values` by field, from `file`."""

    def __init__(self, values: Mapping[str, Any], file: str | None = None, text: str = "") -> None:
        self.values = values
        self.file = file
        self._text = text

    def error(self, problem: str, field: str | None = None, hint: str | None = None) -> SpecError:
        """An error at a field."""
        line = None
        if field is not None and (found := re.search(rf'"{re.escape(field)}"\s*:', self._text)):
            line = self._text.count("\n", 0, found.start()) + 1
        return SpecError(problem, where=Location(self.file, line, field), hint=hint)

    def named(self, names: str | Sequence[str]) -> str | None:
        """The first of some names of one field that is there and not null."""
        alternatives = (names,) if isinstance(names, str) else names
        return next((name for name in alternatives if self.values.get(name) is not None), None)

    def integer(self, names: str | Sequence[str], default: int | None = None, *, least: int = 1) -> int:
        """A whole number from `least`.

        Args:
            names: of the field; several if it goes by several.
            default: when it is missing; None: then it is an error.

        Raises:
            SpecError: if it is missing or no such number.
        """
        name = self.named(names)
        if name is None:
            if default is not None:
                return default
            raise self.missing(names)
        value = self.values[name]
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(f"{_shown(value)} is not a whole number", name)
        if not least <= value <= _LARGEST:
            raise self.error(f"{value} is not in {least}..{_LARGEST}", name)
        return value

    def optional(self, names: str | Sequence[str]) -> int | None:
        """A whole number from one, or None if it is missing or null."""
        return self.integer(names) if self.named(names) else None

    def number(self, name: str, default: float) -> float:
        """A finite number above zero."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise self.error(f"{_shown(value)} is not a number above zero", name)
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(f"{_shown(value)} is neither true nor false", name)
        return value

    def text(self, name: str, default: str) -> str:
        """A string."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(f"{_shown(value)} is not a string", name)
        return value

    def strings(self, name: str, length: int | None = None) -> tuple[str, ...] | None:
        """A list of strings, of a given length; None if it is missing."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise self.error(f"{_shown(value)} is not a list of strings", name)
        if length is not None and len(value) != length:
            raise self.error(f"a list of {len(value)} where {length} are needed", name)
        return tuple(value)

    def indices(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers from zero; empty if it is missing."""
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, int) and v >= 0 for v in value):
            raise self.error(f"{_shown(value)} is not a list of whole numbers", name)
        return tuple(value)

    def function(self, name: str, default: str) -> str:
        """A function by our name."""
        value = self.text(name, default)
        if value not in FUNCTIONS:
            raise self.error(f"the function '{value}' is not known", name, nearest(value, FUNCTIONS))
        return FUNCTIONS[value]

    def missing(self, names: str | Sequence[str]) -> SpecError:
        """The error that a field is not there."""
        name = names if isinstance(names, str) else names[0]
        close = nearest(name, self.values)
        hint = (
            close
            if close.startswith("did you mean")
            else "write it, as the published configuration of the model has it"
        )
        return SpecError(f"the field '{name}' is missing", where=Location(self.file), hint=hint)

    @property
    def number_format(self) -> str:
        """Number format of the published weights; ``fp32`` when nothing is said, as PyTorch has it."""
        name = "dtype" if self.values.get("dtype") is not None else "torch_dtype"
        value = self.text(name, "float32").removeprefix("torch.")
        if value not in FORMATS:
            raise self.error(f"the number format '{value}' is not known", name, nearest(value, FORMATS))
        return FORMATS[value]

    @property
    def architecture(self) -> str:
        """Name of the class that the weights are of; empty if the configuration does not say."""
        return (self.strings("architectures") or ("",))[0]

    @property
    def labels(self) -> int:
        """Classes of a classifier, two when nothing is said."""
        names = self.values.get("id2label")
        if isinstance(names, Mapping) and names:
            return len(names)
        return self.integer(("num_labels", "_num_labels"), 2)


def load(path: str) -> Config:
    """The configuration in a file.

    Raises:
        SpecError: if it can't be read, is no JSON, or no JSON object.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise SpecError("more than 10 MiB are no configuration of a model", where=Location(path))
        text = file.read_text(encoding="utf-8-sig")
        values = json.loads(text)
    except OSError as error:
        raise SpecError(f"can't be read: {error.strerror or error}", where=Location(path)) from None
    except UnicodeDecodeError:
        raise SpecError("is no text in UTF-8", where=Location(path)) from None
    except RecursionError:
        raise SpecError("is nested too deeply to be a configuration", where=Location(path)) from None
    except json.JSONDecodeError as error:
        raise SpecError(f"is no JSON: {error.msg}", where=Location(path, error.lineno)) from None
    except ValueError as error:  # a number with more digits than Python converts
        raise SpecError(f"is no JSON: {str(error)[:80]}", where=Location(path)) from None
    if not isinstance(values, dict):
        raise SpecError(
            "holds no JSON object", where=Location(path), hint='a configuration reads {"model_type": "llama", …}'
        )
    return Config(values, path, text)


def _shown(value: Any) -> str:
    shown = json.dumps(value, default=str)
    return shown if len(shown) < 60 else shown[:56] + " …"
