"""Parts of the network runner: matrix products of convolutions, densities that matter, the account of what is kept on chip."""

from pathlib import Path

import pytest

from fiberloom.architecture import library
from fiberloom.errors import MappingError, SpecError, UnsupportedError
from fiberloom.model.evaluate import evaluate
from fiberloom.model.lower import lower
from fiberloom.network_evaluation import parse_density
from fiberloom.network_evaluation.account import account
from fiberloom.network_evaluation.cases import Widths, density_of, effectual_macs, fitted, layers_of, with_densities
from fiberloom.network_evaluation.chip_residency import bandwidth_cycles
from fiberloom.network_evaluation.mapping_search import MappingJob, seen_by
from fiberloom.network_evaluation.matrix_product import as_matrix_product, slides
from fiberloom.network_evaluation.other_operators import cost, prices
from fiberloom.workload import layers
from fiberloom.workload.einsum import Einsum
from fiberloom.workload.network import Kind, Network, NetworkTensor, Operator, Role

CONVOLUTION = layers.convolution("layer", outputs=8, inputs=4, rows=6, kernel=3, densities={"W": "2:4"})


def test_a_convolution_becomes_the_product_of_its_filters_and_windows() -> None:
    flat, notes = as_matrix_product(CONVOLUTION)
    assert str(flat) == "O[m, n] = W[m, k] * I[n, k]"
    assert flat.shape == {"m": 8, "n": 36, "k": 36}
    assert flat.macs == CONVOLUTION.macs
    assert flat.tensor("W").density == "2:4"
    assert "im2col" in notes[0]


def test_a_convolution_with_windows_of_one_is_a_matrix_product_already() -> None:
    flat, notes = as_matrix_product(layers.convolution("layer", outputs=8, inputs=4, rows=6))
    assert (flat.shape, notes) == ({"m": 8, "n": 36, "k": 4}, ())


def test_a_depthwise_convolution_becomes_one_product_per_channel() -> None:
    flat, _ = as_matrix_product(layers.depthwise("layer", channels=16, rows=6, kernel=3))
    assert str(flat) == "O[g, n] = W[g, k] * I[g, n, k]"
    assert flat.shape == {"g": 16, "n": 36, "k": 9}


def test_an_index_of_one_tensor_alone_is_no_matrix_product() -> None:
    with pytest.raises(UnsupportedError, match=r"'j' .* one tensor alone"):
        as_matrix_product(Einsum.parse("Z[m] = A[m,j] * B[m]", {"m": 4, "j": 4}))


def test_attention_does_not_slide() -> None:
    assert not slides(Einsum.parse("S[h,i,j] = Q[h,i,d] * K[h,j,d]", {"h": 2, "i": 4, "j": 4, "d": 8}))
    assert slides(CONVOLUTION)


@pytest.mark.parametrize("design", library.names())
def test_a_density_that_is_taken_for_dense_changes_no_digit(design: str) -> None:
    given = Einsum.parse(
        "O[m,n] = W[m,k] * I[n,k]", {"m": 64, "n": 32, "k": 64}, densities={"W": 0.5, "I": 0.25, "O": 0.75}
    )
    architecture = library.load(design, given)
    reduced = seen_by(architecture, given)
    try:
        mapping = library.plan_mapping(design, given).mapping
        whole = evaluate(given, architecture, mapping, check_fit=False)
    except MappingError:
        pytest.skip("the dataflow does not fit this product")
    less = evaluate(reduced, architecture, mapping, check_fit=False)
    assert (whole.cycles, whole.energy_pj) == (less.cycles, less.energy_pj)
    if design in ("dense-tensor-core", "tpu-like", "simba-like"):
        assert all(t.density is None for t in reduced.tensors)


def test_the_key_of_a_search_ignores_names_and_budgets_and_nothing_else() -> None:
    einsum = Einsum.parse("O[m] = W[m,c] * I[c]", {"m": 8, "c": 8}, name="first")
    job = MappingJob(einsum, library.load("tpu-like", einsum), seconds=1)
    renamed = einsum.model_copy(update={"name": "second"})
    assert MappingJob(renamed, job.architecture, seconds=5).key() == job.key()
    denser = Einsum.parse("O[m] = W[m,c] * I[c]", {"m": 8, "c": 8}, densities={"W": 0.5})
    wider = Einsum.parse("O[m] = W[m,c] * I[c]", {"m": 8, "c": 8}, word_bits={"W": 4})
    others = [
        MappingJob(denser, job.architecture),
        MappingJob(wider, job.architecture),
        MappingJob(einsum, library.load("tpu-like", einsum).model_copy(update={"cycle_seconds": 2e-9})),
        MappingJob(einsum, job.architecture, objective="latency"),
        MappingJob(einsum, job.architecture, mapper="genetic"),
        MappingJob(einsum, job.architecture, mapper="genetic", seed=1),
    ]
    assert len({job.key(), *(other.key() for other in others)}) == 7


def test_the_key_of_a_search_changes_with_the_file_of_a_density(tmp_path: Path) -> None:
    file = tmp_path / "w.npy"
    einsum = Einsum.parse(
        "O[m] = W[m,c] * I[c]", {"m": 8, "c": 8}, densities={"W": {"distribution": "actual-data", "file": str(file)}}
    )
    keys = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        keys.add(MappingJob(einsum, library.load("tpu-like", einsum)).key())
    assert len(keys) == 2


