"""Means over the microbatches of a batch: a large batch in the memory of a small one."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Aux, Key, Params, PyTree, Replica, float_type


class Loss(NamedTuple):
    """A player's loss as a function of its own parts, and the batch on which it is wanted.

    Attributes:
        of: `(parts, batch, key) -> (loss, Aux)`.
        batch: this device's part of the batch.
        key: random key for it.
    """

    of: Callable[[Params, PyTree, Key], tuple[Array, Aux]]
    batch: PyTree
    key: Key


def mean_over_microbatches(
    replica: Replica, function: Callable[[PyTree, Key], PyTree], at: Loss
) -> PyTree:
    """Compute the mean of a function over the microbatches of a loss's batch.

    1/N sum_i f(batch_i, fold_in(key, i)), one microbatch after the other. Where f is a mean over
    examples, this is f of the whole batch but for the noise that it draws, and in memory there are
    the intermediate results of one microbatch only: if the mean is differentiated in its turn,
    those of each are computed anew. With N = 1 it is f(batch, key).

    Args:
        replica: for N and for how a batch is divided.
        function: f, `(batch, key) -> tree`.
        at: its batch and its key.

    Returns:
        The tree. Floating-point numbers are summed in at least float32. What is no floating-point
        number, such as a counter in a model's state, is that of the last microbatch.
    """
    num = replica.microbatches
    if num == 1:
        return function(at.batch, at.key)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def of_part(index: Array) -> PyTree:
        part = replica.take(at.batch, index)
        key = jax.random.fold_in(at.key, index)
        return function(part, key)

    shape_tree = jax.eval_shape(of_part, jnp.int32(0))
    shapes, structure = jax.tree.flatten(shape_tree)
    is_summed = [jnp.issubdtype(shape.dtype, jnp.inexact) for shape in shapes]
    summed = [shape for shape, counts in zip(shapes, is_summed, strict=True) if counts]

    def add(totals: list[Array], index: Array) -> tuple[list[Array], list[Array]]:
        new = jax.tree.leaves(of_part(index))
        values, others = [], []
        for x, counts in zip(new, is_summed, strict=True):
            if counts:
                values.append(x)
            else:
                others.append(x)
        new_totals = []
        for total, value in zip(totals, values, strict=True):
            new_totals.append(total + value.astype(total.dtype))
        return new_totals, others

    zeros = [jnp.zeros(shape.shape, float_type(shape.dtype)) for shape in summed]
    totals, others = jax.lax.scan(add, zeros, jnp.arange(num))
    means = []
    for total, shape in zip(totals, summed, strict=True):
        mean = total / num
        means.append(mean.astype(shape.dtype))
    last = [x[-1] for x in others]
    leaves = []
    for counts in is_summed:
        leaf = means.pop(0) if counts else last.pop(0)
        leaves.append(leaf)
    return structure.unflatten(leaves)
