"""A small space of accelerators on a network of one product, explored; for tests of what is shown of explorations."""

from __future__ import annotations

from pathlib import Path

from fiberloom.explore import Exploration, ExplorationStore, Goal, explore, make_agent, make_problem

NETWORK = """
func.func public @main(%arg0: tensor<8x32xf32>, %arg1: tensor<32x16xf32>) -> tensor<8x16xf32> {
  %0 = stablehlo.dot_general %arg0, %arg1, contracting_dims = [1] x [0] : (tensor<8x32xf32>, tensor<32x16xf32>) -> tensor<8x16xf32>
  return %0 : tensor<8x16xf32>
}
"""

SPACE = """
fiberloom: 1
space:
  name: small
  title: Small <array>
  parameters:
    lanes: {powers_of_two: [4, 16]}
    buffer_kib: {choice: [1, 2, 4]}
    zeros: {choice: [ignored, skipped]}
    metadata_bits: {linear: [4, 8, 4], when: zeros == 'skipped', otherwise: 0}
  requires: [buffer_kib * 8 >= lanes]
  known:
    plain: {lanes: 4, buffer_kib: 1, zeros: ignored}
    large: {lanes: 16, buffer_kib: 4, zeros: ignored}
problem:
  kind: accelerator
  workloads: [{network: NETWORK, weights: 0.3, name: product}]
  seconds: 0.5
architecture:
  name: small
  technology: 45nm
  levels:
    - {name: DRAM, component: dram, word_bits: 8, width_bits: 64, read_bandwidth: 8, write_bandwidth: 8}
    - name: buffer
      component: sram
      word_bits: 8
      width_bits: 64
      depth: buffer_kib * 128
      read_bandwidth: 16
      formats:
        when: zeros == 'skipped'
        W: {ranks: [{format: UOP}, {format: CP, metadata_word_bits: metadata_bits}]}
      skip: {switch: zeros, cases: {skipped: [I <- W]}, otherwise: []}
    - {name: registers, component: regfile, mesh: "1x${lanes}", word_bits: 8, depth: 4, width_bits: 8}
  compute: {name: MAC, mesh: "1x${lanes}", word_bits: 8}
"""

GOAL = ("edp", "area")


def written(folder: Path) -> Path:
    """The space's file, with its network beside it."""
    (folder / "product.stablehlo").write_text(NETWORK, encoding="utf-8")
    space = folder / "small.yaml"
    space.write_text(SPACE.replace("NETWORK", str(folder / "product.stablehlo")), encoding="utf-8")
    return space


def explored(
    folder: Path,
    *,
    objectives: tuple[str, ...] = GOAL,
    limits: tuple[str, ...] = (),
    evaluations: int = 14,
    seed: int = 0,
    store: str = "small.db",
) -> Exploration:
    """The space explored at random into a store of the folder, its named designs first."""
    problem = make_problem(written(folder))
    goal = Goal.parse(objectives, limits, problem.metrics)
    with ExplorationStore(folder / store) as kept:
        return explore(
            problem,
            make_agent("random", problem, goal, seed),
            evaluations=evaluations,
            seed=seed,
            store=kept,
            start=[problem.space.point(values) for values in problem.file.known.values()],
        )
