"""The platform that a program is for: the one place where JAX is asked for the one at hand."""

import jax

from dgm_jax.core.errors import lookup

PLATFORMS = ("cpu", "gpu", "cuda", "rocm", "tpu")


def platform_or_at_hand(platform: str | None) -> str:
    """`platform`, or for None the one at hand: `jax.default_backend()`, which starts it.

    "gpu" is either of "cuda" and "rocm". Raises ConfigError for an unknown name.
    """
    if platform in PLATFORMS:
        return platform
    at_hand = jax.default_backend()  # a plugin's name may be any
    if platform in (None, at_hand):
        return at_hand
    return lookup(dict.fromkeys(PLATFORMS, ""), platform, "platform")
