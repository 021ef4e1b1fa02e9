"""Averages of many Gaussians against all pairs in float64, by numpy and scipy alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from dgm_jax.core import ConfigError
from dgm_jax.densities import aggregate

NUM, DIM = 150, 20


def gaussians(kind, dim=DIM, num=NUM):
    """(a draw of each, loc, scale), float32: how wide, how far from the origin, and how apart."""
    rng = np.random.default_rng(3)
    loc, scale = rng.normal(size=(num, dim)), np.exp(0.3 * rng.normal(size=(num, dim)) - 1)
    if kind == "far from the origin":
        loc = loc + 300
    elif kind == "narrow":
        scale = scale * 1e-3
    elif kind == "vanishing":
        scale = scale * 1e-25
    elif kind == "narrow and alike":  # 1e-4 wide, in pairs: products lose all that counts
        loc, scale = np.repeat(loc[: num // 2], 2, axis=0), 1e-4 * scale
    elif kind == "of all widths":
        scale = 10.0 ** rng.uniform(-4, 1, size=(num, dim))
    elif kind == "collapsed":
        loc, scale = 1e-3 * loc, np.ones_like(scale)
    loc, scale = loc.astype(np.float32), scale.astype(np.float32)
    return (loc + scale * rng.normal(size=loc.shape)).astype(np.float32), loc, scale


KINDS = ["usual", "far from the origin", "narrow", "vanishing", "narrow and alike", "of all widths"]
KINDS = [*KINDS, "collapsed"]


def all_pairs(x, loc, scale):
    """log N(x_id; m_jd, s_jd^2) in float64, [M, N, D]."""
    x, loc, scale = (np.asarray(a, np.float64) for a in (x, loc, scale))
    return norm.logpdf(x[:, None], loc, scale)


def exact(x, loc, scale):
    """Jointly [M], and by dimension [M, D]."""
    pairs = all_pairs(x, loc, scale)
    joint, marginals = logsumexp(pairs.sum(-1), axis=1), logsumexp(pairs, axis=1)
    return joint - np.log(len(loc)), marginals - np.log(len(loc))


def slack(values):
    """What float32 cannot hold, of values that may be -1e9."""
    return 1e-5 * np.maximum(1, np.abs(values))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_within_the_tolerance_of_all_pairs(kind, paired):
    x, loc, scale = gaussians(kind)
    joint, marginals = exact(x, loc, scale)
    got = jax.jit(lambda *a: aggregate.log_prob(*a, paired=paired, chunk_size=64))(x, loc, scale)
    assert np.all(np.abs(got - joint) <= aggregate.TOLERANCE + slack(joint))
    got = jax.jit(lambda *a: aggregate.log_marginals(*a, chunk_size=64))(x, loc, scale)
    assert np.all(np.abs(got - marginals) <= slack(marginals))


@pytest.mark.parametrize("dim", [3, 50, 130])
def test_other_numbers_of_dimensions(dim):
    """Few dimensions are never multiplied, many in several sums; rows of x far from everything."""
    x, loc, scale = gaussians("usual", dim, 70)
    x = np.concatenate([x, x[:30] * 20])
    joint, marginals = exact(x, loc, scale)
    got = aggregate.log_prob(x, loc, scale, chunk_size=32)
    assert np.all(np.abs(got - joint) <= aggregate.TOLERANCE + slack(joint))
    got = aggregate.log_marginals(x, loc, scale, chunk_size=32)
    assert np.all(np.abs(got - marginals) <= slack(marginals))


@pytest.mark.optimized  # the order of a compiled sum decides its rounding
@pytest.mark.parametrize("dim", [9, 50, 64, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_products_keep_their_bound(kind, dim):
    """The bound holds where it is a number, and says where products will not do."""
    x, loc, scale = gaussians(kind, dim)
    joint, _ = exact(x, loc, scale)
    total, bound = by_products(x, loc, scale)
    known = np.isfinite(bound)
    error = np.abs(total - np.log(NUM) - joint)
    assert np.all(error[known] <= bound[known] + 1e-6 * np.abs(joint[known]))
    if kind == "collapsed" or (kind, dim) == ("usual", 9):
        assert np.all(bound < aggregate.TOLERANCE)
    if kind in ("vanishing", "narrow and alike"):
        assert not np.any(bound <= aggregate.TOLERANCE)


def by_products(x, loc, scale):
    """What the products alone say, and their bound."""
    center = loc.mean(0)
    chunks = aggregate._chunks(jnp.asarray(loc), jnp.asarray(scale), 64)
    none = jnp.full(len(x), -1, jnp.int32), jnp.zeros(len(x))
    total, bound = jax.jit(aggregate._by_products)(jnp.asarray(x - center), *none, chunks, center)
    return np.asarray(total, np.float64), np.asarray(bound, np.float64)


def test_lanes_of_both_kinds_are_the_lanes_alone():
    """Under vmap, where one lane needs squared differences and one does not."""
    lanes = [gaussians(kind) for kind in ("usual", "narrow and alike")]
    run = lambda *a: aggregate.log_prob(*a, paired=True, chunk_size=64)
    together = jax.jit(jax.vmap(run))(*(np.stack(a) for a in zip(*lanes, strict=True)))
    for got, lane in zip(together, lanes, strict=True):
        joint, _ = exact(*lane)
        assert np.all(np.abs(got - joint) <= aggregate.TOLERANCE + slack(joint))


@pytest.mark.parametrize("function", [aggregate.log_prob, aggregate.log_marginals])
def test_derivatives_are_those_of_the_sum_written_out(function):
    x, loc, scale = (a[:40] for a in gaussians("usual"))
    tangents = [np.random.default_rng(i).normal(size=x.shape) for i in range(3)]

    def written_out(x, loc, scale):
        pairs = jax.scipy.stats.norm.logpdf(x[:, None], loc, scale)
        pairs = jnp.sum(pairs, axis=-1) if function is aggregate.log_prob else pairs
        return jax.nn.logsumexp(pairs, axis=1) - np.log(len(loc))

    got = [
        jax.jit(jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a, chunk_size=16))), (0, 1, 2)))(
            x, loc, scale
        ),
        jax.jvp(
            lambda *a: function(*a, chunk_size=16),
            (x, loc, scale),
            tuple(map(np.float32, tangents)),
        )[1],
    ]
    with jax.enable_x64(True):
        wide = tuple(jnp.asarray(a, jnp.float64) for a in (x, loc, scale))
        expected = [
            jax.grad(lambda *a: jnp.sum(jnp.sin(written_out(*a))), (0, 1, 2))(*wide),
            jax.jvp(written_out, wide, tuple(map(jnp.asarray, tangents)))[1],
        ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3), got, expected)


def test_no_rows_and_wrong_shapes():
    loc = jnp.zeros((3, 2))
    assert aggregate.log_prob(loc[:0], loc, loc + 1).shape == (0,)
    assert aggregate.log_marginals(loc[:0], loc, loc + 1).shape == (0, 2)
    with pytest.raises(ConfigError, match=r"x \[M, D\]; got .* x \(3, 1\)"):
        aggregate.log_prob(loc[:, :1], loc, loc + 1)
    with pytest.raises(ConfigError, match="chunk_size must be an integer of at least 1; got 0"):
        aggregate.log_marginals(loc, loc, loc + 1, chunk_size=0)
