"""Searches for series, sensitivities, quality functions and fine-tuning on small trained networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fiberloom.errors import SpecError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from fiberloom.representation.models import (  # noqa: E402
    Accuracy,
    Agreement,
    OutputError,
    Perplexity,
    activation_densities,
    allocate_representations,
    compress,
    sensitivities,
    tasder_activations,
    tasder_weights,
)
from fiberloom.representation.models.tasder import pseudo_density  # noqa: E402


def data(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of eight overlapping classes in 32 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(8, 32, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(8, (count,), generator=generator)
    return centres[labels] + 1.3 * torch.randn(count, 32, generator=generator), labels


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 8))
    x, y = data(3000, 0)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model.eval()


def quality(count: int, seed: int) -> Accuracy:
    return Accuracy(*data(count, seed))


@pytest.mark.parametrize("search", [tasder_weights, tasder_activations])
def test_a_search_lowers_compute_and_keeps_the_floor_on_its_examples(search: object, trained: nn.Sequential) -> None:
    before = copy.deepcopy(trained.state_dict())
    found = search(trained, quality(2000, 1), [data(200, 2)[0]], held_out=quality(2000, 3), confidence=None)  # type: ignore[operator]
    assert found.compute < 1
    assert found.searched.share >= 0.99
    assert found.held_out is not None and found.held_out.share > 0.95
    assert quality(2000, 1)(found.compressed.model) == pytest.approx(found.searched.quality)
    assert all(torch.equal(trained.state_dict()[name], value) for name, value in before.items())


def test_the_bound_makes_the_search_more_careful_than_the_plain_rule(trained: nn.Sequential) -> None:
    plain, careful = (
        tasder_weights(trained, quality(1500, 1), [data(200, 2)[0]], confidence=confidence)
        for confidence in (None, 0.95)
    )
    assert careful.compute >= plain.compute
    assert (careful.searched.bound is not None and careful.searched.bound >= 0.99) or not careful.choices
    assert plain.searched.bound is None


def test_weights_are_tried_in_the_order_of_dropped_non_zeros_until_the_first_refusal(trained: nn.Sequential) -> None:
    found = tasder_weights(trained, quality(500, 1), [data(100, 2)[0]], confidence=None, floor=0.98)
    harms = [step.harm for step in found.steps]
    assert harms == sorted(harms)
    assert [step.kept for step in found.steps[:-1]] == [True] * (len(harms) - 1)
    longer = tasder_weights(trained, quality(500, 1), [data(100, 2)[0]], confidence=None, floor=0.98, patience=100)
    assert longer.compute <= found.compute


def test_a_network_wide_search_gives_every_layer_the_same(trained: nn.Sequential) -> None:
    found = tasder_weights(trained, quality(1000, 1), [data(100, 2)[0]], confidence=None, layerwise=False)
    assert len(set(found.choices.values())) == 1 and len(found.choices) == 3
    assert {step.what for step in found.steps} == {"every layer"}


def test_compute_counts_multiplications_of_all_layers(trained: nn.Sequential) -> None:
    found = tasder_weights(trained, quality(500, 1), [data(100, 2)[0]], ["2:4"], confidence=None, floor=0.01)
    assert found.compute == 0.5 and found.choices == {"0": "2:4", "2": "2:4", "4": "2:4"}
    skipped = tasder_weights(
        trained, quality(500, 1), [data(100, 2)[0]], ["2:4"], confidence=None, floor=0.01, exclude=["2"]
    )
    assert set(skipped.choices) == {"0", "4"}


def test_densities_of_relu_are_shares_of_non_zeros_and_of_gelu_pseudo_densities(trained: nn.Sequential) -> None:
    x, _ = data(400, 5)
    found = activation_densities(trained, [x], held=0.9)
    with torch.no_grad():
        relu, gelu = trained[:2](x).numpy(), trained[:4](x).numpy()
    assert found["2"] == pytest.approx(np.count_nonzero(relu) / relu.size)
    ordered = np.sort(np.abs(gelu), axis=None)[::-1]
    least = int(np.argmax(np.cumsum(ordered.astype(float)) >= 0.9 * ordered.sum(dtype=float))) + 1
    assert found["4"] == pytest.approx(least / gelu.size)


def test_pseudo_density_of_known_magnitudes() -> None:
    assert pseudo_density(np.array([8.0, -1, 1, 0]), held=0.8) == 0.25
    assert pseudo_density(np.array([8.0, -1, 1, 0]), held=0.85) == 0.5
    assert pseudo_density(np.array([8.0, -1, 1, 0]), held=1.0) == 0.75
    assert pseudo_density(np.zeros(4)) == 0.0


def test_a_smaller_floor_never_takes_a_smaller_alpha(trained: nn.Sequential) -> None:
    computes = [
        tasder_activations(trained, quality(800, 1), [data(100, 2)[0]], confidence=None, floor=floor).compute
        for floor in (0.999, 0.97, 0.5)
    ]
    assert computes == sorted(computes, reverse=True) and computes[-1] < 0.4


def test_a_quality_function_that_raises_is_named_with_the_line(trained: nn.Sequential) -> None:
    def mine(model: nn.Module) -> float:
        raise ValueError("no labels")

    with pytest.raises(
        SpecError, match=r"the quality function 'mine' raised ValueError at .*search\.py:\d+: no labels"
    ):
        tasder_weights(trained, mine, [data(10, 0)[0]])
    with pytest.raises(SpecError, match="gave nan"):
        tasder_weights(trained, lambda model: float("nan"), [data(10, 0)[0]])
    with pytest.raises(SpecError, match="gave good"):
        tasder_weights(trained, lambda model: "good", [data(10, 0)[0]])
    with pytest.raises(SpecError, match="gives one figure"):
        tasder_weights(trained, lambda model: 0.9, [data(10, 0)[0]])
    with pytest.raises(SpecError, match="not positive"):
        tasder_weights(trained, lambda model: -1.0, [data(10, 0)[0]], confidence=None)
    with pytest.raises(SpecError, match="a function from a model"):
        tasder_weights(trained, 0.9, [data(10, 0)[0]])  # type: ignore[arg-type]


def test_a_function_that_gives_one_figure_can_be_searched_by_the_plain_rule(trained: nn.Sequential) -> None:
    judge = quality(500, 1)
    found = tasder_weights(trained, lambda model: float(judge(model)), [data(100, 2)[0]], confidence=None)
    assert found.choices == tasder_weights(trained, judge, [data(100, 2)[0]], confidence=None).choices


def test_bad_searches_are_named(trained: nn.Sequential) -> None:
    x = [data(10, 0)[0]]
    with pytest.raises(SpecError, match="candidates are a list"):
        tasder_weights(trained, quality(10, 0), x, "2:4")
    with pytest.raises(SpecError, match="a floor of 99"):
        tasder_weights(trained, quality(10, 0), x, floor=99)
    with pytest.raises(SpecError, match="a confidence of 1"):
        tasder_weights(trained, quality(10, 0), x, confidence=1.0)
    with pytest.raises(SpecError, match="pseudo-density that holds 2"):
        tasder_activations(trained, quality(10, 0), x, held=2)


@pytest.mark.parametrize("measure", ["layer", "output", "kl"])
def test_sensitivities_grow_with_what_is_taken_away_and_are_nothing_for_dense(
    measure: str, trained: nn.Sequential
) -> None:
    found = sensitivities(trained, ["dense", "6:8", "4:8", "2:8", "1:8"], [data(200, 2)[0]], measure)  # type: ignore[arg-type]
    assert found.layers == ("0", "2", "4")
    assert (found.losses[:, 0] < 1e-9).all()
    assert (np.diff(found.losses, axis=1) > 0).all()


def test_a_sensitivity_is_that_of_the_layer_alone(trained: nn.Sequential) -> None:
    x, _ = data(200, 2)
    found = sensitivities(trained, ["2:8"], [x], "output").losses[1, 0]
    with torch.no_grad():
        wanted, given = trained(x), compress(trained, {"2": "2:8"}).model(x)
    assert found == pytest.approx(float((given - wanted).square().sum() / wanted.square().sum()), rel=1e-4)


@pytest.mark.parametrize("solver", ["highs", "labels"])
def test_layers_are_allocated_as_the_best_of_all_combinations(solver: str, trained: nn.Sequential) -> None:
    if solver == "highs":
        pytest.importorskip("scipy")
    candidates = ["dense", "4:8", "2:8"]
    costs = {"0": [2048, 1024, 512], "2": [4096, 2048, 1024], "4": [512, 256, 128]}
    x = [data(200, 2)[0]]
    losses = sensitivities(trained, candidates, x).losses
    budget = float(losses.max(axis=1).sum()) / 3
    found = allocate_representations(trained, candidates, costs, x, budget, solver=solver)  # type: ignore[arg-type]
    table = np.array(list(costs.values()))
    totals = [
        table[range(3), choice].sum() for choice in np.ndindex(3, 3, 3) if losses[range(3), choice].sum() <= budget
    ]
    assert found.allocation.cost == min(totals) and found.allocation.loss <= budget
    assert set(found.choices) == {"0", "2", "4"}
    assert [layer.representation for layer in found.compressed.layers] == list(found.choices.values())
    with pytest.raises(SpecError, match="layer '2' has no costs"):
        allocate_representations(trained, candidates, {"0": [1, 1, 1], "4": [1, 1, 1]}, x, budget)


def test_agreement_and_output_error_judge_by_the_original(trained: nn.Sequential) -> None:
    x = [data(100, 2)[0]]
    for kind in (Agreement, OutputError):
        judge = kind(trained, x)
        near, far = (judge(compress(trained, text).model) for text in ("6:8", "1:8"))
        assert judge(trained) == pytest.approx(1) and 1 > near > far


def test_perplexity_of_even_odds_is_the_number_of_tokens() -> None:
    class Even(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.zeros(*tokens.shape, 50)

    judge = Perplexity(np.arange(40).reshape(4, 10))
    assert 1 / judge(Even()) == pytest.approx(50)
    with pytest.raises(SpecError, match="windows of shape"):
        Perplexity(np.arange(4))


def test_labels_and_outputs_of_other_shapes_are_named(trained: nn.Sequential) -> None:
    x, y = data(10, 0)
    with pytest.raises(SpecError, match="9 labels for 10 inputs"):
        Accuracy(x, y[:9])
    with pytest.raises(SpecError, match="the model's choices have the shape"):
        Accuracy(x, y)(nn.Sequential(nn.Linear(32, 8), nn.Unflatten(1, (2, 4))))
