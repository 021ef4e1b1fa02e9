"""What is asked of the posteriors of a trained model: where its codes are against the prior, and
where annealing starts.

A `model` is a `core.LatentModel` or what has one; what a family lacks is refused by name. Nats.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax import sampling
from dgm_jax.core import Array, Key, Params, PyTree, State, chunked, log_mean_exp
from dgm_jax.models.latent import Latent, densities_of, log_joint, needed, posterior
from dgm_jax.objectives import adversarial_variational_bayes, elbo_surgery
from dgm_jax.objectives.elbo_surgery import SurgeryTerms
from dgm_jax.objectives.path_derivatives import gaussian_log_q


class Gaussian(NamedTuple):
    """q(z | x) = N(loc, diag(scale)^2), [B, D] each."""

    loc: Array
    scale: Array


class AnnealingStart(NamedTuple):
    """A posterior as the start of annealing: what `likelihood.from_proposal` takes.

    rows: [B, R], an example and its posterior side by side, so that no encoder is asked again. The
        functions take rows in place of x: `sample(key, rows, n)`, `log_prob(rows, z)` and
        `log_joint(rows, z)`, where z is [n, B, *E].
    """

    rows: Array
    sample: Callable[[Key, Array, int], Array]
    log_prob: Callable[[Array, Array], Array]
    log_joint: Callable[[Array, Array], Array]


def sample_gaussian(key: Key, q: Gaussian, num_samples: int | None = None) -> Array:
    """Reparameterized draws: [num_samples, B, D], or [B, D] for None."""
    loc = q.loc if num_samples is None else jnp.broadcast_to(q.loc, (num_samples, *q.loc.shape))
    return sampling.gaussian(key, loc, q.scale)


def moments(
    key: Key, model: Latent, params: Params, state: State, x: Array, num_samples: int
) -> Gaussian:
    """The Gaussian with the means and standard deviations of num_samples (at least 2) draws of
    q(z | x), without gradient: of any posterior over vectors, also one that can be sampled only."""
    densities = densities_of(model)
    z = densities.sample_posterior(key, posterior(densities, params, state, x), num_samples)
    return Gaussian(*adversarial_variational_bayes.moments(z))


def annealing_start(
    model: Latent, params: Params, state: State, x: Array, gaussian_start: Gaussian | None = None
) -> AnnealingStart:
    """q(z | x) of x [B, ...], or a Gaussian in its place, as the start of annealing to p(x, z).

    Args:
      model, params, state: what is measured.
      x: the examples.
      gaussian_start: such as `moments`, for a posterior without a density.

    Raises:
      ConfigError: the posterior has no density and no Gaussian stands in for it, the prior has
        none, or the densities are not differentiable in z, as those of discrete latents.
    """
    densities = densities_of(model)
    needed(densities, "log_prior", "annealing")
    needed(densities, "reparameterized", "annealing")
    if gaussian_start is None:
        log_q = needed(densities, "log_posterior", "annealing from the posterior")
        q, draw = posterior(densities, params, state, x), densities.sample_posterior
    else:
        q, draw, log_q = gaussian_start, sample_gaussian, gaussian_log_q
    rows, split = _side_by_side(x, q)
    return AnnealingStart(
        rows,
        lambda key, rows, num: draw(key, split(rows)[1], num),
        lambda rows, z: log_q(split(rows)[1], z),
        lambda rows, z: log_joint(densities, params, state, z, split(rows)[0]),
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
    """The average KL to the prior taken apart over N data points (`objectives.elbo_surgery`).

    Every draw meets every posterior. For Gaussian posteriors the total correlation is among the
    terms; for others it is None.

    Args:
      model, params, state: a trained model.
      q: the posteriors of all N data points, with N along the first axis.
      z: [N, *E], a draw of each.
      chunk_size: as many draws meet the posteriors at once (and as many of those, if Gaussian).

    Raises:
      ConfigError: the family lacks log p(z) or log q(z | x).
    """
    densities = densities_of(model)
    log_q = needed(densities, "log_posterior", "ELBO surgery")
    log_p = needed(densities, "log_prior", "ELBO surgery")(params, state, z)
    if isinstance(q, Gaussian):
        return elbo_surgery.decompose_gaussian(z, *q, log_p, chunk_size=chunk_size)
    num = z.shape[0]

    def aggregate(some):
        pairs = jnp.broadcast_to(some[:, None], (some.shape[0], num, *some.shape[1:]))
        return log_mean_exp(log_q(q, pairs), axis=1).value

    return elbo_surgery.decompose_aggregate(log_q(q, z), chunked(aggregate, z, chunk_size), log_p)


def _side_by_side(x: Array, q: PyTree) -> tuple[Array, Callable[[Array], tuple[Array, PyTree]]]:
    """[B, R] of x and the leaves of q, and what takes rows apart again."""
    leaves, structure = jax.tree.flatten((x, q))
    sizes = [math.prod(leaf.shape[1:]) for leaf in leaves]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    rows = jnp.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=-1)

    def split(rows):
        pieces = [
            rows[:, end - size : end].reshape(-1, *leaf.shape[1:])
            for leaf, size, end in zip(leaves, sizes, ends, strict=True)
        ]
        return jax.tree.unflatten(structure, pieces)

    return rows, split
