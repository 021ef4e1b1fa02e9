"""Every prior of the registry: mass 1 by quadrature, samples against the density, shapes,
gradients, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dgm_jax import flows, priors
from dgm_jax.core import ConfigError
from dgm_jax.densities import gaussian

DIM = 2
SPACING = 0.05
AXIS = np.arange(-10, 10 + SPACING / 2, SPACING, dtype=np.float32)


def encode(inputs):
    """Inputs [K, 4] to a location on a curve and a width, [K, 2] each."""
    angle = 3 * inputs[:, :1] - inputs[:, 1:2]
    return 2 * jnp.concatenate([jnp.sin(angle), jnp.cos(2 * angle)], 1), 0.3 + 0.5 * inputs[:, 2:]


def log_ratio(params, z):
    """log N(z; c, .7^2) - log N(z; 0, 1): with the base N(0, I) this makes N(c, .49 I), normalised
    already."""
    return jnp.sum(gaussian.log_prob(z, params, 0.7) - gaussian.log_prob(z, 0.0, 1.0), -1)


def posteriors():
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=(11, DIM)) * 2, rng.uniform(0.2, 1, (11, DIM))
    return jnp.asarray(loc, jnp.float32), jnp.asarray(scale, jnp.float32)


# Chains of one kind of layer: two show whatever four do, in half of the time to compile.
SHALLOW = {"coupling_flow": {"num_layers": 2}, "spline_flow": {"num_layers": 2}}


def build(name):
    """The prior over two dimensions."""
    if name in priors.FROM_DIM:
        return priors.PRIORS[name](DIM, **SHALLOW.get(name, {}))
    parts = {
        "flow": lambda make: make(flows.invert(flows.planar(DIM)), DIM),
        "aggregated_posterior": lambda make: make(*posteriors(), chunk_size=4),
        "vamp": lambda make: make(
            encode, 7, (4,), init=lambda key: jax.random.uniform(key, (7, 4)), chunk_size=3
        ),
        "implicit_ratio": lambda make: make(
            priors.standard_normal(DIM),
            log_ratio,
            lambda key: jnp.array([0.5, -0.4]),
            num_candidates=200,
        ),
    }
    return parts[name](priors.PRIORS[name])


@functools.cache
def params_of(name):
    """Away from the start where there is something to learn."""
    params = build(name).init(jax.random.key(0))
    if name in ("aggregated_posterior", "vamp"):
        return params
    rng = np.random.default_rng(5)
    # sharper splines need a finer grid
    scale = {"mixture": 0.5, "flow": 1.0, "spline_flow": 0.05}.get(name, 0.1)
    return jax.tree.map(
        lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape) * scale, leaf.dtype), params
    )


@functools.cache
def density(name):
    """exp(log_prob) over the grid, float64; first axis is z_0."""
    grid = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), -1)
    log_prob = jax.jit(build(name).log_prob)(params_of(name), grid)
    assert log_prob.shape == grid.shape[:-1]
    return np.asarray(log_prob, np.float64)


every = pytest.mark.parametrize("name", list(priors.PRIORS))


@every
def test_the_density_integrates_to_one(name):
    np.testing.assert_allclose(np.exp(density(name)).sum() * SPACING**2, 1, atol=1e-3)


@every
def test_samples_follow_the_density(name):
    n = 4000
    z = np.asarray(
        jax.jit(build(name).sample, static_argnums=2)(params_of(name), jax.random.key(7), n)
    )
    assert z.shape == (n, DIM) and z.dtype == np.float32
    mass = np.exp(density(name)) * SPACING**2
    for axis in range(DIM):
        cumulative = np.cumsum(mass.sum(1 - axis))
        # The mass of a cell lies around its grid point.
        assert (
            stats.kstest(
                z[:, axis], lambda x, c=cumulative: np.interp(x, AXIS + SPACING / 2, c)
            ).pvalue
            > 1e-3
        )
    # Together: the mean of the product, and of the log-density itself, within five standard errors.
    log_prob = np.asarray(jax.jit(build(name).log_prob)(params_of(name), z), np.float64)
    for values, expected in (
        (z.prod(1), (mass * AXIS[:, None] * AXIS).sum()),
        (log_prob, (mass * density(name)).sum()),
    ):
        assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(n), (
            values.mean(),
            expected,
        )


@every
def test_shapes_jit_and_vmap_agree(name):
    prior, params = build(name), params_of(name)
    z = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, DIM)), jnp.float32)
    together = jax.jit(prior.log_prob)(params, z)
    assert together.shape == (2, 3) and together.dtype == jnp.float32
    one_by_one = jax.jit(jax.vmap(jax.vmap(prior.log_prob, (None, 0)), (None, 0)))(params, z)
    np.testing.assert_allclose(one_by_one, together, rtol=1e-5, atol=1e-5)
    alone = jax.jit(prior.log_prob)(params, z[1, 2])
    assert alone.shape == ()
    np.testing.assert_allclose(alone, together[1, 2], rtol=1e-5, atol=1e-5)
    sample = jax.jit(prior.sample, static_argnums=2)
    draws = [sample(params, jax.random.key(k), 3) for k in (0, 0, 1)]
    eager = prior.sample(params, jax.random.key(0), 3)
    np.testing.assert_allclose(eager, draws[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.all(draws[0] != draws[2])


@functools.cache
def total_log_prob_and_gradients(name):
    """(params, z) -> the sum of log_prob and its gradients, compiled once."""
    log_prob = build(name).log_prob
    return jax.jit(jax.value_and_grad(lambda params, z: jnp.sum(log_prob(params, z)), (0, 1)))


@every
@pytest.mark.parametrize("size", [0.0, 5.0, 1e3])
def test_gradients_are_finite_near_and_far(name, size):
    z = jnp.asarray([[size, -size], [-size, size / 3]], jnp.float32)
    value, (to_params, to_z) = total_log_prob_and_gradients(name)(params_of(name), z)
    assert np.isfinite(value) and np.isfinite(to_z).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(to_params))
    assert size == 0 or np.abs(to_z).max() > 0.1


@every
def test_another_width_is_named(name):
    prior = build(name)
    for shape in ((4, DIM + 1), ()):
        with pytest.raises(ConfigError, match=r"z must be \[\*B, 2\]"):
            jax.eval_shape(prior.log_prob, params_of(name), jnp.zeros(shape))


@pytest.mark.parametrize("name", sorted(priors.FROM_DIM))
def test_one_dimension_or_many_and_not_none(name):
    prior = priors.PRIORS[name](5)
    params = prior.init(jax.random.key(0))
    z = jax.eval_shape(lambda params, key: prior.sample(params, key, 3), params, jax.random.key(1))
    assert z.shape == (3, 5) and jax.eval_shape(prior.log_prob, params, z).shape == (3,)
    for dim in (0, -2, 1.5):
        with pytest.raises(ConfigError, match="dim must be an integer of at least"):
            priors.PRIORS[name](dim)


@pytest.mark.parametrize(
    "name", ["standard_normal", "coupling_flow", "spline_flow", "autoregressive_flow"]
)
def test_these_start_as_the_standard_normal_with_its_constants(name):
    prior = priors.PRIORS[name](3)
    z = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    got = jax.jit(prior.log_prob)(prior.init(jax.random.key(0)), z)
    np.testing.assert_allclose(
        got, stats.norm.logpdf(z.astype(np.float64)).sum(-1), rtol=1e-5, atol=1e-5
    )
