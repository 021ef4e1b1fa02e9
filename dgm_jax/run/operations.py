"""Counts what a traced step does: its arithmetic, the bytes it moves, its sums over a batch.

Nothing is compiled or run: a step is traced to a jaxpr, and each equation is counted by a formula.

- A product of matrices [m, k] and [k, n] is 2 m k n operations; a convolution 2 for each pair of an
  output and a kernel tap that lies on an input, padding excluded.
- Any other arithmetic is one operation for each element of its result, a reduction one for each
  element of its operand. Elementary functions (exp, log, tanh) count as one too.
- A loop of known length counts that often, one of unknown length as one turn: for the loop over
  steps of a chunk that is one step. Of the branches of a condition the dearest counts.
- Bytes moved: see `dgm_jax.run.traffic`.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.run.equations import MOVES, REDUCES, Node, Turn, aval_bytes, aval_size, live_nodes
from dgm_jax.run.traffic import copied, traffic

_RANDOM = frozenset(("random_bits", "threefry2x32", "random_split", "random_fold_in"))
# Threefry makes two words of 32 bits by 20 rounds of an addition, a rotation (three operations) and
# an exclusive or, with a key schedule of 15 additions.
_THREEFRY = (20 * 5 + 15) / 2


class Work(NamedTuple):
    """What a program does.

    Attributes:
        products: floating-point operations of matrix products and convolutions.
        others: all other operations.
        moved: bytes read and written.
        kept: bytes of the intermediate results that are written, each counted once: at most so much
            working memory is needed.
    """

    products: float = 0.0
    others: float = 0.0
    moved: float = 0.0
    kept: float = 0.0

    @property
    def operations(self) -> float:
        """All operations."""
        return self.products + self.others

    def plus(self, other: "Work", times: float = 1.0) -> "Work":
        """Adds other work, so many times.

        Args:
            other: what is added.
            times: how often.

        Returns:
            The sum.
        """
        sums = [a + times * b for a, b in zip(self, other, strict=True)]
        return Work(*sums)


def count(jaxpr: Any) -> Work:
    """Counts the work of a jaxpr.

    Args:
        jaxpr: as `jax.make_jaxpr` returns it, closed or open.

    Returns:
        The work.
    """
    return _count(Turn(jaxpr))


def _count(turn: Turn) -> Work:
    """The work of one turn."""
    nodes, results = live_nodes(turn.jaxpr)
    moved, kept = traffic(nodes, set(results))
    moved += copied(nodes, _carried(turn, results), set(results))
    done = Work(moved=moved, kept=kept)
    for node in nodes:
        inner = [(_count(inside), inside.times) for inside in node.inner]
        if node.name == "cond":
            dearest = max(inner, key=lambda pair: pair[0].operations)
            inner = [dearest]
        for work, times in inner:
            done = done.plus(work, times)
        if not inner:
            products, others = _arithmetic(node)
            done = done.plus(Work(products, others))
    return done


def _carried(turn: Turn, results: list) -> list[tuple[Any, Any]]:
    """What a turn of a loop carries: names of operands with those of the results that replace
    them."""
    jaxpr = getattr(turn.jaxpr, "jaxpr", turn.jaxpr)
    operands = jaxpr.invars[turn.num_constants :][: turn.num_carried]
    return list(zip(operands, results[: turn.num_carried], strict=True))


def _arithmetic(node: Node) -> tuple[float, float]:
    """(operations of products, other operations) of a node that is no loop."""
    name = node.name
    if name in MOVES or not node.out_avals:
        return 0.0, 0.0
    size = float(aval_size(node.out_avals[0]))
    if name == "dot_general":
        (contracted, _), _ = node.params["dimension_numbers"]
        shape = node.in_avals[0].shape
        num_terms = math.prod(shape[axis] for axis in contracted)
        return 2 * size * num_terms, 0.0
    if name == "conv_general_dilated":
        return 2.0 * _taps(node), 0.0
    if name in _RANDOM:
        num_bytes = sum(map(aval_bytes, node.out_avals))
        return 0.0, _THREEFRY * num_bytes / 4
    if name in REDUCES:
        largest = max(map(aval_size, node.in_avals))
        return 0.0, float(largest)
    if name == "sort":
        depth = math.log2(max(2.0, size))
        return 0.0, size * depth
    return 0.0, size


def _taps(node: Node) -> float:
    """Pairs of an output of a convolution and a kernel tap on an input, over all channels."""
    dims = node.params["dimension_numbers"]
    kernel = node.in_avals[1].shape
    out = node.out_avals[0].shape
    pairs = 1.0
    num_axes = len(dims.lhs_spec) - 2
    for axis in range(num_axes):
        pairs *= _taps_along(node, axis)
    batch = out[dims.out_spec[0]]
    out_channels = out[dims.out_spec[1]]
    in_channels = kernel[dims.rhs_spec[1]]
    num_groups = node.params["batch_group_count"]
    return pairs * batch / num_groups * out_channels * in_channels


def _taps_along(node: Node, axis: int) -> float:
    """The same pairs along one axis of space."""
    params = node.params
    lhs = node.in_avals[0].shape
    kernel = node.in_avals[1].shape
    out = node.out_avals[0].shape
    dims = params["dimension_numbers"]
    place = 2 + axis  # in a specification, behind batch and channels
    size = lhs[dims.lhs_spec[place]]
    num_taps = kernel[dims.rhs_spec[place]]
    num_outputs = out[dims.out_spec[place]]
    stride = params["window_strides"][axis]
    padding = params["padding"][axis][0]
    dilation = params["lhs_dilation"][axis]
    kernel_dilation = params["rhs_dilation"][axis]
    dilated_size = (size - 1) * dilation + 1
    outputs = np.arange(num_outputs)[:, None]
    taps = np.arange(num_taps)
    starts = outputs * stride - padding
    positions = starts + taps * kernel_dilation
    within = (positions >= 0) & (positions < dilated_size)
    on_inputs = within & (positions % dilation == 0)
    return float(on_inputs.sum())
