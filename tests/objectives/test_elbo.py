"""The bound and the three KL terms of a relaxed discrete model, against quadrature and
enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from dgm_jax import sampling
from dgm_jax.core import ConfigError
from dgm_jax.densities import categorical
from dgm_jax.objectives import elbo, iwae

Q, P = np.array([0.6, -0.3]), np.array([-0.4, 0.1])


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def log_concrete(difference, logits, temperature):
    """Log-density of d = log y_1 - log y_2 for K = 2: a logistic law of scale 1 / temperature."""
    s = temperature * difference - (logits[0] - logits[1])
    return np.log(temperature) - s - 2 * np.log1p(np.exp(-s))


def log_likelihood(difference):
    """log p(x | y): x likes the inside of the simplex."""
    y = 1 / (1 + np.exp(-difference))
    return -20 * (y - 0.5) ** 2


def integrate(function):
    return scipy.integrate.quad(function, -60, 60, points=[-5, 0, 5], limit=400)[0]


def draws(temperature, num=200_000):
    logits = jnp.broadcast_to(jnp.asarray(Q, jnp.float32), (num, 2))
    return sampling.log_gumbel_softmax(jax.random.key(0), logits, temperature)


def within(values, truth):
    values = np.asarray(values, np.float64)
    return abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values)) + 1e-6


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_density_kl_is_the_kl_of_the_relaxed_laws(temperature):
    def term(d):
        log_q = log_concrete(d, Q, temperature)
        return np.exp(log_q) * (log_q - log_concrete(d, P, 0.6))

    log_y = draws(temperature)
    assert within(
        elbo.density_kl(log_y, Q.astype(np.float32), P.astype(np.float32), temperature, 0.6),
        integrate(term),
    )


def test_relaxed_mass_is_the_log_ratio_at_a_vertex_and_its_mean_tends_to_the_kl():
    ratio = np.log(softmax(Q)) - np.log(softmax(P))
    vertex = jnp.log(jnp.eye(2))
    np.testing.assert_allclose(elbo.relaxed_mass_kl(vertex, Q, P), ratio, rtol=1e-5)
    kl = softmax(Q) @ ratio
    np.testing.assert_allclose(
        elbo.analytic_kl(None, jnp.asarray(Q), jnp.asarray(P)), kl, rtol=1e-5
    )
    assert within(elbo.relaxed_mass_kl(draws(0.01), Q, P), kl)
    assert not within(elbo.relaxed_mass_kl(draws(2.0), Q, P), kl)


def test_only_the_density_term_gives_a_bound():
    """log p(x) of the relaxed model by quadrature; the analytic term claims more than there is."""
    temperature = 1.0
    log_p = np.log(integrate(lambda d: np.exp(log_concrete(d, P, temperature) + log_likelihood(d))))
    log_y = draws(temperature)
    likelihood = log_likelihood(np.asarray(log_y[:, 0] - log_y[:, 1], np.float64))
    logits = Q.astype(np.float32), P.astype(np.float32)
    bounds = {
        name: (likelihood - np.asarray(term(log_y, *logits, temperature, temperature))).mean()
        for name, term in elbo.RELAXED_KL.items()
    }
    assert bounds["density"] < log_p
    # The discrete model that eq. 22 talks about: its log p(x) is that of the vertices, far below
    # the claim.
    discrete = np.logaddexp(*(np.log(softmax(P)) + log_likelihood(np.array([50.0, -50.0]))))
    assert bounds["analytic"] > discrete + 1
    assert bounds["relaxed_mass"] > discrete + 1
    assert elbo.IS_BOUND == {"density"}


def test_terms_are_kept_apart():
    terms = elbo.elbo(jnp.array([-3.0, -1.0]), jnp.array([0.5, 2.0]), beta=2.0)
    np.testing.assert_array_equal(terms.elbo, [-4.0, -5.0])
    np.testing.assert_array_equal(terms.kl, [0.5, 2.0])
    with pytest.raises(ConfigError, match=r"\(2,\) and \(2, 3\)"):
        elbo.elbo(jnp.zeros(2), jnp.zeros((2, 3)))


def test_the_elbo_of_a_small_discrete_model_is_below_log_p_and_tight_at_the_posterior():
    rng = np.random.default_rng(0)
    prior, likelihood = rng.normal(size=5), rng.normal(size=5)
    log_prior = np.log(softmax(prior))
    log_joint = log_prior + likelihood
    log_p = np.log(np.exp(log_joint).sum())
    for logits, gap in ((rng.normal(size=5), None), (log_joint, 0.0)):
        q = softmax(logits)
        terms = elbo.elbo(
            jnp.asarray(q @ likelihood), categorical.kl(jnp.asarray(logits), jnp.asarray(prior))
        )
        assert terms.elbo <= log_p + 1e-5
        if gap is not None:
            np.testing.assert_allclose(terms.elbo, log_p, atol=1e-5)


def test_importance_weighted_bound():
    # their exponentials overflow float32
    log_w = np.random.default_rng(1).normal(size=(6, 3)) * 300
    expected = [np.logaddexp.reduce(column) - np.log(6) for column in log_w.T]
    np.testing.assert_allclose(iwae.bound(jnp.asarray(log_w)), expected, rtol=1e-5)
    np.testing.assert_allclose(iwae.bound(jnp.asarray(log_w[:1])), log_w[0], rtol=1e-6)
    # at the level of an image's log p(x)
    many = iwae.effective_sample_size(jnp.full(1000, -20_000.3))
    assert float(many) == pytest.approx(1000, rel=1e-5)
    assert iwae.effective_sample_size(jnp.full((3, 2), -jnp.inf)).tolist() == [0.0, 0.0]
    size = iwae.effective_sample_size(jnp.log(jnp.array([[1.0, 1.0], [1.0, 0.0], [2.0, 0.0]])))
    np.testing.assert_allclose(size, [16 / 6, 1.0], rtol=1e-5)
    assert iwae.bound(jnp.full((3, 1), -jnp.inf))[0] == -jnp.inf
    with pytest.raises(ConfigError, match="S >= 1"):
        iwae.bound(jnp.zeros((0, 4)))


def test_warm_up_in_closed_form():
    for step, cosine, linear in (
        (0, 0.0, 0.0),
        (25, 6.6 * (1 - np.sqrt(0.5)) / 2, 1.65),
        (50, 3.3, 3.3),
        (100, 6.6, 6.6),
        (900, 6.6, 6.6),
    ):
        np.testing.assert_allclose(elbo.warm_up(step, end=6.6, num_steps=100), cosine, atol=1e-6)
        np.testing.assert_allclose(
            elbo.warm_up(jnp.int32(step), end=6.6, num_steps=100, shape="linear"), linear, atol=1e-6
        )
    with pytest.raises(ConfigError, match="num_steps"):
        elbo.warm_up(1, num_steps=0)
    with pytest.raises(ConfigError, match="shape"):
        elbo.warm_up(1, num_steps=5, shape="sine")
