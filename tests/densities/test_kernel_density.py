"""Kernel densities against scikit-learn, and their limit at the centres."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from dgm_jax.core import ConfigError
from dgm_jax.densities import kernel_density


@pytest.mark.parametrize(("dim", "scale"), [(2, 0.05), (7, 0.2)])
@pytest.mark.parametrize("num_centres", [1, 100, 130])
def test_kernels_are_those_of_scikit_learn(dim, scale, num_centres):
    """A chunk in part, one, and one and a part. Its tree has one leaf: with more its sums are
    rough far away from the centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(num_centres, dim)).astype(np.float32)
    x = rng.normal(size=(77, dim)).astype(np.float32)
    reference = KernelDensity(bandwidth=scale, leaf_size=1000).fit(np.float64(centres))
    expected = reference.score_samples(np.float64(x))
    found = jax.jit(kernel_density.log_prob)(x, centres, jnp.float32(scale))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_limit_at_isolated_centres():
    centres = jnp.asarray(np.random.default_rng(1).uniform(size=(40, 3)), jnp.float32)
    found = kernel_density.log_prob(centres, centres, 1e-4)
    limit = -math.log(40) - 3 * (math.log(1e-4) + math.log(2 * math.pi) / 2)
    np.testing.assert_allclose(found, np.full(40, limit), atol=1e-3)


@pytest.mark.parametrize(("x", "centres"), [((5, 2), (0, 2)), ((5, 2), (4, 3)), ((2,), (4, 2))])
def test_shapes_that_do_not_meet(x, centres):
    with pytest.raises(ConfigError, match="must have one D"):
        kernel_density.log_prob(jnp.zeros(x), jnp.zeros(centres), 0.1)
