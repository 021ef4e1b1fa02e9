"""Gradient estimators as an experiment: moments against numpy, figures against closed forms, the
ranking's order."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.experiments import gradient_estimators as experiment
from dgm_jax.experiments.gradient_estimators import estimates, task
from dgm_jax.report import statistics
from dgm_jax.run import Inputs, main
from dgm_jax.sampling.estimators import ESTIMATORS


@pytest.mark.parametrize("target, p", [(0.499, 0.5), (0.45, 0.2), (0.0, 0.9)])
def test_the_exact_gradient_is_the_closed_form(target, p):
    found = estimates.toy_gradient(jax.random.key(0), "exact", target, jnp.float32(p))
    np.testing.assert_allclose(found, (1 - 2 * target) * p * (1 - p), rtol=1e-5)


def test_costs_are_counted():
    known = {
        "exact": 2,
        "score_function": 1,
        "score_function_leave_one_out": 2,
        "straight_through": 1,
        "gumbel_rao": 1,
        "reinmax": 1,
        "disarm": 2,
        "muprop": 2,
    }
    assert {name: estimates.evaluations(name) for name in known} == known


def test_a_run_has_the_closed_forms_and_ranks(tmp_path, capsys):
    names = [
        "straight_through",
        "exact",
        "score_function",
        "score_function_leave_one_out",
        "gumbel_softmax",
    ]
    flags = [
        "--num_seeds",
        "2",
        "--num_steps",
        "20",
        "--log_every",
        "20",
        "--temperature",
        "0.5",
        "--progress",
        "quiet",
    ]
    assert (
        main(experiment.EXPERIMENT, ["--estimator", *names, *flags, "--out", str(tmp_path / "run")])
        == 0
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    metrics = {name: value["mean"] for name, value in summary["metrics"].items()}
    # One draw: (b - t)^2 (b - p) has the two values below.
    t, p = 0.499, 0.2
    values, weights = np.array([-p * t**2, (1 - p) * (1 - t) ** 2]), np.array([1 - p, p])
    mean, sd = weights @ values, np.sqrt(weights @ (values - weights @ values) ** 2)
    np.testing.assert_allclose(
        metrics["score_function/mean_p0.2"], mean, atol=4 * sd / np.sqrt(40_000)
    )
    np.testing.assert_allclose(metrics["score_function/sd_p0.2"], sd, rtol=0.02)
    np.testing.assert_allclose(metrics["score_function/rmse_p0.2"], sd, rtol=0.02)  # no bias
    bias = 2 * p * (1 - p) * (p - t) - (1 - 2 * t) * p * (1 - p)
    np.testing.assert_allclose(
        metrics["straight_through/bias_p0.2"], bias, atol=4 * 0.128 / np.sqrt(40_000)
    )
    np.testing.assert_allclose(metrics["straight_through/worst_bias"], bias, rtol=0.05)
    half = metrics["straight_through/rmse_at_budget"] ** 2 * 2  # p = .5 without bias, p = .2 with
    np.testing.assert_allclose(half, bias**2 + (0.25**2 + 0.128**2) / 100, rtol=0.03)
    ranking = summary["notes"][0]
    positions = [
        ranking.index(f". {name} (")
        for name in ("exact", "score_function_leave_one_out", "score_function")
    ]
    assert positions == sorted(positions) and ranking in capsys.readouterr().out


def test_ranking_puts_an_arm_without_a_figure_last():
    means = {"a": None, "b": 2.0, "c": 0.5}
    text = statistics.ranking({arm: {"error": {"mean": m}} for arm, m in means.items()}, "error")
    assert text == "Ranking by error, smallest first: 1. c (0.5), 2. b (2), 3. a (no figure)."


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": ("reinforce",)}, "gradient estimator"),
        ({"probability": (0.0,)}, "probability"),
        ({"temperature": (0.5, 0.0)}, "temperature"),
        ({"probability": (0.2, 0.2)}, "different"),
        ({"batch_size": 1}, "batch_size"),
        ({"budget": 1}, "budget"),
    ],
)
def test_settings_that_no_run_could_use(settings, message):
    with pytest.raises(ConfigError, match=message):
        task.validate(experiment.Config(**settings))


def test_references_are_those_of_their_problem_only():
    rows = task.references(experiment.Config(estimator=("gumbel_softmax",)))
    assert {row["metric"] for row in rows} >= {"mean_p0.5_tau1", "sd_p0.5_tau0.1"}
    assert task.references(experiment.Config(estimator=("gumbel_softmax",), target=0.45)) == []


def first_step(one_seed, key):
    algorithm = one_seed.algorithm(None)
    start = algorithm.init(key, *one_seed.init(key))
    return algorithm.step(start, lambda index: one_seed.draw({}, key, index))


def test_every_estimator_has_a_task():
    for name in ESTIMATORS:
        config, hyper = experiment.EXPERIMENT.build_view(experiment.Config(estimator=(name,)))
        one_seed = task.build(config, hyper, Inputs({}, {}))
        shapes = jax.eval_shape(functools.partial(first_step, one_seed), jax.random.key(0))
        assert shapes[0].state["moments"].mean.shape == (len(task.cells(config)),)
