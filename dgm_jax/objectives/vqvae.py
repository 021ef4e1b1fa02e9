"""The VQ-VAE objective and the bounds on log p(x) behind it (van den Oord et al. 2017).

The posterior is a point mass on the codes c of a grid, so E_q[log p(x | z)] - KL(q || p) =
log p(x | z_q) + log p(c), a lower bound on log p(x) for any prior over codes.
"""

import math

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, require, widened


def loss(
    log_likelihood: Array,
    codebook_loss: Array,
    commitment_loss: Array,
    *,
    commitment_weight: Array | float = 0.25,
    codebook_weight: Array | float = 1.0,
    mask: Array | None = None,
) -> Array:
    """VQ-VAE loss: the negative log-likelihood plus the weighted codebook and commitment losses.

    The mean over examples of -log p(x | z_q) + codebook_weight |sg(z) - e|^2 +
    commitment_weight |z - sg(e)|^2. van den Oord et al. 2017, eq. 3: the weight beta = .25 is on
    the term that moves the *encoder*.

    The losses of the grid are summed here, so all three terms are per example and a duplicated
    batch changes nothing.

    Args:
        log_likelihood: [B], of the straight-through reconstruction, summed over pixels, in nats.
        codebook_loss: [B, *G], summed over the code's dimensions, one for each grid position.
        commitment_loss: [B, *G], likewise.
        commitment_weight: beta.
        codebook_weight: 0 where the codebook follows a moving average.
        mask: bool[B], False for padding; the mean is over the other examples, 0 if there are none.

    Returns:
        A scalar.

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> vqvae.loss(jnp.array([-3.0]), jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 1.0]])).item()
        5.5
    """
    batch = jnp.shape(log_likelihood)
    require(len(batch) == 1, f"log_likelihood must be [B], one value an example, got {batch}")
    for name, term in (("codebook_loss", codebook_loss), ("commitment_loss", commitment_loss)):
        require(
            jnp.shape(term)[:1] == batch,
            f"{name} must be [B, *G] with B = {batch[0]}, got {jnp.shape(term)}",
        )
    log_likelihood, codebook_loss, commitment_loss = widened(
        log_likelihood, codebook_loss, commitment_loss
    )
    grid = tuple(range(1, jnp.ndim(codebook_loss)))
    codebook_term = codebook_weight * jnp.sum(codebook_loss, axis=grid)
    commitment_term = commitment_weight * jnp.sum(commitment_loss, axis=grid)
    return mean_of_real(codebook_term + commitment_term - log_likelihood, mask)


def mean_of_real(values: Array, mask: Array | None) -> Array:
    """The mean over the examples of a batch that are not padding.

    Args:
        values: [B].
        mask: bool[B], False for padding; None if there is none.

    Returns:
        A scalar, in the unit of the values; 0 if all examples are padding.

    Raises:
        ConfigError: a mask of another shape.

    Example:
        >>> vqvae.mean_of_real(jnp.array([1.0, 3.0, 50.0]), jnp.array([True, True, False])).item()
        2.0
    """
    values = at_least_float32(values)
    if mask is None:
        return jnp.mean(values)
    require(
        jnp.shape(mask) == jnp.shape(values),
        f"mask must be {jnp.shape(values)}, one entry an example, got {jnp.shape(mask)}",
    )
    kept = jnp.asarray(mask, bool)
    return jnp.sum(jnp.where(kept, values, 0)) / jnp.maximum(jnp.sum(kept), 1)


def uniform_log_prior(num_places: int, num_codes: int) -> float:
    """-G log K: the log-probability of any G codes under the uniform prior over K.

    Args:
        num_places: G, the number of codes of an example.
        num_codes: K.

    Returns:
        Nats.

    Raises:
        ConfigError: a number below 1.

    Example:
        >>> print(f"{vqvae.uniform_log_prior(2, 4):.4f}")  # -2 log 4
        -2.7726
    """
    require(
        num_places >= 1 and num_codes >= 1,
        f"num_places and num_codes must be positive, got {num_places}, {num_codes}",
    )
    return -num_places * math.log(num_codes)


def bound(log_likelihood: Array, log_prior: Array | float) -> Array:
    """log p(x | z_q) + log p(c) <= log p(x), per example.

    Args:
        log_likelihood: [B], in nats.
        log_prior: [B] from a prior over codes, or `uniform_log_prior`.

    Returns:
        Nats [B].

    Example:
        >>> vqvae.bound(jnp.array([-3.0]), -1.0).tolist()
        [-4.0]
    """
    log_likelihood, log_prior = widened(log_likelihood, log_prior)
    return log_likelihood + log_prior
