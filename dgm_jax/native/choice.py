"""Which code computes the convolutions of a process.

    "lax"     `lax.conv_general_dilated`: GPU and TPU
    "onednn"  oneDNN's convolutions: CPU, where they can be built (`native.onednn`)
    "plain"   convolutions of stride 1 in plain JAX (`networks.plain`): CPU without oneDNN

The last bits of a result depend on it.
"""

import contextlib
import contextvars
import os

import jax

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
    token = _CHOSEN.set(_CHOSEN.get() if name == AUTO else convolutions(name))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def convolutions(name: str | None = None) -> str:
    """`name` if given, else what `use_convolutions` or the environment variable
    DGM_JAX_CONVOLUTIONS says, else the rule: on CPU "onednn", or "plain" where that cannot be used;
    elsewhere "lax".

    Raises ConfigError for an unknown name, and for "onednn" where it cannot be used.
    """
    for chosen in (name, _CHOSEN.get(), os.environ.get(VARIABLE)):
        if chosen and chosen != AUTO:
            return _checked(chosen)
    if jax.default_backend() != "cpu":
        return "lax"
    return "plain" if onednn.why_not() else "onednn"


def _checked(name):
    core.lookup(CONVOLUTIONS, name, "convolution backend")
    if name == "onednn":
        reason = onednn.why_not()
        core.require(reason is None, f"convolutions by oneDNN cannot be used here: {reason}")
    return name
