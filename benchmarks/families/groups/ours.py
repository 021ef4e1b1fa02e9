"""Steps of a family on the library's engine, with a strategy over seeds."""

from unittest import mock

from benchmarks.contract import Case, function_of
from dgm_jax import parallel


def engine(target: str, strategy: str, shape: dict[str, int], seeds: int, steps: int) -> Case:
    """The steps of another benchmark's side."""
    original = parallel.distribute
    distribute = lambda *of, **options: original(*of, **options | {"strategy": strategy})
    with mock.patch.object(parallel, "distribute", distribute):
        return function_of(target)(shape=shape, seeds=seeds, steps=steps)
