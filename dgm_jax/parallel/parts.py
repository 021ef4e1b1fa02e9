"""The program that makes a part of a chunk: any number of steps, going on from the sums so far."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Lane, PyTree, Sums, checks


def first_part(no_sums, sharding, lanes: Lane, data: PyTree):
    """Lanes, sums, data, number of steps and whether they are the last: what the program of a part
    of a chunk is given, at the beginning of one."""
    shapes = jax.eval_shape(no_sums, lanes, data)
    sums = jax.device_put(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), sharding)
    return lanes, sums, data, np.int32(1), np.bool_(True)


class Advance(NamedTuple):
    """The compiled program of a part of a chunk.

    call: takes lanes, sums, data, number of steps and whether they are the last.
    no_sums: those at the beginning of a chunk.
    compiled: the same as `jax.stages.Compiled`, for its sizes.
    """

    call: Callable
    no_sums: Sums
    compiled: Any

    def __call__(self, lanes, data, num_steps, sums=None, last=True):
        sums = self.no_sums if sums is None else sums
        return self.call(lanes, sums, data, np.int32(num_steps), np.bool_(last))


def compiling(first, compiled, *before):
    """`Distributed.compile_advance`.

    Args:
        first: `(lanes, data)` to the arguments of a part.
        compiled: arguments to a program, compiled for them.
        before: arguments of the program that stand before those of a part.
    """

    def compile_advance(lanes, data, num_steps=None):
        if num_steps is not None:
            checks.whole(num_steps, "num_steps")
        arguments = first(lanes, data)
        program = compiled(*before, *arguments)
        call = functools.partial(program, *before) if before else program
        advance = Advance(call, arguments[1], program)

        def whole(lanes, data):
            lanes, _, metrics = advance(lanes, data, num_steps)
            return lanes, metrics

        return advance if num_steps is None else whole

    return compile_advance
