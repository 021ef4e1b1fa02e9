"""PacGAN's packing: the layout, and the theorem that it is for, by enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.objectives import divergences, gan


def test_vectors_are_joined_in_order():
    x = np.arange(12).reshape(6, 2)
    np.testing.assert_array_equal(gan.pack(x, 3), [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])
    np.testing.assert_array_equal(gan.pack(x, 1), x)


@pytest.mark.parametrize("m", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3,), (5, 3), (4, 5, 3)])
def test_any_rank_is_joined_along_the_channels(shape, m):
    x = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    expected = np.stack([np.concatenate(x[i : i + m], axis=-1) for i in range(0, 8, m)])
    np.testing.assert_array_equal(gan.pack(x, m), expected)
    np.testing.assert_array_equal(jax.jit(gan.pack, static_argnums=1)(x, m), expected)


def test_gradients_come_back_to_the_examples_they_belong_to():
    weights = jnp.arange(4.0)
    gradient = jax.grad(lambda x: jnp.sum(gan.pack(x, 2) @ weights))(jnp.zeros((4, 2)))
    np.testing.assert_array_equal(gradient, [[0, 1], [2, 3], [0, 1], [2, 3]])


def test_what_cannot_be_packed_is_named():
    with pytest.raises(ConfigError, match="got 7 examples, m = 2"):
        gan.pack(jnp.zeros((7, 2)), 2)
    with pytest.raises(ConfigError, match="m >= 1"):
        gan.pack(jnp.zeros((6, 2)), 0)
    with pytest.raises(ConfigError, match="m = 2.0"):
        gan.pack(jnp.zeros((6, 2)), 2.0)
    with pytest.raises(ConfigError, match="feature axis"):
        gan.pack(jnp.zeros(6), 2)


def packed_distance(fn, p, q, m):
    """A divergence between p^m and q^m, every pack of atoms enumerated."""
    atoms = np.array(list(itertools.product(range(len(p)), repeat=m))).reshape(-1, 1)
    packs = gan.pack(atoms, m)
    with np.errstate(divide="ignore"):
        log_p, log_q = (jnp.log(jnp.asarray(d, jnp.float32))[packs].sum(-1) for d in (p, q))
    return fn(log_p, log_q)


COLLAPSED = (np.full(25, 1 / 25), np.r_[np.full(20, 1 / 20), np.zeros(5)])
TILTED = (np.array([0.5, 0.5]), np.array([0.3, 0.7]))


@pytest.mark.parametrize(
    ("m", "collapsed", "tilted"),
    [(1, 0.2, 0.2), (2, 0.36, 0.24), (3, 0.488, 0.284), (4, 0.5904, 0.3392)],
)
def test_packing_tells_collapse_from_tilt(m, collapsed, tilted):
    """Both generators are at total variation .2; packs see the collapsed one at 1 - .8^m, the
    tilted one nearer."""
    tv = divergences.total_variation
    np.testing.assert_allclose(packed_distance(tv, *COLLAPSED, m), collapsed, rtol=1e-5)
    np.testing.assert_allclose(packed_distance(tv, *TILTED, m), tilted, rtol=1e-5)
    np.testing.assert_allclose(collapsed, 1 - 0.8**m, rtol=1e-9)


def test_the_optimal_logit_of_a_pack_is_the_sum_over_its_examples():
    log_p, log_q = (jnp.log(jnp.asarray(d, jnp.float32)) for d in TILTED)
    packs = gan.pack(np.array([[0], [1], [1], [1]]), 2)
    joint = gan.optimal_logits(log_p[packs].sum(-1), log_q[packs].sum(-1))
    np.testing.assert_allclose(joint, [np.log(0.25 / 0.21), np.log(0.25 / 0.49)], rtol=1e-5)
