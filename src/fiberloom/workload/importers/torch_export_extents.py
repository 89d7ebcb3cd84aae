"""Extents of exported PyTorch programs: the numbers that symbols stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fiberloom.errors import SpecError
from fiberloom.workload.importers.torch_export_parameters import listed


class Extents:
    """The numbers that symbolic extents stand for: those given, else those of the example inputs."""

    def __init__(self, inputs: Mapping[str, Any], dims: Mapping[str, int], ranges: Mapping[Any, Any]) -> None:
        self._names: dict[Any, list[str]] = {}
        self._hints: dict[Any, int | None] = {}
        for name, fake in inputs.items():
            for axis, extent in enumerate(fake.shape):
                symbol = _expression(extent)
                if symbol is not None and symbol.is_Symbol:
                    self._names.setdefault(symbol, [str(symbol)]).append(f"{name}.{axis}")
                    self._hints[symbol] = extent.node.hint
        self._alias("batch", inputs, 0)
        tokens = {n: f for n, f in inputs.items() if len(f.shape) == 2 and not f.is_floating_point()}
        self._alias("seq", tokens, 1)
        self._values: dict[Any, int] = {}
        known = [n for names in self._names.values() for n in names]
        for dim, extent in dims.items():
            chosen = [symbol for symbol, names in self._names.items() if dim in names]
            if not chosen:
                shown = ", ".join(" = ".join(names) for names in self._names.values())
                raise SpecError(
                    f"the program has no dynamic axis {listed([dim])}",
                    hint=f"dynamic axes: {shown}"
                    if known
                    else "all its extents are fixed: export it with dynamic_shapes",
                )
            allowed = ranges.get(chosen[0])
            if allowed is not None and not allowed.lower <= extent <= allowed.upper:
                raise SpecError(
                    f"'{dim}' is {extent}, but the program was exported for {allowed.lower} to {allowed.upper}"
                )
            self._values[chosen[0]] = extent

    def _alias(self, alias: str, inputs: Mapping[str, Any], axis: int) -> None:
        symbols = {_expression(f.shape[axis]) for f in inputs.values() if len(f.shape) > axis} - {None}
        if len(symbols) == 1 and (symbol := next(iter(symbols))) in self._names:
            self._names[symbol].append(alias)

    def __call__(self, extent: Any) -> int:
        """The number of an extent.

        Raises:
            SpecError: if it depends on data.
        """
        expression = _expression(extent)
        if expression is None:
            return int(extent)
        values = {s: self._values.get(s, self._hints.get(s)) for s in expression.free_symbols}
        missing = [str(s) for s, v in values.items() if v is None]
        if missing:
            raise SpecError(
                f"the extent {expression} is known only when the model runs",
                hint="write the model with shapes that follow from those of its inputs",
            )
        return int(expression.subs(values))

    def notes(self) -> tuple[str, ...]:
        """What was taken from the example inputs."""
        return tuple(
            f"dynamic axis {' = '.join(names)} is {self._hints[symbol]}, as in the example inputs"
            for symbol, names in self._names.items()
            if symbol not in self._values
        )


def _expression(extent: Any) -> Any:
    """The SymPy expression of a symbolic extent, or None for a number."""
    node = getattr(extent, "node", None)
    return None if node is None or isinstance(extent, int) or not node.expr.free_symbols else node.expr
