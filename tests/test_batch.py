"""A batch says the same as its mappings one by one: compiled and uncompiled, the kernel is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# In a process of its own, because a process stays compiled once a batch has run.
COMPARISON = """
import math, random, sys
sys.path.insert(0, sys.argv[1])
from problems import Features, random_problem
from fiberloom.model.compiled import is_compiled
from fiberloom.model.evaluate import BatchEvaluator, evaluate_problem
from fiberloom.model.lower import lower

compared = []
for rules in ("fiberloom", "timeloop-3.0.3"):
    for seed in range(40):
        p = random_problem(random.Random(seed), Features(sparse=bool(seed % 2)))
        lowered = lower(p.workload, p.architecture, rule_set=rules)
        try:
            compared.append((lowered, p.mapping, evaluate_problem(lowered, p.mapping)))
        except Exception as error:
            assert rules != "fiberloom", error
for seed in range(40):
    p = random_problem(random.Random(seed), Features(halos=False, remainders=True))
    lowered = lower(p.workload, p.architecture)
    compared.append((lowered, p.mapping, evaluate_problem(lowered, p.mapping)))
assert not is_compiled()
for lowered, mapping, one in compared:
    batch = BatchEvaluator(lowered)([mapping, mapping])
    assert batch.valid.all(), (batch.status, one)
    assert math.isclose(batch.cycles[1], one.cycles, rel_tol=1e-12), (batch.cycles, one.cycles)
    assert math.isclose(batch.energy_pj[1], one.energy_pj, rel_tol=1e-12), (batch.energy_pj, one.energy_pj)
assert is_compiled()
print(len(compared))
"""


def test_a_batch_says_what_its_mappings_say_one_by_one() -> None:
    here = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, "-c", COMPARISON, str(here)], capture_output=True, text=True, check=False, timeout=900
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout) >= 100
