"""Proxy models of explorations: trees over parameter indices, honest about their errors, safe to load."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from fiberloom.errors import SpecError
from fiberloom.explore.proxy import Proxy, train, train_on_designs
from fiberloom.explore.trial import Evaluated, Status

sklearn = pytest.importorskip("sklearn")

NAMES = ("rows", "columns", "buffer")


def _designs(count: int, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Points of a made-up space, with a delay and an energy that depend on all parameters."""
    points = np.random.default_rng(seed).integers(0, (8, 8, 12), (count, 3))
    lanes = 2.0 ** (points[:, 0] + points[:, 1])
    delay = np.maximum(1e6 / lanes, 3e4 / (1 + points[:, 2]))
    return points, {"cycles": delay, "energy_pj": 1e3 + 5 * lanes + 10.0 * points[:, 2]}


@pytest.fixture(scope="module")
def proxy() -> Proxy:
    points, metrics = _designs(1500)
    return train(NAMES, points, metrics, seconds=np.full(1500, 0.25))


def test_new_designs_are_foretold_within_a_few_percent(proxy: Proxy) -> None:
    points, metrics = _designs(300, seed=1)
    made = proxy.evaluate(points)
    for name, truth in metrics.items():
        assert np.sqrt(np.mean((made[name] / truth - 1) ** 2)) < 0.1


def test_errors_are_of_designs_that_were_left_out_and_beside_the_mean(proxy: Proxy) -> None:
    assert proxy.trained_on == 1200
    for error in proxy.errors.values():
        assert error.r2 > 0.98
        assert error.rank_correlation > 0.95
        assert error.rmse_percent < 10 < error.mean_percent
        assert [r.name for r in error.regions] == ["best 5 %", *(f"quartile {i}" for i in (1, 2, 3, 4))]
        assert sum(r.rows for r in error.regions[1:]) == 300
        assert error.regions[1].high <= error.regions[2].low


def test_a_proxy_of_noise_says_so() -> None:
    points, _ = _designs(400)
    noise = np.exp(np.random.default_rng(2).normal(size=400))
    error = train(NAMES, points, {"cycles": noise}).errors["cycles"]
    assert error.r2 < 0.2
    assert error.rank_correlation < 0.5


def test_its_trees_answer_as_those_of_scikit_learn() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    from fiberloom.explore.tree_ensemble import TreeEnsemble

    points, metrics = _designs(500)
    x, y = points.astype(float), metrics["cycles"]
    ours = TreeEnsemble.fit(x, y, 60, 0)
    theirs = HistGradientBoostingRegressor(
        max_iter=60,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=20,
        min_samples_leaf=10,
        random_state=0,
    ).fit(x, np.log(y))
    np.testing.assert_allclose(ours(x), np.exp(theirs.predict(x)), rtol=1e-9)


def test_the_speed_up_is_measured(proxy: Proxy) -> None:
    assert proxy.evaluation_seconds == 0.25
    assert proxy.speed_up is not None
    assert proxy.speed_up == pytest.approx(0.25 / proxy.proxy_seconds)
    assert proxy.speed_up > 100
    points, metrics = _designs(100)
    assert train(NAMES, points, metrics).speed_up is None


