"""What is written once over `LatentModel`, on a linear-Gaussian model where everything is known,
and on a VAE under every prior."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import multivariate_normal, norm

from dgm_jax import models, priors, training
from dgm_jax.core import ConfigError, LatentModel
from dgm_jax.densities import bernoulli, gaussian
from dgm_jax.models import latent, posteriors
from dgm_jax.models.posteriors import Gaussian
from dgm_jax.networks import MLP, from_flax, reshaped
from dgm_jax.objectives import path_derivatives
from dgm_jax.objectives.path_derivatives import gaussian_log_q

# z ~ N(0, I), x | z ~ N(W z, .5^2 I); q(z | x) = N(x V, diag(scale)^2).
NOISE = 0.5
W = np.linalg.qr(np.random.default_rng(7).normal(size=(5, 2)))[0] * np.array([1.0, 2.0])
COVARIANCE = W @ W.T + NOISE**2 * np.eye(5)
X = np.random.default_rng(8).multivariate_normal(np.zeros(5), COVARIANCE, 3).astype(np.float32)
LOG_P = multivariate_normal(np.zeros(5), COVARIANCE).logpdf(X)
# Columns of W are orthogonal, so the posterior is diagonal.
VARIANCE = 1 / (1 + (W**2).sum(0) / NOISE**2)
STATE = {"encoder": {}, "decoder": {}}


def posterior(params, state, x, *, train, key=None):
    del train, key
    loc = x @ params["encoder"]["v"]
    scale = jnp.exp(params["encoder"]["log_scale"])
    return Gaussian(loc, jnp.broadcast_to(scale, loc.shape)), state


def log_x(params, state, z, x, *, train, key=None):
    del train, key
    return jnp.sum(gaussian.log_prob(x, z @ params["decoder"].T, NOISE), -1), state


def log_z(params, state, z):
    return jnp.sum(gaussian.log_prob(z, 0.0, 1.0), -1)


LINEAR = LatentModel(
    name="the linear model",
    parts=("encoder", "decoder"),
    posterior=posterior,
    sample_posterior=posteriors.sample_gaussian,
    log_likelihood=log_x,
    sample_prior=lambda params, state, key, num: jax.random.normal(key, (num, 2)),
    decode=lambda params, state, z: z @ params["decoder"].T,
    log_prior=log_z,
    log_posterior=gaussian_log_q,
    entropy=lambda q: gaussian.entropy(q.scale),
    rate=lambda params, state, q: gaussian.kl(*q, 0.0, 1.0),
)


def weights(off=0.0):
    """Parameters with the exact posterior, or one that is off."""
    encoder = {"v": W * VARIANCE / NOISE**2 + off, "log_scale": np.log(np.sqrt(VARIANCE)) - off}
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), {"encoder": encoder, "decoder": W})


def loss_of(key=0, **options):
    """The loss of the linear model as a function of its parameters."""
    loss = latent.loss(LINEAR, **options)
    batch = {"x": jnp.asarray(X), "step": jnp.int32(2)}
    return lambda params: loss(params, STATE, batch, jax.random.key(key))[0]


def by_hand(name, params, key, num_samples, beta):
    """The negative bound, from the draws up."""
    loc = X @ params["encoder"]["v"]
    scale = jnp.broadcast_to(jnp.exp(params["encoder"]["log_scale"]), loc.shape)
    noise = jax.random.normal(key, (num_samples * loc.size,)).reshape(num_samples, *loc.shape)
    z = loc + scale * noise
    mean = lambda z: jnp.einsum("sbd,pd->sbp", z, params["decoder"])
    fit = lambda z: jnp.sum(norm_logpdf(X, mean(z), NOISE), -1)
    joint = lambda z: fit(z) + beta * jnp.sum(norm_logpdf(z, 0.0, 1.0), -1)
    if name == "analytic":
        rate = -jnp.sum(jnp.log(scale) + 0.5 * jnp.log(2 * jnp.pi * jnp.e), -1)
        rate = rate - jnp.sum(norm_logpdf(z, 0.0, 1.0), -1)
        return -jnp.mean(fit(z) - beta * rate)
    log_q = lambda q, z: jnp.sum(norm_logpdf(z, *q), -1)
    return -jnp.mean(path_derivatives.BOUNDS[name](z, (loc, scale), joint, log_q, beta))


def norm_logpdf(x, loc, scale):
    return -(((x - loc) / scale) ** 2) / 2 - jnp.log(scale) - jnp.log(2 * jnp.pi) / 2


@pytest.mark.parametrize("name", latent.BOUNDS)
@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_the_loss_and_its_gradient_are_those_of_the_bound(name, beta):
    """Every draw, by the functions of `path_derivatives` on densities written out here."""
    params, key = weights(0.2), jax.random.key(4)
    factor = lambda step: beta * (step == 2)
    found = jax.jit(jax.value_and_grad(loss_of(4, bound=name, num_samples=5, beta=factor)))(params)
    truth = jax.jit(jax.value_and_grad(lambda p: by_hand(name, p, key, 5, beta)))(params)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(truth), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_at_the_exact_posterior_every_sampled_bound_is_log_p():
    for name in path_derivatives.BOUNDS:
        found = latent.bound(jax.random.key(0), LINEAR, weights(), STATE, X, name, num_samples=3)
        np.testing.assert_allclose(found, LOG_P, rtol=1e-4, err_msg=name)


def test_bounds_are_ordered_and_importance_weighting_reaches_log_p():
    """ELBO < 4 draws < 64 draws < log p(x), each by many standard errors; 100,000 draws are at
    log p(x). The analytic ELBO is that of the closed form. q is wider than the posterior, so that
    weights are bounded."""
    params = weights(-0.3)
    keys = jax.random.split(jax.random.key(1), 4000)

    def mean_of(name, num_samples=None):
        one = lambda key: latent.bound(key, LINEAR, params, STATE, X, name, num_samples=num_samples)
        draws = np.asarray(jax.jit(jax.vmap(one))(keys), np.float64).mean(1)
        return draws.mean(), draws.std() / np.sqrt(len(keys))

    q = latent.posterior(LINEAR, params, STATE, X)
    fit = norm.logpdf(X, np.asarray(q.loc) @ W.T, NOISE).sum(1)
    spread = (np.asarray(q.scale) ** 2 @ (W**2).T).sum(1) / (2 * NOISE**2)
    elbo = np.mean(fit - spread - np.asarray(gaussian.kl(*q, 0.0, 1.0)).sum(1))
    ladder = [
        mean_of("analytic"),
        mean_of("importance_weighted", 4),
        mean_of("importance_weighted", 64),
        (LOG_P.mean(), 0.0),
    ]
    assert abs(ladder[0][0] - elbo) < 4.5 * ladder[0][1]
    for (low, low_error), (high, high_error) in zip(ladder, ladder[1:], strict=False):
        assert low + 4 * np.hypot(low_error, high_error) < high
    near = weights(-0.1)
    many = latent.bound(
        jax.random.key(2), LINEAR, near, STATE, X, "importance_weighted", num_samples=100_000
    )
    np.testing.assert_allclose(many, LOG_P, atol=0.02)
    one = latent.bound(jax.random.key(2), LINEAR, near, STATE, X, "importance_weighted")
    assert np.max(np.abs(one - LOG_P)) > 0.1


def test_log_weights_are_joint_over_posterior():
    """With a uniform scale of q the draws can be read off: E w = p(x) for any q."""
    params = weights(0.3)
    log_w = latent.log_weights(jax.random.key(3), LINEAR, params, STATE, X, 6)
    q = latent.posterior(LINEAR, params, STATE, X)
    z = np.asarray(posteriors.sample_gaussian(jax.random.key(3), q, 6), np.float64)
    truth = norm.logpdf(X, z @ W.T, NOISE).sum(-1) + norm.logpdf(z).sum(-1)
    truth -= norm.logpdf(z, np.asarray(q.loc), np.asarray(q.scale)).sum(-1)
    np.testing.assert_allclose(log_w, truth, rtol=1e-4, atol=1e-4)


def test_terms_of_more_draws_are_their_mean():
    params, key = weights(0.3), jax.random.key(5)
    found = latent.terms(key, LINEAR, params, STATE, X, 2.0, num_samples=4)
    q = latent.posterior(LINEAR, params, STATE, X)
    z = np.asarray(posteriors.sample_gaussian(key, q, 4), np.float64)
    fit = norm.logpdf(X, z @ W.T, NOISE).sum(-1).mean(0)
    kl = -norm.entropy(scale=np.asarray(q.scale)).sum(-1) - norm.logpdf(z).sum(-1).mean(0)
    np.testing.assert_allclose(found.log_likelihood, fit, rtol=1e-5)
    np.testing.assert_allclose(found.kl, kl, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.elbo, fit - 2 * kl, rtol=1e-4)
    closed = latent.terms(key, LINEAR._replace(entropy=None), params, STATE, X)
    np.testing.assert_allclose(closed.kl, np.asarray(gaussian.kl(*q, 0.0, 1.0)).sum(1), rtol=1e-5)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_free_bits_put_a_floor_under_the_rate(beta):
    """By latent on the closed form, in all on the estimate; a floor below the rate changes nothing
    and one above takes the encoder's rate out of the gradient."""
    params, factor = weights(0.2), lambda step: beta
    q = latent.posterior(LINEAR, params, STATE, X)
    kl = np.asarray(gaussian.kl(*q, 0.0, 1.0), np.float64)
    terms = latent.terms(jax.random.key(0), LINEAR, params, STATE, X)
    fit, floor = float(terms.log_likelihood.mean()), float(np.mean(kl.mean(0)))
    assert kl.mean(0).min() < floor < kl.mean(0).max()
    loss = loss_of(beta=factor, free_bits=floor, free_bits_by="latent")(params)
    assert float(loss) == pytest.approx(beta * np.maximum(kl.mean(0), floor).sum() - fit, rel=1e-4)
    for floor in (0.1, 50.0):
        loss = loss_of(beta=factor, free_bits=floor)(params)
        whole = beta * max(float(terms.kl.mean()), floor) - fit
        assert float(loss) == pytest.approx(whole, rel=1e-4)
    free = jax.grad(loss_of(beta=factor, free_bits=50.0))(params)
    fit_only = jax.grad(loss_of(beta=lambda step: 0.0))(params)
    for a, b in zip(jax.tree.leaves(free), jax.tree.leaves(fit_only), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_metrics_are_those_of_the_model_whatever_is_minimised():
    params = weights(0.2)
    batch = {"x": jnp.asarray(X), "step": jnp.int32(0)}
    for name in latent.BOUNDS:
        loss = latent.loss(LINEAR, bound=name, num_samples=4, beta=lambda step: 0.5)
        metrics = loss(params, STATE, batch, jax.random.key(6))[1].metrics
        assert metrics["elbo"] == pytest.approx(metrics["log_likelihood"] - metrics["kl"])
        if name != latent.ANALYTIC:
            plain = latent.loss(LINEAR, bound=name, num_samples=4)
            value = plain(params, STATE, batch, jax.random.key(6))[0]
            assert metrics["bound"] == pytest.approx(-float(value), rel=1e-5)
            expected = 0.0 if name in ("elbo", "sticking_the_landing") else 1e-3
            assert metrics["bound"] - metrics["elbo"] >= expected - 1e-5


# A VAE under every prior.

SHAPE = (2, 3, 1)
RATE = 0.05  # of plain gradient descent
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 2, (6, *SHAPE)), jnp.float32)
AGGREGATE = (
    np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32),
    np.full((4, 2), 0.7, np.float32),
)
SMALL = {"num_layers": 2, "hidden": (4,)}  # flows compile slowly
PRIORS = {
    name: lambda encode, name=name: priors.PRIORS[name](2, **SMALL)
    for name in ("coupling_flow", "spline_flow", "autoregressive_flow")
} | {
    "standard_normal": lambda encode: priors.standard_normal(2),
    "mixture": lambda encode: priors.mixture(2, 3),
    "vamp": lambda encode: priors.vamp(encode, 3, SHAPE),
    "aggregated_posterior": lambda encode: priors.aggregated_posterior(*AGGREGATE),
}


