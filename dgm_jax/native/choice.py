"""Which code computes convolutions.

    "lax"     `lax.conv_general_dilated`: GPU and TPU
    "onednn"  oneDNN's convolutions: CPU, where they can be built (`native.onednn`)
    "plain"   convolutions of stride 1 in plain JAX (`networks.plain`): CPU without oneDNN

A name that somebody asked for (`asked`) stands in the traced program. "auto" leaves the choice to
the platform that the program is lowered for (`for_platform`), so one traced program serves all of
them. The last bits of a result depend on it.
"""

import contextlib
import contextvars
import os

from dgm_jax import core
from dgm_jax.native import onednn

CONVOLUTIONS = ("lax", "onednn", "plain")
VARIABLE = "DGM_JAX_CONVOLUTIONS"
AUTO = "auto"

_CHOSEN = contextvars.ContextVar("convolutions", default=AUTO)


@contextlib.contextmanager
def use_convolutions(name: str):
    """Within this context convolutions are traced as `name` says; "auto" leaves the choice as it
    was. A function that JAX has traced before keeps what it was traced with.

    Raises ConfigError for an unknown name, and for "onednn" where it cannot be used.
    """
    token = _CHOSEN.set(_CHOSEN.get() if name == AUTO else _checked(name))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def convolutions(name: str | None = None, *, platform: str | None = None) -> str:
    """What computes convolutions on a platform: `asked(name)`, or where that is "auto",
    `for_platform`.

    Args:
        name: "lax", "onednn" or "plain"; None or "auto" for what was asked for elsewhere.
        platform: "cpu", "gpu", "cuda", "rocm" or "tpu"; None for the one at hand,
            `jax.default_backend()`.

    Raises:
        ConfigError: for an unknown name or platform, and for "onednn" where it cannot be used.
    """
    chosen = asked(name)
    if chosen != AUTO:
        return chosen
    return for_platform(core.platform_or_at_hand(platform))


def asked(name: str | None = None) -> str:
    """`name` if given, else what `use_convolutions` or the environment variable
    DGM_JAX_CONVOLUTIONS says, else "auto".

    Raises ConfigError for an unknown name, and for "onednn" where it cannot be used.
    """
    for chosen in (name, _CHOSEN.get(), os.environ.get(VARIABLE)):
        if chosen and chosen != AUTO:
            return _checked(chosen)
    return AUTO


def for_platform(platform: str) -> str:
    """The rule behind "auto": on "cpu" "onednn", or "plain" where that cannot be used; elsewhere
    "lax"."""
    if platform != "cpu":
        return "lax"
    return "plain" if onednn.why_not() else "onednn"


def _checked(name):
    core.lookup(CONVOLUTIONS, name, "convolution backend")
    if name == "onednn":
        reason = onednn.why_not()
        core.require(reason is None, f"convolutions by oneDNN cannot be used here: {reason}")
    return name
