"""The choice of the code that computes convolutions.

    "lax"     `lax.conv_general_dilated`: GPU and TPU
    "onednn"  oneDNN's convolutions: CPU, where they can be built (`native.onednn`)
    "plain"   convolutions of stride 1 in plain JAX (`networks.layers.plain`): CPU without oneDNN

A name that was asked for (`asked`) is fixed in the traced program. "auto" leaves the choice to the
platform that the program is lowered for (`for_platform`), so that one traced program serves all
platforms. The last bits of a result depend on the choice.
"""

import contextlib
import contextvars
import os
from collections.abc import Iterator

from dgm_jax import core
from dgm_jax.native import onednn

CONVOLUTIONS = ("lax", "onednn", "plain")
VARIABLE = "DGM_JAX_CONVOLUTIONS"
AUTO = "auto"

_CHOSEN = contextvars.ContextVar("convolutions", default=AUTO)


@contextlib.contextmanager
def use_convolutions(name: str) -> Iterator[None]:
    """Choose what computes the convolutions that are traced inside a context.

    A function that JAX has traced before keeps the choice it was traced with.

    Args:
        name: "lax", "onednn" or "plain"; "auto" leaves the choice as it was.

    Yields:
        Nothing.

    Raises:
        ConfigError: an unknown name, or "onednn" where it cannot be used.
    """
    token = _CHOSEN.set(_CHOSEN.get() if name == AUTO else _checked(name))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def convolutions(name: str | None = None, *, platform: str | None = None) -> str:
    """Return what computes convolutions on a platform.

    This is `asked(name)`, or, where that is "auto", `for_platform(platform)`.

    Args:
        name: "lax", "onednn" or "plain"; None or "auto" for what was asked for elsewhere.
        platform: "cpu", "gpu", "cuda", "rocm" or "tpu"; None for that of
            `jax.default_backend()`.

    Returns:
        "lax", "onednn" or "plain".

    Raises:
        ConfigError: an unknown name or platform, or "onednn" where it cannot be used.
    """
    chosen = asked(name)
    if chosen != AUTO:
        return chosen
    return for_platform(core.platform_or_at_hand(platform))


def asked(name: str | None = None) -> str:
    """Return the convolutions that were asked for.

    The first of these that names any counts: `name`, `use_convolutions`, the environment variable
    DGM_JAX_CONVOLUTIONS.

    Args:
        name: "lax", "onednn" or "plain"; None or "auto" for what was asked for elsewhere.

    Returns:
        "lax", "onednn" or "plain"; "auto" if nothing was asked for.

    Raises:
        ConfigError: an unknown name, or "onednn" where it cannot be used.
    """
    for chosen in (name, _CHOSEN.get(), os.environ.get(VARIABLE)):
        if chosen and chosen != AUTO:
            return _checked(chosen)
    return AUTO


def for_platform(platform: str) -> str:
    """Return the convolutions that "auto" means on a platform.

    Args:
        platform: name of the platform.

    Returns:
        On "cpu" "onednn", or "plain" where oneDNN cannot be used; on any other platform "lax".
    """
    if platform != "cpu":
        return "lax"
    return "plain" if onednn.why_not() else "onednn"


def _checked(name: str) -> str:
    core.lookup(CONVOLUTIONS, name, "convolution backend")
    if name == "onednn":
        reason = onednn.why_not()
        core.require(reason is None, f"convolutions by oneDNN cannot be used here: {reason}")
    return name
