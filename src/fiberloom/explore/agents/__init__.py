"""Agents that search design spaces, one published way per file."""

from typing import Final

AGENTS: Final = {
    "random": "random:Random",
    "grid": "grid:Grid",
    "annealing": "annealing:Annealing",
    "genetic": "genetic:Genetic",
    "ant-colony": "ant_colony:AntColony",
    "cem": "cross_entropy:CrossEntropy",
    "reinforce": "reinforce:Reinforce",
    "multi-agent": "multi_agent:MultiAgent",
    "tpe": "tpe:Tpe",
    "gp": "gaussian_process:GaussianProcess",
    "nsga2": "nsga:Nsga2",
    "nsga3": "nsga:Nsga3",
    "cma-es": "cma_es:CmaEs",
    "surrogate": "surrogate:Surrogate",
    "ppo": "ppo:Ppo",
    "sac": "sac:Sac",
    "digamma": "digamma:DiGamma",
}
"""Module and class by name."""
