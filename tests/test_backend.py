"""The compiled arithmetic that everything here stands on."""

import jax
import jax.numpy as jnp
import numpy as np

import dgm_jax  # noqa: F401  it sets the compiler's flags


def test_products_followed_by_sums_are_right_under_jit_and_vmap():
    """jax issue 39103: row i is (i, 0, 0), so |A x_i|^2 = i^2 with A the identity; exact in float32
    up to 4096."""
    rows = jnp.zeros((32769 + 7, 3)).at[:, 0].set(jnp.arange(32769 + 7) % 4096)
    squares = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    np.testing.assert_array_equal(np.asarray(squares), (np.arange(32769 + 7) % 4096) ** 2)
