"""Gradient penalties against critics whose gradients are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.objectives import gan, penalties
from dgm_jax.objectives.penalties import dragan_penalty, gradient_penalty, r1_penalty, r2_penalty

KEY = jax.random.key(0)
W = np.array([1.0, -2.0, 0.5, 2.0], np.float32)
NORM = np.sqrt(9.25)
REAL, FAKE = (np.random.default_rng(s).normal(size=(6, 4)).astype(np.float32) for s in (0, 1))
A = np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32)

# Each penalty as a function of (critic, batch): what they share is tested over this table.
PENALTIES = {
    "gradient_penalty": lambda critic, x: gradient_penalty(critic, x, x, KEY),
    "gradient_penalty one-sided": lambda critic, x: gradient_penalty(
        critic, x, x, KEY, one_sided=True
    ),
    "dragan": lambda critic, x: dragan_penalty(critic, x, KEY, scale=0.0),
    "r1": r1_penalty,
    "r2": r2_penalty,
}
every = pytest.mark.parametrize("name", PENALTIES)


def linear(w):
    return lambda x: x.reshape(x.shape[0], -1) @ w


def curved(x):
    """tanh of a quadratic form; its gradient in closed form is `curved_gradient`."""
    return jnp.tanh(jnp.einsum("bi,ij,bj->b", x, A, x) / 4)


def curved_gradient(x):
    form = np.einsum("bi,ij,bj->b", x, A, x) / 4
    return (1 - np.tanh(form) ** 2)[:, None] * (x @ (A + A.T)) / 4


def of_norms(name, norms):
    """The penalty written from the gradient norms of the examples."""
    if name in ("r1", "r2"):
        return (norms**2).mean() / 2
    return (
        (np.maximum(norms - 1, 0) ** 2).mean() if "one-sided" in name else ((norms - 1) ** 2).mean()
    )


def test_the_outside_finds_the_penalties_beside_the_losses():
    for name in ("gradient_penalty", "r1_penalty", "r2_penalty", "dragan_penalty"):
        assert getattr(gan, name) is getattr(penalties, name)


@every
@pytest.mark.parametrize("batch", [1, 6])
def test_a_linear_critic_pays_for_the_norm_of_its_weights(name, batch):
    got = PENALTIES[name](linear(W), REAL[:batch])
    assert got.shape == ()
    np.testing.assert_allclose(got, of_norms(name, np.full(batch, NORM)), rtol=1e-5)


def test_a_linear_critic_needs_no_luck_with_the_interpolation():
    np.testing.assert_allclose(
        gradient_penalty(linear(W), REAL, FAKE, KEY), (NORM - 1) ** 2, rtol=1e-5
    )
    np.testing.assert_allclose(
        gradient_penalty(linear(W), REAL, FAKE, KEY, target=0.0), NORM**2, rtol=1e-5
    )
    np.testing.assert_allclose(
        dragan_penalty(linear(W), REAL, KEY, target=2.0), (NORM - 2) ** 2, rtol=1e-5
    )


def test_one_sided_spares_flat_critics():
    flat = linear(W / 10)
    assert gradient_penalty(flat, REAL, FAKE, KEY, one_sided=True) == 0
    assert dragan_penalty(flat, REAL, KEY, one_sided=True) == 0
    np.testing.assert_allclose(
        gradient_penalty(flat, REAL, FAKE, KEY), (NORM / 10 - 1) ** 2, rtol=1e-5
    )


@every
@pytest.mark.parametrize("transform", [lambda fn: fn, jax.jit], ids=["eager", "jit"])
def test_a_curved_critic_pays_by_example(name, transform):
    norms = np.linalg.norm(curved_gradient(REAL.astype(np.float64)), axis=-1)
    got = transform(lambda x: PENALTIES[name](curved, x))(REAL)
    np.testing.assert_allclose(got, of_norms(name, norms), rtol=1e-4)


@every
def test_order_and_duplication_of_the_batch_change_nothing(name):
    penalty = jax.jit(lambda x: PENALTIES[name](curved, x))
    expected = penalty(REAL)
    for change in (
        lambda x: x[::-1],
        lambda x: np.tile(x, (2, 1)),
        lambda x: np.repeat(x, 2, axis=0),
    ):
        np.testing.assert_allclose(penalty(change(REAL)), expected, rtol=1e-5)


@every
def test_images_are_treated_like_their_flattened_pixels(name):
    images = REAL.reshape(6, 2, 1, 2)
    got = jax.jit(lambda x: PENALTIES[name](lambda y: curved(y.reshape(-1, 4)), x))(images)
    norms = np.linalg.norm(curved_gradient(REAL.astype(np.float64)), axis=-1)
    np.testing.assert_allclose(got, of_norms(name, norms), rtol=1e-4)


@every
def test_a_critic_that_is_flat_gives_a_finite_gradient(name):
    value, gradient = jax.jit(jax.value_and_grad(lambda w: PENALTIES[name](linear(w), REAL)))(
        jnp.zeros(4)
    )
    assert value == of_norms(name, np.zeros(6))
    np.testing.assert_array_equal(gradient, np.zeros(4))
    # One flat example among others must not poison their gradient: relu(x . w) is flat on half of
    # space.
    half = jax.jit(jax.grad(lambda w: PENALTIES[name](lambda x: jax.nn.relu(x @ w), REAL)))(
        jnp.asarray(W)
    )
    assert np.isfinite(half).all() and np.any(half != 0)


@every
def test_gradient_with_respect_to_the_critic(name):
    outer = {"r1": 1.0, "r2": 1.0}.get(name, 2 * (NORM - 1) / NORM)
    gradient = jax.jit(jax.grad(lambda w: PENALTIES[name](linear(w), REAL)))(jnp.asarray(W))
    np.testing.assert_allclose(gradient, outer * W, rtol=1e-5)


@every
def test_a_critic_that_looks_at_its_batch_is_judged_on_single_examples(name):
    """||x - mean(x)||^2 is zero in a batch of one, so the penalty sees a flat critic, whatever the
    batch."""
    got = PENALTIES[name](lambda x: jnp.sum(jnp.square(x - x.mean(0)), axis=-1), REAL)
    np.testing.assert_allclose(got, of_norms(name, np.zeros(1)), atol=1e-6)


def bowl(x):
    """||x||^2 / 2, whose gradient is x itself."""
    return jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim))) / 2


@pytest.mark.parametrize("shape", [(1,), (3, 4, 2)])
def test_each_example_has_one_interpolation_weight_of_its_own(shape):
    """Real 1/sqrt(n), fake 0: the gradient norm is the weight u, so E (u - .5)^2 = 1/12.

    One weight for the batch would scatter the result over [0, .25]; one a pixel would give .006.
    """
    real = np.full((4000, *shape), 1 / np.sqrt(np.prod(shape)), np.float32)
    got = gradient_penalty(bowl, real, np.zeros_like(real), KEY, target=0.5)
    standard_error = np.sqrt((1 / 80 - 1 / 144) / 4000)
    assert abs(got - 1 / 12) < 5 * standard_error
    swapped = gradient_penalty(bowl, np.zeros_like(real), real, KEY, target=0.0)
    direct = gradient_penalty(bowl, real, np.zeros_like(real), KEY, target=1.0)
    np.testing.assert_allclose(swapped, direct, rtol=1e-5)  # E (1 - u)^2 with the same key


def test_dragan_noise_is_gaussian_centred_and_in_the_unit_of_the_data():
    """Around x = 0 the bowl's gradient is the noise: E norm^2 = scale^2 D; around x = 3 centred
    noise adds to 9 D."""
    for loc in (0.0, 3.0):
        real = np.full((20_000, 2), loc, np.float32)
        got = dragan_penalty(bowl, real, KEY, scale=0.7, target=0.0)
        variance = 2 * (2 * 0.7**4 + 4 * loc**2 * 0.7**2)
        assert abs(got - 2 * (loc**2 + 0.49)) < 5 * np.sqrt(variance / 20_000)
    fourth = dragan_penalty(
        lambda x: bowl(x) ** 2 / 2, np.zeros((20_000, 1), np.float32), KEY, scale=1.0, target=0.0
    )
    # The gradient is x^3 / 2, and E x^6 / 4 = 15 / 4 for a Gaussian; a uniform of the same variance
    # gives 27 / 28.
    assert abs(fourth - 15 / 4) < 5 * np.sqrt((10395 - 225) / 16 / 20_000)


def test_keys_matter_and_repeat():
    one, same, other = (gradient_penalty(curved, REAL, FAKE, jax.random.key(k)) for k in (1, 1, 2))
    assert one == same and one != other
    one, same, other = (dragan_penalty(curved, REAL, jax.random.key(k)) for k in (1, 1, 2))
    assert one == same and one != other


def test_lanes_of_critics_are_penalised_apart():
    """One vmap over seeds around the vmap over examples: each lane is its own critic, with its own
    key."""
    weights, keys = np.stack([W, 2 * W, -W / 3]), jax.random.split(KEY, 3)

    def penalty(w, key):
        return gradient_penalty(lambda x: curved(x * w), REAL, FAKE, key)

    lanes = jax.jit(jax.vmap(penalty))(weights, keys)
    np.testing.assert_allclose(
        lanes, [jax.jit(penalty)(w, k) for w, k in zip(weights, keys, strict=True)], rtol=1e-5
    )


def test_penalties_compose_with_packing():
    """A critic on pairs sees 2 D features; a linear one pays for the norm of all its weights."""
    w = np.concatenate([W, 2 * W])
    real, fake = gan.pack(REAL, 2), gan.pack(FAKE, 2)
    np.testing.assert_allclose(
        gradient_penalty(linear(w), real, fake, KEY), (np.sqrt(5) * NORM - 1) ** 2, rtol=1e-5
    )
    np.testing.assert_allclose(r1_penalty(linear(w), real), 5 * NORM**2 / 2, rtol=1e-5)


def test_half_precision_norms_are_summed_in_float32():
    """Squared gradients of 300^2 overflow float16."""
    w = jnp.full((4,), 300, jnp.float16)
    got = r1_penalty(lambda x: x @ w, jnp.ones((2, 4), jnp.float16))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, 2 * 300.0**2, rtol=1e-3)


def test_wrong_critics_and_batches_are_named():
    with pytest.raises(ConfigError, match=r"returned shape \(1, 1\)"):
        r1_penalty(lambda x: x @ W[:, None], REAL)
    with pytest.raises(ConfigError, match=r"real \(6, 4\) and fake \(5, 4\)"):
        gradient_penalty(linear(W), REAL, FAKE[:5], KEY)
    with pytest.raises(ConfigError, match="floats; got uint8"):
        r1_penalty(linear(W), np.zeros((2, 4), np.uint8))
    with pytest.raises(ConfigError, match="non-empty"):
        r1_penalty(linear(W), np.zeros((0, 4), np.float32))
