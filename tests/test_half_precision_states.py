"""What is kept from step to step, or over a batch, while the network computes in half precision;
numbers that may be swept, and NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import data, densities, flows, networks, objectives, sampling, training
from dgm_jax.core import Aux, ConfigError, Player
from dgm_jax.densities import gaussian


def test_an_average_of_bfloat16_parameters_moves_on():
    """1 - decay^n of the way after n steps, by the closed form; in bfloat16 it stops at a half."""
    loss = lambda params, state, batch, key: (0.0 * jnp.sum(params["x"]), Aux(state, {}))
    inner = training.alternating({"p": Player(("x",), loss)}, {"p": optax.sgd(0.1)})
    algorithm = training.averaged(inner, ("x",), 0.99)
    state = algorithm.init(jax.random.key(0), {"x": jnp.ones(1, jnp.bfloat16)}, {})
    zero = jax.tree.map(jnp.zeros_like, state.state["average"])
    state = state._replace(state={"average": zero})
    step = lambda state, _: (algorithm.step(state, lambda i: ())[0], None)
    state, _ = jax.lax.scan(step, state, length=400)
    params, _ = training.average_of(state)
    assert params["x"].dtype == jnp.bfloat16
    np.testing.assert_allclose(float(params["x"][0]), 1 - 0.99**400, atol=5e-3)


@pytest.mark.parametrize("layer", [networks.BatchNorm(), networks.GroupNorm(1)])
def test_normalisation_of_float16_whose_squares_overflow(layer):
    x = jnp.asarray(np.random.default_rng(0).normal(0, 400, (64, 8, 4)), jnp.float16)
    options = {"train": True} if isinstance(layer, networks.BatchNorm) else {}
    variables = layer.init(jax.random.key(0), x, **options)
    y, _ = layer.apply(variables, x, **options, mutable=["batch_stats"])
    np.testing.assert_allclose(np.std(np.asarray(y, np.float64)), 1, atol=1e-2)


def test_first_values_of_an_activation_normalisation_from_float16():
    x = np.random.default_rng(0).normal(0, 400, (64, 4)).astype(np.float16)
    found = flows.act_norm_from_data(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(found["loc"], exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["log_scale"], np.log(exact.std(0)), rtol=1e-5)


def test_the_relaxed_kl_has_no_gradient_at_a_class_of_probability_zero():
    """d/d log y_k sum y (log q - log p) = y_k (log q_k - log p_k), 0 where y_k is."""
    log_y, q, p = (
        jnp.log(jnp.array([0.4, 0.6, 0.0])),
        jnp.array([0.0, 2.0, -jnp.inf]),
        jnp.array([1.0, 0.0, -jnp.inf]),
    )
    gradient = jax.grad(lambda y: objectives.elbo.relaxed_mass_kl(y, q, p))(log_y)
    log = lambda x: x - np.log(np.sum(np.exp(x)))
    expected = [*(np.array([0.4, 0.6]) * (log(np.array([0.0, 2])) - log(np.array([1.0, 0])))), 0]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


TRACED = {
    "decay of a baseline": (
        lambda decay: (
            sampling.estimators.nvil(
                jax.random.key(0), lambda x: x[..., 0], jnp.zeros(3), num_samples=4, decay=decay
            ).gradient
        ),
        0.5,
    ),
    "decay of batch norm": (
        lambda decay: flows.batch_norm_train(
            flows.batch_norm(2).init(None), jnp.arange(6.0).reshape(3, 2), decay=decay
        )[2]["mean"],
        0.5,
    ),
    "epsilon": (lambda e: densities.logit_laplace.log_prob(jnp.array(0.3), 0.0, 0.0, e), 0.1),
    "steps": (lambda n: objectives.elbo.warm_up(3, num_steps=n), 10.0),
    "scale of a ring": (lambda s: data.DENSITIES["ring"](scale=s).log_prob(jnp.ones(2)), 0.1),
    "scale of circles": (lambda s: data.DENSITIES["circles"](scale=s).log_prob(jnp.ones(2)), 0.1),
    "width of a board": (
        lambda w: data.DENSITIES["checkerboard"](width=w).log_prob(jnp.ones(2)),
        2.0,
    ),
    "floor": (lambda f: objectives.free_bits.free_bits(jnp.ones((2, 3)), f), 0.5),
    "smoothing": (
        lambda s: objectives.gan.label_smoothed(objectives.gan.LOSSES["minimax"], s).discriminator(
            jnp.ones(3), jnp.zeros(3)
        ),
        0.1,
    ),
}


@pytest.mark.parametrize("name", TRACED)
def test_a_swept_number_may_be_traced(name):
    function, value = TRACED[name]
    expected = function(value)
    np.testing.assert_allclose(jax.jit(function)(value), expected, rtol=1e-5)
    np.testing.assert_allclose(function(np.float32(value)), expected, rtol=1e-5)


@pytest.mark.parametrize("value", [np.float32(-1), np.float64(-0.5), np.int64(-2)])
def test_a_number_of_numpy_is_looked_at(value):
    with pytest.raises(ConfigError, match="scale must be positive"):
        gaussian.log_prob(0.0, 0.0, value)
    with pytest.raises(ConfigError, match="floor must not be negative"):
        objectives.free_bits.free_bits(jnp.ones((2, 3)), value)
    with pytest.raises(ConfigError, match="num_layers must be at least 1"):
        flows.coupling_flow(4, np.int64(0))
