"""Densities and gradients are equal, estimates of log p(x) agree within their errors, and memory
does not grow with draws or steps."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.contract import require_close
from benchmarks.families._shared.torch_dense import tensor
from benchmarks.families.annealing import WIDTHS, ours
from benchmarks.families.annealing.peer import TorchAnnealing
from dgm_jax import core, likelihood
from dgm_jax.likelihood import annealing
from dgm_jax.objectives import iwae

TOLERANCE, LIMIT = 1e-5, 4.0  # relative, of densities; of estimates, in standard errors
CHAINS, LADDER = 16, 100


def check(images: int) -> dict:
    """Differences, estimates with standard errors, and temporary bytes."""
    params, x = ours.decoder_params(), jnp.asarray(ours.pixels(images))
    z = core.normal(jax.random.key(1), (4, images, WIDTHS[0]))
    value, pull = jax.vjp(lambda z: ours.log_likelihood(params, x, z), z)
    peer, pixels = TorchAnnealing("cpu"), tensor(x)
    peer.load(params)
    pairs = zip(
        (value, pull(jnp.ones_like(value))[0]), peer.evaluate(pixels, tensor(z)), strict=True
    )
    largest = [float(np.abs(a - b.numpy()).max() / np.abs(b.numpy()).max()) for a, b in pairs]
    torch.manual_seed(0)
    settings = ours.settings(CHAINS, LADDER)
    run = jax.jit(lambda key: ours.log_weights(params, key, x, settings))
    weights = run(jax.random.key(2)), jnp.asarray(peer.log_weights(pixels, CHAINS, LADDER).numpy())
    means, errors = zip(*map(_mean_and_error, weights), strict=True)
    score = abs(means[0] - means[1]) / float(np.hypot(*errors))
    require_close({"estimates, in standard errors": score}, LIMIT)
    names = ("density", "gradient")
    return {
        "relative_difference": require_close(dict(zip(names, largest, strict=True)), TOLERANCE),
        "log_prob": means,
        "standard_errors": errors,
        "temporary_bytes": _memory(params, x),
    }


def _mean_and_error(log_weights):
    """Of log p(x), averaged over images; the error by the spread of ten-odd chains' weights."""
    size, num = iwae.effective_sample_size(log_weights), log_weights.shape[0]
    error = jnp.sqrt(jnp.maximum(num / size - 1, 0) / (num - 1))
    return float(jnp.mean(iwae.bound(log_weights))), float(jnp.linalg.norm(error) / len(error))


def _memory(params, x) -> dict[str, int]:
    """Of importance weighting by draws, of annealing by steps."""
    made = ours.path(params)
    log_weights = lambda key, x, n: made.log_ratio(x, made.sample(key, x, n))
    weigh = lambda num: lambda key: likelihood.importance_weighted(key, log_weights, x, num)

    def anneal(num):
        settings = annealing.Settings(num_steps=num, num_chains=CHAINS)
        return lambda key: likelihood.annealed_importance_sampling(key, made, x, settings)

    compiled = lambda function: jax.jit(function).lower(jax.random.key(0)).compile()
    size_of = lambda function: compiled(function).memory_analysis().temp_size_in_bytes
    draws = {f"importance weighting, {num} draws": size_of(weigh(num)) for num in (100, 10_000)}
    steps = {f"annealing, {num} steps": size_of(anneal(num)) for num in (100, 10_000)}
    return draws | steps
