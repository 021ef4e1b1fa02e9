"""Gumbel-max, its relaxations and its conditional law against closed forms and frequencies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax import sampling
from dgm_jax.core import ConfigError

KEY = jax.random.key(20)
LOGITS = jnp.array([1.0, -0.5, 0.0, 2.0, -3.0])


def chi_square(counts, probabilities):
    """p-value of the counts under the probabilities."""
    return stats.chisquare(counts, probabilities / probabilities.sum() * counts.sum()).pvalue


@pytest.mark.parametrize("mode", ["low", "high"])
def test_gumbel_max_frequencies(mode):
    num = 200_000
    draws = sampling.gumbel_max(KEY, jnp.broadcast_to(LOGITS, (num, 5)), mode=mode)
    assert draws.shape == (num,) and draws.dtype == jnp.int32
    p = np.asarray(jax.nn.softmax(LOGITS), np.float64)
    assert chi_square(np.bincount(draws, minlength=5), p) > 1e-3


def test_gumbel_max_is_the_same_compiled_and_mapped():
    keys = jax.random.split(KEY, 20)
    one_by_one = np.stack([sampling.gumbel_max(k, LOGITS) for k in keys])
    np.testing.assert_array_equal(
        jax.vmap(sampling.gumbel_max, (0, None))(keys, LOGITS), one_by_one
    )
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(sampling.gumbel_max, (0, None)))(keys, LOGITS), one_by_one
    )
    assert len(set(one_by_one.tolist())) > 1


def large_vocabulary(logits, chunks, rows=64):
    """64 draws a chunk from one law over 8192 classes."""
    draw = jax.jit(
        lambda keys: jax.lax.map(
            lambda k: sampling.gumbel_max(k, jnp.broadcast_to(logits, (rows, *logits.shape))), keys
        )
    )
    return np.asarray(draw(jax.random.split(KEY, 96)[:chunks])).ravel()


def test_gumbel_max_at_8192_classes_in_every_dtype():
    values = np.random.default_rng(3).integers(-16, 16, 8192) / 8  # exact in bfloat16
    p = np.exp(values) / np.exp(values).sum()
    draws = large_vocabulary(jnp.asarray(values, jnp.bfloat16), 96)
    position = np.arange(8192) // 128
    assert chi_square(np.bincount(position[draws], minlength=64), np.bincount(position, p)) > 1e-3
    level = np.unique(values, return_inverse=True)[1]
    assert chi_square(np.bincount(level[draws], minlength=32), np.bincount(level, p)) > 1e-3
    np.testing.assert_array_equal(
        large_vocabulary(jnp.asarray(values, jnp.float32), 16), draws[:1024]
    )
    with jax.enable_x64(True):
        in_float64 = large_vocabulary(jnp.asarray(values, jnp.float64), 16)
    # float32 sums may round two near-equal entries together
    assert np.mean(in_float64 == draws[:1024]) > 0.995


def test_the_check_at_8192_classes_sees_bfloat16_noise():
    logits = jnp.zeros((64, 8192), jnp.bfloat16)
    draws = jax.lax.map(
        lambda k: jax.random.categorical(k, logits), jax.random.split(KEY, 16)
    ).ravel()
    assert chi_square(np.bincount(np.asarray(draws) // 128, minlength=64), np.ones(64)) < 1e-10


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_relaxations_are_float32_for_narrow_logits(dtype):
    narrow = LOGITS.astype(dtype)
    for function in map(
        jax.jit,
        (
            sampling.gumbel_softmax,
            sampling.log_gumbel_softmax,
            sampling.straight_through_gumbel_softmax,
        ),
    ):
        assert function(KEY, narrow, 0.7).dtype == jnp.float32
        np.testing.assert_allclose(
            function(KEY, narrow, 0.7), function(KEY, LOGITS, 0.7), rtol=1e-5, atol=1e-6
        )
    with jax.enable_x64(True):
        assert sampling.gumbel_softmax(KEY, jnp.zeros(3, jnp.float64), 1.0).dtype == jnp.float64


def test_top_k_follows_the_law_without_replacement():
    num, p = 100_000, np.asarray(jax.nn.softmax(LOGITS), np.float64)
    logits = jnp.broadcast_to(LOGITS, (num, 5))
    drawn = np.asarray(sampling.gumbel_top_k(KEY, logits, 2))
    assert drawn.shape == (num, 2) and drawn.dtype == np.int32
    np.testing.assert_array_equal(drawn[:, 0], sampling.gumbel_max(KEY, logits))
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    expected = np.array([p[i] * p[j] / (1 - p[i]) for i, j in pairs])
    counts = np.array([np.sum((drawn == pair).all(-1)) for pair in pairs])
    assert counts.sum() == num  # never the same class twice
    assert chi_square(counts, expected) > 1e-3


def test_top_k_of_everything_is_a_permutation():
    drawn = sampling.gumbel_top_k(KEY, jnp.broadcast_to(LOGITS, (100, 5)), 5)
    np.testing.assert_array_equal(np.sort(drawn, -1), np.tile(np.arange(5), (100, 1)))


@pytest.mark.parametrize("k", [0, 6, -1])
def test_top_k_rejects_k(k):
    with pytest.raises(ConfigError, match="k must be in 1..5"):
        sampling.gumbel_top_k(KEY, LOGITS, k)


def test_gumbel_softmax_value_and_derivatives():
    temperature = 0.6
    z = np.asarray(sampling.perturbed_logits(KEY, LOGITS), np.float64)
    y = np.exp(z / temperature) / np.exp(z / temperature).sum()
    np.testing.assert_allclose(sampling.gumbel_softmax(KEY, LOGITS, temperature), y, rtol=1e-5)
    np.testing.assert_allclose(
        sampling.log_gumbel_softmax(KEY, LOGITS, temperature), np.log(y), rtol=1e-5, atol=1e-6
    )
    by_logits, by_temperature = jax.jit(jax.jacobian(sampling.gumbel_softmax, (1, 2)))(
        KEY, LOGITS, temperature
    )
    np.testing.assert_allclose(by_logits, (np.diag(y) - np.outer(y, y)) / temperature, atol=1e-6)
    np.testing.assert_allclose(by_temperature, -y * (z - y @ z) / temperature**2, atol=1e-5)
    by_logits, by_temperature = jax.jit(jax.jacobian(sampling.log_gumbel_softmax, (1, 2)))(
        KEY, LOGITS, temperature
    )
    np.testing.assert_allclose(by_logits, (np.eye(5) - y) / temperature, atol=1e-5)
    np.testing.assert_allclose(by_temperature, -(z - y @ z) / temperature**2, rtol=1e-4)


def test_the_noise_of_perturbed_logits_is_gumbel():
    z = np.asarray(sampling.perturbed_logits(KEY, jnp.full(100_000, 1.5)))
    assert stats.kstest(z - 1.5, stats.gumbel_r.cdf).pvalue > 1e-3


def test_a_low_temperature_gives_the_hard_draw():
    logits = jnp.broadcast_to(LOGITS, (1000, 5))
    relaxed = sampling.gumbel_softmax(KEY, logits, 1e-6)
    np.testing.assert_array_equal(jnp.argmax(relaxed, -1), sampling.gumbel_max(KEY, logits))
    assert np.all(np.isfinite(relaxed)) and np.mean(np.max(relaxed, -1) > 0.999) > 0.99


def test_masked_classes_are_never_drawn_and_have_no_gradient():
    logits = jnp.array([0.3, -jnp.inf, 0.1, -jnp.inf])
    rows = jnp.broadcast_to(logits, (20_000, 4))
    assert set(np.unique(sampling.gumbel_max(KEY, rows))) == {0, 2}
    assert set(np.unique(sampling.gumbel_top_k(KEY, rows, 2))) == {0, 2}
    weight = jnp.array([1.0, 2.0, -3.0, 4.0])
    for function in (sampling.gumbel_softmax, sampling.straight_through_gumbel_softmax):
        assert np.all(np.asarray(function(KEY, rows, 0.5))[:, [1, 3]] == 0)
        gradients = jax.jit(
            jax.grad(lambda logits, t, f=function: f(KEY, logits, t) @ weight, (0, 1))
        )(logits, 0.5)
        assert np.all(np.isfinite(gradients[0])) and np.isfinite(gradients[1])
        assert gradients[0][1] == gradients[0][3] == 0 and gradients[0][0] != 0
    log_y = sampling.log_gumbel_softmax(KEY, logits, 0.5)
    assert np.all(np.isneginf(log_y[jnp.array([1, 3])])) and np.all(
        np.isfinite(log_y[jnp.array([0, 2])])
    )
    gradients = jax.jit(
        jax.grad(
            lambda logits, t: jnp.exp(sampling.log_gumbel_softmax(KEY, logits, t)) @ weight, (0, 1)
        )
    )(logits, 0.5)
    assert np.all(np.isfinite(gradients[0])) and np.isfinite(gradients[1])


@pytest.mark.parametrize(
    "temperature", [0.0, -1.0, float("nan"), np.float32(0), np.array([1.0, 0.0])]
)
@pytest.mark.parametrize(
    "function", ["gumbel_softmax", "log_gumbel_softmax", "straight_through_gumbel_softmax"]
)
def test_a_known_temperature_that_is_not_positive_is_an_error(function, temperature):
    with pytest.raises(ConfigError, match="temperature must be positive"):
        jax.jit(lambda logits: getattr(sampling, function)(KEY, logits, temperature))(
            jnp.zeros((3, 2))
        )


def test_the_temperature_may_be_traced_and_mapped():
    temperatures = jnp.array([0.5, 1.0, 2.0])
    mapped = jax.jit(jax.vmap(lambda t: sampling.gumbel_softmax(KEY, LOGITS, t)))(temperatures)
    for row, t in zip(mapped, (0.5, 1.0, 2.0), strict=True):
        np.testing.assert_allclose(row, sampling.gumbel_softmax(KEY, LOGITS, t), rtol=1e-5)


def test_probabilities_in_place_of_logits_are_an_error_where_they_can_be_told():
    with pytest.raises(ConfigError, match="look like probabilities"):
        sampling.gumbel_max(KEY, jnp.array([[0.2, 0.3, 0.5], [0.0, 0.1, 0.9]]))
    with pytest.raises(ConfigError, match="look like probabilities"):
        sampling.gumbel_softmax(KEY, jax.nn.softmax(LOGITS), 1.0)
    for legitimate in (
        jnp.eye(3),
        jnp.log(jnp.array([0.2, 0.8])),
        jnp.array([[0.5, 0.5], [0.1, 0.2]]),
        jnp.zeros(4),
    ):
        assert sampling.gumbel_max(KEY, legitimate).shape == legitimate.shape[:-1]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_logits_without_classes_are_an_error(shape):
    with pytest.raises(ConfigError, match="logits must be"):
        sampling.gumbel_max(KEY, jnp.zeros(shape))


def test_conditional_draws_have_the_joint_law():
    num = 50_000
    key_index, key_z = jax.random.split(KEY)
    logits = jnp.broadcast_to(LOGITS, (num, 5))
    index = sampling.gumbel_max(key_index, logits)
    z = np.asarray(jax.jit(sampling.conditional_perturbed_logits)(key_z, logits, index))
    np.testing.assert_array_equal(
        np.take_along_axis(z, np.asarray(index)[:, None], 1)[:, 0], z.max(-1)
    )
    for k in range(5):  # averaged over the winner, every entry is Gumbel again
        assert stats.kstest(z[:, k], stats.gumbel_r(loc=float(LOGITS[k])).cdf).pvalue > 1e-3
    largest = stats.gumbel_r(loc=float(jax.nn.logsumexp(LOGITS))).cdf
    for k in (0, 3):  # the largest does not depend on who won
        assert stats.kstest(z.max(-1)[np.asarray(index) == k], largest).pvalue > 1e-3


def test_conditional_draws_differentiate_as_the_control_variates_assume():
    z = np.asarray(sampling.conditional_perturbed_logits(KEY, LOGITS, jnp.array(1)), np.float64)
    r, p = np.exp(z - z.max()), np.asarray(jax.nn.softmax(LOGITS), np.float64)
    expected = (1 - r)[:, None] * np.eye(5) + r[:, None] * p[None, :]
    jacobian = jax.jit(jax.jacobian(sampling.conditional_perturbed_logits, 1))(
        KEY, LOGITS, jnp.array(1)
    )
    np.testing.assert_allclose(jacobian, expected, atol=1e-5)


def test_conditional_draws_with_masked_and_extreme_logits_are_finite():
    logits, weight = jnp.array([80.0, -jnp.inf, -90.0, 0.0]), jnp.array([1.0, 0.0, 2.0, 3.0])
    draw = jax.jit(lambda logits, i: sampling.conditional_perturbed_logits(KEY, logits, i))
    slope = jax.jit(jax.grad(lambda logits, i: jnp.where(weight > 0, draw(logits, i), 0) @ weight))
    for index in (0, 2, 3):
        z = np.asarray(draw(logits, index))
        assert np.isneginf(z[1]) and np.all(np.isfinite(np.delete(z, 1))) and z[index] == z.max()
        assert np.all(np.isfinite(slope(logits, index))) and slope(logits, index)[1] == 0
