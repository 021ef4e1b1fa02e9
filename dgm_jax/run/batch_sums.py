"""Finds what devices that share a batch have to tell each other, from a traced step.

A step is traced with a batch of B examples and with one of 2 B. Where an equation's operands grow
and its results do not, it sums over the batch: devices that hold parts of the batch add their
partial results, and each needs the sum. Where arrays are joined along an axis that grows, the
joined batch has to be spread anew.
"""

from typing import Any, NamedTuple

from dgm_jax.run.equations import Node, aval_bytes, live_nodes

GRADIENTS, STATISTICS, SCALARS, JOINED = "gradients", "statistics", "scalars", "joined batches"


class BatchSum(NamedTuple):
    """What devices exchange for one equation.

    Attributes:
        what: one of "gradients" (shaped as parameters), "statistics" (other arrays), "scalars"
            (losses and metrics) and "joined batches".
        num_bytes: of the result.
        shape: of the result.
        times: how often in a step.
    """

    what: str
    num_bytes: float
    shape: tuple[int, ...]
    times: float


def batch_sums(small: Any, large: Any, parameters: set[tuple[int, ...]]) -> list[BatchSum] | None:
    """Lists the sums over the batch of one lane's step.

    Args:
        small: jaxpr of the step.
        large: jaxpr of the same step with twice the batch.
        parameters: shapes of the parameters.

    Returns:
        The sums; None where the two do not have the same equations.
    """
    sums: list[BatchSum] = []
    are_alike = _compare(small, large, parameters, 1.0, sums)
    return sums if are_alike else None


def _compare(small: Any, large: Any, parameters: set, times: float, sums: list) -> bool:
    """Appends the sums of two jaxprs; False where their equations differ."""
    small_nodes, _ = live_nodes(small)
    large_nodes, _ = live_nodes(large)
    small_names = [node.name for node in small_nodes]
    large_names = [node.name for node in large_nodes]
    if small_names != large_names:
        return False
    for one, two in zip(small_nodes, large_nodes, strict=True):
        pairs = zip(one.inner, two.inner, strict=True)
        for inner, other in pairs:
            if not _compare(inner.jaxpr, other.jaxpr, parameters, times * inner.times, sums):
                return False
        if not one.inner:
            sums += _of(one, two, parameters, times)
    return True


def _of(one: Node, two: Node, parameters: set, times: float) -> list[BatchSum]:
    """What one equation adds."""
    operands_grow = _growing(one.in_avals, two.in_avals)
    results_grow = _growing(one.out_avals, two.out_avals)
    if not any(operands_grow) or one.name in _NO_SUMS:
        return []
    if one.name == "concatenate":
        return _joined(one, two, times)
    sums = []
    for aval, grows in zip(one.out_avals, results_grow, strict=True):
        if not grows:
            what = _kind(aval.shape, parameters)
            sums.append(_sum(what, aval, times))
    return sums


def _growing(small: tuple, large: tuple) -> list[bool]:
    """Which arrays are larger with the larger batch."""
    return [a.shape != b.shape for a, b in zip(small, large, strict=True)]


def _joined(one: Node, two: Node, times: float) -> list[BatchSum]:
    """What a concatenation adds: nothing unless the axis of joining grows."""
    axis = one.params["dimension"]
    small_sizes = [aval.shape[axis] for aval in one.in_avals]
    large_sizes = [aval.shape[axis] for aval in two.in_avals]
    if small_sizes == large_sizes:
        return []
    return [_sum(JOINED, aval, times) for aval in one.out_avals]


def _sum(what: str, aval: Any, times: float) -> BatchSum:
    """The exchange of one result."""
    num_bytes = aval_bytes(aval)
    return BatchSum(what, num_bytes, aval.shape, times)


# Their results do not depend on all examples: positions and keys that are drawn from a whole array.
_NO_SUMS = frozenset("slice dynamic_slice gather iota random_bits squeeze reshape".split())


def _kind(shape: tuple[int, ...], parameters: set) -> str:
    if not shape:
        return SCALARS
    transposed = shape[::-1]
    if shape in parameters or transposed in parameters:
        return GRADIENTS
    return STATISTICS
