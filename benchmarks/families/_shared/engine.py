"""Cases in JAX: steps on the library's engine, steps of a peer, and compiled functions."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contract import Case
from dgm_jax import native, parallel, training
from dgm_jax.core import Task


def engine(
    task: Callable[[dict], Task],
    data: Any,
    seeds: int,
    steps: int,
    *,
    convolutions: str | None = None,
    strategy: str = "auto",
) -> Case:
    """`steps` steps of all seeds in one compiled call, with draws, metrics and the guard against
    divergence, on one device."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(seeds))
    chosen = (
        contextlib.nullcontext() if convolutions is None else native.use_convolutions(convolutions)
    )
    with chosen:
        program = training.lane_program(task)
        of = {"strategy": strategy, "only": jax.devices()[:1]}
        compiled = parallel.distribute(program, keys, {}, **of)
        lanes, data = compiled.init(keys, {}), compiled.place_data(data)
        advance = compiled.compile_advance(lanes, data)
    holder = [lanes]

    def call():
        results = advance(holder[0], data, steps)
        holder[0] = results[0]
        return results

    return Case(call, seeds * steps)


def compiled(function: Callable[..., Any], *operands: Any, count: float = 1.0) -> Case:
    """A function of fixed operands, compiled ahead of time; a call does `count` units."""
    run = jax.jit(function).lower(*operands).compile()
    return Case(lambda: run(*operands), count)


def repeated(
    step: Callable[[Any, Any], tuple[Any, Any]], start: Any, data: Any, *, seeds: int, steps: int
) -> Case:
    """The steps of a peer that is in JAX, on the same terms as ours: `steps` steps of all seeds in
    one compiled call, which takes over the memory of its state.

    Args:
        step: `(data, state) -> (state, loss)` of one seed.
        start: the states of all seeds, stacked.
        data: of all seeds.
        seeds: their number.
        steps: of one call.
    """
    moved = lambda data, state: jax.lax.scan(lambda now, _: step(data, now), state, length=steps)
    advance = jax.jit(jax.vmap(moved, (None, 0)), donate_argnums=1).lower(data, start).compile()
    holder = [start]

    def call():
        results = advance(data, holder[0])
        holder[0] = results[0]
        return results

    return Case(call, seeds * steps)


def random_batches(num: int, batch: int, convert: Callable[[Any], Any]) -> Callable[..., Any]:
    """`draw(arrays, data_key, index)` of random rows of `arrays["image"]` [num, ...], converted."""

    def draw(arrays, data_key, index):
        which = jax.random.randint(jax.random.fold_in(data_key, index), (batch,), 0, num)
        return {"x": convert(arrays["image"][which]), "step": index}

    return draw


def no_evaluation(train_state, arrays, key):
    """For tasks that are only trained."""
    del train_state, arrays, key
    return {}


def normal(*shape: int) -> np.ndarray:
    """float32, the same at each call."""
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
