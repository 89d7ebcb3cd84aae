"""Equations of the Einsum operator: ``bhid,bhjd->bhij``, with ``...``, implied outputs and broadcast extents."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fiberloom.workload.importers.onnx.translation import Unresolved


class Equation(NamedTuple):
    """An equation with everything spelled out: no dots, no axes of extent one that stand for more.

    Attributes:
        inputs: labels of each operand's axes; an axis that is broadcast has none.
        output: labels of the result's axes.
        sizes: extents by label.
    """

    inputs: tuple[tuple[str, ...], ...]
    output: tuple[str, ...]
    sizes: Mapping[str, int]

    @classmethod
    def read(cls, text: str, shapes: Sequence[Sequence[int]]) -> Equation:
        """An equation on operands of given shapes (ONNX Operators.md, Einsum).

        Raises:
            Unresolved: if they do not fit, or an operand's diagonal is taken.
        """
        left, arrow, right = text.replace(" ", "").partition("->")
        terms = left.split(",")
        if len(terms) != len(shapes):
            raise Unresolved(f"equation '{text}' is for {len(terms)} operands, not {len(shapes)}")
        dots = max(
            (len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True) if "..." in t), default=0
        )
        free = [c for c in string.ascii_letters if c not in text][:dots]
        sizes: dict[str, int] = {}
        labelled = []
        for term, shape in zip(terms, shapes, strict=True):
            own = len(shape) - len(term.replace("...", ""))
            labels = term.replace("...", "".join(free[dots - own :])) if "..." in term else term
            if own < 0 or len(labels) != len(shape) or not labels.isalpha():
                raise Unresolved(f"equation '{text}' does not fit an operand of shape {list(shape)}")
            if len(set(labels)) < len(labels):
                raise Unresolved(f"equation '{text}' takes a diagonal of an operand")
            for label, extent in zip(labels, shape, strict=True):
                if sizes.setdefault(label, extent) == 1:
                    sizes[label] = extent
                if extent not in (1, sizes[label]):
                    raise Unresolved(f"equation '{text}': '{label}' is {sizes[label]} and {extent}")
            labelled.append(labels)
        if arrow:
            output = right.replace("...", "".join(free))
        else:
            counts = Counter("".join(labelled))
            output = "".join(free) + "".join(sorted(c for c, n in counts.items() if n == 1 and c not in free))
        if any(label not in sizes for label in output) or len(set(output)) < len(output):
            raise Unresolved(f"equation '{text}' has no such output")
        kept = tuple(
            tuple(label for label, n in zip(labels, shape, strict=True) if n == sizes[label])
            for labels, shape in zip(labelled, shapes, strict=True)
        )
        return cls(kept, tuple(output), sizes)

    @property
    def is_elementwise(self) -> bool:
        """Whether nothing is summed and nothing used twice: each element of the largest operand is used once."""
        most = max(self.inputs, key=len)
        return set(most) == set(self.output) and len(most) == len(self.sizes)

    def classes(self) -> dict[str, tuple[str, ...]] | None:
        """Labels of two operands by where they stand; None if one operand is summed over alone."""
        first, second, output = set(self.inputs[0]), set(self.inputs[1]), set(self.output)
        if (first ^ second) - output:
            return None
        return {
            "shared": tuple(x for x in self.inputs[0] if x in second and x in output),
            "summed": tuple(x for x in self.inputs[0] if x in second and x not in output),
            "first": tuple(x for x in self.inputs[0] if x not in second),
            "second": tuple(x for x in self.inputs[1] if x not in first),
        }
