"""Calls that make no tensor of their own: views of parameters, conversions that change nothing, heads repeated for groups."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

from fiberloom.workload.importers.torch_export_values import Repeated, Value

_SAME: Final = frozenset({"detach", "alias", "lift_fresh", "lift_fresh_copy", "detach_copy", "alias_copy"})
_DROPOUT: Final = frozenset({"dropout", "alpha_dropout", "feature_dropout"})
_CONVERSIONS: Final = frozenset({"to", "_to_copy", "type_as", "contiguous", "clone"})
_DEQUANTISATION: Final = frozenset(
    {"dequantize_per_tensor", "dequantize_per_channel", "dequantize_affine", "dequantize"}
)
_RESHAPES: Final = frozenset({
    "view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze", "expand", "expand_as", "view_as",
    "slice", "select", "split", "split_with_sizes", "chunk", "unbind", "narrow", "_reshape_alias",
})  # fmt: skip


def same_tensor(base: str, x: Value, made: Value, arguments: dict[str, Any], *, converted: bool) -> Value | None:
    """What a call returns when that is `x` itself or a view of the parameter `x`; None if it makes a tensor.

    Args:
        base: of the operator.
        made: its output.
        converted: whether the output's number format differs.
    """
    if base in _SAME or (base in _DROPOUT and not arguments.get("train")):
        return x
    if base in ("to", "_to_copy", "type_as", "slice", "expand") and not converted and x.shape == made.shape:
        return x
    if not x.parameter:
        return None
    if base in _CONVERSIONS or base in _DEQUANTISATION:
        return x
    ranks = len(x.shape)
    if not x.spread and base in ("t", "numpy_T", "mT", "transpose", "permute", "swapaxes", "swapdims"):
        order = list(range(ranks))
        if base == "permute":
            order = [d % ranks for d in arguments["dims"]]
        elif base in ("t", "numpy_T"):
            order.reverse()
        else:
            first, second = (arguments.get(n, d) for n, d in (("dim0", -2), ("dim1", -1)))
            order[first % ranks], order[second % ranks] = order[second % ranks], order[first % ranks]
        return x.permuted(tuple(order))
    if base == "expand" and not x.spread and made.shape[len(made.shape) - ranks :] == x.shape:
        return replace(x, shape=made.shape, spread=len(made.shape) - ranks)
    if x.spread:
        return x if x.shape == made.shape and base in _RESHAPES else None
    if base in _RESHAPES and (x.axes is None or x.axes == tuple(range(ranks))):
        return replace(x, shape=made.shape, axes=None)
    return None


class RepeatedHeads:
    """Follows keys and values whose heads are repeated for each group of queries (Ainslie et al., EMNLP'23, §2.2).

    Models do so by an axis of one that is expanded and merged with the heads, or by ``repeat_interleave``.
    """

    def __init__(self) -> None:
        self.found: dict[str, Repeated] = {}
        self._parted: dict[str, Value] = {}  # with an axis of one before the last two
        self._expanded: dict[str, Repeated] = {}

    def see(self, base: str, x: Value, made: Value, arguments: dict[str, Any]) -> None:
        """Take note of a call of `base` that makes `made` from `x`."""
        if x.name == made.name:
            return
        if base == "unsqueeze" and arguments.get("dim") in (2, -3) and len(made.shape) == 5:
            self._parted[made.name] = x
        elif base == "expand" and x.name in self._parted and len(made.shape) == 5:
            source = self._parted[x.name]
            if made.shape[:2] == source.shape[:2] and made.shape[3:] == source.shape[2:] and made.shape[2] > 1:
                self._expanded[made.name] = Repeated(source, made.shape[2])
        elif x.name in self._expanded:
            source, times, _ = self._expanded[x.name]
            if made.shape == x.shape:
                self._expanded[made.name] = self._expanded[x.name]
            elif made.shape[-2:] == source.shape[-2:] and math.prod(made.shape[:-2]) == math.prod(x.shape[:3]):
                self.found[made.name] = Repeated(source, times)
        elif base == "repeat_interleave" and isinstance(arguments.get("repeats"), int) and len(x.shape) == 4:
            if arguments.get("dim") in (1, -3) and arguments["repeats"] > 1:
                self.found[made.name] = Repeated(x, arguments["repeats"])
        elif x.name in self.found:
            known = self.found[x.name]
            if made.shape == x.shape and base in _CONVERSIONS:
                self.found[made.name] = known
            elif base in ("transpose", "mT") and {arguments.get(n, d) % 4 for n, d in (("dim0", -2), ("dim1", -1))} == {
                2,
                3,
            }:
                self.found[made.name] = known._replace(swapped=not known.swapped)
            elif (
                made.shape[-2:] == x.shape[-2:]
                and base in _RESHAPES | {"view", "reshape"}
                and made.elements == x.elements
            ):
                self.found[made.name] = known
