"""The program of a part of a chunk: any number of steps, continuing from the sums so far."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Lane, Metrics, PyTree, Sums, checks
from dgm_jax.parallel.mesh import place

PartArguments = tuple[Lane, Sums, PyTree, np.int32, np.bool_]


def first_part(
    no_sums: Callable[[Lane, PyTree], Sums],
    sharding: jax.sharding.NamedSharding,
    lanes: Lane,
    data: PyTree,
) -> PartArguments:
    """Return the arguments of the program of a part at the beginning of a chunk.

    Args:
        no_sums: `(lanes, data) -> Sums`, as `LaneProgram.no_sums` over all lanes.
        sharding: of the sums.
        lanes: all lanes, or their shapes.
        data: the data set, or its shapes.

    Returns:
        Lanes, sums (zeros), data, number of steps (1) and whether they are the last (true).
    """
    shapes = jax.eval_shape(no_sums, lanes, data)
    sums = place(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), sharding)
    return lanes, sums, data, np.int32(1), np.bool_(True)


class Advance(NamedTuple):
    """The compiled program of a part of a chunk.

    Attributes:
        call: `(lanes, sums, data, num_steps, last) -> (lanes, sums, metrics)`, where `last` says
            whether these steps complete the chunk.
        no_sums: the sums at the beginning of a chunk.
        compiled: the same program as `jax.stages.Compiled`, for its sizes.
    """

    call: Callable[..., tuple[Lane, Sums, Metrics]]
    no_sums: Sums
    compiled: Any

    def __call__(
        self,
        lanes: Lane,
        data: PyTree,
        num_steps: int,
        sums: Sums | None = None,
        last: bool = True,
    ) -> tuple[Lane, Sums, Metrics]:
        """Make the next steps of a chunk.

        Args:
            lanes: all lanes, whose memory may be reused.
            data: the data set.
            num_steps: number of steps.
            sums: as the previous part of the chunk returned them; None at its beginning.
            last: whether these steps complete the chunk.

        Returns:
            Lanes, sums and metrics {name: [L]}.
        """
        sums = self.no_sums if sums is None else sums
        return self.call(lanes, sums, data, np.int32(num_steps), np.bool_(last))


def compiling(
    first: Callable[[Lane, PyTree], PartArguments],
    compiled: Callable[..., Callable[..., Any]],
    *before: Any,
) -> Callable[..., Callable[..., Any]]:
    """Make `Distributed.compile_advance`.

    Args:
        first: maps `(lanes, data)` to the arguments of a part, see `first_part`.
        compiled: maps arguments to a program that is compiled for them.
        *before: arguments of the program that come before those of a part.

    Returns:
        The function, described in `Distributed`.
    """

    def compile_advance(
        lanes: Lane, data: PyTree, num_steps: int | None = None
    ) -> Callable[..., Any]:
        if num_steps is not None:
            checks.whole(num_steps, "num_steps")
        arguments = first(lanes, data)
        program = compiled(*before, *arguments)
        call = functools.partial(program, *before) if before else program
        advance = Advance(call, arguments[1], program)
        if num_steps is None:
            return advance

        def whole_chunk(lanes: Lane, data: PyTree) -> tuple[Lane, Metrics]:
            lanes, _, metrics = advance(lanes, data, num_steps)
            return lanes, metrics

        return whole_chunk

    return compile_advance
