"""Two models that the library does not have, trained by its engine in at most 60 lines each."""

import pathlib

import denoising
import jax
import normalizing_flow
import numpy as np
import pytest

from dgm_jax import data, training


@pytest.mark.parametrize("program", [normalizing_flow, denoising])
def test_the_file_is_short(program):
    assert len(pathlib.Path(program.__file__).read_text("utf-8").splitlines()) <= 60


def test_a_flow_comes_near_the_entropy_of_a_mixture():
    """E -log p(x) is at least the entropy of the data and a tenth of a nat above it at most."""
    density = data.load("ring", num_modes=3, radius=2.0, scale=0.5).density
    train, test = (np.asarray(density.sample(jax.random.key(seed), 20_000)) for seed in (0, 1))
    entropy = -np.mean(np.asarray(density.log_prob(test), np.float64))
    result = normalizing_flow.fit(train, test, num_steps=500, num_seeds=2)
    nats = result.evaluation["test_nats"]
    assert np.all(nats > entropy - 1e-3) and np.all(nats < entropy + 0.1)
    second = np.mean(result.evaluation["samples"] ** 2, axis=(1, 2))
    np.testing.assert_allclose(second, np.mean(test**2), rtol=0.15)


def test_a_denoising_model_has_the_moments_of_a_gaussian():
    """The data are N(m, S); so are the samples, within errors of training and of 2,000 draws."""
    mean = np.array([1.0, -0.5], np.float32)
    factor = np.array([[0.8, 0.0], [0.5, 0.4]], np.float32)
    x = mean + np.random.default_rng(0).normal(size=(10_000, 2)).astype(np.float32) @ factor.T
    task = denoising.denoising_task(2, num_steps=1_200)
    result = training.train(task, jax.random.split(jax.random.key(0), 2), x, 1_200)
    for samples in result.evaluation["samples"]:
        np.testing.assert_allclose(samples.mean(0), mean, atol=0.1)
        np.testing.assert_allclose(np.cov(samples.T), factor @ factor.T, atol=0.12)
