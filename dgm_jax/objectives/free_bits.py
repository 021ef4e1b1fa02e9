"""Free bits: a floor below which the KL costs nothing, so that latents stay active early on."""

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, checks, require


def free_bits(
    kl: Array,
    floor: float,
    *,
    per_example: bool = False,
) -> Array:
    """sum_j max(floor, mean_b kl_bj), in place of the mean over examples of sum_j kl_bj.

    Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow". A group
    below the floor gets no gradient. With a positive floor this is no KL: report the ELBO with the
    plain one.

    Args:
        kl: [B, J], KL(q(z_j | x_b) || p(z_j)) of each group j of latents (a dimension, a channel).
        floor: nats per group, at least 0; 0 gives the plain mean where the means are not negative.
        per_example: take the maximum for each example, mean_b sum_j max(floor, kl_bj), which is no
            smaller. By default it is taken of the mean over the batch, so the loss couples its
            examples: halves of a batch give another loss than the whole.

    Returns:
        A scalar in nats.

    Raises:
        ConfigError: another shape, or a negative floor.

    Example:
        >>> free_bits.free_bits(jnp.array([[0.0, 3.0], [0.0, 5.0]]), 0.5).item()  # .5 + 4
        4.5
    """
    shape = jnp.shape(kl)
    require(
        len(shape) == 2 and min(shape) >= 1,
        f"kl must be [B, J], a value for each group of latents; got {shape}",
    )
    checks.not_negative(floor, "floor")
    kl = at_least_float32(kl)
    if per_example:
        return jnp.mean(jnp.sum(jnp.maximum(kl, floor), axis=1))
    return jnp.sum(jnp.maximum(jnp.mean(kl, axis=0), floor))
