"""The run folder: its owner, its rows and records, the trained models, and its environment."""

from dgm_jax.store import environment
from dgm_jax.store.directory import RunDirectory
from dgm_jax.store.environment import collect_environment

__all__ = [
    "RunDirectory",
    "collect_environment",
    "environment",
]
