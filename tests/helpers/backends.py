"""The convolution backends as parameters of tests; oneDNN's only where it can be used."""

import pytest

from dgm_jax import native

MISSING = native.onednn.why_not()
CPU = [
    "plain",
    pytest.param("onednn", marks=pytest.mark.skipif(MISSING is not None, reason=str(MISSING))),
]
ALL = ["lax", *CPU]
