"""Design problems as Gymnasium environments."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore import Goal, make_problem
from fiberloom.explore.dram.problem import DramProblem
from fiberloom.explore.space import parse_space

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402 - it needs gymnasium

from fiberloom.explore.environment import FEASIBLE_LOSS, DesignEnvironment  # noqa: E402

SMALL = """
space:
  parameters:
    Scheduler: [Fifo, FrFcfs]
    RequestBufferSize: {linear: [1, 8]}
  requires: ["RequestBufferSize != 3"]
problem: {kind: dram, trace: stream, requests: 100}
"""

PRODUCT = """
module {
  func.func public @main(%arg0: tensor<16x32xf32>, %arg1: tensor<32x8xf32>) -> tensor<16x8xf32> {
    %0 = stablehlo.dot_general %arg0, %arg1, contracting_dims = [1] x [0] : (tensor<16x32xf32>, tensor<32x8xf32>) -> tensor<16x8xf32>
    return %0 : tensor<16x8xf32>
  }
}
"""


def small(**options: Any) -> DesignEnvironment:
    return DesignEnvironment(DramProblem(parse_space(SMALL)), ("latency_ns",), **options)


def checked(env: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped)
    return [str(w.message) for w in caught]


def test_the_dram_environment_passes_gymnasiums_checker() -> None:
    env = gymnasium.make("fiberloom/DramController-v0", render_mode="ansi")
    assert checked(env) == []
    assert env.action_space == gymnasium.spaces.MultiDiscrete([4, 3, 3, 8, 2, 2, 8, 8, 3, 8])


def test_the_accelerator_environment_passes_gymnasiums_checker(tmp_path: Path) -> None:
    (tmp_path / "product.stablehlo").write_text(PRODUCT, encoding="utf-8")
    text = f"""
fiberloom: 1
space:
  parameters:
    rows: {{powers_of_two: [2, 8]}}
    depth: {{choice: [64, 256, 4]}}
problem:
  kind: accelerator
  workloads: [{{network: {tmp_path / "product.stablehlo"}}}]
architecture:
  name: small
  technology: 45nm
  levels:
    - {{name: DRAM, component: dram, word_bits: 16, width_bits: 64}}
    - {{name: buffer, component: sram, word_bits: 16, width_bits: 64, depth: depth}}
  compute: {{name: MAC, mesh: "${{rows}}x2", word_bits: 16}}
