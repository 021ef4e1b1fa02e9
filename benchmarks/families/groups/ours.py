"""Steps of a family on the library's engine, with a strategy over seeds."""

import functools
from unittest import mock

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from dgm_jax import parallel


def engine(target: str, strategy: str, shape: dict[str, int], seeds: int, steps: int) -> Case:
    """The steps of another benchmark's side."""
    distribute = functools.partial(parallel.distribute, strategy=strategy)
    with mock.patch.object(parallel, "distribute", distribute):
        return shared.of_family(target)(shape=shape, seeds=seeds, steps=steps)
