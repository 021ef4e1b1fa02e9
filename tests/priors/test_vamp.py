"""VampPrior: against the aggregated posterior and scipy; ranges, weights, and gradients into the
encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, logsumexp

from dgm_jax import priors
from dgm_jax.core import ConfigError

RNG = np.random.default_rng


def scipy_mixture(z, log_weights, loc, scale):
    z, log_weights, loc, scale = (np.asarray(a, np.float64) for a in (z, log_weights, loc, scale))
    return logsumexp(
        [
            w + stats.norm.logpdf(z, m, s).sum(-1)
            for w, m, s in zip(log_weights, loc, scale, strict=True)
        ],
        axis=0,
    )


def encoder(params, x):
    hidden = jnp.tanh(x.reshape(len(x), -1) @ params["in"])
    return hidden @ params["loc"], jnp.exp(hidden @ params["scale"])


def encoder_params():
    rng = RNG(3)
    shapes = {"in": (6, 8), "loc": (8, 2), "scale": (8, 2)}
    return {
        name: jnp.asarray(rng.normal(size=shape) / 2, jnp.float32) for name, shape in shapes.items()
    }


@pytest.mark.parametrize("input_range", ["clip", "hardtanh", "free"])
def test_all_training_points_as_pseudo_inputs_give_the_aggregated_posterior(input_range):
    data, params = jnp.asarray(RNG(0).uniform(size=(40, 2, 3)), jnp.float32), encoder_params()
    vamp = priors.vamp(
        lambda u: encoder(params, u),
        40,
        (2, 3),
        init=lambda key: data,
        input_range=input_range,
        chunk_size=7,
    )
    exact = priors.aggregated_posterior(*encoder(params, data))
    z = jnp.asarray(RNG(1).normal(size=(100, 2)) * 2, jnp.float32)
    got = vamp.log_prob(vamp.init(jax.random.key(0)), z)
    np.testing.assert_allclose(
        got, exact.log_prob(exact.init(jax.random.key(0)), z), rtol=1e-6, atol=1e-6
    )
    loc, scale = encoder(params, data)
    np.testing.assert_allclose(
        got, scipy_mixture(z, np.full(40, -np.log(40)), loc, scale), rtol=1e-5, atol=1e-5
    )


def test_the_sigmoid_range_takes_logits():
    data, params = (
        jnp.asarray(RNG(0).uniform(0.05, 0.95, size=(9, 6)), jnp.float32),
        encoder_params(),
    )
    raw = jnp.log(data / (1 - data))
    z = jnp.asarray(RNG(1).normal(size=(5, 2)), jnp.float32)
    one, other = (
        priors.vamp(
            lambda u: encoder(params, u), 9, (6,), init=lambda key, x=x: x, input_range=name
        )
        for name, x in (("sigmoid", raw), ("clip", data))
    )
    got, expected = (p.log_prob(p.init(jax.random.key(0)), z) for p in (one, other))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_pseudo_inputs_outside_the_range_keep_a_gradient_only_when_clipped():
    params = encoder_params()
    raw = jnp.asarray(RNG(0).choice([-0.5, 0.5, 1.5], size=(4, 6)), jnp.float32)
    outside = (np.asarray(raw) < 0) | (np.asarray(raw) > 1)
    z = jnp.ones((3, 2))
    values, gradients = {}, {}
    for name in ("clip", "hardtanh"):
        prior = priors.vamp(lambda u: encoder(params, u), 4, (6,), input_range=name)
        total = jax.jit(jax.value_and_grad(lambda p, prior=prior: jnp.sum(prior.log_prob(p, z))))
        values[name], gradients[name] = total({"inputs": raw})
    assert values["clip"] == values["hardtanh"]
    assert np.all(gradients["hardtanh"]["inputs"][outside] == 0) and np.all(
        gradients["clip"]["inputs"][outside] != 0
    )
    inside = [gradients[name]["inputs"][~outside] for name in ("clip", "hardtanh")]
    np.testing.assert_allclose(inside[0], inside[1], rtol=1e-5)


def test_gradients_reach_the_encoder_through_the_prior():
    """d/dphi of log p(z) with the prior built inside the loss, against central differences in
    float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), encoder_params())
        z = jnp.asarray(RNG(1).normal(size=(5, 2)))
        raw = jnp.asarray(RNG(0).uniform(size=(4, 6)))

        @jax.jit
        def total(params):
            return jnp.sum(
                priors.vamp(lambda u: encoder(params, u), 4, (6,)).log_prob({"inputs": raw}, z)
            )

        direction = jax.tree.map(lambda leaf: jnp.asarray(RNG(2).normal(size=leaf.shape)), params)
        _, slope = jax.jvp(total, (params,), (direction,))
        gradient = jax.grad(total)(params)
        moved = [
            total(jax.tree.map(lambda p, d, h=h: p + h * d, params, direction))
            for h in (1e-6, -1e-6)
        ]
        numeric = (moved[0] - moved[1]) / 2e-6
        by_gradient = sum(
            jnp.vdot(g, d)
            for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
        )
        np.testing.assert_allclose([slope, by_gradient], numeric, rtol=1e-6)
        assert abs(numeric) > 0.1


def test_learned_weights_count_and_are_normalised():
    params = encoder_params()
    prior = priors.vamp(lambda u: encoder(params, u), 3, (6,), learned_weights=True)
    start = prior.init(jax.random.key(0))
    np.testing.assert_array_equal(start["logits"], 0)
    inputs = jnp.asarray(RNG(0).uniform(size=(3, 6)), jnp.float32)
    logits, z = jnp.array([7.0, 8.0, 5.0]), RNG(1).normal(size=(5, 2)).astype(np.float32)
    expected = scipy_mixture(z, log_softmax(logits), *encoder(params, inputs))
    np.testing.assert_allclose(
        prior.log_prob({"inputs": inputs, "logits": logits}, z), expected, rtol=1e-5, atol=1e-5
    )


def test_pseudo_inputs_start_as_published():
    prior = priors.vamp(lambda u: encoder(encoder_params(), u), 50, (10, 10))
    inputs = np.asarray(prior.init(jax.random.key(0))["inputs"])
    assert inputs.shape == (50, 10, 10)
    assert abs(inputs.mean() - 0.05) < 5 * 0.01 / np.sqrt(5000) and abs(inputs.std() - 0.01) < 0.001


def test_what_vamp_cannot_use_is_named():
    def encode(u):
        return encoder(encoder_params(), u)

    with pytest.raises(ConfigError, match="unknown range of pseudo-inputs 'sigmod'"):
        priors.vamp(encode, 3, (6,), input_range="sigmod")
    with pytest.raises(ConfigError, match="encode must be a function"):
        priors.vamp(None, 3, (6,))
    with pytest.raises(
        ConfigError, match=r"init must give pseudo-inputs of shape \(3, 6\); got \(2, 6\)"
    ):
        priors.vamp(encode, 3, (6,), init=lambda key: jnp.zeros((2, 6))).init(jax.random.key(0))
    with pytest.raises(
        ConfigError, match=r"encode must give loc and scale, both \[3, D\]; got \(3, 2\) and \(3,\)"
    ):
        wrong = priors.vamp(lambda u: (jnp.zeros((3, 2)), jnp.ones(3)), 3, (6,))
        wrong.log_prob({"inputs": jnp.zeros((3, 6))}, jnp.zeros(2))
