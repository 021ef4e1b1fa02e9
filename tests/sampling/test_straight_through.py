"""The straight-through rule: the value bit for bit, the gradient of the soft side."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import sampling
from dgm_jax.core import ConfigError

KEY = jax.random.key(4)
ADVERSARIAL = np.array(
    [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        1e-45,
        -1e-45,
        1e-38,
        3.4e38,
        -3.4e38,
        np.inf,
        -np.inf,
        np.nan,
        1 / 3,
        16777217.0,
        1e-20,
    ],
    np.float32,
)


def bits(x):
    return np.asarray(x, np.float32).view(np.uint32)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.vmap])
def test_the_value_is_hard_bit_for_bit_on_adversarial_pairs(transform):
    hard, soft = (x.ravel() for x in np.meshgrid(ADVERSARIAL, ADVERSARIAL))
    out = transform(sampling.straight_through)(jnp.asarray(hard), jnp.asarray(soft))
    np.testing.assert_array_equal(bits(out), bits(hard))


def test_the_usual_sum_would_fail_the_check_above():
    key_hard, key_soft = jax.random.split(KEY)
    hard, soft = jax.random.normal(key_hard, (4096,)), 10 * jax.random.normal(key_soft, (4096,))
    usual = soft + jax.lax.stop_gradient(hard - soft)
    assert np.mean(bits(usual) != bits(hard)) > 0.01
    np.testing.assert_array_equal(bits(sampling.straight_through(hard, soft)), bits(hard))


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(
    st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=8, max_size=8)
)
def test_the_value_is_hard_for_any_float32(pairs):
    hard, soft = np.array(pairs, np.float32).T
    out = sampling.straight_through(jnp.asarray(hard), jnp.asarray(soft))
    np.testing.assert_array_equal(bits(out), bits(jnp.asarray(hard)))


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_derivatives(transform):
    hard, soft, weight = jax.random.normal(KEY, (3, 7))
    loss = transform(
        jax.grad(lambda h, s: jnp.sum(weight * sampling.straight_through(h, s) ** 2), (0, 1))
    )
    by_hard, by_soft = loss(hard, soft)
    np.testing.assert_array_equal(by_hard, 0)
    np.testing.assert_allclose(by_soft, 2 * weight * hard, rtol=1e-6)
    _, tangent = jax.jvp(sampling.straight_through, (hard, soft), (jnp.ones(7), weight))
    np.testing.assert_array_equal(tangent, weight)


def test_an_integer_one_hot_takes_the_dtype_of_soft():
    soft = jnp.array([0.2, 0.8], jnp.bfloat16)
    out = sampling.straight_through(jnp.array([0, 1]), soft)
    assert out.dtype == jnp.bfloat16 and out.tolist() == [0, 1]
    wide = sampling.straight_through(jnp.array([0.1, 0.9], jnp.float32), soft)
    np.testing.assert_array_equal(bits(wide), bits([0.1, 0.9]))


def test_bad_arguments():
    with pytest.raises(ConfigError, match=r"one shape, got \(3,\) and \(1,\)"):
        sampling.straight_through(jnp.zeros(3), jnp.zeros(1))
    with pytest.raises(ConfigError, match="soft must be floating"):
        sampling.straight_through(jnp.zeros(3), jnp.zeros(3, int))


def test_straight_through_gumbel_softmax_is_hard_forward_and_soft_backward():
    logits = jax.random.normal(KEY, (100, 6))
    out = jax.jit(sampling.straight_through_gumbel_softmax)(KEY, logits, 0.7)
    np.testing.assert_array_equal(out, jax.nn.one_hot(sampling.gumbel_max(KEY, logits), 6))
    weight = jax.random.normal(jax.random.key(9), (100, 6))
    hard, soft = (
        jax.jit(jax.grad(lambda logits, f=f: jnp.sum(weight * f(KEY, logits, 0.7))))(logits)
        for f in (sampling.straight_through_gumbel_softmax, sampling.gumbel_softmax)
    )
    np.testing.assert_allclose(hard, soft, atol=1e-6)
    assert np.abs(hard).max() > 0.01
