"""Functions of a trained model's posteriors: moments, ELBO surgery, and the start of annealing.

A `model` is a `core.LatentModel` or a recipe that has one. If a family lacks a density, the error
names both. Everything is in nats.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import Array, Key, Params, PyTree, State, chunked, log_mean_exp
from dgm_jax.models._latent_terms import Latent, densities_of, needed
from dgm_jax.models.latent import log_joint, posterior
from dgm_jax.objectives import adversarial_variational_bayes, elbo_surgery
from dgm_jax.objectives.elbo_surgery import SurgeryTerms
from dgm_jax.objectives.path_derivatives import gaussian_log_q


class Gaussian(NamedTuple):
    """q(z | x) = N(loc, diag(scale)^2).

    Attributes:
        loc: [B, D], means.
        scale: [B, D], standard deviations.
    """

    loc: Array
    scale: Array


class AnnealingStart(NamedTuple):
    """A posterior as the start of annealing, for `likelihood.from_proposal`.

    The functions take rows in place of x, so that the encoder is not evaluated again.

    Attributes:
        rows: [B, R], each an example followed by its posterior.
        sample: `(key, rows, n) -> z [n, B, *E]`.
        log_prob: `(rows, z) -> log q(z | x) [n, B]` in nats.
        log_joint: `(rows, z) -> log p(x, z) [n, B]` in nats.
    """

    rows: Array
    sample: Callable[[Key, Array, int], Array]
    log_prob: Callable[[Array, Array], Array]
    log_joint: Callable[[Array, Array], Array]


def sample_gaussian(key: Key, q: Gaussian, num_samples: int | None = None) -> Array:
    """Draw from Gaussian posteriors, differentiably.

    Args:
        key: of the draws.
        q: the posteriors.
        num_samples: draws of each; None means one, without the leading axis.

    Returns:
        [num_samples, B, D], or [B, D] for None.
    """
    loc = q.loc if num_samples is None else jnp.broadcast_to(q.loc, (num_samples, *q.loc.shape))
    return sampling.gaussian(key, loc, q.scale)


def moments(
    key: Key, model: Latent, params: Params, state: State, x: Array, num_samples: int
) -> Gaussian:
    """Estimate the means and standard deviations of posteriors from draws, without gradient.

    This works for any posterior over vectors, also one that can only be sampled.

    Args:
        key: of the draws.
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        x: [B, ...].
        num_samples: draws of each posterior, at least 2.

    Returns:
        The Gaussians with these moments.
    """
    densities = densities_of(model)
    q = posterior(densities, params, state, x)
    z = densities.sample_posterior(key, q, num_samples)
    return Gaussian(*adversarial_variational_bayes.moments(z))


def annealing_start(
    model: Latent, params: Params, state: State, x: Array, gaussian_start: Gaussian | None = None
) -> AnnealingStart:
    """Make the start of annealing from q(z | x), or a Gaussian in its place, to p(x, z).

    Args:
        model: a `LatentModel`, or a recipe that has one.
        params: of the model, by part.
        state: of the model, by part.
        x: the examples [B, ...].
        gaussian_start: such as `moments`, for a posterior without a density.

    Returns:
        The rows and the functions of them.

    Raises:
        ConfigError: the posterior has no density and no Gaussian is given, the prior has no
            density, or the densities are not differentiable in z, as those of discrete latents.
    """
    densities = densities_of(model)
    needed(densities, "log_prior", "annealing")
    needed(densities, "reparameterized", "annealing")
    if gaussian_start is None:
        log_q = needed(densities, "log_posterior", "annealing from the posterior")
        draw = densities.sample_posterior
        q = posterior(densities, params, state, x)
    else:
        log_q = gaussian_log_q
        draw = sample_gaussian
        q = gaussian_start
    rows, split = _joined(x, q)
    return AnnealingStart(
        rows=rows,
        sample=lambda key, rows, num: draw(key, split(rows)[1], num),
        log_prob=lambda rows, z: log_q(split(rows)[1], z),
        log_joint=lambda rows, z: log_joint(densities, params, state, z, split(rows)[0]),
    )


def surgery(
    model: Latent,
    params: Params,
    state: State,
    q: PyTree,
    z: Array,
    *,
    chunk_size: int = 256,
) -> SurgeryTerms:
    """Decompose the average KL to the prior over N data points (`objectives.elbo_surgery`).

    The density of every draw under every posterior is evaluated: O(N^2).

    Args:
        model: a `LatentModel`, or a recipe that has one.
        params: of the trained model, by part.
        state: of the trained model, by part.
        q: the posteriors of all N data points, with N along the first axis.
        z: [N, *E], a draw of each.
        chunk_size: draws whose densities are evaluated at once (and posteriors, if Gaussian).

    Returns:
        The terms in nats. The total correlation is None for posteriors that are not Gaussian.

    Raises:
        ConfigError: the family lacks log p(z) or log q(z | x).
    """
    densities = densities_of(model)
    log_q = needed(densities, "log_posterior", "ELBO surgery")
    log_p = needed(densities, "log_prior", "ELBO surgery")(params, state, z)
    if isinstance(q, Gaussian):
        return elbo_surgery.decompose_gaussian(z, *q, log_p, chunk_size=chunk_size)
    num = z.shape[0]

    def log_aggregate(draws: Array) -> Array:
        pairs = jnp.broadcast_to(draws[:, None], (draws.shape[0], num, *draws.shape[1:]))
        return log_mean_exp(log_q(q, pairs), axis=1).value

    log_q_aggregate = chunked(log_aggregate, z, chunk_size)
    return elbo_surgery.decompose_aggregate(log_q(q, z), log_q_aggregate, log_p)


def _joined(x: Array, q: PyTree) -> tuple[Array, Callable[[Array], tuple[Array, PyTree]]]:
    """Rows [B, R] of x and the leaves of q, and the function that splits rows again."""
    leaves, structure = jax.tree.flatten((x, q))
    sizes = [math.prod(leaf.shape[1:]) for leaf in leaves]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    rows = jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=-1)

    def split(rows: Array) -> tuple[Array, PyTree]:
        pieces = [
            rows[:, end - size : end].reshape(-1, *leaf.shape[1:])
            for leaf, size, end in zip(leaves, sizes, ends, strict=True)
        ]
        return jax.tree.unflatten(structure, pieces)

    return rows, split
