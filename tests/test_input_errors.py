"""Mistakes in files: each is a SpecError that says file, line and what would be right; nothing else escapes."""

import random

import pytest

from fiberloom.errors import FiberloomError, SpecError
from fiberloom.input.specification import parse, read
from input_examples import NATIVE, TIMELOOP, bent, line_of

NATIVE_MISTAKES = [
    # (old, new, line is that of this passage, part of the message)
    ("fiberloom: 1\n", "", "variables", "fiberloom: 1"),
    ("fiberloom: 1", "fiberloom: 2", "fiberloom", "version 2"),
    ("fiberloom: 1", "fiberloom: true", "fiberloom", "version"),
    ("workload:", "worklaod:", "worklaod", "did you mean 'workload'"),
    ("mapping:", "maping:", "maping", "did you mean 'mapping'"),
    ("einsum:", "einsun:", "einsun", "did you mean 'einsum'"),
    ("  shape: {m: 16, n: 8, k: 4 * rows}\n", "", "workload", "'shape' is missing"),
    ("k: 4 * rows", "k: 4 * row", "shape", "did you mean 'rows'"),
    ("m: 16,", "m: 0,", "shape", "whole number from 1"),
    ("m: 16,", "m: 1.5,", "shape", "whole number"),
    ("m: 16,", "m: -3,", "shape", "whole number from 1"),
    ("m: 16,", "m: [16],", "shape", "finite number"),
    ("m: 16,", "m: .nan,", "shape", "finite number"),
    ("m: 16,", "m: .inf,", "shape", "finite number"),
    ("m: 16,", "m: 1e30,", "shape", "whole number"),
    ("m: 16,", "m: true,", "shape", "finite number"),
    ("m: 16,", "m: 16, q: 2,", "shape", "'q' does not occur"),
    ("m: 16, n: 8, k: 4 * rows", "m: 2**30, n: 2**30, k: 2**30", "einsum", "beyond"),
    ("shape: {m: 16, n: 8, k: 4 * rows}", "shape: [16, 8]", "shape", "mapping"),
    ("Z[m,n] = A[m,k] * B[k,n]", "Z[m,n] A[m,k] * B[k,n]", "einsum", "="),
    ("Z[m,n] = A[m,k] * B[k,n]", "Z[m,n] = A[m,k * B[k,n]", "einsum", "brackets"),
    ("Z[m,n] = A[m,k] * B[k,n]", "Z[m,n] = A[m,kk] * B[k,n]", "einsum", "kk"),
    ("Z[m,n] = A[m,k] * B[k,n]", "Z[m,n] = A[m,k] * A[k,n]", "einsum", "repeat"),
    ("Z[m,n] = A[m,k] * B[k,n]", "{a: b}", "einsum", "a word"),
    ("word_bits: {A: 8}", "word_bits: {C: 8}", "word_bits: {C", "not a tensor"),
    ("word_bits: {A: 8}", "word_bits: {A: 0}", "word_bits: {A: 0", "from 1"),
    ("word_bits: {A: 8}", "word_bits: {A: 5000}", "word_bits: {A: 5000", "1024"),
    ("B: 0.3", "B: 1.3", "density", "up to 1"),
    ("B: 0.3", "B: dense", "density", "'dense'"),
    ("B: 0.3", "B: '4:2'", "density", "4:2"),
    ("B: 0.3", "BB: 0.3", "density", "did you mean 'B'"),
    ("distribution: uniform", "distribution: unifrom", "density", "did you mean 'uniform'"),
    ("distribution: uniform, density", "distribution: uniform, densty", "density", "density"),
    ("name: small", "nmae: small", "nmae", "did you mean 'name'"),
    ("cycle_seconds: 1e-9", "cycle_seconds: 0", "cycle_seconds", "above 0"),
    ("cycle_seconds: 1e-9", "cycle_seconds: fast", "cycle_seconds", "fast"),
    ("component: dram", "component: dramm", "component", "did you mean 'dram'"),
    ("width_bits: 64", "widht_bits: 64", "widht_bits", "did you mean 'width_bits'"),
    ("width_bits: 64", "width_bits: 0", "width_bits", "width_bits"),
    ("width_bits: 64", "width_bits: wide", "width_bits", "wide"),
    ("word_bits: 16", "word_bits: 16\n      word_bits: 16", "word_bits: 16\n      width", "stands twice"),
    ("can_accumulate: false", "can_accumulate: maybe", "can_accumulate", "true or false"),
    ("A: CSR", "A: CSRR", "A: CSRR", "CSR"),
    ("A: CSR", "A: CP-UOP", "A: CP-UOP", "uncompressed below"),
    ("A: CSR", "A: []", "A: []", "ranks"),
    ("A: CSR", "C: CSR", "C: CSR", "not a tensor"),
    ("A: CSR", "A: 3", "A: 3", "a list"),
    ("A: CSR", "A: {rank: [CP]}", "A: {rank", "did you mean 'ranks'"),
    ("format: CP, metadata_word_bits: 4", "fromat: CP", "B: [UOP", "did you mean 'format'"),
    ("format: CP, metadata_word_bits: 4", "format: CP, variables: [q]", "B: [UOP", "iteration variable"),
    ("mesh: 2x2", "mesh: 2by2", "mesh: 2by2", "4x4"),
    ("mesh: 2x2", "mesh: 0x2", "mesh: 0x2", "4x4"),
    ("mesh: 2x2", "mesh: 2x2\n      instances: 5", "mesh: 2x2", "4 instances"),
    ("mesh: 2x2", "mesh: 2x2\n      mesh_x: 2", "mesh_x", "beside 'mesh'"),
    ("mesh: 2x2", "mesh: 3x2", "architecture", "multiple"),
    ("depth: 64 * 1024", "depth: 64 * * 1024", "depth", "not arithmetic"),
    ("depth: 64 * 1024", "depth: __import__('os')", "depth", "can't be computed"),
    ("depth: 64 * 1024", "depth: 9**9**9", "depth", "exponent"),
    ('"Z <- A, B"', '"Z -> A"', "skip:", "follower <- leaders"),
    ('"Z <- A, B"', '"Z <- C"', "skip:", "not a tensor"),
    ('"Z <- A, B"', '"A <-> B <- Z"', "skip:", "follower <- leaders"),
    ('"Z <- A, B"', '"Z <-"', "skip:", "not a tensor"),
    ('"Z <- A, B"', "{Z: A}", "skip:", "a word"),
    ("skip:", "skipp:", "skipp", "did you mean 'skip'"),
    ("read: 1.5", "read: -1.5", "energy_pj", "from 0"),
    ("read: 1.5", "read: .inf", "energy_pj", "finite"),
    ("compute: {name: MAC,", "compute: {name: Buffer,", "architecture", "repeat"),
    ("compute: {name: MAC,", "compute: {nam: MAC,", "compute", "did you mean 'name'"),
    ("compute: {name: MAC,", "compute: {depth: 4, name: MAC,", "compute", "unknown field 'depth'"),
    ("compute: {name: MAC, mesh: 4x4, gating: true}", "compute: MAC", "compute", "mapping"),
    ("level: DRAM", "level: DRM", "level: DRM", "did you mean 'DRAM'"),
    ("level: DRAM", "levle: DRAM", "levle", "did you mean 'level'"),
    ("level: Buffer", "level: DRAM", "level: DRAM\n    temporal: {k", "stands twice"),
    ("temporal: m=2 n=8", "temporal: m=2 n8", "temporal: m=2 n8", "not a loop"),
    ("temporal: m=2 n=8", "temporal: m=2 q=8", "temporal: m=2 q=8", "iteration variable"),
    ("temporal: m=2 n=8", "temporal: m=2 m=4", "temporal: m=2 m=4", "stands twice"),
    ("temporal: m=2 n=8", "temporal: m=0 n=4", "temporal: m=0", "from 1"),
    ("temporal: m=2 n=8", "temporal: 8", "temporal: 8", "loops"),
    ("temporal: {k: 4, m: 2, n: 1}", "temporal: {k: 4.5}", "temporal: {k", "whole number"),
    ("spatial: {x: m=2, y: k=2}", "spatial: {x: m=2, y: m=2}", "spatial: {x", "both axes"),
    ("spatial_x: [m]", "spatial_x: [n]", "spatial_x", "no spatial loop"),
    ("keep: [A, B, Z]", "keep: [A, BB]", "keep", "did you mean 'B'"),
    ("peer_links: {A: true}", "peer_links: {A: 3}", "peer_links", "true or false"),
    ("peer_links: {A: true}", "peer_links: [A]", "peer_links", "mapping"),
    ("  - level: DRAM\n", "  - DRAM\n  - level: DRAM\n", "- DRAM", "mapping of fields"),
]