def test_a_file_gives_the_same_answers_without_scikit_learn(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "proxy.npz"
    proxy.save(path)
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    again = Proxy.load(path)
    points, _ = _designs(50, seed=3)
    for name, values in proxy.evaluate(points).items():
        assert (again.evaluate(points)[name] == values).all()
    assert again.errors == proxy.errors
    assert again.parameters == NAMES


def test_files_that_are_no_proxy_are_refused_and_never_run(proxy: Proxy, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    path = tmp_path / "proxy.npz"
    np.savez(path, about=np.array([Harmful()], dtype=object))
    with pytest.raises(SpecError, match="is no proxy"):
        Proxy.load(path)
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(SpecError, match="is no proxy"):
        Proxy.load(path)
    assert not (tmp_path / "ran").exists()
    proxy.save(path)
    content = bytearray(path.read_bytes())
    for cut in (10, len(content) // 2):
        path.write_bytes(content[:cut])
        with pytest.raises(SpecError, match="is no proxy"):
            Proxy.load(path)
    with pytest.raises(SpecError, match="is no proxy"):
        Proxy.load(tmp_path / "absent.npz")


def test_trees_that_lead_outside_or_nowhere_are_refused(proxy: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "proxy.npz"
    proxy.save(path)
    with np.load(path) as file:
        content = dict(file)
    endless = np.zeros_like(content["0.left"])
    for left in (content["0.left"] + 10_000, endless, -content["0.left"]):
        np.savez(path, **(content | {"0.left": left}))
        with pytest.raises(SpecError, match="make no sense"):
            Proxy.load(path)


def test_only_evaluated_designs_and_common_metrics_are_learned() -> None:
    points, metrics = _designs(200)
    designs = [
        (
            tuple(map(int, p)),
            Evaluated(Status.EVALUATED, {"cycles": c, "extra": 1.0} if i else {"cycles": c}, seconds=0.1),
        )
        for i, (p, c) in enumerate(zip(points, metrics["cycles"], strict=True))
    ]
    designs += [
        ((0, 0, 0), Evaluated(Status.INVALID, reason="no")),
        ((1, 0, 0), Evaluated(Status.PRUNED, {"cycles": 1.0})),
    ]
    made = train_on_designs(NAMES, designs)
    assert made.metrics == ("cycles",)
    assert made.trained_on == 160
    assert made.evaluation_seconds == pytest.approx(0.1)


def test_metrics_that_are_not_positive_are_learned_as_they_are() -> None:
    points, _ = _designs(300)
    made = train(NAMES, points, {"slack": points.sum(axis=1) - 12.0})
    assert not made.errors["slack"].logarithmic
    assert made.errors["slack"].r2 > 0.9
    assert np.isnan(made.errors["slack"].rmse_percent)


def test_what_can_not_be_trained_on_is_named() -> None:
    points, metrics = _designs(60)
    with pytest.raises(SpecError, match="39 evaluated designs"):
        train(NAMES, points[:39], {k: v[:39] for k, v in metrics.items()})
    with pytest.raises(SpecError, match="2 parameters, but points of 3"):
        train(NAMES[:2], points, metrics)
    with pytest.raises(SpecError, match="'cycles' has 10 values for 60 designs"):
        train(NAMES, points, {"cycles": metrics["cycles"][:10]})
    with pytest.raises(SpecError, match="known of 0 designs"):
        train(NAMES, points, {"cycles": np.full(60, np.inf)})
    with pytest.raises(SpecError, match="no design has been evaluated"):
        train_on_designs(NAMES, [])
    with pytest.raises(SpecError, match="test share of 1"):
        train(NAMES, points, metrics, test_share=1.0)


def test_points_of_another_length_are_refused(proxy: Proxy) -> None:
    with pytest.raises(SpecError, match="points of 2 numbers"):
        proxy.evaluate([(1, 2)])
    assert proxy.evaluate([])["cycles"].shape == (0,)


def test_a_store_becomes_a_proxy_with_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from fiberloom.cli import program

    store, out = tmp_path / "runs.db", tmp_path / "proxy.npz"
    assert (
        program.run(["explore", "dram-controller", "--agent", "random", "--budget", "60", "--store", str(store)]) == 0
    )
    capsys.readouterr()
    assert program.run(["explore", "proxy", str(store), "--out", str(out), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["trained_on"] == 48
    assert made["speed_up"] > 0
    assert set(made["metrics"]) == set(Proxy.load(out).metrics)
    assert program.run(["explore", "proxy", str(tmp_path / "absent.db")]) == 2
    assert "there is no store" in capsys.readouterr().err
