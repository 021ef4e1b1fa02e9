"""Batch statistics of a network are either trained, or refused by name, by every recipe; dropout
acts in training and in training only."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dgm_jax import models, priors, training
from dgm_jax.core import ConfigError, Network
from dgm_jax.models import AdversarialVae, GumbelVae, Vae, VqVae
from dgm_jax.models.classifier import image_classifier
from dgm_jax.networks import MLP, from_flax
from dgm_jax.objectives.gan import LOSSES
from dgm_jax.quantization import moving_average_quantizer

SHAPE = (2, 3, 1)
X = jnp.asarray(np.random.default_rng(0).integers(0, 2, (8, *SHAPE)), jnp.float32)


class Dropped(nn.Module):
    """An MLP that drops hidden units in training; the rate changes no parameter."""

    size: int
    rate: float

    @nn.compact
    def __call__(self, x, train: bool = False):
        hidden = nn.relu(nn.Dense(16)(x))
        return nn.Dense(self.size)(nn.Dropout(self.rate, deterministic=not train)(hidden))


def network(output_shape, settings):
    """An MLP of the joined inputs with output [B, *output_shape]. settings: False for a plain one,
    True for batch statistics, or a rate of dropout."""
    size = int(np.prod(output_shape))
    if isinstance(settings, float):
        inner = from_flax(Dropped(size, settings))
    else:
        inner = from_flax(MLP((4, size), normalization="batch" if settings else "none"))

    def joined(inputs):
        return jnp.concatenate([x.reshape(x.shape[0], -1) for x in jax.tree.leaves(inputs)], axis=1)

    def apply(params, state, inputs, /, *, train, key=None):
        out, state = inner.apply(params, state, joined(inputs), train=train, key=key)
        return out.reshape(-1, *output_shape), state

    return Network(lambda key, inputs: inner.init(key, joined(inputs)), apply)


def of(part, normalised):
    """The settings of a part: of a set of names those in it are normalised, a dictionary says
    them."""
    return normalised.get(part, False) if isinstance(normalised, dict) else part in normalised


def vae_of(normalised):
    encoder, decoder = (
        network((4,), of("encoder", normalised)),
        network(SHAPE, of("decoder", normalised)),
    )
    return models.vae(Vae(encoder, decoder, 2, priors.standard_normal(2)), SHAPE)


def categorical(normalised):
    encoder = network((2, 3), of("encoder", normalised))
    return GumbelVae(encoder, network(SHAPE, of("decoder", normalised)), (2,), 3)


def gumbel_vae_of(normalised):
    return models.gumbel_vae(categorical(normalised), SHAPE)


def discrete_vae_of(normalised):
    constant = lambda step: 1.0
    return models.discrete_vae(categorical(normalised), SHAPE, temperature=constant, beta=constant)


def vqvae_of(normalised):
    encoder = network((1, 2, 2), of("encoder", normalised))
    decoder = network((*SHAPE[:2], 2), of("decoder", normalised))
    return models.vqvae(VqVae(encoder, decoder, (1, 2), moving_average_quantizer(3, 2)), SHAPE)


def avb_of(normalised):
    parts = {"encoder": (2,), "decoder": SHAPE, "critic": ()}
    made = {part: network(shape, of(part, normalised)) for part, shape in parts.items()}
    avb = AdversarialVae(**made, prior=priors.standard_normal(2), latent_size=2, noise_size=2)
    return models.adversarial_variational_bayes(avb, SHAPE)


def gan_of(normalised):
    return models.gan(
        network(SHAPE, of("generator", normalised)),
        network((), of("discriminator", normalised)),
        LOSSES["non_saturating"],
        latent_size=2,
        example_shape=SHAPE,
    )


def classifier_of(normalised):
    inner = network((3,), of("classifier", normalised))

    def apply(params, state, x, /, *, train, key=None):
        logits, state = inner.apply(params, state, x, train=train, key=key)
        return (logits, logits), state

    return image_classifier(Network(inner.init, apply), SHAPE)


# Estimators of `gumbel_vae` decode one example at a time, so its decoder has no batch.
REFUSES = {gumbel_vae_of: ("decoder",)}
TRAINS = {
    vae_of: ("encoder", "decoder"),
    gumbel_vae_of: ("encoder",),
    discrete_vae_of: ("encoder", "decoder"),
    vqvae_of: ("encoder", "decoder"),
    avb_of: ("encoder", "decoder", "critic"),
    gan_of: ("generator", "discriminator"),
    classifier_of: ("classifier",),
}
DROPS = {
    vae_of: ("encoder", "decoder"),
    gumbel_vae_of: ("encoder", "decoder"),
    discrete_vae_of: ("encoder", "decoder"),
    vqvae_of: ("encoder", "decoder"),
    avb_of: ("encoder", "decoder", "critic"),
    gan_of: ("generator", "discriminator"),
}


def cases(recipes):
    return [(recipe, part) for recipe, parts in recipes.items() for part in parts]


@pytest.mark.parametrize("recipe, part", cases(REFUSES))
def test_a_recipe_that_would_not_train_the_state_names_the_part(recipe, part):
    with pytest.raises(ConfigError, match=rf"train its {part}: .*\(\['batch_stats'\]\).*without"):
        recipe({part}).init(jax.random.key(0))


@pytest.mark.parametrize("recipe", REFUSES)
def test_the_same_networks_without_state_are_taken(recipe):
    params, _ = recipe(set()).init(jax.random.key(0))
    assert set(REFUSES[recipe]) <= set(params)


@pytest.mark.parametrize("recipe, part", cases(TRAINS))
def test_a_recipe_that_takes_state_trains_it(recipe, part):
    """After one step every running mean and variance has moved from its start of 0 and 1."""
    model = recipe({part})
    algorithm = training.alternating(
        model.players, {name: optax.sgd(0.1) for name in model.players}
    )
    z = jax.random.normal(jax.random.key(1), (len(X), 2))
    batch = {"x": X, "z": z, "label": jnp.arange(len(X)) % 3, "step": jnp.int32(0)}
    start = algorithm.init(jax.random.key(2), *model.init(jax.random.key(0)))
    moved, _ = jax.jit(lambda now: algorithm.step(now, lambda index: batch))(start)
    before, after = (jax.tree.leaves(now.state[part]) for now in (start, moved))
    assert before and all(np.any(a != b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("recipe, part", cases(TRAINS))
def test_what_a_trained_model_shows_is_the_inference_form(recipe, part):
    """An image does not depend on the batch that it is decoded in."""
    model = recipe({part})
    if model.decode is None:
        return
    params, state = model.init(jax.random.key(0))
    if recipe is vqvae_of:
        z = jax.random.randint(jax.random.key(1), (4, 1, 2), 0, 3)
    else:
        shape = {gumbel_vae_of: (2, 3), discrete_vae_of: (2, 3)}.get(recipe, (2,))
        z = jax.random.normal(jax.random.key(1), (4, *shape))
    together, alone = model.decode(params, state, z), model.decode(params, state, z[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-6)


@pytest.mark.parametrize("recipe, part", cases(DROPS))
def test_dropout_acts_in_training_and_only_there(recipe, part):
    """Losses at one key and one set of parameters differ by the rate of a part alone; no rate
    changes what is shown, nor the draws of the noise."""
    z = jax.random.normal(jax.random.key(1), (len(X), 2))
    batch = {"x": X, "z": z, "step": jnp.int32(0)}

    def evaluate(rate):
        model = recipe({part: rate})
        params, state = model.init(jax.random.key(0))
        key = jax.random.key(3)
        losses = [player.loss(params, state, batch, key)[0] for player in model.players.values()]
        return np.array(losses), np.asarray(model.sample(params, state, key, 4))

    losses, shown = evaluate(0.0)
    dropped, shown_too = evaluate(0.5)
    assert np.all(np.isfinite(dropped)) and np.any(np.abs(dropped - losses) > 1e-3)
    np.testing.assert_array_equal(shown, shown_too)


def test_every_recipe_that_takes_a_network_is_looked_at_here():
    """`toy_gan` and `dirac_gan` make their own networks for `gan`; `autoregressive` takes a
    `CausalNetwork`, which has no state."""
    looked_at = {recipe.__name__.removesuffix("_of") for recipe in REFUSES | TRAINS}
    looked_at = {"adversarial_variational_bayes" if name == "avb" else name for name in looked_at}
    others = {"toy_gan", "dirac_gan", "autoregressive"}
    assert set(models.MODELS) | {"classifier"} == looked_at | others
