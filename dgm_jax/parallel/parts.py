"""The program that makes a part of a chunk: any number of steps, going on from the sums so far."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Lane, PyTree, checks


def first_part(no_sums, sharding, lanes: Lane, data: PyTree):
    """Lanes, sums, data, number of steps and whether they are the last: what the program of a part
    of a chunk is given, at the beginning of one."""
    shapes = jax.eval_shape(no_sums, lanes, data)
    sums = jax.device_put(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), sharding)
    return lanes, sums, data, np.int32(1), np.bool_(True)


def compiling(first, compiled):
    """`Distributed.compile_advance`, where `compiled(*arguments)` is the program of a part."""

    def compile_advance(lanes, data, num_steps=None):
        if num_steps is not None:
            checks.whole(num_steps, "num_steps")
        arguments = first(lanes, data)
        program, no_sums = compiled(*arguments), arguments[1]

        def advance(lanes, data, num_steps, sums=None, last=True):
            sums = no_sums if sums is None else sums
            return program(lanes, sums, data, np.int32(num_steps), np.bool_(last))

        def whole(lanes, data):
            lanes, _, metrics = advance(lanes, data, num_steps)
            return lanes, metrics

        return advance if num_steps is None else whole

    return compile_advance
