"""A denoising diffusion model on vectors (Ho et al. 2020): noise is predicted at a random level."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import networks, training
from dgm_jax.core import Aux, Player, Task, normal

DENOISER, LEVELS = "denoiser", 50
ALPHA_BAR = np.cumprod(1 - np.linspace(1e-3, 0.2, LEVELS)).astype(np.float32)


def denoising_task(size: int, num_steps: int, batch_size: int = 256) -> Task:
    """E |noise - prediction(sqrt(a) x + sqrt(1 - a) noise, level)|^2; samples are ancestral."""
    network = networks.from_flax(networks.MLP((64, 64, size), "silu"))

    def predict(params, noisy, level):
        level = jnp.broadcast_to(level, noisy.shape[:1])[:, None] / LEVELS
        inputs = jnp.concatenate([noisy, level, jnp.sin(6 * level), jnp.cos(6 * level)], 1)
        return network.apply(params[DENOISER], {}, inputs, train=False)[0]

    def loss(params, state, x, key):
        key_level, key_noise = jax.random.split(key)
        level = jax.random.randint(key_level, x.shape[:1], 0, LEVELS)
        share, noise = jnp.asarray(ALPHA_BAR)[level][:, None], normal(key_noise, x.shape)
        noisy = jnp.sqrt(share) * x + jnp.sqrt(1 - share) * noise
        return jnp.mean(jnp.square(noise - predict(params, noisy, level))), Aux(state, {})

    def evaluate(train_state, data, key):
        bars = jnp.asarray(ALPHA_BAR)
        alphas = bars / jnp.concatenate([jnp.ones(1), bars[:-1]])

        def denoise(x, level):
            noise = normal(jax.random.fold_in(key, level), x.shape) * (level > 0)
            step = (1 - alphas[level]) / jnp.sqrt(1 - bars[level])
            mean = (x - step * predict(train_state.params, x, level)) / jnp.sqrt(alphas[level])
            return mean + jnp.sqrt(1 - alphas[level]) * noise, None

        start = normal(jax.random.fold_in(key, LEVELS), (2_000, size))
        return {"samples": jax.lax.scan(denoise, start, jnp.arange(LEVELS)[::-1])[0]}

    def draw(data, data_key, index):
        rows = jax.random.randint(jax.random.fold_in(data_key, index), (batch_size,), 0, len(data))
        return data[rows]

    init = lambda key: ({DENOISER: network.init(key, jnp.zeros((2, size + 3)))[0]}, {DENOISER: {}})
    optimizers = {DENOISER: optax.adam(optax.cosine_decay_schedule(3e-3, num_steps))}
    players = {DENOISER: Player((DENOISER,), loss)}
    return Task(init, draw, functools.partial(training.alternating, players, optimizers), evaluate)
