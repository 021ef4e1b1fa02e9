"""Deep generative models in JAX: one lecture as pure functions, whole runs as compiled programs.

Import the room you need: `from dgm_jax import objectives, sampling, data, training`.
The README's index leads from each concept to its function.

jaxlib 0.10.2 computes wrong sums on CPU: a matrix product followed by elementwise work and a
reduction over more than 32,768 elements, under jit and vmap (github.com/jax-ml/jax, issue 39103).
Importing this package before the first JAX computation turns that fusion off through XLA_FLAGS; a
value of yours for the same flag is left alone. `tests/test_backend.py` holds the check. The same
library's path for lone products is turned off too: on two cores, 8 products of [256, 128] by [128,
128] run at 90 GFLOP/s with it and at 145 without, 8 ring GANs at 680 and 950 seed-steps/s
(`python -m benchmarks.gan_ring`, 2026-11-22); convolutions do not care.
"""

import importlib.metadata
import os

__version__ = "0.1.0"

_FLAG, _WRONG_SUMS = "--xla_cpu_experimental_ynn_fusion_type", ("0.10.2",)

if importlib.metadata.version("jaxlib") in _WRONG_SUMS and _FLAG not in os.environ.get(
    "XLA_FLAGS", ""
):
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}=-reduce,-individual_dot".strip()
    )
