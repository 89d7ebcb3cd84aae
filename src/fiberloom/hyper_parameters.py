"""Named methods with hyper-parameters: what mappers and agents have in common."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar

from fiberloom.errors import SpecError, nearest

M = TypeVar("M", bound="Method")


class Method:
    """A published method: the keyword arguments of its constructor are its hyper-parameters, kept as attributes of the same names.

    Attributes:
        name, summary: what it is called, and what it does in a few words.
        given: arguments of the constructor that come before the hyper-parameters.
    """

    name: str
    summary: ClassVar[str]
    given: ClassVar[int]

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Hyper-parameters and their defaults."""
        parameters = list(inspect.signature(cls).parameters.values())[cls.given :]
        return {p.name: p.default for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD}

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """Hyper-parameters of this search."""
        return {name: getattr(self, name) for name in self.defaults()}

    def bounded(self, parameter: str, low: float, high: float = math.inf) -> None:
        """Check a hyper-parameter.

        Raises:
            SpecError: unless it is a number from `low` to `high`.
        """
        value = getattr(self, parameter)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            limits = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise SpecError(f"{parameter} of '{self.name}' is {value}", hint=f"it is a number {limits}")

    def whole(self, parameter: str, low: int, high: int = 1_000_000) -> None:
        """Check a hyper-parameter that counts something.

        Raises:
            SpecError: unless it is a whole number from `low` to `high`.
        """
        self.bounded(parameter, low, high)
        if getattr(self, parameter) != int(getattr(self, parameter)):
            raise SpecError(
                f"{parameter} of '{self.name}' is {getattr(self, parameter)}", hint=f"it is a whole number from {low}"
            )
        setattr(self, parameter, int(getattr(self, parameter)))

    def flag(self, parameter: str) -> None:
        """Check a hyper-parameter that is on or off.

        Raises:
            SpecError: for anything else.
        """
        if not isinstance(getattr(self, parameter), bool):
            raise SpecError(f"{parameter} of '{self.name}' is {getattr(self, parameter)}", hint="it is true or false")


class Methods(Mapping[str, type[M]], Generic[M]):
    """Methods by name, each loaded when it is first asked for; iterating over names loads no module.

    Args:
        package: that holds their modules.
        homes: ``module:class`` by name.
    """

    def __init__(self, package: str, homes: Mapping[str, str]) -> None:
        self._package = package
        self._homes = homes

    def __getitem__(self, name: str) -> type[M]:
        module, _, cls = self._homes[name].partition(":")
        loaded: type[M] = getattr(import_module(f"{self._package}.{module}"), cls)
        return loaded

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def chosen(self, name: str, hyper: Mapping[str, Any], what: str) -> type[M]:
        """The method `name`, which takes the hyper-parameters `hyper`.

        Args:
            what: it is, for messages: ``agent``.

        Raises:
            SpecError: for a name or a hyper-parameter that does not exist, with the nearest one.
        """
        if name not in self:
            raise SpecError(f"there is no {what} '{name}'", hint=nearest(name, self))
        found = self[name]
        legal = found.defaults()
        for parameter in hyper:
            if parameter not in legal:
                raise SpecError(f"'{name}' has no hyper-parameter '{parameter}'", hint=nearest(parameter, legal))
        return found
