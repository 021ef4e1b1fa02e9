"""Arms by name: a family of models, and the values of its parameter that are measured."""

import numpy as np

from dgm_jax.core import lookup, require
from dgm_jax.models.one_parameter import junk, kernels

FAMILIES = {"junk": junk, "kernels": kernels, "memorised": kernels}
WIDTHS = tuple(float(w) for w in np.geomspace(1e-4, 1.0, 13).round(9))
# values of the parameter at which the model is measured beside the fitted one
LADDERS = {"junk": (0.001, 0.01, 0.1, 0.5, 0.99), "kernels": WIDTHS, "memorised": WIDTHS}
# where the fit begins
STARTS = {"junk": 0.01, "kernels": 0.3, "memorised": 0.3}
# rungs of the ladder that the table shows: 99 % junk, the narrowest kernels
EXTREMES = {"junk": 0.01, "kernels": 1e-4}


def parse(arm: str) -> tuple[str, int]:
    """The family and the number of dimensions of an arm."""
    name, _, dim = arm.rpartition("_")
    lookup(FAMILIES, name, "family (arms are FAMILY_DIMENSIONS, such as junk_32)")
    require(
        dim.isascii() and dim.isdecimal() and len(dim) <= 5 and 2 <= int(dim) <= 10_000,
        f"arm {arm!r} must end in 2 to 10000 dimensions, got {dim!r}",
    )
    return name, int(dim)
