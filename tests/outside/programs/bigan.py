"""A family of three players: BiGAN (Donahue et al. 2017, "Adversarial feature learning").

A generator maps z to x, an encoder x to z, and a discriminator tells pairs (x, E(x)) from pairs
(G(z), z). Generator and encoder have batch normalization, the discriminator has dropout.
"""

import flax.linen as nn
import jax.numpy as jnp

from dgm_jax import networks
from dgm_jax.core import Aux, Model, Network, Player, named_key, normal
from dgm_jax.objectives.gan import GanLoss

GENERATOR, ENCODER, DISCRIMINATOR = "generator", "encoder", "discriminator"


class Normalized(nn.Module):
    """A layer of 32 units with batch normalization, then a linear one."""

    features: int

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(32)(x))
        return nn.Dense(self.features)(nn.leaky_relu(x, 0.2))


class Dropped(nn.Module):
    """Two layers of 64 units with dropout, then one logit for each example."""

    @nn.compact
    def __call__(self, x, deterministic=True):
        for _ in range(2):
            x = nn.leaky_relu(nn.Dense(64)(x), 0.2)
            x = nn.Dropout(0.2)(x, deterministic=deterministic)
        return nn.Dense(1)(x)[..., 0]


def bigan(latent_size: int, example_size: int, loss: GanLoss) -> Model:
    """The model and its players; a batch is `{"x": [B, example_size]}`.

    Metrics: the discriminator's mean logits; of the encoder `reconstruction`, the mean square of
    x - G(E(x)).
    """
    nets: dict[str, Network] = {
        GENERATOR: networks.from_flax(Normalized(example_size)),
        ENCODER: networks.from_flax(Normalized(latent_size)),
        DISCRIMINATOR: networks.from_flax(Dropped()),
    }
    sizes = {
        GENERATOR: latent_size,
        ENCODER: example_size,
        DISCRIMINATOR: example_size + latent_size,
    }

    def init(key):
        made = {
            part: net.init(named_key(key, part), jnp.zeros((2, sizes[part])))
            for part, net in nets.items()
        }
        params = {part: pair[0] for part, pair in made.items()}
        return params, {part: pair[1] for part, pair in made.items()}

    def apply(part, params, state, x, key, train=True):
        """The network's output and the model state with its new batch statistics."""
        key = named_key(key, part)
        out, new = nets[part].apply(params[part], state[part], x, train=train, key=key)
        return out, {**state, part: new}

    def logits(params, state, batch, key):
        """(real, fake) logits, the fakes, and the state after all three networks."""
        z = normal(named_key(key, "z"), (batch["x"].shape[0], latent_size))
        fake, state = apply(GENERATOR, params, state, z, key)
        code, state = apply(ENCODER, params, state, batch["x"], key)
        pairs = jnp.concatenate(
            [jnp.concatenate([batch["x"], code], 1), jnp.concatenate([fake, z], 1)]
        )
        scores, state = apply(DISCRIMINATOR, params, state, pairs, key)
        return *jnp.split(scores, 2), state

    def discriminator_loss(params, state, batch, key):
        real, fake, state = logits(params, state, batch, key)
        metrics = {"real_logit": jnp.mean(real), "fake_logit": jnp.mean(fake)}
        return loss.discriminator(real, fake), Aux(state, metrics)

    def generator_loss(params, state, batch, key):
        real, fake, state = logits(params, state, batch, key)
        return loss.generator(real, fake), Aux(state, {})

    def encoder_loss(params, state, batch, key):
        real, fake, state = logits(params, state, batch, key)
        code, _ = apply(ENCODER, params, state, batch["x"], key, train=False)
        error = batch["x"] - decode(params, state, code)
        # for the encoder the real pairs are the ones to be taken for fakes
        value = loss.generator(-fake, -real)
        return value, Aux(state, {"reconstruction": jnp.mean(jnp.square(error))})

    def decode(params, state, z):
        return nets[GENERATOR].apply(params[GENERATOR], state[GENERATOR], z, train=False)[0]

    def sample(params, state, key, num_samples):
        return decode(params, state, normal(key, (num_samples, latent_size)))

    players = {
        DISCRIMINATOR: Player((DISCRIMINATOR,), discriminator_loss),
        GENERATOR: Player((GENERATOR,), generator_loss),
        ENCODER: Player((ENCODER,), encoder_loss),
    }
    return Model(init, players, sample, decode)
