"""Native code: the choice of what computes convolutions, and the convolutions of oneDNN."""

from dgm_jax.native import compiler, onednn
from dgm_jax.native.choice import (
    AUTO,
    CONVOLUTIONS,
    asked,
    convolutions,
    for_platform,
    use_convolutions,
)

__all__ = [
    "AUTO",
    "CONVOLUTIONS",
    "asked",
    "compiler",
    "convolutions",
    "for_platform",
    "onednn",
    "use_convolutions",
]
