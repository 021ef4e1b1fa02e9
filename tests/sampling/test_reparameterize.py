"""The Gaussian reparameterisation."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from dgm_jax import sampling

KEY = jax.random.key(8)


def test_law_and_broadcasting():
    draws = sampling.gaussian(KEY, jnp.array([1.0, -2.0]), jnp.full((50_000, 1), 0.5))
    assert draws.shape == (50_000, 2)
    for column, loc in zip(np.asarray(draws).T, (1.0, -2.0), strict=True):
        assert stats.kstest(column, stats.norm(loc, 0.5).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(np.asarray(draws).T)[0, 1]) < 4.5 / np.sqrt(50_000)


def test_derivatives_are_one_and_the_noise():
    loc, scale = jnp.array([0.3, -1.0, 2.0]), jnp.array([0.5, 2.0, 1.0])
    noise = (sampling.gaussian(KEY, loc, scale) - loc) / scale
    by_loc, by_scale = jax.grad(
        lambda loc, scale: jnp.sum(sampling.gaussian(KEY, loc, scale)), (0, 1)
    )(loc, scale)
    np.testing.assert_array_equal(by_loc, 1)
    np.testing.assert_allclose(by_scale, noise, rtol=1e-5)


def test_narrow_parameters_give_a_float32_draw():
    draws = sampling.gaussian(KEY, jnp.zeros(4096, jnp.bfloat16), jnp.ones((), jnp.bfloat16))
    assert draws.dtype == jnp.float32
    assert len(np.unique(draws)) > 4000
