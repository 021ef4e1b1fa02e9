"""Deep generative models in JAX: one lecture as pure functions, whole runs as compiled programs.

Import the room you need: `from dgm_jax import objectives, sampling, data, training`.
The README's index leads from each concept to its function.
"""

__version__ = "0.1.0"
