"""The categorical law against scipy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from dgm_jax.core import DataError
from dgm_jax.densities import categorical

RNG = np.random.default_rng(12)
Q, P = RNG.normal(size=(2, 6, 9)) * 3


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_divergences_against_scipy(transform):
    q, p = special.softmax(Q, -1), special.softmax(P, -1)
    got = transform(categorical.kl)(jnp.asarray(Q), jnp.asarray(P))
    assert got.shape == (6,)
    np.testing.assert_allclose(got, stats.entropy(q, p, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(
        transform(categorical.entropy)(jnp.asarray(Q)), stats.entropy(q, axis=-1), rtol=1e-5
    )
    uniform = np.full_like(q, 1 / 9)
    np.testing.assert_allclose(
        transform(categorical.kl_to_uniform)(jnp.asarray(Q)),
        stats.entropy(q, uniform, axis=-1),
        rtol=1e-5,
    )


@pytest.mark.parametrize("num_classes", [1, 2, 8192])
def test_extremes_of_the_divergence_to_uniform(num_classes):
    np.testing.assert_allclose(categorical.kl_to_uniform(jnp.full(num_classes, 3.0)), 0, atol=2e-6)
    point = jnp.full(num_classes, -jnp.inf).at[0].set(0.0)
    np.testing.assert_allclose(categorical.kl_to_uniform(point), np.log(num_classes), rtol=1e-6)
    np.testing.assert_allclose(
        categorical.entropy(jnp.zeros(num_classes)), np.log(num_classes), rtol=1e-6
    )
    assert categorical.entropy(point) == 0


def test_gradients_against_closed_forms():
    q, p = special.softmax(Q[0]), special.softmax(P[0])
    by_q, by_p = jax.grad(categorical.kl, (0, 1))(jnp.asarray(Q[0]), jnp.asarray(P[0]))
    difference = np.log(q) - np.log(p)
    np.testing.assert_allclose(by_q, q * (difference - q @ difference), atol=1e-5)
    np.testing.assert_allclose(by_p, p - q, atol=1e-6)
    by_q = jax.grad(categorical.entropy)(jnp.asarray(Q[0]))
    np.testing.assert_allclose(by_q, -q * (np.log(q) - q @ np.log(q)), atol=1e-5)


def test_impossible_classes():
    masked = jnp.array([0.5, -jnp.inf, 0.1])
    q = special.softmax([0.5, 0.1])
    other = jnp.array([0.0, 1.0, 2.0])
    p = special.softmax([0.0, 1.0, 2.0])[[0, 2]]
    np.testing.assert_allclose(categorical.kl(masked, other), np.sum(q * np.log(q / p)), rtol=1e-5)
    np.testing.assert_allclose(categorical.kl(masked, masked), 0, atol=1e-6)
    np.testing.assert_allclose(categorical.entropy(masked), stats.entropy(q), rtol=1e-5)
    assert np.isposinf(categorical.kl(other, masked))
    for function in (
        lambda logits: categorical.kl(logits, other),
        lambda logits: categorical.kl(logits, masked),
        categorical.entropy,
        categorical.kl_to_uniform,
        lambda logits: categorical.log_prob(jnp.array(0), logits),
    ):
        gradient = jax.grad(function)(masked)
        assert np.all(np.isfinite(gradient)) and gradient[1] == 0


def test_log_prob_against_scipy_and_for_all_pixels():
    logits = RNG.normal(size=(4, 3, 256)) * 5
    x = RNG.integers(0, 256, (4, 3)).astype(np.uint8)
    expected = np.take_along_axis(special.log_softmax(logits, -1), x[..., None].astype(int), -1)[
        ..., 0
    ]
    for function in (categorical.log_prob, jax.jit(categorical.log_prob)):
        np.testing.assert_allclose(
            function(jnp.asarray(x), jnp.asarray(logits)), expected, rtol=1e-5
        )
    every = categorical.log_prob(jnp.arange(256), jnp.asarray(logits[0, 0]))
    assert every.shape == (256,)
    np.testing.assert_allclose(np.exp(every).sum(), 1, rtol=1e-5)


def test_derivatives_of_log_prob_against_closed_forms():
    """1[k = x] - p_k, and -(diag p - p p^T); forward mode, reverse mode, and one of the other."""
    logits = RNG.normal(size=40) * 3
    x = jnp.array(17)
    p = special.softmax(logits)
    log_prob = functools.partial(categorical.log_prob, x)
    expected = (np.arange(40) == 17) - p
    for differentiate in (jax.grad, jax.jacfwd):
        found = differentiate(log_prob)(jnp.asarray(logits))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    for differentiate in (jax.hessian, lambda f: jax.jacrev(jax.jacfwd(f))):
        found = differentiate(log_prob)(jnp.asarray(logits))
        np.testing.assert_allclose(found, np.outer(p, p) - np.diag(p), rtol=1e-4, atol=1e-6)


def test_gradient_of_log_prob_of_many_classes_under_one_distribution():
    """The sum over classes x of n_x log p_x has the gradient n - N p."""
    logits = RNG.normal(size=5)
    x = np.array([[0, 3, 3], [4, 0, 0]])
    counts = np.bincount(x.ravel(), minlength=5)
    total = lambda logits: jnp.sum(categorical.log_prob(x, logits))
    expected = counts - 6 * special.softmax(logits)
    np.testing.assert_allclose(jax.grad(total)(jnp.asarray(logits)), expected, rtol=1e-5, atol=1e-5)
    scaled = jnp.asarray(logits) * jnp.array([[1.0], [2.0]])
    by_one = jax.vmap(jax.grad(total))(scaled)
    expected = counts - 6 * special.softmax(scaled, -1)
    np.testing.assert_allclose(by_one, expected, rtol=1e-5, atol=1e-5)


def test_narrow_logits_are_summed_in_float32():
    logits = jnp.zeros(8192, jnp.bfloat16)
    assert categorical.entropy(logits).dtype == jnp.float32
    np.testing.assert_allclose(categorical.log_prob(jnp.array(5), logits), -np.log(8192), rtol=1e-6)


def test_bad_classes():
    logits = jnp.zeros((2, 4))
    with pytest.raises(DataError, match="must be integers, got float32"):
        categorical.log_prob(jnp.zeros((2, 4)), logits)
    with pytest.raises(DataError, match=r"must be in 0\.\.3, got values from 0 to 4"):
        categorical.log_prob(jnp.array([0, 4]), logits)
    with pytest.raises(DataError, match="got values from -1"):
        categorical.log_prob(np.array([-1, 2]), logits)
    compiled = jax.jit(categorical.log_prob)(jnp.array([[0, 4], [-1, 3]]), logits)
    np.testing.assert_allclose(compiled, [[-np.log(4), -np.inf], [-np.inf, -np.log(4)]], rtol=1e-6)


def test_known_classes_inside_a_compiled_function():
    """They are checked, whether numpy's or JAX's, and their log-probability is the one outside."""
    logits = jnp.array([[0.3, -1.0, 2.0], [0.0, 0.5, 0.1]])
    for classes in (np.array([2, 0]), jnp.array([2, 0])):
        compiled = jax.jit(functools.partial(categorical.log_prob, classes))
        found = compiled(logits)
        np.testing.assert_allclose(
            found, special.log_softmax(logits, axis=-1)[[0, 1], [2, 0]], rtol=1e-5
        )
        with pytest.raises(DataError, match="from 0 to 2"):
            compiled(logits[:, :2])
