"""The program of a part of a chunk: any number of steps, continuing from the sums so far."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
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
    # Zeros of the host: those of JAX would be a program for each shape.
    sums = place(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes), sharding)
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


class LoweredAdvance(NamedTuple):
    """The program of a part of a chunk, lowered.

    Attributes:
        lowered: the program.
        before: its arguments that come before those of a part.
        no_sums: the sums at the beginning of a chunk.
    """

    lowered: jax.stages.Lowered
    before: tuple[Any, ...]
    no_sums: Sums

    def advance(self, compiled: Any) -> Advance:
        """Return the compiled program as it is called.

        Args:
            compiled: what `lowered` was compiled to.

        Returns:
            The program.
        """
        call = functools.partial(compiled, *self.before) if self.before else compiled
        return Advance(call, self.no_sums, compiled)


def lowering(
    first: Callable[[Lane, PyTree], PartArguments],
    lower: Callable[..., jax.stages.Lowered],
    *before: Any,
) -> Callable[[Lane, PyTree], LoweredAdvance]:
    """Make `Distributed.lower_parts`.

    Args:
        first: maps `(lanes, data)` to the arguments of a part, see `first_part`.
        lower: maps arguments to a program that is lowered for them.
        *before: arguments of the program that come before those of a part.

    Returns:
        The function, described in `Distributed`.
    """

    def lower_parts(lanes: Lane, data: PyTree) -> LoweredAdvance:
        arguments = first(lanes, data)
        return LoweredAdvance(lower(*before, *arguments), before, arguments[1])

    return lower_parts


def compiling(
    lower_parts: Callable[[Lane, PyTree], LoweredAdvance],
) -> Callable[..., Callable[..., Any]]:
    """Make `Distributed.compile_advance`.

    Args:
        lower_parts: from `lowering`.

    Returns:
        The function, described in `Distributed`.
    """

    def compile_advance(
        lanes: Lane, data: PyTree, num_steps: int | None = None
    ) -> Callable[..., Any]:
        if num_steps is not None:
            checks.whole(num_steps, "num_steps")
        part = lower_parts(lanes, data)
        advance = part.advance(part.lowered.compile())
        if num_steps is None:
            return advance

        def whole_chunk(lanes: Lane, data: PyTree) -> tuple[Lane, Metrics]:
            lanes, _, metrics = advance(lanes, data, num_steps)
            return lanes, metrics

        return whole_chunk

    return compile_advance