TIMELOOP_MISTAKES = [
    ("problem:", "probelm:", "probelm", "did you mean 'problem'"),
    ("  version: 0.3\n  subtree", "  version: 0.7\n  subtree", "version: 0.7", "known: 0.3, 0.4"),
    ("name: PE[0..3]", "name: PE[3..0]", "PE[3..0]", "name[0..63]"),
    ("name: PE[0..3]", "name: PE[x]", "PE[x]", "name[0..63]"),
    ("class: intmac", "clas: intmac", "clas: intmac", "did you mean 'class'"),
    ("class: intmac", "class: adder", "architecture", "no compute"),
    ("depth: 64, width: 32", "depth: 64, width: 30", "depth: 64", "not a multiple"),
    (
        "depth: 64, width: 32",
        "depth: 64, width: 32, block_size: 2, cluster-size: 2",
        "depth: 64",
        "block 2 x cluster 2",
    ),
    ("depth: 64, width: 32", "depth: -1, width: 32", "depth: -1", "from 0"),
    ("depth: 64, width: 32", "depth: deep, width: 32", "depth: deep", "'deep' has no value"),
    ("depth: 64, width: 32", "depth: 64, block-size: 2, block_size: 2, width: 32", "depth: 64", "the same as"),
    ("meshX: 2", "meshX: 3", "- name: Buffer", "along one axis"),
    ("read_bandwidth: 8", "read_bandwidth: 0", "read_bandwidth", "above 0"),
    ("read_bandwidth: 8", "read_bandwidth: .inf", "read_bandwidth", "finite number"),
    ("dimensions: [P, R, C]", "dimensions: [P, R, C, P]", "dimensions", "stands twice"),
    ("dimensions: [P, R, C]", "dimension: [P, R, C]", "dimension", "did you mean 'dimensions'"),
    ("P: 8, R: 3", "R: 3", "instance", "'P' has no bound"),
    ("P: 8, R: 3", "P: eight, R: 3", "instance", "'eight'"),
    ("stride: 2, W", "stride: 0, W", "name: I", "is 0"),
    ("[[P, stride], [R]]", "[[P, strid], [R]]", "name: I", "did you mean 'stride'"),
    ("[[P, stride], [R]]", "[[Q], [R]]", "name: I", "not a dimension"),
    ("read-write: true", "read-write: false", "data-spaces", "read_write: true"),
    ("I: 0.5", "I: 1.5", "densities", "up to 1"),
    ("I: 0.5", "X: 0.5", "densities", "not a data space"),
    ("distribution: hypergeometric", "distribution: hypergeom", "densities", "did you mean 'hypergeometric'"),
    ("distribution: hypergeometric, density: 0.25", "distribution: hypergeometric", "densities", "needs 'density'"),
    ("target: DRAM, type: temporal", "target: DRM, type: temporal", "target: DRM", "did you mean 'DRAM'"),
    ("target: DRAM, type: temporal", "target: 7, type: temporal", "target: 7", "0 (innermost) to 1"),
    ("target: DRAM, type: temporal", "target: DRAM, type: temporel", "temporel", "did you mean 'temporal'"),
    ("target: DRAM, type: temporal", "target: DRAM", "target: DRAM, factors", "target and a type"),
    ("factors: P=2 R=1", "factors: P=2 Q=1", "P=2 Q=1", "not a dimension"),
    ("factors: P=2 R=1", "factors: P=2 R", "P=2 R,", "not a factor"),
    ("factors: P=2 R=1", "factors: P=2 P=1", "P=2 P=1", "two factors"),
    ("factors: P=2 R=1", "factors: P=99999999999999999999", "P=9999", "too large"),
    ("factors: P=2 R=1", "factor: P=2 R=1", "factor: P=2", "did you mean 'factors'"),
    ("permutation: PRC", "permutation: PRX", "permutation: PRX", "not a dimension"),
    ("permutation: PRC", "permutation: PRR", "permutation: PRR", "stands twice"),
    ("split: 1", "split: -1", "split: -1", "from 0"),
    ("bypass: [W]", "bypass: [V]", "bypass: [V]", "not a data space"),
    ("keep: [I], bypass: [W]", "keep: [I], bypass: [I]", "bypass: [I]", "both kept and bypassed"),
    ("- name: MAC\n", "- name: MACS\n", "- name: MACS", "did you mean 'MAC'"),
    ("compute-optimization: [{type: gating}]", "compute-optimization: [{type: gate}]", "compute-opt", "known"),
    ("rank-application-order: inner-to-outer", "rank-application-order: inside-out", "inside-out", "inner_to_outer"),
    ("{format: uop, payload-word-bits: 0}", "{format: uopp}", "format: uopp", "did you mean 'UOP'"),
    ("{format: uop, payload-word-bits: 0}", "{format: CP}\n        - {format: UOP}", "ranks:", "uncompressed below"),
    ("flattened-rankIDs: [[P, R]]", "flattened-rankIDs: [[P, X]]", "flattened-rankIDs", "not a dimension"),
    ("type: skipping, target: I", "type: skip, target: I", "type: skip,", "skipping"),
    ("type: skipping, target: I", "type: skipping, target: X", "target: X", "known: I, W, O"),
    ("{type: skipping, target: I, condition-on: [W]}", "{type: skipping, target: I}", "target: I}", "condition-on"),
    ("energy: 200", "energy: -1", "energy: -1", "from 0"),
    ("ART:\n  version: 0.3", "ART:\n  version: 9", "version: 9", "known: 0.3, 0.4"),
]


