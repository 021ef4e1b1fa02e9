"""Likelihood and samples: the inequality, the limit of narrow kernels, and what maximum likelihood
learns."""

import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgm_jax import training
from dgm_jax.core import SOLO, ConfigError
from dgm_jax.experiments import likelihood_versus_samples as experiment
from dgm_jax.experiments.likelihood_versus_samples import task
from dgm_jax.experiments.likelihood_versus_samples.problem import measure, truth
from dgm_jax.models.one_parameter import JUNK_SCALE, junk, kernels, noise
from dgm_jax.run import Inputs, main

VALID = 1 - math.exp(-4.5)


@pytest.mark.parametrize("dim", [2, 32])
def test_the_data_are_a_ring(dim):
    """log p by hand, in double precision."""
    data = truth(dim)
    x = np.float64(data.sample(jax.random.key(0), 50))
    angles = np.pi * np.arange(8) / 4
    means = np.zeros((8, dim))
    means[:, 0], means[:, 1] = 2 * np.cos(angles), 2 * np.sin(angles)
    parts = scipy.stats.norm.logpdf(x[:, None, :], means, 0.1).sum(-1)
    expected = scipy.special.logsumexp(parts, axis=-1) - math.log(8)
    np.testing.assert_allclose(data.log_prob(jnp.asarray(x)), expected, rtol=2e-5, atol=2e-3)


@pytest.mark.parametrize(("dim", "slack"), [(2, 0.02), (32, 1e-4), (512, 2e-3)])
def test_ninety_nine_per_cent_junk_costs_log_100_in_any_dimension(dim, slack):
    data = truth(dim)
    x = data.sample(jax.random.key(0), 500)
    found = measure(
        junk(data),
        data,
        jnp.float32(math.log(0.01 / 0.99)),
        None,
        x,
        noise(jax.random.key(1), data, 500),
    )
    assert math.log(100) - slack <= float(found["cost"]) <= math.log(100) + slack
    assert float(found["worst_cost"]) <= math.log(100) + slack
    np.testing.assert_allclose(found["cost_per_dim"], found["cost"] / dim, rtol=1e-6)
    assert float(found["valid"]) < 0.01 * VALID + 5 * math.sqrt(0.01 / 500)


@pytest.mark.parametrize("dim", [2, 32, 512])
def test_a_perfect_sampler_is_as_valid_in_any_dimension(dim):
    data = truth(dim)
    share = float(data.valid(data.sample(jax.random.key(2), 4000)))
    assert abs(share - VALID) < 4 * math.sqrt(VALID * (1 - VALID) / 4000)
    assert float(data.valid(JUNK_SCALE * jax.random.normal(jax.random.key(3), (4000, dim)))) < 1e-3


def test_one_sample_in_a_hundred_is_exact():
    data = truth(2)
    x = junk(data).sample(
        jnp.float32(math.log(0.01 / 0.99)), None, noise(jax.random.key(0), data, 40_000)
    )
    share = float(data.valid(x))
    assert abs(share - 0.01 * VALID) < 5 * math.sqrt(0.01 / 40_000)


def test_narrow_kernels_have_perfect_samples_and_no_likelihood():
    data = truth(2)
    centres, x = data.sample(jax.random.key(0), 500), data.sample(jax.random.key(1), 500)
    family, test, train = kernels(data), [], []
    for width in (1e-2, 1e-3, 1e-4):
        found = measure(
            family,
            data,
            jnp.float32(math.log(width)),
            centres,
            x,
            noise(jax.random.key(2), data, 500),
        )
        test.append(float(found["test_log_prob"]))
        train.append(float(found["train_log_prob"]))
        assert float(found["valid"]) > 0.96
    assert test[0] > test[1] > test[2] and test[2] < -10_000
    assert train[0] < train[1] < train[2]
    # The nearest training point alone gives the order of magnitude: -distance^2 / (2 width^2).
    nearest = np.linalg.norm(np.float64(x)[:, None] - np.float64(centres)[None], axis=-1).min(
        axis=1
    )
    np.testing.assert_allclose(test[2], -(nearest**2).mean() / 2e-8, rtol=1e-2)
    np.testing.assert_allclose(
        train[2], -math.log(500) - 2 * math.log(1e-4) - math.log(2 * math.pi), atol=0.05
    )


