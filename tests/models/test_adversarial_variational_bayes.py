"""Adversarial variational Bayes with posteriors and critics whose densities are known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import priors, training
from dgm_jax.core import ConfigError
from dgm_jax.densities import gaussian
from dgm_jax.models import AdversarialVae, avb_draw, avb_terms
from dgm_jax.models import adversarial_variational_bayes as avb_model
from dgm_jax.models.latent import log_joint
from dgm_jax.networks import (
    MLP,
    AdditiveNoiseEncoder,
    NoiseEncoder,
    ResidualCritic,
    from_flax,
    from_functions,
    reshaped,
)

SHAPE = (2, 2, 1)
X = jnp.eye(4).reshape(4, *SHAPE)
SCALE = 0.6


def affine_loc(params, flat):
    return flat @ params["w"]


def gaussian_encoder(with_moments: bool):
    """z = x W + .6 noise: q(z | x) = N(x W, .36)."""

    def init(key, inputs):
        return {"w": jax.random.normal(key, (4, 2))}

    def apply(params, inputs):
        loc = affine_loc(params, inputs[0])
        z = loc + SCALE * inputs[1]
        still = jax.lax.stop_gradient(loc)
        return (z, still, jnp.full_like(still, SCALE)) if with_moments else z

    return from_functions(init, apply)


def critic(function):
    """A critic without parameters of its own: `function(flat x, z) -> [B]`."""
    return from_functions(
        lambda key, inputs: {"unused": jnp.zeros(())}, lambda params, inputs: function(*inputs)
    )


def recipe(network, with_moments=False):
    decoder = reshaped(from_flax(MLP((8, 4), "tanh", "he")), SHAPE)
    return AdversarialVae(
        gaussian_encoder(with_moments),
        decoder,
        network,
        priors.standard_normal(2),
        2,
        2,
        with_moments,
    )


def log_normal(z, loc=0.0, scale=1.0):
    return jnp.sum(gaussian.log_prob(z, loc, scale), axis=-1)


WEIGHTS = avb_model(recipe(critic(lambda x, z: z[:, 0])), SHAPE).init(jax.random.key(3))[0][
    "encoder"
]


def oracle(flat, z):
    """log q(z | x), so that T = log q - log p."""
    return log_normal(z, affine_loc(WEIGHTS, flat), SCALE)


def setup(avb):
    params, state = avb_model(avb, SHAPE).init(jax.random.key(0))
    return params | {"encoder": WEIGHTS}, state


def test_with_the_optimal_critic_the_kl_is_the_log_ratio_of_each_draw():
    avb = recipe(critic(oracle))
    params, state = setup(avb)
    draw = avb_draw(jax.random.key(1), avb, params, state, X)
    log_q = log_normal(draw.z, affine_loc(WEIGHTS, X.reshape(4, 4)), SCALE)
    np.testing.assert_allclose(
        avb_terms(jax.random.key(1), avb, params, state, X).kl,
        log_q - log_normal(draw.z),
        rtol=1e-5,
        atol=1e-5,
    )


def test_with_the_optimal_critic_the_gradient_is_that_of_the_elbo():
    """Proposition 2: the mean over draws agrees with the analytic KL's gradient, though T's own
    change is left out."""
    avb = recipe(critic(oracle))
    params, state = setup(avb)

    def slope(key):
        objective = lambda w: jnp.mean(avb_terms(key, avb, params | {"encoder": w}, state, X).kl)
        return jax.grad(objective)(WEIGHTS)["w"]

    draws = np.asarray(
        jax.jit(jax.vmap(slope))(jax.random.split(jax.random.key(2), 20_000)), np.float64
    )
    truth = np.asarray(WEIGHTS["w"]) / 4  # mean over four one-hot x of |x W|^2 / 2 + constants
    error = draws.std(0, ddof=1) / np.sqrt(len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(0) - truth), 4.5 * error + 1e-6)


def test_adaptive_contrast_of_a_gaussian_posterior_needs_no_critic():
    """Where q is Gaussian and r has its moments, T is zero: the critic gives back the offset log
    N(z; 0, I)."""
    avb = recipe(critic(lambda x, z: log_normal(z)), with_moments=True)
    params, state = setup(avb)
    draw = avb_draw(jax.random.key(1), avb, params, state, X)
    log_q = log_normal(draw.z, affine_loc(WEIGHTS, X.reshape(4, 4)), SCALE)
    np.testing.assert_allclose(
        avb_terms(jax.random.key(1), avb, params, state, X).kl,
        log_q - log_normal(draw.z),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("with_moments", [False, True])
def test_the_critic_of_an_even_game_pays_two_log_two_and_moves_nobody_else(with_moments):
    avb = recipe(critic(lambda x, z: log_normal(z)), with_moments)
    params, state = setup(avb)
    model = avb_model(avb, SHAPE)
    batch = {"x": X, "step": jnp.int32(0)}
    loss = lambda p: model.players["critic"].loss(p, state, batch, jax.random.key(1))[0]
    assert float(loss(params)) == pytest.approx(2 * np.log(2), rel=1e-6)
    steep = recipe(critic(lambda x, z: 3 * z[:, 0]), with_moments)
    model = avb_model(steep, SHAPE)
    slopes = jax.grad(loss)(params)
    assert all(
        float(jnp.max(jnp.abs(leaf))) == 0
        for name in ("encoder", "decoder")
        for leaf in jax.tree.leaves(slopes[name])
    )


def test_the_critic_learns_the_kl():
    """Fixed Gaussian posterior: after some thousand updates E_q T is near KL(q || p), from above or
    below."""
    avb = recipe(from_flax(ResidualCritic(32, 1)))
    params, state = setup(avb)
    model = avb_model(avb, SHAPE)
    batch = {"x": jnp.tile(X, (128, 1, 1, 1)), "step": jnp.int32(0)}
    algorithm = training.alternating(
        {"critic": model.players["critic"]._replace(num_updates=1)},
        {"critic": optax.adam(optax.cosine_decay_schedule(3e-3, 1500))},
    )
    start = algorithm.init(jax.random.key(4), params, state)
    step = lambda now, _: (algorithm.step(now, lambda index: batch)[0], None)
    end, _ = jax.jit(lambda s: jax.lax.scan(step, s, None, length=1500))(start)
    many = jnp.tile(X, (5000, 1, 1, 1))
    key = jax.random.key(5)
    found = float(jnp.mean(avb_terms(key, avb, end.params, state, many).kl))
    truth = float(
        jnp.mean(
            jnp.sum(gaussian.kl(affine_loc(WEIGHTS, X.reshape(4, 4)), SCALE, 0.0, 1.0), axis=-1)
        )
    )
    before = float(jnp.mean(avb_terms(key, avb, params, state, many).kl))
    assert abs(before - truth) > 0.5 and found == pytest.approx(truth, abs=0.1)


def test_additive_noise_moments_are_those_of_all_combinations():
    """Bases are independent, so the posterior of one x given the batch's noises has every
    combination of them."""
    encoder = from_flax(AdditiveNoiseEncoder((8,), 2, num_bases=2, base_features=(8,), epsilon=0.0))
    x, noise = (
        jax.random.normal(jax.random.key(0), (5, 3)),
        jax.random.normal(jax.random.key(1), (5, 4)),
    )
    params, state = encoder.init(jax.random.key(2), (x, noise))
    params["weights"]["bias"] = params["weights"]["bias"] + 6.0  # away from a = 0
    (_, loc, scale), _ = encoder.apply(params, state, (x, noise))
    parts = np.asarray(noise).reshape(5, 2, 2)
    for row in range(5):
        combinations = np.stack(
            [
                np.concatenate([parts[i, 0], parts[j, 1]])
                for i, j in itertools.product(range(5), repeat=2)
            ]
        )
        # Only z is used here, and z of a row does not depend on the other rows.
        z = encoder.apply(
            params, state, (jnp.broadcast_to(x[row], (25, 3)), jnp.asarray(combinations))
        )[0][0]
        np.testing.assert_allclose(loc[row], np.mean(z, axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(scale[row], np.std(z, axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape, message", [((1, 4), r"two examples, got noise \(1, 4\)"), ((5, 3), "2 bases .* got 3")]
)
def test_additive_noise_that_has_no_moments_is_refused(shape, message):
    encoder = from_flax(AdditiveNoiseEncoder((8,), 2, num_bases=2, base_features=(8,)))
    with pytest.raises(ConfigError, match=message):
        encoder.init(jax.random.key(2), (jnp.zeros((shape[0], 3)), jnp.zeros(shape)))


def test_additive_noise_moments_carry_no_gradient():
    encoder = from_flax(AdditiveNoiseEncoder((8,), 2, num_bases=2, base_features=(8,)))
    inputs = (
        jax.random.normal(jax.random.key(0), (5, 3)),
        jax.random.normal(jax.random.key(1), (5, 4)),
    )
    params, state = encoder.init(jax.random.key(2), inputs)
    still = jax.grad(
        lambda p: sum(jnp.sum(part) for part in encoder.apply(p, state, inputs)[0][1:])
    )(params)
    moving = jax.grad(lambda p: jnp.sum(encoder.apply(p, state, inputs)[0][0]))(params)
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(still)) == 0
    assert min(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(moving)) > 0


def test_the_residual_critic_starts_as_a_shallow_one():
    """Outer matrices are zero: the blocks only pass elu(elu(...)) of the first layer on."""
    network = from_flax(ResidualCritic(16, 3))
    x, z = (
        jax.random.normal(jax.random.key(0), (6, 3)),
        jax.random.normal(jax.random.key(1), (6, 2)),
    )
    params, state = network.init(jax.random.key(2), (x, z))
    h = np.concatenate([x, z], -1) @ np.asarray(params["input"]["kernel"])
    for _ in range(4):
        h = np.where(h > 0, h, np.expm1(h))
    np.testing.assert_allclose(
        network.apply(params, state, (x, z))[0],
        (h @ params["output"]["kernel"])[:, 0],
        rtol=1e-4,
        atol=1e-6,
    )


def test_the_joint_is_the_sum():
    avb = recipe(critic(oracle))
    params, state = setup(avb)
    z = jax.random.normal(jax.random.key(4), (3, 4, 2))
    out, _ = avb.decoder.apply(params["decoder"], {}, z.reshape(12, 2))
    logits = np.asarray(out, np.float64).reshape(3, 4, *SHAPE)
    pixels = (np.asarray(X) * logits - np.logaddexp(0, logits)).sum((-3, -2, -1))
    np.testing.assert_allclose(
        log_joint(avb, params, state, z, X), pixels + log_normal(z), rtol=1e-5
    )


def test_parts_that_do_not_fit_are_named():
    make = lambda avb, **options: avb_model(avb, SHAPE, **options).init(jax.random.key(0))
    good = recipe(critic(oracle))
    with pytest.raises(
        ConfigError, match=r"with adaptive_contrast=True the encoder must give \(z, loc, scale\)"
    ):
        make(good._replace(adaptive_contrast=True))
    with pytest.raises(
        ConfigError, match="with adaptive_contrast=False the encoder must give z alone"
    ):
        make(recipe(critic(oracle), True)._replace(adaptive_contrast=False))
    with pytest.raises(ConfigError, match=r"the encoder gives z \(3,\), but latent_size=2"):
        make(good._replace(encoder=from_flax(NoiseEncoder((8, 3)))))
    with pytest.raises(
        ConfigError, match=r"latent_size=2, but its prior says: z must be \[\*B, 3\]"
    ):
        make(good._replace(prior=priors.standard_normal(3)))
    with pytest.raises(ConfigError, match="num_critic_updates must be at least 1, got 0"):
        make(good, num_critic_updates=0)
    with pytest.raises(ConfigError, match="did you mean 'bernoulli'"):
        make(good._replace(likelihood="bernuolli"))
