"""Free bits: a rate below a floor costs nothing more, so that latents are not switched off early in
training."""

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, checks, require


def free_bits(kl: Array, floor: float, *, per_example: bool = False) -> Array:
    """sum_j max(floor, mean_b kl_bj): a scalar in nats, in place of the mean over examples of sum_j
    kl_bj.

    kl: [B, J], KL(q(z_j | x_b) || p(z_j)) of each group j of latents (a dimension, a channel).
        floor: nats per group,
    at least 0; 0 gives the plain mean where the means are not negative. Kingma et al. 2016,
    "Improved variational inference with inverse autoregressive flow". A group below the floor gets
    no gradient.

    The maximum is of the mean over the batch, so the loss couples its examples: halves of a batch
    give another loss than the whole. per_example=True takes it for each example, mean_b sum_j
    max(floor, kl_bj), which does not, and is no smaller. Neither, with a positive floor, is a KL:
    the ELBO is reported with the plain one.
    """
    shape = jnp.shape(kl)
    require(
        len(shape) == 2 and min(shape) >= 1,
        f"kl must be [B, J], a figure for each group of latents; got {shape}",
    )
    checks.not_negative(floor, "floor")
    kl = at_least_float32(kl)
    if per_example:
        return jnp.mean(jnp.sum(jnp.maximum(kl, floor), axis=1))
    return jnp.sum(jnp.maximum(jnp.mean(kl, axis=0), floor))
