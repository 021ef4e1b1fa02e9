"""The platform that a program is compiled for; only this module asks JAX for the default one."""

import jax

from dgm_jax.core.errors import lookup

PLATFORMS = ("cpu", "gpu", "cuda", "rocm", "tpu")


def platform_or_at_hand(platform: str | None) -> str:
    """The given platform, or the default one.

    Args:
        platform: one of `PLATFORMS`, the name of a plugin in use, or None for
            `jax.default_backend()`, which initializes JAX's backend. "gpu" stands for "cuda" or
            "rocm".

    Returns:
        The platform's name.

    Raises:
        ConfigError: an unknown name.

    Example:
        >>> core.platform_or_at_hand("tpu")
        'tpu'
    """
    if platform in PLATFORMS:
        return platform
    default = jax.default_backend()  # a plugin may have any name
    if platform in (None, default):
        return default
    return lookup(PLATFORMS, str(platform), "platform")
