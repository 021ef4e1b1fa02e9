"""Helpers of core against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core


@pytest.mark.parametrize("num", [1, 3, 4, 8, 11])
def test_chunked_is_the_function_of_all_rows(num):
    x = np.random.default_rng(num).normal(size=(num, 2, 3)).astype(np.float32)
    seen = []

    def function(rows):
        seen.append(rows.shape)
        return {"sum": jnp.sum(rows, axis=(1, 2)), "twice": 2 * rows}

    found = jax.device_get(core.chunked(function, jnp.asarray(x), 4))
    np.testing.assert_allclose(found["sum"], x.astype(np.float64).sum((1, 2)), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["twice"], 2 * x)
    # Never more than four rows at a time, and the rest, if there is one, in a call of its own.
    assert set(seen) == {(n, 2, 3) for n in ({4} if num >= 4 else set()) | ({num % 4} - {0})}


def test_chunked_has_the_derivative_of_the_function():
    x = jnp.linspace(-1.0, 2.0, 7)
    gradient = jax.grad(lambda x: jnp.sum(core.chunked(jnp.exp, x, 3)))(x)
    np.testing.assert_allclose(gradient, np.exp(np.linspace(-1.0, 2.0, 7)), rtol=1e-5)