def test_narrow_kernels_sample_their_training_points():
    data = truth(3)
    centres = data.sample(jax.random.key(0), 40)
    x = kernels(data).sample(
        jnp.float32(math.log(1e-4)), centres, noise(jax.random.key(1), data, 200)
    )
    nearest = np.linalg.norm(np.asarray(x)[:, None] - np.asarray(centres)[None], axis=-1)
    assert nearest.min(axis=1).max() < 1e-3
    assert len(np.unique(nearest.argmin(axis=1))) > 30


@functools.cache
def trained(arm, num_steps):
    config = experiment.Config(
        arm=(arm,), num_steps=num_steps, num_kernels=200, num_eval=400, batch_size=100
    )
    view, hyper = experiment.EXPERIMENT.build_view(config)
    program = training.lane_program(lambda _: task.build(view, hyper, Inputs({}, {})))

    def one(key):
        lane, _ = program.advance(program.init(key, {}), {}, num_steps, SOLO)
        return program.evaluate(lane, {})

    arrays = jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 3)))
    return arrays, task.summarize(arrays, config, Inputs({}, {}))


def test_maximum_likelihood_removes_the_junk_for_less_than_five_nats():
    _, found = trained("junk_2", 400)
    assert np.all(found["weight"] > 0.6)
    assert np.all(found["valid"] > 0.5) and np.all(found["extreme_valid"] < 0.05)
    gain = found["test_log_prob"] - found["extreme_test_log_prob"]
    assert np.all(gain > 4) and np.all(gain < math.log(100))


def test_fresh_data_choose_a_width_and_training_points_none():
    arrays, fitted = trained("kernels_2", 300)
    best_rung = arrays["ladder_test_log_prob"].max(axis=1)
    assert np.all(fitted["test_log_prob"] > best_rung - 0.02)
    assert np.all((0.03 < fitted["width"]) & (fitted["width"] < 0.2))
    _, memorised = trained("memorised_2", 300)
    assert np.all(memorised["width"] < 2e-3)
    assert np.all(memorised["test_log_prob"] < fitted["test_log_prob"] - 100)
    assert np.all(memorised["train_log_prob"] > fitted["train_log_prob"] + 3)
    assert np.all(memorised["valid"] > 0.95)
    assert not any(name.startswith("extreme_") for name in memorised)


@pytest.mark.parametrize(
    "arm", ["junk", "junk_1", "junk_x", "trash_2", "kernels_-3", "kernels_2.5"]
)
def test_arms_that_no_run_could_use(arm):
    with pytest.raises(ConfigError):
        task.validate(experiment.Config(arm=(arm,)))


def test_the_command(tmp_path):
    out = tmp_path / "run"
    argv = ["--arm", "junk_4", "kernels_2", "--num_seeds", "2", "--num_steps", "20"]
    argv += ["--num_kernels", "60", "--num_eval", "200"]
    assert main(experiment.EXPERIMENT, [*argv, "--out", str(out), "--progress", "quiet"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    rows = {row["metric"]: row for row in summary["reference"]}
    assert rows["junk_4/extreme_cost"]["within"]
    np.testing.assert_allclose(rows["junk_4/extreme_cost_per_dim"]["published"], math.log(100) / 4)
    assert rows["kernels_2/extreme_train_log_prob"]["within"]
    assert {path.stem for path in (out / "figures").glob("*.png")} == {
        "likelihood_kernels_2",
        "valid_kernels_2",
        "cost_of_junk",
    }
