"""The published mappers, one per file.

A new one is one file with a subclass of `fiberloom.mapper.search.Searcher` and one line here. Optional packages are
imported inside the constructor, never at the top of the file.
"""

from __future__ import annotations

from typing import Final

SEARCHERS: Final = {
    "random": "random_search:RandomSearch",
    "random-pruned": "random_pruned:RandomPruned",
    "linear-pruned": "linear_pruned:LinearPruned",
    "exhaustive": "exhaustive:Exhaustive",
    "annealing": "annealing:SimulatedAnnealing",
    "genetic": "genetic:Genetic",
    "cma-es": "evolution:CMAES",
    "gradient": "gradient:GradientSearcher",
    "mind-mappings": "mind_mappings:MindMappings",
    "milp": "milp:MilpSearcher",
}
"""``module:class`` by the name of the searcher."""
