"""Exploring designs: which accelerator to build.

>>> from fiberloom.explore import explore, make_agent, make_problem, Goal
>>> problem = make_problem("tensor-core")
>>> goal = Goal.parse(["edp", "area"], ["area <= 5"], problem.metrics)
>>> found = explore(problem, make_agent("random", problem, goal, 0), evaluations=20)
>>> found.front
"""

from __future__ import annotations

from fiberloom.explore.agents._base import Agent, agents, make_agent
from fiberloom.explore.driver import Exploration, Progress, explore
from fiberloom.explore.front import front, hypervolume
from fiberloom.explore.goal import Goal
from fiberloom.explore.problem import DesignProblem
from fiberloom.explore.problems import make_problem
from fiberloom.explore.space import DesignSpace, Parameter, read_space, space_names
from fiberloom.explore.store import ExplorationStore
from fiberloom.explore.trial import Evaluated, Status, Trial

__all__ = [
    "Agent",
    "DesignProblem",
    "DesignSpace",
    "Evaluated",
    "Exploration",
    "ExplorationStore",
    "Goal",
    "Parameter",
    "Progress",
    "Status",
    "Trial",
    "agents",
    "explore",
    "front",
    "hypervolume",
    "make_agent",
    "make_problem",
    "read_space",
    "space_names",
]
