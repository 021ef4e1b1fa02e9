"""The VAE against quadrature over its one latent, and under each prior that needs the model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dgm_jax import priors
from dgm_jax.core import ConfigError, DataError
from dgm_jax.likelihood import importance_weighted
from dgm_jax.models import MODELS, Vae, prior_of, vae
from dgm_jax.models._vae import PRIOR
from dgm_jax.models.latent import decode, log_joint, log_prior, log_weights, posterior, terms
from dgm_jax.networks import MLP, from_flax, from_functions, reshaped

SHAPE = (2, 3, 1)
IMAGES = np.random.default_rng(0).integers(0, 2, (5, *SHAPE)).astype(np.float32)


def networks(dim=1, shape=SHAPE):
    encoder = reshaped(from_flax(MLP((8, 2 * dim), "tanh", "he")), (2 * dim,))
    decoder = reshaped(from_flax(MLP((8, int(np.prod(shape))), "tanh", "he")), shape)
    return encoder, decoder


def standard(dim=1):
    return Vae(*networks(dim), dim, lambda encode: priors.standard_normal(dim))


@pytest.fixture(scope="module")
def trained():
    """(recipe, params, state): random weights, far from any optimum."""
    recipe = standard()
    params, state = vae(recipe, SHAPE).init(jax.random.key(1))
    return recipe, params, state


def on_line(recipe, params, state):
    """z [G], log p(x_i | z) [5, G] in float64 from the images shown, log q(z | x_i) [5, G], log
    p(z) [G]."""
    z = np.linspace(-12, 12, 6001)
    mean = np.asarray(
        decode(recipe, params, state, jnp.asarray(z, jnp.float32)[:, None]), np.float64
    )
    pixels = np.where(IMAGES[:, None] == 1, np.log(mean), np.log1p(-mean)).sum((-3, -2, -1))
    loc, scale = (np.asarray(a, np.float64) for a in posterior(recipe, params, state, IMAGES))
    log_q = -((z - loc) ** 2) / (2 * scale**2) - np.log(scale) - np.log(2 * np.pi) / 2
    return z, pixels, log_q, -(z**2) / 2 - np.log(2 * np.pi) / 2


def test_the_bound_is_the_integral(trained):
    recipe, params, state = trained
    z, log_x, log_q, log_z = on_line(*trained)
    weight = np.exp(log_q) * (z[1] - z[0])
    keys = jax.random.split(jax.random.key(2), 20_000)
    found = jax.jit(jax.vmap(lambda key: terms(key, recipe, params, state, IMAGES)))(keys)
    for name, truth in (
        ("log_likelihood", (weight * log_x).sum(1)),
        ("kl", (weight * (log_q - log_z)).sum(1)),
    ):
        draws = np.asarray(getattr(found, name), np.float64)
        error = draws.std(0, ddof=1) / np.sqrt(len(draws))
        np.testing.assert_array_less(
            np.abs(draws.mean(0) - truth), 4.5 * error + 1e-5, err_msg=name
        )
    np.testing.assert_allclose(found.elbo, found.log_likelihood - found.kl, rtol=1e-6)


def test_importance_weights_find_the_marginal_likelihood(trained):
    recipe, params, state = trained
    z, log_x, _, log_z = on_line(*trained)
    truth = np.log((np.exp(log_x + log_z)).sum(1) * (z[1] - z[0]))
    weights = functools.partial(log_weights, model=recipe, params=params, state=state)
    found = importance_weighted(
        jax.random.key(3),
        lambda key, x, n: weights(key, x=x, num_samples=n),
        jnp.asarray(IMAGES),
        20_000,
    )
    error = np.sqrt((20_000 / np.asarray(found.effective_sample_size) - 1) / 20_000)
    np.testing.assert_array_less(np.abs(np.asarray(found.log_prob) - truth), 4.5 * error + 1e-4)


def test_the_joint_is_likelihood_times_prior_at_any_leading_axes(trained):
    recipe, params, state = trained
    z = jax.random.normal(jax.random.key(4), (3, 5, 1))
    found = log_joint(recipe, params, state, z, IMAGES)
    mean = np.asarray(decode(recipe, params, state, z.reshape(15, 1)), np.float64).reshape(
        3, 5, *SHAPE
    )
    pixels = np.where(IMAGES == 1, np.log(mean), np.log1p(-mean)).sum((-3, -2, -1))
    prior = -(np.asarray(z)[..., 0] ** 2) / 2 - np.log(2 * np.pi) / 2
    np.testing.assert_allclose(found, pixels + prior, rtol=1e-5)


def test_beta_weighs_the_kl_and_the_metrics_do_not(trained):
    recipe, params, state = trained
    batch = {"x": jnp.asarray(IMAGES), "step": jnp.int32(3)}
    losses = []
    for beta in (0.0, 1.0, 3.0):
        player = vae(recipe, SHAPE, beta=lambda step, beta=beta: beta * (step == 3)).players["vae"]
        value, aux = player.loss(params, state, batch, jax.random.key(5))
        losses.append(float(value))
        np.testing.assert_allclose(
            aux.metrics["elbo"], aux.metrics["log_likelihood"] - aux.metrics["kl"], rtol=1e-6
        )
    np.testing.assert_allclose(losses[2] - losses[1], 2 * (losses[1] - losses[0]), rtol=1e-5)
    assert losses[1] - losses[0] == pytest.approx(float(aux.metrics["kl"]), rel=1e-5)


def vamp_recipe(images):
    start = lambda key: jnp.asarray(images)
    return Vae(*networks(), 1, lambda encode: priors.vamp(encode, len(images), SHAPE, init=start))


def test_a_vamp_prior_on_all_data_is_the_aggregated_posterior():
    recipe = vamp_recipe(IMAGES)
    params, state = vae(recipe, SHAPE).init(jax.random.key(1))
    loc, scale = posterior(recipe, params, state, IMAGES)
    z = np.linspace(-3, 3, 11)[:, None]
    each = -((z[:, None] - np.asarray(loc)) ** 2) / (2 * np.asarray(scale) ** 2) - np.log(
        np.asarray(scale)
    )
    truth = np.log(np.exp(each[..., 0] - np.log(2 * np.pi) / 2).mean(1))
    np.testing.assert_allclose(
        log_prior(recipe, params, state, jnp.asarray(z)), truth, rtol=2e-5, atol=1e-5
    )


def test_a_prior_may_ask_the_encoder_as_it_is_made():
    """The average posterior of the images at hand: nothing is asked before there are parameters."""
    made = lambda encode: priors.aggregated_posterior(*encode(IMAGES))
    recipe = Vae(*networks(), 1, made)
    model = vae(recipe, SHAPE)
    params, state = model.init(jax.random.key(1))
    loc, scale = (np.asarray(a, np.float64) for a in posterior(recipe, params, state, IMAGES))
    z = np.linspace(-2, 2, 7)[:, None]
    truth = np.log(scipy.stats.norm.pdf(z, loc[:, 0], scale[:, 0]).mean(1))
    np.testing.assert_allclose(log_prior(recipe, params, state, jnp.asarray(z)), truth, rtol=1e-4)
    batch = {"x": jnp.asarray(IMAGES), "step": jnp.int32(0)}
    assert np.isfinite(model.players["vae"].loss(params, state, batch, jax.random.key(2))[0])


def test_every_part_is_trained_where_the_prior_has_parameters():
    """The VampPrior's gradient reaches its inputs and, through the prior alone, the encoder."""
    recipe = vamp_recipe(IMAGES[:3])
    params, state = vae(recipe, SHAPE).init(jax.random.key(1))
    model = vae(recipe, SHAPE)
    batch = {"x": jnp.asarray(IMAGES), "step": jnp.int32(0)}
    slopes = jax.grad(lambda p: model.players["vae"].loss(p, state, batch, jax.random.key(2))[0])(
        params
    )
    assert all(float(jnp.max(jnp.abs(leaf))) > 0 for leaf in jax.tree.leaves(slopes))
    prior_only = jax.grad(lambda p: jnp.sum(log_prior(recipe, p, state, jnp.ones((4, 1)))))(params)
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(prior_only["encoder"])) > 0
    assert set(model.players["vae"].parts) == set(params)