def test_an_answer_of_a_smaller_budget_serves_only_when_it_is_proved() -> None:
    einsum = Einsum.parse("O[m] = W[m,c] * I[c]", {"m": 8, "c": 8})
    job = MappingJob(einsum, library.load("tpu-like", einsum), seconds=10)
    budget = {"seconds": 5, "memory_mb": job.memory_mb}
    assert job.settled_by({"certificate": {"status": "optimal"}, "budget": budget})
    assert not job.settled_by({"certificate": {"status": "bound"}, "budget": budget})
    assert job.settled_by({"certificate": {"status": "bound"}, "budget": {**budget, "seconds": 10}})
    assert not job.settled_by({"status": "not mappable", "interrupted": True})


@pytest.mark.parametrize("design", ["stc", "dense-tensor-core", "eyeriss", "tpu-like"])
def test_the_bandwidth_of_the_outermost_memory_is_accounted_as_the_model_does(design: str) -> None:
    einsum = Einsum.parse("O[m,n] = W[m,k] * I[n,k]", {"m": 256, "n": 1, "k": 512}, densities={"W": "2:4"})
    architecture = library.load(design, einsum)
    problem = lower(einsum, architecture)
    found = account(
        problem, evaluate(einsum, architecture, library.plan_mapping(design, einsum).mapping, check_fit=False)
    )
    outermost = found["levels"][0]
    own = max(bandwidth_cycles(outermost, architecture.levels[0]), found["compute"]["cycles"])
    assert own == pytest.approx(outermost["cycles"], abs=1)


def test_densities_are_shares_patterns_or_dense() -> None:
    assert parse_density("0.3", "--weights") == 0.3
    assert parse_density("2:4", "--weights") == "2:4"
    assert parse_density(" dense ", "--weights") is None
    for wrong in ("70%", "0", "1.5", "5:4", "", "nan"):
        with pytest.raises(SpecError, match="--weights"):
            parse_density(wrong, "--weights")


def _two_operators() -> Network:
    tensors = [
        NetworkTensor("table", (1000, 4), Role.PARAMETER, "int8", 8),
        NetworkTensor("rows", (2,), Role.INPUT, "int8", 8),
        NetworkTensor("found", (2, 4), Role.ACTIVATION, "int8", 8),
        NetworkTensor("weights", (8, 8), Role.PARAMETER, "int8", 8),
        NetworkTensor("flat", (8,), Role.ACTIVATION, "int8", 8),
        NetworkTensor("out", (8,), Role.OUTPUT, "int32", 32),
        NetworkTensor("copy", (8,), Role.OUTPUT, "int8", 8),
    ]
    einsum = Einsum.parse("O[m] = W[m,c] * I[c]", {"m": 8, "c": 8})
    operands = {"W": "weights", "I": "flat", "O": "out"}
    return Network(
        "two",
        (
            Operator("look up", "Gather", Kind.LOOKUP, ("table", "rows"), ("found",)),
            Operator("reshape", "Reshape", Kind.LAYOUT, ("found",), ("flat",)),
            Operator("product", "linear", Kind.EINSUM, ("flat", "weights"), ("out",), einsum, operands),
            Operator("transpose", "Transpose", Kind.LAYOUT, ("flat",), ("copy",), operations=8),
        ),
        {t.name: t for t in tensors},
    )


def test_a_look_up_reads_the_rows_that_it_returns_a_renaming_nothing_and_a_copy_all() -> None:
    network, price = _two_operators(), prices(library.describe("stc").architecture)
    found = {o.name: cost(o, network, Widths.FIT, price) for o in network.operators if o.einsum is None}
    assert (found["look up"]["read_bytes"], found["look up"]["written_bytes"]) == (2 + 8, 8)
    assert found["reshape"]["energy_pj"] == found["reshape"]["cycles"] == 0
    assert (found["transpose"]["read_bytes"], found["transpose"]["written_bytes"]) == (8, 8)
    assert found["transpose"]["energy_pj"] == 512 + 512  # one access of 64 bits each way


def test_values_are_no_wider_than_the_words_of_the_compute() -> None:
    einsum = layers_of(_two_operators())[0].einsum
    assert {t.name: t.word_bits for t in einsum.tensors} == {"W": 8, "I": 8, "O": 32}
    assert {t.word_bits for t in fitted(einsum, Widths.FIT, 8).tensors} == {None}
    assert {t.name: t.word_bits for t in fitted(einsum, Widths.FIT, 16).tensors} == {"W": 8, "I": 8, "O": None}
    assert fitted(einsum, Widths.NETWORK, 8) == einsum


def test_shorthand_densities_touch_only_what_einsums_multiply() -> None:
    changed = with_densities(_two_operators(), "2:4", 0.5).tensors
    assert {name: t.density for name, t in changed.items() if t.density is not None} == {"weights": "2:4", "flat": 0.5}
    einsum = layers_of(with_densities(_two_operators(), "2:4", 0.5))[0].einsum
    assert density_of(einsum, "W") == 0.5
    assert effectual_macs(einsum) == 16
