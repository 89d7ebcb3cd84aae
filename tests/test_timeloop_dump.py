"""Mappings written as Timeloop's and as fiberloom's own YAML."""

import os
from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import MappingError
from fiberloom.input.native_dump import dump
from fiberloom.input.specification import Specification, parse, read
from fiberloom.input.timeloop_dump import mapping_yaml
from fiberloom.mapping.nest import LevelMapping, Mapping
from fiberloom.mapping.packed import PackedMappings, unpack
from fiberloom.model.evaluate import evaluate
from fiberloom.validate.reference import rules_of
from input_examples import NATIVE, TIMELOOP

CASES = Path(os.environ.get("FIBERLOOM_REFERENCE", Path(__file__).parents[2] / "shared" / "reference")) / "cases"


def without(text: str, section: str) -> str:
    """A file without one of its sections."""
    kept, inside = [], False
    for line in text.splitlines():
        if line and line[0] not in " -#":
            inside = line.startswith(f"{section}:")
        if not inside:
            kept.append(line)
    return "\n".join(kept) + "\n"


def read_back(text: str, mapping: Mapping, base: Path | None = None) -> Specification:
    spec = parse(text, base_directory=base)
    return parse(
        without(text, "mapping") + mapping_yaml(spec.workload, spec.architecture, mapping), base_directory=base
    )


def costs(spec: Specification, mapping: Mapping, rules: str = "timeloop-3.0.3") -> tuple[float, float]:
    result = evaluate(
        spec.workload, spec.architecture, mapping, rules=rules, base_directory=spec.base_directory, check_fit=False
    )
    return result.cycles, result.energy_pj


def random_mappings(spec: Specification, n: int, seed: int) -> PackedMappings:
    """Factors, orders, axes and keeps drawn freely; each variable's factors multiply to its bound, fan-outs are obeyed."""
    rng = np.random.default_rng(seed)
    levels = list(reversed(spec.architecture.levels))
    L, D, T = len(levels), len(spec.workload.shape), len(spec.workload.tensors)
    temporal, spatial = np.ones((n, L, D), np.int64), np.ones((n, L, D), np.int64)
    on_x = rng.integers(0, 2**D, (n, L))
    for i in range(n):
        for d, bound in enumerate(spec.workload.shape.values()):
            left = bound
            for level in range(L - 1):
                x, y = spec.architecture.fanout(levels[level].name)
                room = x if on_x[i, level] >> d & 1 else y
                others = [e for e in range(D) if (on_x[i, level] >> e & 1) == (on_x[i, level] >> d & 1)]
                room //= int(spatial[i, level, others].prod())
                spatial[i, level, d] = rng.choice([f for f in range(1, left + 1) if left % f == 0 and f <= room])
                left //= int(spatial[i, level, d])
                temporal[i, level, d] = rng.choice([f for f in range(1, left + 1) if left % f == 0])
                left //= int(temporal[i, level, d])
            temporal[i, L - 1, d] = left
    orders = [np.argsort(rng.random((n, L, D)), axis=2) for _ in range(2)]
    keep = rng.random((n, L, T)) < 0.7
    keep[:, L - 1] = True
    links = np.array([[level.peer_links] * T for level in levels])
    return PackedMappings(temporal, spatial, *orders, on_x, keep, rng.random((L, T)) < 0.8, links)


def test_a_mapping_reads_as_it_was_written():
    spec = parse(TIMELOOP)
    text = mapping_yaml(spec.workload, spec.architecture, spec.mapping)
    assert "{target: DRAM, type: temporal, factors: P=2 R=1 C=1, permutation: PRC}" in text
    assert "{target: DRAM, type: spatial, factors: R=1 P=4 C=1, permutation: RPC, split: 0" in text
    assert "no_link_transfer: [W]}" in text
    assert "{target: Buffer, type: bypass, keep: [I, O], bypass: [W]}" in text


@pytest.mark.parametrize("seed", range(3))
def test_random_mappings_cost_the_same_when_read_back(seed):
    text = without(TIMELOOP, "sparse_optimizations")
    spec = parse(text)
    packed = random_mappings(spec, 8, seed)
    for i in range(len(packed)):
        mapping = unpack(spec.workload, spec.architecture, packed, i)
        again = read_back(text, mapping)
        assert costs(spec, mapping) == costs(again, again.mapping)


@pytest.mark.parametrize("seed", range(3))
def test_random_mappings_come_back_from_our_own_yaml(seed):
    spec = parse(NATIVE)
    packed = random_mappings(spec, 20, seed)
    for i in range(len(packed)):
        mapping = unpack(spec.workload, spec.architecture, packed, i)
        assert parse(dump(Specification(spec.workload, spec.architecture, mapping))).mapping == mapping


def test_loops_along_x_move_inside_those_along_y():
    spec = parse(TIMELOOP)
    crossed = LevelMapping(spatial={"P": 2, "C": 2}, spatial_order=("P", "C"), spatial_x=("P",))
    rest = LevelMapping(temporal={"P": 4, "R": 3, "C": 2})
    text = mapping_yaml(spec.workload, spec.architecture, Mapping(levels={"DRAM": crossed, "Buffer": rest}))
    assert "factors: P=2 C=2 R=1, permutation: PCR, split: 1" in text


def test_long_names_are_separated():
    text = without(TIMELOOP, "sparse_optimizations").replace("[P, R, C]", "[P, R, chan]")
    for old, new in (
        ("[[[C]]", "[[[chan]]"), ("C=2", "chan=2"), ("C: 4", "chan: 4"),
        ("PRC", "'P,R,chan'"), ("RPC", "'R,P,chan'"), ("permutation: CR", "permutation: 'chan,R'"),
    ):  # fmt: skip
        text = text.replace(old, new)
    spec = parse(text)
    assert "factors: P=2 R=1 chan=1, permutation: 'P,R,chan'" in mapping_yaml(
        spec.workload, spec.architecture, spec.mapping
    )
    again = read_back(text, spec.mapping)
    assert costs(again, again.mapping) == costs(spec, spec.mapping)


def test_a_mapping_that_does_not_fit_is_refused():
    spec = parse(TIMELOOP)
    with pytest.raises(MappingError, match="multiply to 1"):
        mapping_yaml(spec.workload, spec.architecture, Mapping(levels={}))


@pytest.mark.skipif(not CASES.is_dir(), reason="no reference cases beside the repository")
@pytest.mark.parametrize("prefix", ["map", "gen_sparse", "gen_dense", "ship_ex", "ship_fig", "run", "named"])
def test_reference_inputs_cost_the_same_when_read_back(prefix):
    # the matrices of the cases with actual data don't stand beside them
    files = [f for f in sorted(CASES.glob(f"{prefix}*/input.yaml")) if not f.parent.name.endswith("actual")]
    assert files
    for file in files[:: max(1, len(files) // 6)]:
        text = file.read_text(encoding="utf-8")
        spec = read([file])
        again = read_back(text, spec.mapping, file.parent)
        rules = rules_of(file.parent.name)
        assert costs(spec, spec.mapping, rules) == costs(again, again.mapping, rules), file