def recipe(prior):
    encoder = reshaped(from_flax(MLP((5, 4), "tanh", "he")), (4,))
    decoder = reshaped(from_flax(MLP((5, 6), "tanh", "he")), SHAPE)
    return models.Vae(encoder, decoder, 2, PRIORS[prior])


def vae_by_hand(made, name, params, key, num_samples):
    """The negative bound of a VAE from its networks and its prior."""
    run = lambda part, network, x: network.apply(params[part], {}, x, train=False)[0]
    encode = lambda x: (lambda out: (out[:, :2], jnp.exp(out[:, 2:])))(
        run("encoder", made.encoder, x)
    )
    loc, scale = encode(IMAGES)
    noise = jax.random.normal(key, (num_samples * loc.size,)).reshape(num_samples, *loc.shape)
    z = loc + scale * noise
    prior = made.prior(encode)

    def joint(z):
        logits = run("decoder", made.decoder, z.reshape(-1, 2)).reshape(num_samples, 6, *SHAPE)
        pixels = jnp.sum(bernoulli.log_prob(IMAGES, logits), axis=(-3, -2, -1))
        return pixels + prior.log_prob(params["prior"], z)

    if name == "analytic":
        entropy = jnp.sum(jnp.log(scale) + 0.5 * jnp.log(2 * jnp.pi * jnp.e), -1)
        return -jnp.mean(joint(z) + entropy)
    log_q = lambda q, z: jnp.sum(norm_logpdf(z, *q), -1)
    return -jnp.mean(path_derivatives.BOUNDS[name](z, (loc, scale), joint, log_q))