@pytest.mark.parametrize("name", sorted(priors.FROM_DIM))
def test_samples_come_from_the_prior(name):
    """The decoder shows the first latent in all pixels, so the logits of the images are draws of
    its prior."""
    show = from_functions(
        lambda key, z: {}, lambda params, z: jnp.tile(z[:, :1], 6).reshape(-1, *SHAPE)
    )
    recipe = Vae(networks(2)[0], show, 2, lambda encode: priors.PRIORS[name](2))
    model = vae(recipe, SHAPE)
    params, state = model.init(jax.random.key(0))
    params[PRIOR] = jax.tree.map(
        lambda p: p + 0.3 * jnp.sin(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape),
        params[PRIOR],
    )
    images = np.asarray(model.sample(params, state, jax.random.key(7), 4000), np.float64)
    assert images.shape == (4000, *SHAPE)
    shown = scipy.special.logit(images)
    np.testing.assert_array_equal(shown, np.broadcast_to(shown[:, :1, :1], shown.shape))
    drawn = np.asarray(
        prior_of(recipe, params, state).sample(params[PRIOR], jax.random.key(8), 4000)
    )
    assert scipy.stats.ks_2samp(shown[:, 0, 0, 0], drawn[:, 0]).pvalue > 1e-3


def test_a_prior_that_needs_no_encoder_may_stand_for_itself(trained):
    recipe, params, state = trained
    plain = recipe._replace(prior=priors.standard_normal(1))
    z = jnp.linspace(-2.0, 2.0, 5)[:, None]
    np.testing.assert_allclose(
        log_prior(plain, params, state, z), scipy.stats.norm.logpdf(z[:, 0]), rtol=1e-5
    )
    assert vae(plain, SHAPE).init(jax.random.key(1))[0].keys() == params.keys()


