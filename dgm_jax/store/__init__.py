"""The run folder: who owns it, its rows and records, the trained parameters, and what it ran on."""

from dgm_jax.store import environment
from dgm_jax.store.directory import RunDirectory
from dgm_jax.store.environment import collect_environment
from dgm_jax.store.parameters import load_parameters, save_parameters

__all__ = [
    "RunDirectory",
    "collect_environment",
    "environment",
    "load_parameters",
    "save_parameters",
]