"""
    env = gymnasium.make("fiberloom/Accelerator-v0", problem=parse_space(text), limits=("area <= 1",), cache=False)
    assert checked(env) == []
    _, info = env.reset(seed=0)
    assert set(info["metrics"]) == set(make_problem("eyeriss-like").metrics)


def test_importing_by_its_name_registers_the_environments() -> None:
    code = (
        "import gymnasium; env = gymnasium.make('fiberloom.explore.environment:fiberloom/DramController-v0'); "
        "print(env.reset(seed=0)[0].shape)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "(19,)"


def test_the_page_runs_its_own_example(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "explore-environments.md").read_text(encoding="utf-8")
    exec(compile(page.split("```python\n")[1].split("```")[0], "docs/explore-environments.md", "exec"), {})
    assert "PagePolicy" in capsys.readouterr().out


def test_a_step_is_one_design_evaluated() -> None:
    env = small()
    env.reset(seed=0)
    observation, _, terminated, truncated, info = env.step(np.array([1, 7]))
    expected = env.problem.evaluate((1, 7))
    assert info["design"] == {"Scheduler": "FrFcfs", "RequestBufferSize": 8}
    assert info["metrics"] == dict(expected.metrics)
    assert info["score"] == expected.metrics["latency_ns"]
    assert (terminated, truncated, info["feasible"]) == (False, False, True)
    assert observation in env.observation_space
    assert observation[-2:].tolist() == [1.0, 1.0]
    reference = env._reference.evaluated.metrics["latency_ns"]
    assert observation[0] == pytest.approx(math.log1p(expected.metrics["latency_ns"] / reference), rel=1e-6)


def test_an_episodes_rewards_add_up_to_what_was_gained() -> None:
    env = small()
    _, info = env.reset(seed=3, options={"design": [0, 0]})
    start, best, total = math.log(info["score"]), math.log(info["score"]), 0.0
    for action in ([0, 3], [1, 1], [0, 1], [1, 6], [1, 6], [0, 0]):
        _, reward, _, _, info = env.step(np.array(action))
        best = min(best, math.log(info["score"]))
        total += reward
        assert reward >= 0
    assert total == pytest.approx(start - best)


def test_the_reward_of_single_steps_is_the_negated_loss() -> None:
    env = small(reward="loss")
    env.reset(seed=0)
    rewards, scores = [], []
    for action in ([0, 0], [1, 6], [0, 0]):
        _, reward, _, _, info = env.step(np.array(action))
        rewards.append(reward)
        scores.append(info["score"])
    assert rewards[0] == rewards[2] != rewards[1]
    assert rewards[1] - rewards[0] == pytest.approx(math.log(scores[0] / scores[1]))


def test_no_design_beyond_a_limit_pays_more_than_one_within() -> None:
    made = DramProblem(parse_space(SMALL))
    powers = [made.evaluate(p).metrics["power_mw"] for p in made.space.all()]
    limit = f"power_mw <= {np.median(powers)}"
    env = DesignEnvironment(made, ("latency_ns",), (limit,), reward="loss")
    env.reset(seed=0)
    within, beyond = [], []
    for point in made.space.all():
        _, reward, _, _, info = env.step(np.array(point))
        (within if info["feasible"] else beyond).append((reward, -info["violation"]))
    assert within
    assert beyond
    assert max(beyond)[0] < min(within)[0]
    assert sorted(beyond) == sorted(beyond, key=lambda pair: pair[1])


def test_a_design_that_can_not_be_evaluated_says_why_and_pays_least() -> None:
    env = small(reward="loss")
    env.reset(seed=0)
    observation, reward, _, _, info = env.step(np.array([0, 2]))
    assert observation in env.observation_space
    assert reward == -2 * FEASIBLE_LOSS
    assert info["metrics"] == {}
    assert "RequestBufferSize != 3" in info["reason"]


@pytest.mark.parametrize(
    "action", [[0], [0, 8], [-1, 0], [0.5, 1.0], None, "ab", [[0, 1]], [0, math.nan], {"Scheduler": "Fifo"}]
)
def test_an_action_that_is_no_design_is_refused(action: Any) -> None:
    env = small()
    env.reset(seed=0)
    with pytest.raises(SpecError, match=r"an action of type|has no value number"):
        env.step(action)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(SpecError, match="has not been reset"):
        small().step(np.array([0, 0]))
    with pytest.raises(SpecError, match=r"no reward 'improvment'\n.*improvement"):
        small(reward="improvment")
    with pytest.raises(SpecError, match="no render mode"):
        small(render_mode="human")
    with pytest.raises(SpecError, match=r"'latency' is no metric"):
        DesignEnvironment("dram-controller", ("latency",))
    with pytest.raises(SpecError, match="no design space 'dram'"):
        DesignEnvironment("dram", ("latency_ns",))
    impossible = SMALL.replace("RequestBufferSize != 3", "RequestBufferSize > 99")
    with pytest.raises(SpecError, match="RequestBufferSize > 99"):
        DesignEnvironment(DramProblem(parse_space(impossible)), ("latency_ns",))


def test_a_goal_may_be_given_and_the_last_design_printed() -> None:
    made = DramProblem(parse_space(SMALL))
    env = DesignEnvironment(made, Goal.parse(["energy_nj"], [], made.metrics), render_mode="ansi")
    assert env.render() is None
    env.reset(seed=0)
    _, _, _, _, info = env.step(np.array([1, 7]))
    assert env.render() == f"Scheduler=FrFcfs, RequestBufferSize=8: score {info['score']:.6g}"
