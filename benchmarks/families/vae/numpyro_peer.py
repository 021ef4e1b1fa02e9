"""The dense VAE in numpyro: its stochastic variational inference of a model and a guide."""

import jax
import jax.numpy as jnp
import numpyro
import optax
from numpyro import distributions
from numpyro.contrib.module import flax_module
from numpyro.infer import SVI, TraceMeanField_ELBO

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared.images import binary_images
from benchmarks.families.vae import NUM_IMAGES, PIXELS, widths
from dgm_jax.networks import MLP

ENCODER, DECODER = "encoder", "decoder"


def inference(width: int, latent: int, batch: int) -> SVI:
    """Maximizes the mean of the bound over a batch, with the KL in closed form."""
    encoder, decoder = (MLP(own[1:], "relu", "glorot") for own in widths(width, latent))

    def model(x):
        decode = flax_module(DECODER, decoder, input_shape=(1, latent))
        with numpyro.handlers.scale(scale=1 / batch), numpyro.plate("examples", batch):
            prior = distributions.Normal(jnp.zeros(latent), 1.0).to_event(1)
            logits = decode(numpyro.sample("z", prior))
            numpyro.sample("x", distributions.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x):
        encode = flax_module(ENCODER, encoder, input_shape=(1, PIXELS))
        loc, log_scale = jnp.split(encode(x), 2, axis=-1)
        with numpyro.handlers.scale(scale=1 / batch), numpyro.plate("examples", batch):
            numpyro.sample("z", distributions.Normal(loc, jnp.exp(log_scale)).to_event(1))

    return SVI(model, guide, optax.adam(1e-3), TraceMeanField_ELBO())


def weights(params) -> dict:
    """Those of the library's model, by numpyro's names."""
    return {f"{name}$params": params[name] for name in (ENCODER, DECODER)}


def loss(params, x, noise):
    """-ELBO at z = loc + scale noise, the library's weights."""
    svi = inference(params[ENCODER]["Dense_0"]["kernel"].shape[1], noise.shape[1], len(x))
    named = weights(params)
    trace = numpyro.handlers.trace(
        numpyro.handlers.seed(numpyro.handlers.substitute(svi.guide, named), 0)
    ).get_trace(x)
    q = trace["z"]["fn"].base_dist
    at_z = numpyro.handlers.substitute(svi.guide, {"z": q.loc + q.scale * noise})
    return svi.loss.loss(jax.random.key(0), named, svi.model, at_z, x)


def train(shape: dict[str, int], steps: int, seeds: int) -> Case:
    """Steps of all seeds in one compiled call, on random rows."""
    svi = inference(**shape)
    images = jnp.asarray(binary_images(NUM_IMAGES)).reshape(NUM_IMAGES, PIXELS)
    batch = lambda which: images[which].astype(jnp.float32)

    def step(images, carry):
        state, key = carry
        key, own = jax.random.split(key)
        which = jax.random.randint(own, (shape["batch"],), 0, NUM_IMAGES)
        state, value = svi.update(state, images[which].astype(jnp.float32))
        return (state, key), value

    keys = jax.random.split(jax.random.key(0), seeds)
    start = jax.vmap(lambda key: svi.init(key, batch(jnp.arange(shape["batch"]))))(keys)
    return shared.repeated(step, (start, keys), images, seeds=seeds, steps=steps)