@pytest.mark.parametrize("prior", sorted(PRIORS))
def test_every_bound_with_every_prior(prior):
    """Two steps are finite and move all parts, the first along the gradient of the bound."""
    assert set(PRIORS) >= priors.FROM_DIM
    made, key = recipe(prior), jax.random.key(3)
    first = jax.random.split(key)[0]  # the stream of noise
    for _ in ("step", "player", "update"):
        first = jax.random.fold_in(first, 0)
    params, state = models.vae(made, SHAPE).init(jax.random.key(0))
    batch = {"x": IMAGES, "step": jnp.int32(0)}

    def run(params):
        found = {}
        for name in latent.BOUNDS:
            model = models.vae(made, SHAPE, bound=name, num_samples=2)
            truth = jax.grad(lambda p, name=name: vae_by_hand(made, name, p, first, 2))(params)
            algorithm = training.alternating(model.players, {"vae": optax.sgd(RATE)})

            def step(now, _, algorithm=algorithm):
                now, info = algorithm.step(now, lambda index: batch)
                return now, (now.params, info.losses["vae"])

            start = algorithm.init(key, params, state)
            found[name] = truth, *jax.lax.scan(step, start, None, length=2)[1]
        return found

    for name, (truth, moved, losses) in jax.jit(run)(params).items():
        assert np.all(np.isfinite(losses)), name
        slopes = jax.tree.map(lambda a, b: (a - b[0]) / RATE, params, moved)
        for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(truth), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=5e-4, err_msg=name)
        for part in params:
            before = jax.tree.leaves(params[part])
            after = [leaf[1] for leaf in jax.tree.leaves(moved[part])]
            assert all(np.all(np.isfinite(a)) for a in after), (name, part)
            changed = any(np.any(a != b) for a, b in zip(before, after, strict=True))
            assert changed or not before, (name, part)


