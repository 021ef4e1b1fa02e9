"""Transforms of what a critic sees: packs of examples, and noise on them."""

import jax.numpy as jnp

from dgm_jax.core import Array, Key, checks, float_type, normal, require


def pack(x: Array, m: int) -> Array:
    """Join each m consecutive examples along the last (feature or channel) axis.

    A critic on packs compares p^m with q^m, which tells a collapsed q from one that is merely
    tilted (Lin et al. 2018, "PacGAN"). Pack real and fake alike, then use any loss or penalty.

    Args:
        x: [B, ..., C], independent draws in no particular order.
        m: number of examples in a pack; 1 returns x.

    Returns:
        [B / m, ..., m C].

    Raises:
        ConfigError: m below 1, no feature axis, or a batch that is not a multiple of m.

    Example:
        >>> gan.pack(jnp.array([[1], [2], [3], [4]]), 2).tolist()
        [[1, 2], [3, 4]]
    """
    x = jnp.asarray(x)
    require(checks.is_whole(m) and m >= 1, f"packing joins m >= 1 examples; got m = {m!r}")
    require(
        x.ndim >= 2, f"packing joins along a feature axis; x needs shape [B, ..., C], got {x.shape}"
    )
    require(
        x.shape[0] % m == 0,
        f"the batch must be a multiple of the pack size; got {x.shape[0]} examples, m = {m}",
    )
    num_packs = x.shape[0] // m
    groups = jnp.moveaxis(x.reshape((num_packs, m) + x.shape[1:]), 1, -2)
    return groups.reshape((num_packs,) + x.shape[1:-1] + (m * x.shape[-1],))


def instance_noise(
    key: Key,
    x: Array,
    scale: Array | float,
) -> Array:
    """x + scale n with n ~ N(0, I): what D sees instead of x, for real and fake alike.

    Both densities are blurred by the same Gaussian, so they overlap and the JSD has a gradient
    (Arjovsky and Bottou 2017, "Towards principled methods for training GANs", section 3).

    Args:
        key: a typed key, another one for real than for fake.
        x: examples [B, ...].
        scale: standard deviation, in the unit of x; may be an array, to fade it out over training.
            At 0 x comes back unchanged.

    Returns:
        Array of the shape and dtype of x.

    Example:
        >>> gan.instance_noise(jax.random.key(0), jnp.ones(2), 0.0).tolist()
        [1.0, 1.0]
    """
    noise = normal(key, x.shape, float_type(x.dtype))
    return x + (scale * noise).astype(x.dtype)
