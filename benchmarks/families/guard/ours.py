"""Steps of a family on the library's engine, with parts of the guard taken out."""

import contextlib
import importlib
from unittest import mock

import jax.numpy as jnp

from benchmarks.contract import FAMILIES, Case
from dgm_jax.training import steps as engine_steps

WITHOUT = {
    "choice": ("_select_state", lambda taken, new, now: new),
    "check": ("all_finite", lambda tree: jnp.array(True)),
}


def engine(target: str, without: list[str], shape: dict[str, int], seeds: int, steps: int) -> Case:
    """The steps of another benchmark's side."""
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(f"{FAMILIES}.{module}"), name)
    with contextlib.ExitStack() as patches:
        for part in without:
            patches.enter_context(mock.patch.object(engine_steps, *WITHOUT[part]))
        return function(shape=shape, seeds=seeds, steps=steps)
