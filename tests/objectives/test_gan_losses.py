"""Every property over the registry of GAN losses, against float64 formulas and closed-form
gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_expit

from dgm_jax.core import ConfigError, lookup
from dgm_jax.objectives import gan

# name: (term of a real logit, term of a fake logit, generator's term), in float64.
TERMS = {
    "minimax": (lambda r: -log_expit(r), lambda f: -log_expit(-f), lambda f: log_expit(-f)),
    "non_saturating": (lambda r: -log_expit(r), lambda f: -log_expit(-f), lambda f: -log_expit(f)),
    "least_squares": (lambda r: (r - 1) ** 2 / 2, lambda f: f**2 / 2, lambda f: (f - 1) ** 2 / 2),
    "hinge": (lambda r: np.maximum(0, 1 - r), lambda f: np.maximum(0, 1 + f), lambda f: -f),
    "wasserstein": (lambda r: -r, lambda f: f, lambda f: -f),
    "least_squares(-1, 1, 0)": (
        lambda r: (r - 1) ** 2 / 2,
        lambda f: (f + 1) ** 2 / 2,
        lambda f: f**2 / 2,
    ),
}
# name: derivatives of the same three terms.
SLOPES = {
    "minimax": (lambda r: -expit(-r), expit, lambda f: -expit(f)),
    "non_saturating": (lambda r: -expit(-r), expit, lambda f: -expit(-f)),
    "least_squares": (lambda r: r - 1, lambda f: f, lambda f: f - 1),
    "hinge": (lambda r: -1.0 * (r < 1), lambda f: 1.0 * (f > -1), lambda f: -np.ones_like(f)),
    "wasserstein": (lambda r: -np.ones_like(r), np.ones_like, lambda f: -np.ones_like(f)),
    "least_squares(-1, 1, 0)": (lambda r: r - 1, lambda f: f + 1, lambda f: f),
}
ALL = gan.LOSSES | {"least_squares(-1, 1, 0)": gan.least_squares(-1.0, 1.0, 0.0)}
REAL = np.array([-40.0, -3.0, -0.5, 0.0, 0.2, 1.7, 30.0], np.float32)
FAKE = np.array([-35.0, -10.0, -1.3, 0.4, 2.5], np.float32)
losses = pytest.mark.parametrize("name", ALL)


def test_the_registry_holds_the_names_relied_on():
    assert set(gan.LOSSES) == {"minimax", "non_saturating", "least_squares", "hinge", "wasserstein"}
    with pytest.raises(ConfigError, match="did you mean 'hinge'"):
        lookup(gan.LOSSES, "hing", "GAN loss")


@losses
@pytest.mark.parametrize("transform", [lambda fn: fn, jax.jit], ids=["eager", "jit"])
def test_values_are_sums_of_means_over_examples(name, transform):
    real_term, fake_term, generator_term = TERMS[name]
    real, fake = REAL.astype(np.float64), FAKE.astype(np.float64)
    got = transform(ALL[name].discriminator)(REAL, FAKE)
    assert got.shape == () and got.dtype == jnp.float32
    np.testing.assert_allclose(got, real_term(real).mean() + fake_term(fake).mean(), rtol=1e-6)
    np.testing.assert_allclose(
        transform(ALL[name].generator)(REAL, FAKE), generator_term(fake).mean(), rtol=1e-6
    )


@losses
@pytest.mark.parametrize("transform", [lambda fn: fn, jax.jit], ids=["eager", "jit"])
def test_gradients_are_the_closed_forms(name, transform):
    real_slope, fake_slope, generator_slope = SLOPES[name]
    real, fake = REAL.astype(np.float64), FAKE.astype(np.float64)
    to_real, to_fake = transform(jax.grad(ALL[name].discriminator, argnums=(0, 1)))(REAL, FAKE)
    np.testing.assert_allclose(to_real, real_slope(real) / real.size, rtol=2e-6, atol=1e-12)
    np.testing.assert_allclose(to_fake, fake_slope(fake) / fake.size, rtol=2e-6, atol=1e-12)
    to_generator = transform(jax.grad(ALL[name].generator, argnums=1))(REAL, FAKE)
    np.testing.assert_allclose(
        to_generator, generator_slope(fake) / fake.size, rtol=2e-6, atol=1e-12
    )


@losses
def test_duplicating_or_reordering_the_batch_changes_nothing(name):
    loss = ALL[name]
    for change in (lambda x: np.tile(x, 3), lambda x: np.repeat(x, 2), lambda x: x[::-1]):
        np.testing.assert_allclose(
            loss.discriminator(change(REAL), FAKE), loss.discriminator(REAL, FAKE), rtol=1e-6
        )
        np.testing.assert_allclose(
            loss.discriminator(REAL, change(FAKE)), loss.discriminator(REAL, FAKE), rtol=1e-6
        )
        np.testing.assert_allclose(
            loss.generator(REAL, change(FAKE)), loss.generator(REAL, FAKE), rtol=1e-6
        )


@losses
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_finite_values_and_gradients_at_huge_logits(name, size):
    extremes = jnp.array([-size, size], jnp.float32)
    loss = ALL[name]
    value, gradients = jax.value_and_grad(loss.discriminator, argnums=(0, 1))(extremes, extremes)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
    value, gradient = jax.value_and_grad(loss.generator, argnums=1)(extremes, extremes)
    assert np.isfinite(value) and np.isfinite(gradient).all()


@losses
def test_vmapped_over_lanes_equals_each_lane_alone(name):
    real, fake = (np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32) for _ in range(2))
    lanes = jax.vmap(ALL[name].discriminator)(real, fake)
    np.testing.assert_allclose(
        lanes, [ALL[name].discriminator(r, f) for r, f in zip(real, fake, strict=True)], rtol=1e-6
    )


@losses
def test_half_precision_logits_are_averaged_in_float32(name):
    """The bfloat16 numbers 1/256 .. 1: a bfloat16 mean of 4,096 of them is wrong in the third
    digit."""
    logits = jnp.tile(jnp.arange(1, 257) / 256, 16).astype(jnp.bfloat16)
    wide = np.asarray(logits, np.float64)
    real_term, fake_term, generator_term = TERMS[name]
    got = ALL[name].discriminator(logits, logits)
    np.testing.assert_allclose(
        got, real_term(wide).mean() + fake_term(wide).mean(), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        ALL[name].generator(logits, logits), generator_term(wide).mean(), rtol=1e-5
    )


@losses
def test_logits_that_would_broadcast_are_refused_at_trace_time(name):
    column = jnp.zeros((4, 1))
    row, scalar = jnp.zeros(4), jnp.zeros(())
    for real, fake in (
        (column, row),
        (row, column),
        (column, jnp.zeros((4, 2))),
        (row, scalar),
        (scalar, row),
    ):
        with pytest.raises(ConfigError, match="alike but for the batch axis; got real"):
            jax.eval_shape(ALL[name].discriminator, real, fake)
    with pytest.raises(ConfigError, match="mean over examples"):
        ALL[name].discriminator(jnp.zeros(0), jnp.zeros(3))


def test_value_is_that_of_the_lecture():
    real, fake = REAL.astype(np.float64), FAKE.astype(np.float64)
    expected = log_expit(real).mean() + log_expit(-fake).mean()
    np.testing.assert_allclose(gan.value(REAL, FAKE), expected, rtol=1e-6)
    np.testing.assert_allclose(gan.value(jnp.zeros(5), jnp.zeros(3)), -2 * np.log(2), rtol=1e-6)
    with pytest.raises(ConfigError):
        gan.value(jnp.zeros((5, 1)), jnp.zeros(5))
    for name in ("minimax", "non_saturating"):
        np.testing.assert_allclose(gan.LOSSES[name].discriminator(REAL, FAKE), -expected, rtol=1e-6)


@pytest.mark.parametrize("logit", [10.0, 17.0, 100.0, 1e4])
def test_log_one_minus_sigmoid_does_not_saturate(logit):
    """In float32 log(1 - sigmoid(l)) is -inf from l = 17 on; the truth is -l."""
    expected = log_expit(-np.float64(logit))
    np.testing.assert_allclose(
        gan.LOSSES["minimax"].generator(jnp.zeros(1), jnp.array([logit])), expected, rtol=1e-6
    )
    np.testing.assert_allclose(gan.value(jnp.array([1e4]), jnp.array([logit])), expected, rtol=1e-6)
    np.testing.assert_allclose(
        gan.value(jnp.array([-logit]), jnp.array([-1e4])), expected, rtol=1e-6
    )


@pytest.mark.parametrize("logit", [-30.0, -20.0, -15.0, -1e4])
def test_the_non_saturating_gradient_stays_minus_one_where_d_wins(logit):
    """An epsilon inside the logarithm would give -9e-6 at -30."""
    gradient = jax.grad(gan.LOSSES["non_saturating"].generator, 1)(REAL, jnp.array([logit]))
    np.testing.assert_allclose(gradient, [-1.0], rtol=1e-6)


def test_saturating_against_non_saturating_gradients():
    logits = jnp.linspace(-12, 12, 25)
    saturating = 25 * jax.grad(gan.LOSSES["minimax"].generator, 1)(REAL, logits)
    alive = 25 * jax.grad(gan.LOSSES["non_saturating"].generator, 1)(REAL, logits)
    np.testing.assert_allclose(
        alive / saturating, np.exp(-np.asarray(logits, np.float64)), rtol=1e-5
    )
    assert logits[2] == -10 and logits[12] == 0
    np.testing.assert_allclose([saturating[2], alive[2]], [-4.5398e-5, -0.9999546], rtol=1e-5)
    assert saturating[12] == alive[12] == -0.5


def test_least_squares_targets_are_checked():
    with pytest.raises(ConfigError, match="two targets"):
        gan.least_squares(1.0, 1.0, 0.0)


def test_instance_noise_has_the_scale_asked_for():
    x = jnp.linspace(-3, 3, 40_000).reshape(200, 10, 20)
    blurred = gan.instance_noise(jax.random.key(0), x, 0.3)
    residual = np.asarray(blurred - x, np.float64)
    assert blurred.shape == x.shape and blurred.dtype == x.dtype
    assert abs(residual.mean()) < 5 * 0.3 / 200
    assert abs(residual.std() - 0.3) < 5 * 0.3 / np.sqrt(2 * 40_000)
    assert abs(np.corrcoef(residual[:, 0, 0], residual[:, 0, 1])[0, 1]) < 5 / np.sqrt(200)
    np.testing.assert_array_equal(gan.instance_noise(jax.random.key(0), x, 0.0), x)
    assert gan.instance_noise(jax.random.key(0), x.astype(jnp.bfloat16), 0.3).dtype == jnp.bfloat16
    faded = jax.jit(gan.instance_noise)(jax.random.key(0), x, jnp.float32(0.3))
    np.testing.assert_allclose(faded, blurred, atol=1e-6)