def test_parts_that_do_not_fit_are_named():
    assert MODELS["vae"] is vae
    encoder, decoder = networks(1)
    prior = lambda encode: priors.standard_normal(2)
    with pytest.raises(ConfigError, match=r"latent_size=2 needs \(4,\)"):
        vae(Vae(encoder, decoder, 2, prior), SHAPE).init(jax.random.key(0))
    with pytest.raises(ConfigError, match=r"images \(2, 2, 1\), but examples are \(2, 3, 1\)"):
        vae(Vae(encoder, networks(1, (2, 2, 1))[1], 1, prior), SHAPE).init(jax.random.key(0))
    with pytest.raises(ConfigError, match="bernouli.*did you mean 'bernoulli'"):
        vae(Vae(encoder, decoder, 1, prior, "bernouli"), SHAPE)
    with pytest.raises(ConfigError, match="latent_size must be an integer of at least 1; got 0"):
        vae(Vae(encoder, decoder, 0, prior), SHAPE)
    with pytest.raises(
        ConfigError, match=r"latent_size=1, but its prior says: z must be \[\*B, 2\]; got \(2, 1\)"
    ):
        vae(Vae(encoder, decoder, 1, prior), SHAPE).init(jax.random.key(0))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"log_prob": lambda params, z: z},
            r"prior's log_prob of two vectors must be \(2,\); got \(2, 1\)",
        ),
        (
            {"sample": lambda params, key, n: jnp.zeros(n)},
            r"prior's sample of two vectors must be \(2, 1\); got \(2,\)",
        ),
        (
            {"log_prob": lambda params, z: jnp.sum(z * jnp.ones((3, 7)), -1)},
            "latent_size=1, but its prior says",
        ),
    ],
)
def test_a_prior_of_ones_own_that_breaks_the_contract_is_named(change, message):
    prior = priors.standard_normal(1)._replace(**change)
    with pytest.raises(ConfigError, match=message):
        vae(Vae(*networks(1), 1, lambda encode: prior), SHAPE).init(jax.random.key(0))


def test_a_prior_known_up_to_a_constant_is_refused_and_with_its_constant_taken():
    encoder, decoder = networks(1)

    def made(log_normalizer):
        prior = priors.implicit_ratio(
            priors.standard_normal(1),
            lambda params, z: params * z[..., 0],
            lambda key: jnp.array(0.5),
            log_normalizer=log_normalizer,
        )  # E exp(z / 2) = exp(1 / 8)
        return vae(Vae(encoder, decoder, 1, lambda encode: prior), SHAPE).init(jax.random.key(0))

    with pytest.raises(
        ConfigError, match="a VAE needs a normalized log p.*ImplicitRatio is known up to a constant"
    ):
        made(None)
    assert float(made(0.125)[0][PRIOR]["ratio"]) == 0.5


def test_grey_pixels_are_no_bernoulli_draws():
    encoder, decoder = networks(1)
    recipe = Vae(encoder, decoder, 1, lambda encode: priors.standard_normal(1))
    params, state = vae(recipe, SHAPE).init(jax.random.key(0))
    x = np.zeros((2, *SHAPE), np.float32)
    x[1, 0, 0] = 0.25
    with pytest.raises(
        DataError, match=r"pixels that are 0 or 1, got 1 others of 12, such as 0\.25"
    ):
        terms(jax.random.key(1), recipe, params, state, x)
    terms(jax.random.key(1), recipe, params, state, np.round(x))
