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
    found: list[BatchSum] = []
    return found if _compare(small, large, parameters, 1.0, found) else None


def _compare(small: Any, large: Any, parameters: set, times: float, found: list) -> bool:
    pairs = live_nodes(small)[0], live_nodes(large)[0]
    if [node.name for node in pairs[0]] != [node.name for node in pairs[1]]:
        return False
    for one, two in zip(*pairs, strict=True):
        for (inner, turns), (other, _) in zip(one.inner, two.inner, strict=True):
            if not _compare(inner, other, parameters, times * turns, found):
                return False
        if not one.inner:
            found += _of(one, two, parameters, times)
    return True


def _of(one: Node, two: Node, parameters: set, times: float) -> list[BatchSum]:
    """What one equation adds."""
    grows = [a.shape != b.shape for a, b in zip(one.in_avals, two.in_avals, strict=True)]
    shapes = [(a, a.shape != b.shape) for a, b in zip(one.out_avals, two.out_avals, strict=True)]
    if not any(grows) or one.name in _NO_SUMS:
        return []
    if one.name == "concatenate":
        axis = one.params["dimension"]
        if all(
            a.shape[axis] == b.shape[axis] for a, b in zip(one.in_avals, two.in_avals, strict=True)
        ):
            return []
        return [BatchSum(JOINED, aval_bytes(a), a.shape, times) for a, _ in shapes]
    return [
        BatchSum(_kind(a.shape, parameters), aval_bytes(a), a.shape, times)
        for a, grew in shapes
        if not grew
    ]


# Their results do not depend on all examples: positions and keys that are drawn from a whole array.
_NO_SUMS = frozenset("slice dynamic_slice gather iota random_bits squeeze reshape".split())


def _kind(shape: tuple[int, ...], parameters: set) -> str:
    if not shape:
        return SCALARS
    return GRADIENTS if shape in parameters or shape[::-1] in parameters else STATISTICS
