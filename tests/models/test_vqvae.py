"""VQ-VAE: its bound against enumeration, its codebook against the room that keeps it, who moves
what."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from dgm_jax import quantization, training
from dgm_jax.core import SOLO, ConfigError, Network, named_key
from dgm_jax.models import (
    VqVae,
    code_prior,
    vqvae,
    vqvae_codes,
    vqvae_decode,
    vqvae_encode,
    vqvae_log_likelihood,
    vqvae_log_prior,
)
from dgm_jax.networks import Transformer, from_functions, from_transformer
from dgm_jax.objectives.vqvae import uniform_log_prior
from dgm_jax.quantization import (
    codebook_ema,
    codebook_loss_quantizer,
    finite_scalar_quantizer,
    moving_average_quantizer,
    residual_quantizer,
)

SHAPE, K, D = (4, 4, 1), 3, 2
X = jnp.asarray(np.random.default_rng(0).integers(0, 256, (6, *SHAPE)) / 127.5 - 1, jnp.float32)


def linear(outputs):
    """A linear map of the flattened input to an array of shape `outputs`."""
    size = int(np.prod(outputs))
    init = lambda key, x: {"w": jax.random.normal(key, (int(np.prod(x.shape[1:])), size)) / 3}
    return from_functions(
        init, lambda params, x: (x.reshape(len(x), -1) @ params["w"]).reshape(-1, *outputs)
    )


def small(prior=True, quantizer=None):
    """Two codes an image: small enough that all nine grids can be enumerated."""
    transformer = Transformer(K, 2, width=8, num_layers=1, num_heads=2)
    law = code_prior(from_transformer(transformer), (1, 2)) if prior else None
    quantizer = quantizer or moving_average_quantizer(K, D)
    return VqVae(linear((1, 2, D)), linear((4, 4, 2)), (1, 2), quantizer, law)


@functools.cache
def fresh(vae):
    return vqvae(vae, SHAPE).init(jax.random.key(1))


def test_the_likelihood_is_the_discretised_logistic_law():
    vae = small()
    params, state = fresh(vae)
    _, found = vqvae_encode(vae, params, state, X)
    out = np.asarray(found.quantized, np.float64).reshape(6, -1) @ np.asarray(
        params["decoder"]["w"], np.float64
    )
    loc, log_scale = out.reshape(6, 16, 2).transpose(2, 0, 1)
    x, scale = np.asarray(X, np.float64).reshape(6, 16), np.exp(np.maximum(log_scale, -7))
    upper = np.where(x > 0.999, 1.0, scipy.special.expit((x + 1 / 255 - loc) / scale))
    lower = np.where(x < -0.999, 0.0, scipy.special.expit((x - 1 / 255 - loc) / scale))
    expected = np.log(upper - lower).sum(1)
    np.testing.assert_allclose(
        vqvae_log_likelihood(vae, params, state, found.quantized, X), expected, rtol=1e-4
    )
    np.testing.assert_allclose(
        vqvae_decode(vae, params, state, found.quantized).reshape(6, 16),
        np.clip(loc, -1, 1),
        atol=1e-5,
    )


@pytest.mark.parametrize("prior", [True, False])
def test_the_bound_is_below_log_p_of_the_enumerated_model(prior):
    vae = small(prior)
    params, state = fresh(vae)
    grids = jnp.asarray(list(itertools.product(range(K), repeat=2))).reshape(-1, 1, 2)
    prior_of_all = np.asarray(vqvae_log_prior(vae, params, grids), np.float64)
    np.testing.assert_allclose(np.exp(prior_of_all).sum(), 1.0, rtol=1e-5)
    book = state["codebook"].codebook
    joint = [
        np.asarray(
            vqvae_log_likelihood(vae, params, state, jnp.tile(book[g], (6, 1, 1, 1)), X), np.float64
        )
        + p
        for g, p in zip(grids, prior_of_all, strict=True)
    ]
    log_p = np.logaddexp.reduce(joint)
    _, found = vqvae_encode(vae, params, state, X)
    bound = vqvae_log_likelihood(vae, params, state, found.quantized, X) + vqvae_log_prior(
        vae, params, found.codes
    )
    assert np.all(bound <= log_p + 1e-3)
    chosen = [
        list(map(tuple, np.asarray(grids).reshape(-1, 2))).index(tuple(c))
        for c in np.asarray(found.codes)[:, 0]
    ]
    np.testing.assert_allclose(bound, [joint[c][i] for i, c in enumerate(chosen)], rtol=1e-5)


def test_who_moves_what():
    """By SGD: the autoencoder's player leaves the prior alone and the other way round; the codebook
    follows its mean."""
    vae = small(quantizer=moving_average_quantizer(K, D, threshold=0.0, decay=0.9))
    params, state = fresh(vae)
    model = vqvae(vae, SHAPE)
    algorithm = training.simultaneous(
        model.players, {name: optax.sgd(1e-3) for name in model.players}, SOLO
    )
    start = algorithm.init(jax.random.key(0), params, state)
    moved, info = jax.jit(lambda now: algorithm.step(now, lambda index: {"x": X}))(start)
    z, found = vqvae_encode(vae, params, state, X)
    expected = codebook_ema.update(state["codebook"], z, found.codes, 0.9)
    for mine, theirs in zip(moved.state["codebook"], expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    prior_gradient = jax.grad(lambda p: -jnp.mean(vae.prior.log_prob(p, found.codes)))(
        params["prior"]
    )
    for new, old, slope in zip(
        *map(jax.tree.leaves, (moved.params["prior"], params["prior"], prior_gradient)), strict=True
    ):
        np.testing.assert_allclose(new, old - 1e-3 * slope, atol=1e-7)

    def loss(encoder_and_decoder):
        p = {**params, **encoder_and_decoder}
        z, found = vqvae_encode(vae, p, state, X)
        terms = -vqvae_log_likelihood(vae, p, state, found.quantized, X) + 0.25 * jnp.sum(
            (z - book[found.codes]) ** 2, (1, 2, 3)
        )
        return jnp.mean(terms)

    book = state["codebook"].codebook
    own = {name: params[name] for name in ("encoder", "decoder")}
    for name, slope in jax.grad(loss)(own).items():
        np.testing.assert_allclose(
            moved.params[name]["w"], params[name]["w"] - 1e-3 * slope["w"], atol=2e-6
        )
    np.testing.assert_allclose(info.losses["autoencoder"], loss(own), rtol=1e-5)
    usage = quantization.codebook_usage(found.codes, K)
    np.testing.assert_allclose(
        info.metrics["autoencoder"]["batch_perplexity"], usage.perplexity, rtol=1e-6
    )


def test_a_trained_codebook_gets_the_gradient_of_its_term():
    vae = small(prior=False, quantizer=codebook_loss_quantizer(K, D))
    params, state = fresh(vae)
    loss = vqvae(vae, SHAPE).players["autoencoder"].loss
    gradient = jax.grad(lambda p: loss(p, state, {"x": X}, jax.random.key(0))[0])(params)[
        "codebook"
    ]
    z, found = vqvae_encode(vae, params, state, X)
    z, codes = np.asarray(z).reshape(-1, D), np.asarray(found.codes).reshape(-1)
    expected = [
        2 * np.sum(np.asarray(params["codebook"])[k] - z[codes == k], axis=0) / 6 for k in range(K)
    ]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    assert not jax.tree.leaves(state)


def test_codes_that_nothing_uses_start_on_data():
    """With revival the first step puts them on vectors of the batch."""
    vae = small(prior=False)
    params, state = fresh(vae)
    far = state | {
        "codebook": codebook_ema.init(state["codebook"].codebook.at[1:].add(1000.0), count=0.05)
    }
    _, aux = vqvae(vae, SHAPE).players["autoencoder"].loss(params, far, {"x": X}, jax.random.key(0))
    assert aux.metrics["revived"] == 2
    z = np.asarray(vqvae_encode(vae, params, far, X)[0]).reshape(-1, D)
    for row in np.asarray(aux.state["codebook"].codebook)[1:]:
        assert np.any(np.all(z == row, axis=1))


@pytest.mark.parametrize("prior", [True, False])
def test_samples_are_decoded_codes_of_the_prior(prior):
    vae = small(prior)
    params, state = fresh(vae)
    model = vqvae(vae, SHAPE)
    images = np.asarray(model.sample(params, state, jax.random.key(3), 2000))
    grids = jnp.asarray(list(itertools.product(range(K), repeat=2))).reshape(-1, 1, 2)
    every = np.asarray(model.decode(params, state, grids))
    share = np.array(
        [np.all(np.abs(images - image) < 1e-5, axis=(1, 2, 3)).mean() for image in every]
    )
    np.testing.assert_allclose(share.sum(), 1.0)
    p = np.exp(np.asarray(vqvae_log_prior(vae, params, grids), np.float64))
    assert np.all(np.abs(share - p) < 4.5 * np.sqrt(p * (1 - p) / 2000))


def test_codes_carry_no_gradient():
    vae = small(prior=False)
    params, state = fresh(vae)
    assert vqvae_codes(vae, params, state, X).dtype == jnp.int32
    np.testing.assert_allclose(
        vqvae_log_prior(vae, params, jnp.zeros((2, 1, 2), jnp.int32)),
        uniform_log_prior(2, K),
        rtol=1e-6,
    )


def test_an_encoder_of_another_shape():
    with pytest.raises(ConfigError, match=r"encoder gives \(1, 2, 2\), but .* \(2, 2, 2\)"):
        vqvae(small(prior=False)._replace(grid=(2, 2)), SHAPE).init(jax.random.key(0))
    with pytest.raises(ConfigError, match=r"encoder gives \(1, 2, 2\), but .* \(1, 2, 3\)"):
        wide = finite_scalar_quantizer([3, 3, 3])
        vqvae(small(prior=False, quantizer=wide), SHAPE).init(jax.random.key(0))


def masked(network):
    """A network whose training form hides half of its output at random, and counts its calls."""

    def init(key, x):
        return network.init(key, x)[0], {"calls": jnp.zeros(())}

    def apply(params, state, x, *, train, key=None):
        out, _ = network.apply(params, {}, x, train=False)
        if not train:
            return out, state
        return out * jax.random.bernoulli(key, 0.5, out.shape), {"calls": state["calls"] + 1}

    return Network(init, apply)


def test_networks_train_in_training_form_and_the_prior_sees_the_inference_form():
    plain = small()
    vae = plain._replace(encoder=masked(plain.encoder), decoder=masked(plain.decoder))
    params, state = fresh(vae)
    autoencoder, prior = vqvae(vae, SHAPE).players.values()
    key = jax.random.key(5)
    value, aux = autoencoder.loss(params, state, {"x": X}, key)
    z, _ = vae.encoder.apply(
        params["encoder"], state["encoder"], X, train=True, key=named_key(key, "encoder")
    )
    quantized = vae.quantizer.quantize(params["codebook"], state["codebook"], z)
    out, _ = vae.decoder.apply(
        params["decoder"],
        state["decoder"],
        quantized.quantized,
        train=True,
        key=named_key(key, "decoder"),
    )
    identity = Network(lambda key, x: ({}, {}), lambda params, state, x, **_: (x, state))
    likelihood = vqvae_log_likelihood(vae._replace(decoder=identity), params, state, out, X)
    commitment = np.square(np.asarray(z) - np.asarray(quantized.quantized)).sum((1, 2, 3))
    np.testing.assert_allclose(value, np.mean(0.25 * commitment - likelihood), rtol=1e-5)
    assert aux.state["encoder"]["calls"] == aux.state["decoder"]["calls"] == 1
    other, _ = autoencoder.loss(params, state, {"x": X}, jax.random.key(6))
    assert other != value
    nats, aux = prior.loss(params, state, {"x": X}, key)
    plain_state = state | {"encoder": {}, "decoder": {}}
    expected, _ = vqvae(plain, SHAPE).players["prior"].loss(params, plain_state, {"x": X}, key)
    assert nats == expected
    assert aux.state["encoder"]["calls"] == 0


LEVELS = {
    "finite_scalar": (finite_scalar_quantizer([3, 2]), 6, ()),
    "residual": (residual_quantizer(4, D, 3), 4, (3,)),
}


@functools.cache
def trained(name):
    """(recipe, model, parameters and state after three steps, what the last of them told)."""
    quantizer, num_codes, levels = LEVELS[name]
    length = 2 * int(np.prod(levels))
    transformer = Transformer(num_codes, length, width=8, num_layers=1, num_heads=2)
    law = code_prior(from_transformer(transformer), (1, 2, *levels))
    vae = VqVae(linear((1, 2, D)), linear((4, 4, 2)), (1, 2), quantizer, law)
    model = vqvae(vae, SHAPE)
    algorithm = training.simultaneous(
        model.players, {player: optax.adam(1e-2) for player in model.players}, SOLO
    )
    now = algorithm.init(jax.random.key(0), *model.init(jax.random.key(1)))
    step = jax.jit(lambda now: algorithm.step(now, lambda index: {"x": X}))
    (before, _), (after, info) = step(step(now)[0]), step(step(step(now)[0])[0])
    return vae, model, (before, after), info


@pytest.mark.parametrize("name", LEVELS)
def test_quantizers_with_levels_and_without_a_codebook_train(name):
    """Usage of each level from counts by numpy; the prior is over all codes of an image."""
    vae, model, (before, after), info = trained(name)
    _, num_codes, levels = LEVELS[name]
    codes = np.asarray(vqvae_codes(vae, before.params, before.state, X))
    assert codes.shape == (6, 1, 2, *levels) and 0 <= codes.min() <= codes.max() < num_codes
    usage = quantization.codebook_usage(codes, num_codes, levels)
    assert usage.perplexity.shape == levels
    for index, level in enumerate(codes.reshape(12, -1).T):
        share = np.bincount(level, minlength=num_codes) / 12
        perplexity = np.exp(-np.sum(scipy.special.xlogy(share, share)))
        metric = f"batch_perplexity_{index}" if levels else "batch_perplexity"
        np.testing.assert_allclose(info.metrics["autoencoder"][metric], perplexity, rtol=1e-5)
        np.testing.assert_allclose(usage.perplexity.reshape(-1)[index], perplexity, rtol=1e-5)
        assert usage.num_used.reshape(-1)[index] == np.sum(share > 0)
    for part in ("encoder", "decoder", "prior"):
        moved = jax.tree.map(lambda a, b: np.any(a != b), before.params[part], after.params[part])
        assert any(jax.tree.leaves(moved))
    assert (name == "residual") == bool(jax.tree.leaves(after.state["codebook"]))
    images = model.sample(after.params, after.state, jax.random.key(2), 4)
    assert images.shape == (4, *SHAPE) and np.all(np.isfinite(images))


@pytest.mark.parametrize("name", LEVELS)
def test_decoded_codes_are_reconstructions(name):
    vae, model, (_, now), _ = trained(name)
    _, quantized = vqvae_encode(vae, now.params, now.state, X)
    np.testing.assert_array_equal(
        model.decode(now.params, now.state, quantized.codes),
        vqvae_decode(vae, now.params, now.state, quantized.quantized),
    )
    uniform = vqvae_log_prior(vae._replace(prior=None), now.params, quantized.codes)
    size = 2 * int(np.prod(LEVELS[name][2]))
    np.testing.assert_allclose(uniform, np.full(6, -size * np.log(LEVELS[name][1])), rtol=1e-6)


def test_a_codebook_that_starts_by_kmeans_stands_on_the_first_images():
    """As many codes as vectors: each code is one of them."""
    quantizer = moving_average_quantizer(12, D, start="kmeans")
    vae = small(prior=False, quantizer=quantizer)
    params, state = vqvae(vae, SHAPE, first_images=X).init(jax.random.key(1))
    z, quantized = vqvae_encode(vae, params, state, X)
    order = lambda rows: np.asarray(sorted(map(tuple, np.asarray(rows).reshape(-1, D))))
    np.testing.assert_allclose(order(state["codebook"].codebook), order(z), rtol=1e-5)
    np.testing.assert_allclose(quantized.commitment_loss, 0, atol=1e-9)
    with pytest.raises(ConfigError, match="needs vectors"):
        vqvae(vae, SHAPE).init(jax.random.key(1))


@pytest.mark.parametrize("prior", [True, False])
def test_images_that_only_fill_up_a_batch_change_nothing(prior):
    """Losses, gradients, metrics and the moved codebook are those of the batch without them (up to
    the rounding of networks at another batch size), whatever those images hold."""
    vae = small(prior, quantizer=moving_average_quantizer(K, D, threshold=0.9))
    params, state = fresh(vae)
    mask = np.array([True, False, True, True, False, False])
    key = jax.random.key(4)
    for player in vqvae(vae, SHAPE).players.values():
        grad = jax.jit(jax.value_and_grad(player.loss, has_aux=True))
        (value, aux), slopes = grad(params, state, {"x": X, "mask": mask}, key)
        others = jnp.where(mask[:, None, None, None], X, 1.0)
        padded = (value, aux), slopes
        with_others = grad(params, state, {"x": others, "mask": mask}, key)
        jax.tree.map(np.testing.assert_array_equal, padded, with_others)
        (value_alone, alone), slopes_alone = grad(params, state, {"x": X[mask]}, key)
        for one, other in zip(*map(jax.tree.leaves, (aux.state, alone.state)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(value, value_alone, rtol=1e-6)
        assert set(aux.metrics) == set(alone.metrics)
        for name, metric in aux.metrics.items():
            np.testing.assert_allclose(metric, alone.metrics[name], rtol=1e-5)
        for one, other in zip(*map(jax.tree.leaves, (slopes, slopes_alone)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match=r"mask must be \(6,\)"):
        player.loss(params, state, {"x": X, "mask": mask[:2]}, key)
