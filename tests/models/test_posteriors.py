"""Surgery and the start of annealing on models where both have a truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from scipy.stats import norm

from dgm_jax import likelihood, models, priors
from dgm_jax.core import LatentModel
from dgm_jax.densities import gaussian
from dgm_jax.models import latent, posteriors
from dgm_jax.models.posteriors import Gaussian
from dgm_jax.networks import MLP, from_flax, from_functions, reshaped
from dgm_jax.objectives.path_derivatives import gaussian_log_q

# z ~ N(0, 1), x | z ~ N(z, .5^2) in each of three pixels-and-latents: p(x) = N(0, 1.25).
X = jnp.asarray(np.random.default_rng(0).normal(size=(30, 1, 3, 1)), jnp.float32)
TRUTH = norm.logpdf(np.asarray(X).reshape(30, 3), scale=np.sqrt(1.25)).sum(1)
SETTINGS = likelihood.Settings(num_steps=50, num_chains=8, num_knots=3, num_pilot=8)


def pixelwise(slope, scale):
    """The model with q(z | x) = N(slope x, scale^2)."""

    def infer(params, state, x, *, train, key=None):
        loc = slope * x.reshape(-1, 3)
        return Gaussian(loc, jnp.full_like(loc, scale)), state

    def log_x(params, state, z, x, *, train, key=None):
        return jnp.sum(gaussian.log_prob(x.reshape(-1, 3), z, 0.5), -1), state

    return LatentModel(
        name="pixels",
        parts=(),
        posterior=infer,
        sample_posterior=posteriors.sample_gaussian,
        log_likelihood=log_x,
        sample_prior=lambda params, state, key, num: jax.random.normal(key, (num, 3)),
        decode=lambda params, state, z: z.reshape(-1, 1, 3, 1),
        log_prior=lambda params, state, z: jnp.sum(gaussian.log_prob(z, 0.0, 1.0), -1),
        log_posterior=gaussian_log_q,
    )


def annealed(model, start=None):
    found = posteriors.annealing_start(model, {}, {}, X, start)
    path = likelihood.from_proposal(found.sample, found.log_prob, found.log_joint)
    return likelihood.annealed_importance_sampling(
        jax.random.key(0), path, found.rows, SETTINGS, batch_size=25
    )


def test_annealing_from_the_exact_posterior_has_no_error():
    np.testing.assert_allclose(annealed(pixelwise(0.8, np.sqrt(0.2))).log_prob, TRUTH, atol=1e-4)


@pytest.mark.parametrize("given", [False, True])
def test_annealing_from_another_gaussian_finds_the_evidence(given):
    """The model's own posterior, or one in its place where it has no density."""
    model, start = pixelwise(0.5, 0.7), None
    if given:
        start = latent.posterior(model, {}, {}, X)
        model = model._replace(log_posterior=None)
    found = annealed(model, start)
    error = float(likelihood.average(found).monte_carlo_error)
    assert float(jnp.mean(found.log_prob)) == pytest.approx(TRUTH.mean(), abs=4.5 * error + 0.01)


def test_moments_of_an_implicit_posterior_are_those_of_its_draws():
    """z = (mean of the pixels, their mean) + (.6, 1.2) noise, known only as a sampler."""
    scale = jnp.array([0.6, 1.2])
    encoder = from_functions(
        lambda key, inputs: {},
        lambda params, inputs: jnp.mean(inputs[0], axis=1, keepdims=True) + scale * inputs[1],
    )
    decoder = reshaped(from_flax(MLP((3,))), (1, 3, 1))
    critic = from_functions(lambda key, inputs: {}, lambda params, inputs: inputs[1][:, 0])
    avb = models.AdversarialVae(encoder, decoder, critic, priors.standard_normal(2), 2, 2)
    params, state = models.adversarial_variational_bayes(avb, (1, 3, 1)).init(jax.random.key(0))
    found = posteriors.moments(jax.random.key(1), avb, params, state, X, 4000)
    mean = np.asarray(X).reshape(30, 3).mean(1)[:, None]
    np.testing.assert_allclose(found.loc, np.broadcast_to(mean, (30, 2)), atol=0.1)
    np.testing.assert_allclose(found.scale, np.broadcast_to(scale, (30, 2)), rtol=0.08)
    q = latent.posterior(avb, params, state, X)
    draws = avb.latent_model().sample_posterior(jax.random.key(2), q)
    assert draws.shape == (30, 2)


def test_surgery_is_the_sum_over_all_pairs_for_gaussians_and_for_any_other_density():
    model = pixelwise(0.7, 0.6)
    q = latent.posterior(model, {}, {}, X)
    z = posteriors.sample_gaussian(jax.random.key(1), q)
    pairs = norm.logpdf(np.asarray(z, np.float64)[:, None], np.asarray(q.loc), 0.6).sum(-1)
    own, prior = np.diag(pairs), norm.logpdf(np.asarray(z, np.float64)).sum(-1)
    aggregate = scipy.special.logsumexp(pairs, axis=1) - np.log(30)
    truth = {
        "average_kl": own - prior,
        "mutual_information": own - aggregate,
        "marginal_kl": aggregate - prior,
    }
    # A tuple of one's own takes the general way.
    plain = model._replace(log_posterior=lambda q, z: gaussian_log_q(q, z))
    for found in (
        posteriors.surgery(model, {}, {}, q, z, chunk_size=7),
        posteriors.surgery(plain, {}, {}, tuple(q), z, chunk_size=7),
    ):
        for name, values in truth.items():
            term = getattr(found, name)
            assert float(term.mean) == pytest.approx(values.mean(), abs=2e-4), name
            error = values.std(ddof=1) / np.sqrt(30)
            assert float(term.standard_error) == pytest.approx(error, rel=1e-3), name


def test_surgery_of_categorical_posteriors():
    """Against all pairs in numpy; the information is at most log n."""
    network = reshaped(from_flax(MLP((6,))), (2, 3))
    vae = models.GumbelVae(network, reshaped(from_flax(MLP((3,))), (1, 3, 1)), (2,), 3)
    params, state = models.gumbel_vae(vae, (1, 3, 1)).init(jax.random.key(0))
    q = 3 * latent.posterior(vae, params, state, X)
    z = vae.latent_model().sample_posterior(jax.random.key(1), q)
    found = posteriors.surgery(vae, params, state, q, z, chunk_size=7)
    log_q = np.asarray(jax.nn.log_softmax(q), np.float64)
    pairs = np.einsum("igk,jgk->ij", np.asarray(z, np.float64), log_q)
    aggregate = scipy.special.logsumexp(pairs, axis=1) - np.log(30)
    assert float(found.mutual_information.mean) == pytest.approx(
        (np.diag(pairs) - aggregate).mean(), abs=1e-4
    )
    assert float(found.marginal_kl.mean) == pytest.approx(
        (aggregate + 2 * np.log(3)).mean(), abs=1e-4
    )
    assert 0 < float(found.mutual_information.mean) < np.log(30)
