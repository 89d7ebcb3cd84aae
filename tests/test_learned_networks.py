"""AIRCHITECT v1 and v2: what they may look at, how they train, and the same answers from ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore.learned.designs import BUFFER_KIB, DATAFLOWS, MatrixProduct
from fiberloom.explore.learned.inputs import BUCKETS, tokens
from fiberloom.explore.learned.labelling import Labels, random_labels

torch = pytest.importorskip("torch")

from fiberloom.explore.learned import training  # noqa: E402
from fiberloom.explore.learned.networks import Classifier, Decoder, Encoder  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def labels() -> Labels:
    return random_labels(200, seed=8, keep_costs=True)


def _silent(line: str) -> None:
    pass


def _inputs(labels: Labels) -> tuple[torch.Tensor, torch.Tensor]:
    buckets, numbers = tokens(labels.bounds, labels.dataflow, labels.cap_mm2)
    return torch.from_numpy(buckets), torch.from_numpy(numbers)


def test_inputs_are_within_their_tables_at_both_ends_of_every_range() -> None:
    bounds = np.array([[1, 256, 257], [65536, 65536, 65536]])
    buckets, numbers = tokens(bounds, np.array([0, 2]), np.array([0.3, 8.0]))
    assert (buckets >= 0).all()
    assert (buckets < np.array(BUCKETS)).all()
    assert np.isfinite(numbers).all()
    assert buckets[0, 1] != buckets[0, 2]


def test_predictions_do_not_depend_on_batch_mates(labels: Labels) -> None:
    torch.manual_seed(0)
    encoder, decoder = Encoder().eval(), Decoder((16, 12)).eval()
    buckets, numbers = _inputs(labels)
    with torch.no_grad():
        held, features, cost = encoder(buckets, numbers)
        together = (*decoder(held, features), cost)
        for i in range(0, len(labels), 97):
            held, features, cost = encoder(buckets[i : i + 1], numbers[i : i + 1])
            for alone, among in zip((*decoder(held, features), cost), together, strict=True):
                torch.testing.assert_close(alone[0], among[i], rtol=1e-5, atol=1e-5)


def test_predictions_depend_on_every_token(labels: Labels) -> None:
    torch.manual_seed(0)
    encoder, decoder = Encoder().eval(), Decoder((16, 12)).eval()
    buckets, numbers = (x[:1].clone() for x in _inputs(labels))
    with torch.no_grad():
        before = decoder(*encoder(buckets, numbers)[:2])
        for token in range(buckets.shape[1]):
            other = buckets.clone()
            other[0, token] = (other[0, token] + 1) % BUCKETS[token]
            after = decoder(*encoder(other, numbers)[:2])
            assert all((a - b).abs().max() > 1e-6 for a, b in zip(before, after, strict=True)), token


def test_contrast_is_least_when_each_design_has_a_place_of_its_own() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    mixed = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert training.supervised_contrast(apart, labels) < training.supervised_contrast(mixed, labels)
    assert training.supervised_contrast(apart, torch.arange(4)) == 0, "no design stands twice"


def test_the_contrast_is_that_of_its_equation() -> None:
    z = torch.nn.functional.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    y = [0, 1, 0, 1, 0]
    expected = 0.0
    for i in range(5):
        others = [a for a in range(5) if a != i]
        everything = sum(float(torch.exp(z[i] @ z[a] / 0.07)) for a in others)
        same = [p for p in others if y[p] == y[i]]
        expected -= sum(np.log(float(torch.exp(z[i] @ z[p] / 0.07)) / everything) for p in same) / len(same) / 5
    assert float(training.supervised_contrast(z, torch.tensor(y))) == pytest.approx(expected, rel=1e-4)


def test_the_ordinal_loss_is_least_at_the_targets() -> None:
    code = training.default_codes()[0]
    targets = torch.from_numpy(code.encode(np.arange(64)).astype(np.float32))
    exact = torch.logit(targets.clamp(1e-6, 1 - 1e-6))
    assert training.unified_focal(exact, targets) < training.unified_focal(exact + 0.5, targets)
    assert training.unified_focal(exact, targets) < training.unified_focal(exact - 0.5, targets)


def test_both_stages_and_v1_learn_the_labels_of_a_small_set(labels: Labels) -> None:
    few = labels.take(labels.product < 24)
    schedule = training.Schedule(epochs=120, batch=24, rate=3e-3)
    encoder, first = training.train_encoder(few, schedule, report=_silent)
    assert first.losses[-1] < first.losses[0] - 0.5
    codes = training.default_codes()
    decoder, second = training.train_decoder(encoder, few, schedule, codes=codes, report=_silent)
    assert second.losses[-1] < 0.5 * second.losses[0]
    with torch.no_grad():
        held, features, _ = encoder(*_inputs(few))
        buffer = codes[1].decode(torch.sigmoid(decoder(held, features)[1]).numpy())
    assert np.mean(np.abs(buffer - few.buffer_level)) < 0.5 * np.mean(
        np.abs(few.buffer_level - np.median(few.buffer_level))
    )
    classifier, third = training.train_classifier(few, schedule, _silent)
    assert third.losses[-1] < 0.6 * third.losses[0]
    assert isinstance(classifier, Classifier)


def test_the_encoder_can_be_trained_on_with_the_decoder(labels: Labels) -> None:
    few = labels.take(labels.product < 24)
    torch.manual_seed(0)
    encoder = Encoder()
    before = [p.clone() for p in encoder.parameters()]
    schedule = training.Schedule(2, batch=24)
    training.train_decoder(encoder, few, schedule, codes=training.default_codes(), hold=False, report=_silent)
    assert not all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))


def test_training_repeats_exactly(labels: Labels) -> None:
    schedule = training.Schedule(epochs=1, batch=128)
    runs = [training.train_encoder(labels, schedule, report=_silent)[1].losses for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_encoder_is_held_while_the_decoder_trains(labels: Labels) -> None:
    torch.manual_seed(0)
    encoder = Encoder().eval()
    before = [p.clone() for p in encoder.parameters()]
    training.train_decoder(encoder, labels, training.Schedule(1), codes=None, report=_silent)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))


def test_the_onnx_file_gives_the_same_answers(labels: Labels, tmp_path: Path) -> None:
    for package in ("onnxruntime", "onnx", "onnxscript"):
        pytest.importorskip(package)
    from fiberloom.explore.learned.export import export_onnx, one_shot
    from fiberloom.explore.learned.recommender import OneShot

    torch.manual_seed(0)
    codes = training.default_codes()
    network = one_shot(Encoder(), Decoder((codes[0].buckets, codes[1].buckets)), labels)
    path = tmp_path / "model.onnx"
    export_onnx(network, path, codes=codes, labels=labels, made_by="a test")
    with torch.no_grad():
        array, buffer, log_cost = (x.numpy() for x in network(*_inputs(labels)))
    foretold = codes[0].decode(array) * len(BUFFER_KIB) + codes[1].decode(buffer)
    model = OneShot(path)
    made = model.predict(labels.bounds, labels.dataflow, labels.cap_mm2)
    assert np.mean(made.foretold == foretold) > 0.99, "float32 may round a level the other way"
    np.testing.assert_allclose(np.log(made.cost), log_cost, rtol=1e-4)
    assert model.card.objective == labels.objective
    assert model.card.made_by == "a test"
    assert str(Path(training.__file__).parent).encode() not in path.read_bytes(), "paths of the machine that made it"
    one = model([MatrixProduct(*map(int, labels.bounds[3]), DATAFLOWS[labels.dataflow[3]])], [labels.cap_mm2[3]])
    assert one.design[0] == made.design[3]
    with pytest.raises(SpecError, match="trained on caps"):
        model([MatrixProduct(1, 1, 1, "dla")], [20.0])