def assert_says_where(text, passage, part):
    with pytest.raises(SpecError) as caught:
        parse(text, file="mistake.yaml")
    message = str(caught.value)
    assert part in message
    assert message.startswith(f"mistake.yaml:{line_of(text, passage)}"), message
    assert caught.value.hint, message


@pytest.mark.parametrize(("old", "new", "passage", "part"), NATIVE_MISTAKES, ids=lambda value: str(value)[:30])
def test_native_mistakes(old, new, passage, part):
    assert_says_where(bent(NATIVE, old, new), passage, part)


@pytest.mark.parametrize(("old", "new", "passage", "part"), TIMELOOP_MISTAKES, ids=lambda value: str(value)[:30])
def test_timeloop_mistakes(old, new, passage, part):
    assert_says_where(bent(TIMELOOP, old, new), passage, part)


@pytest.mark.parametrize("text", ["- 1\n", "word\n", "3\n", "[]\n", "{}\n"])
def test_a_file_that_is_no_mapping_is_refused(text):
    with pytest.raises(SpecError) as caught:
        parse(text, file="mistake.yaml")
    assert caught.value.hint


def test_no_file_at_all_is_refused():
    with pytest.raises(SpecError, match="no file"):
        read([])


def test_a_library_design_that_is_not_there_is_refused_with_its_line():
    text = "fiberloom: 1\narchitecture: no-such-design-anywhere\n"
    with pytest.raises(SpecError) as caught:
        parse(text, file="mistake.yaml")
    assert "mistake.yaml:2" in str(caught.value)


