"""The VQ-VAE objective and the bounds on log p(x) that it stands for (van den Oord et al. 2017).

The posterior is a point mass on the codes c of a grid, so E_q[log p(x | z)] - KL(q || p) = log p(x
| z_q) + log p(c), a lower bound on log p(x) for any prior over codes.
"""

import math

import jax.numpy as jnp

from dgm_jax.core import Array, require, widened


def loss(
    log_likelihood: Array,
    codebook_loss: Array,
    commitment_loss: Array,
    *,
    commitment_weight=0.25,
    codebook_weight=1.0,
    mask: Array | None = None,
) -> Array:
    """mean over examples of -log p(x | z_q) + codebook_weight |sg(z) - e|^2 + commitment_weight |z
    - sg(e)|^2.

    van den Oord et al. 2017, eq. 3: the weight beta = .25 is on the term that moves the *encoder*.

    log_likelihood: [B], summed over pixels, in nats, of the straight-through reconstruction.
    codebook_loss, commitment_loss: [B, *G], summed over the code's dimensions, one for each place
        of the grid; they are summed over the grid here, so all three terms are per example and a
        doubled batch changes nothing.
    codebook_weight: 0 where the codebook follows a moving average.
    mask: bool[B], False for examples that only fill up a batch; the mean is over the others, and 0
        where there are none.
    """
    batch = jnp.shape(log_likelihood)
    require(len(batch) == 1, f"log_likelihood must be [B], one figure an example, got {batch}")
    for name, term in (("codebook_loss", codebook_loss), ("commitment_loss", commitment_loss)):
        require(
            jnp.shape(term)[:1] == batch,
            f"{name} must be [B, *G] with B = {batch[0]}, got {jnp.shape(term)}",
        )
    log_likelihood, codebook_loss, commitment_loss = widened(
        log_likelihood, codebook_loss, commitment_loss
    )
    places = tuple(range(1, jnp.ndim(codebook_loss)))
    codebook_term, commitment_term = (
        jnp.sum(codebook_loss, axis=places),
        jnp.sum(commitment_loss, axis=places),
    )
    return mean_of_real(
        codebook_weight * codebook_term + commitment_weight * commitment_term - log_likelihood,
        mask,
    )


def mean_of_real(values: Array, mask: Array | None) -> Array:
    """The mean of values [B] over the examples that `mask`, bool[B], keeps; 0 where it keeps none.
    Without a mask, of all."""
    if mask is None:
        return jnp.mean(values)
    require(
        jnp.shape(mask) == jnp.shape(values),
        f"mask must be {jnp.shape(values)}, one entry an example, got {jnp.shape(mask)}",
    )
    kept = jnp.asarray(mask, bool)
    return jnp.sum(jnp.where(kept, values, 0)) / jnp.maximum(jnp.sum(kept), 1)


def uniform_log_prior(num_places: int, num_codes: int) -> float:
    """-G log K: the log-probability of any G codes under the uniform prior over K, in nats."""
    require(
        num_places >= 1 and num_codes >= 1,
        f"num_places and num_codes must be positive, got {num_places}, {num_codes}",
    )
    return -num_places * math.log(num_codes)


def bound(log_likelihood: Array, log_prior: Array) -> Array:
    """log p(x | z_q) + log p(c) <= log p(x), per example in nats: [B].

    log_prior: [B] from a prior over codes, or `uniform_log_prior`.
    """
    log_likelihood, log_prior = widened(log_likelihood, log_prior)
    return log_likelihood + log_prior
