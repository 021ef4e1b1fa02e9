"""Steps of a family on the library's engine, with another guard."""

import contextlib
from unittest import mock

import jax.numpy as jnp

from benchmarks.contract import Case, function_of
from dgm_jax.training import attempts
from dgm_jax.training import steps as engine_steps

CHANGES = {
    "choosing_each": lambda: mock.patch.object(attempts, "make", engine_steps.choose_each),
    "not_looking": lambda: mock.patch.object(attempts, "all_finite", lambda tree: jnp.array(True)),
}


def engine(target: str, changed: str | None, shape: dict[str, int], seeds: int, steps: int) -> Case:
    """The steps of another benchmark's side."""
    patch = contextlib.nullcontext() if changed is None else CHANGES[changed]()
    with patch:
        return function_of(target)(shape=shape, seeds=seeds, steps=steps)