MUTANTS = [
    "",
    "0",
    "-1",
    "1e999",
    ".nan",
    "~",
    "[]",
    "{}",
    "[[1]]",
    "{a: {b: 1}}",
    "'x'",
    "*a",
    "!!int",
    "9" * 60,
    "true",
    "&a",
    ":",
    "A <-",
]


def mutations(text, count, seed):
    """`text` with random words replaced, lines dropped, doubled, cut or indented, characters changed."""
    rng = random.Random(seed)
    for _ in range(count):
        lines = text.splitlines()
        i = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0:
            del lines[i]
        elif kind == 1:
            lines.insert(i, lines[rng.randrange(len(lines))])
        elif kind == 2:
            lines[i] = "  " * rng.randrange(1, 4) + lines[i]
        elif kind == 3:
            lines = lines[: i + 1]
            lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)]
        elif kind == 4:
            words = lines[i].split(" ")
            words[rng.randrange(len(words))] = rng.choice(MUTANTS)
            lines[i] = " ".join(words)
        elif kind == 5 and ": " in lines[i]:
            lines[i] = lines[i].split(": ")[0] + ": " + rng.choice(MUTANTS)
        else:
            at = rng.randrange(len(lines[i]) + 1)
            lines[i] = (
                lines[i][:at]
                + chr(rng.choice([0, 9, 34, 35, 42, 58, 91, 123, 125, 0x7F, 0xE9, 0x1F600]))
                + lines[i][at + 1 :]
            )
        yield "\n".join(lines) + "\n"


@pytest.mark.parametrize("text", [NATIVE, TIMELOOP], ids=["native", "timeloop"])
def test_only_errors_for_people_escape_from_mutated_files(text):
    refused = 0
    for mutant in mutations(text, 300, seed=7):
        try:
            parse(mutant, file="mutant.yaml")
        except FiberloomError as error:
            refused += 1
            assert "mutant.yaml" in str(error), mutant
    assert refused > 100


@pytest.mark.slow
@pytest.mark.parametrize("text", [NATIVE, TIMELOOP], ids=["native", "timeloop"])
def test_only_errors_for_people_escape_from_many_mutated_files(text):
    for seed in range(20):
        for once in mutations(text, 100, seed=seed):
            for twice in mutations(once, 5, seed=seed) if once.strip() else [once]:
                try:
                    parse(twice, file="mutant.yaml")
                except FiberloomError as error:
                    assert str(error)
