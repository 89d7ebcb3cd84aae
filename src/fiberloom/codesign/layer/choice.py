"""Which pattern of a design's menu a tensor of some density runs as."""

from __future__ import annotations

import itertools
from fractions import Fraction

from fiberloom.architecture.library import describe
from fiberloom.architecture.library.structure import DENSE, Structure, structure_of
from fiberloom.codesign.layer.passes import checked_menu
from fiberloom.errors import SpecError


def sparsest_pattern(design: str, density: float) -> str:
    """The sparsest pattern of a design's menu that keeps at least a share `density` of the weights.

    This is the pattern that a model pruned to `density` is given on the design: never sparser than it, so that no design is helped by
    dropping more. Entries of one block size whose terms the design runs one after the other count together (4:8 and 2:8 are
    6:8). Of patterns of equal density that one is taken whose outer ranks are densest, as it constrains least.

    Raises:
        SpecError: for a density outside 0..1, or a design without a menu.
    """
    if not 0 < density <= 1:
        raise SpecError(
            f"density {density} is not in 0..1", hint="give the share of weights to keep, above 0 and up to 1"
        )
    menu = checked_menu(describe(design).menu, design)
    entries = [structure_of(text) for text in menu.weights]
    found: list[tuple[Fraction, Fraction, str]] = [(Fraction(1), Fraction(0), "dense")]
    for entry in entries:
        if entry.ranks is None:
            return "dense" if density == 1 else f"unstructured({density:g})"
        found.append((entry.density, -_outer(entry), str(entry)))
    for count in range(2, menu.terms + 1):
        for parts in itertools.combinations_with_replacement([e for e in entries if e is not DENSE], count):
            ranks = [part.ranks for part in parts]
            blocks = {r[0][1] for r in ranks if r is not None and len(r) == 1}
            if len(blocks) == 1 and all(r is not None and len(r) == 1 for r in ranks):
                (block,), kept = blocks, sum(part.kept for part in parts)
                if kept <= block:
                    found.append((Fraction(kept, block), Fraction(-1), str(structure_of(f"{kept}:{block}"))))
    return min(entry for entry in found if float(entry[0]) >= density - 1e-9)[2]


def _outer(entry: Structure) -> Fraction:
    kept, of = (entry.ranks or ((1, 1),))[0]
    return Fraction(kept, of)
