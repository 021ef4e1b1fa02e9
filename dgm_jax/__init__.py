"""Deep generative models in JAX: one lecture as pure functions, whole runs as compiled programs.

Import the subpackages you need: `from dgm_jax import objectives, sampling, data, training`.
`docs/concepts.md` leads from each concept to its function.

Importing this package before the first JAX computation sets an XLA flag if the installed jaxlib
computes wrong sums on CPU without it. `dgm_jax/_backend.py` lists these versions.
"""

from dgm_jax import _backend

__version__ = "0.1.0"

_backend.guard()
