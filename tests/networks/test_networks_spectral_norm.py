"""Spectral normalisation against numpy's singular values and against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import networks


@pytest.fixture
def params():
    draw = np.random.default_rng(0).normal
    return {
        "conv": {
            "kernel": jnp.asarray(draw(size=(4, 4, 3, 16)), jnp.float32),
            "bias": jnp.arange(16.0),
        },
        "dense": {"kernel": jnp.asarray(draw(size=(20, 7)), jnp.float32)},
    }


def singular_value(kernel):
    return np.linalg.svd(np.float64(kernel).reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


def test_normalised_kernels_have_spectral_norm_one(params):
    u = networks.spectral_init(jax.random.key(0), params)
    assert set(u) == {"conv/kernel", "dense/kernel"}
    normalize = jax.jit(networks.spectral_normalize)
    for _ in range(60):
        normal, u = normalize(params, u)
    for name in ("conv", "dense"):
        assert abs(singular_value(normal[name]["kernel"]) - 1) < 1e-3
        sigma = params[name]["kernel"] / normal[name]["kernel"]  # the same for every entry
        np.testing.assert_allclose(sigma, singular_value(params[name]["kernel"]), rtol=1e-3)
    np.testing.assert_array_equal(normal["conv"]["bias"], params["conv"]["bias"])


def test_iterations_add_up_when_the_state_is_kept_and_only_then(params):
    u = networks.spectral_init(jax.random.key(0), params)
    normalize = jax.jit(networks.spectral_normalize, static_argnums=2)
    kept = u
    for _ in range(5):
        _, kept = normalize(params, kept)
    after_five, five = normalize(params, u, 5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), kept, five)
    dropped, _ = normalize(params, u)
    again, _ = normalize(params, u)
    jax.tree.map(np.testing.assert_array_equal, dropped, again)
    assert np.abs(np.asarray(again["dense"]["kernel"] - after_five["dense"]["kernel"])).max() > 1e-4
    _, same = networks.spectral_normalize(params, u, num_iterations=0)
    jax.tree.map(np.testing.assert_array_equal, same, u)


def test_gradient_is_that_of_equation_12(params):
    """d/dW of <A, W / sigma> = (A - <A, W/sigma> v u^T) / sigma, with u and v held constant."""
    u = networks.spectral_init(jax.random.key(0), params)
    a = np.random.default_rng(3).normal(size=(20, 7))

    def value(kernel, u):
        tree = {**params, "dense": {"kernel": kernel}}
        normal, _ = networks.spectral_normalize(tree, u, num_iterations=2)
        return jnp.sum(jnp.asarray(a, jnp.float32) * normal["dense"]["kernel"])

    gradient, gradient_u = jax.jit(jax.grad(value, (0, 1)))(params["dense"]["kernel"], u)
    w, left = np.float64(params["dense"]["kernel"]), np.float64(u["dense/kernel"])
    for _ in range(2):
        left = w.T @ (w @ left)
        left /= np.linalg.norm(left)
    right = w @ left / np.linalg.norm(w @ left)
    sigma = right @ w @ left
    expected = (a - np.vdot(a, w / sigma) * np.outer(right, left)) / sigma
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    assert all(not np.any(g) for g in gradient_u.values())


def test_zero_kernel_stays_zero():
    params = {"kernel": jnp.zeros((3, 2))}
    normal, _ = networks.spectral_normalize(
        params, networks.spectral_init(jax.random.key(0), params)
    )
    np.testing.assert_array_equal(normal["kernel"], 0)


def test_under_seeds(params):
    keys = jax.random.split(jax.random.key(0), 3)
    trees = jax.tree.map(lambda p: jnp.stack([p, p + 1, 2 * p]), params)
    us = jax.vmap(networks.spectral_init)(keys, trees)
    many, _ = jax.jit(jax.vmap(networks.spectral_normalize))(trees, us)
    alone, _ = networks.spectral_normalize(*jax.tree.map(lambda t: t[1], (trees, us)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, atol=1e-6), many, alone)