# What a family lacks is refused by name.


def implicit():
    networks = {"encoder": (2,), "decoder": SHAPE, "critic": ()}
    made = {part: reshaped(from_flax(MLP((4,))), shape) for part, shape in networks.items()}
    return models.AdversarialVae(
        **made, prior=priors.standard_normal(2), latent_size=2, noise_size=2
    )


def codes():
    network = reshaped(from_flax(MLP((6,))), (2, 3))
    return models.GumbelVae(network, reshaped(from_flax(MLP((6,))), SHAPE), (2,), 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: latent.loss(implicit()),
            "'analytic' needs the entropy of .* neither of which adversarial variational Bayes has",
        ),
        (
            lambda: latent.loss(implicit(), bound="elbo"),
            r"'elbo' needs the density log q\(z \| x\), which adversarial variational Bayes does",
        ),
        (
            lambda: latent.log_weights(jax.random.key(0), implicit(), {}, {}, IMAGES, 2),
            r"log p\(x, z\) / q\(z \| x\) needs the density log q\(z \| x\), which adversarial",
        ),
        (
            lambda: posteriors.surgery(implicit(), {}, {}, (), IMAGES),
            r"surgery needs the density log q\(z \| x\), which adversarial",
        ),
        (
            lambda: posteriors.annealing_start(implicit(), {}, {}, IMAGES),
            r"from the posterior needs the density log q\(z \| x\), which adversarial",
        ),
        (
            lambda: latent.loss(codes(), bound="doubly_reparameterized"),
            "needs draws z that are differentiable .* which a VAE with categorical latents does",
        ),
        (
            lambda: posteriors.annealing_start(codes(), {}, {}, IMAGES),
            "annealing needs draws z that are differentiable",
        ),
        (
            lambda: latent.log_prior(LINEAR._replace(log_prior=None), {}, {}, X),
            r"needs the density log p\(z\), which the linear model does not have",
        ),
        (
            lambda: models.vae(recipe("mixture"), SHAPE, free_bits=1.0, free_bits_by="latent"),
            r"needs KL\(q\(z \| x\) \|\| p\(z\)\) by latent in closed form, which a VAE does not",
        ),
        (lambda: models.vae(recipe("mixture"), SHAPE, bound="iwae"), "unknown bound 'iwae'"),
        (
            lambda: models.vae(recipe("mixture"), SHAPE, num_samples=0),
            "num_samples must be at least 1, or None for one draw; got 0",
        ),
        (
            lambda: models.vae(recipe("mixture"), SHAPE, free_bits=-1.0),
            "free_bits must be at least 0 nats, got -1.0",
        ),
        (
            lambda: models.vae(recipe("mixture"), SHAPE, free_bits=1.0, bound="elbo"),
            "free_bits=1.0 goes with bound='analytic'.* got bound='elbo'",
        ),
        (
            lambda: models.vae(recipe("mixture"), SHAPE, free_bits_by="latents"),
            "did you mean 'latent'",
        ),
    ],
)
def test_what_is_not_there_is_refused_by_name(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_free_bits_by_latent_of_a_vae_under_a_product_prior():
    """KL(N(loc, scale^2) || N(0, 1)) by dimension, with a floor between the two."""
    made = recipe("standard_normal")._replace(prior=priors.standard_normal(2))
    params, state = models.vae(made, SHAPE).init(jax.random.key(0))
    loc, scale = (np.asarray(a, np.float64) for a in latent.posterior(made, params, state, IMAGES))
    kl = ((loc**2 + scale**2 - 1) / 2 - np.log(scale)).mean(0)
    floor = float(kl.mean())
    model = models.vae(made, SHAPE, free_bits=floor, free_bits_by="latent")
    batch = {"x": IMAGES, "step": jnp.int32(0)}
    loss, aux = model.players["vae"].loss(params, state, batch, jax.random.key(1))
    fit = float(aux.metrics["log_likelihood"])
    assert float(loss) == pytest.approx(np.maximum(kl, floor).sum() - fit, rel=1e-5)
