"""The three bilinear maps of a convolution, whatever computes them: numbers, sizes and lanes.

`bilinear` says what they are.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from dgm_jax.core import Array

# The numbers of the maps in `onednn.cc`.
FORWARD = 0
INPUT_GRADIENT = 1
KERNEL_GRADIENT = 2
ROLES = {FORWARD: "xwy", INPUT_GRADIENT: "ywx", KERNEL_GRADIENT: "xyw"}  # two operands, result


class Geometry(NamedTuple):
    """The sizes of a convolution that do not follow from its operands.

    Attributes:
        stride: (rows, columns), as are all others.
        before: zeros above and to the left of the images.
        size: H, W.
        kernel: kh, kw.
        out: H', W'.
    """

    stride: tuple[int, int]
    before: tuple[int, int]
    size: tuple[int, int]
    kernel: tuple[int, int]
    out: tuple[int, int]

    @property
    def is_pointwise(self) -> bool:
        """Whether each pixel is mapped by itself: one tap, stride 1, no padding."""
        one_tap = self.kernel == (1, 1)
        one_step = self.stride == (1, 1)
        return one_tap and one_step and self.size == self.out


def result_shape(which: int, a: Array, b: Array, geometry: Geometry) -> tuple[int, ...]:
    """The shape of a map's result, with lanes.

    Args:
        which: the map's number.
        a: its first operand, with lanes, or anything of its shape.
        b: the second.
        geometry: the other sizes.

    Returns:
        The shape.
    """
    lanes = max(a.shape[0], b.shape[0])
    if which == FORWARD:
        return (lanes, a.shape[1], *geometry.out, b.shape[4])
    if which == INPUT_GRADIENT:
        return (lanes, a.shape[1], *geometry.size, b.shape[3])
    return (lanes, *geometry.kernel, a.shape[4], b.shape[4])


def over_lanes(
    function: Callable[[Array, Array], Array], a: Array, b: Array, *, at_once: bool
) -> Array:
    """Apply a function of two arrays without lanes to each lane of two arrays.

    Args:
        function: of arrays without lanes.
        a: [L, ...], or [1, ...] for one that serves all lanes.
        b: likewise.
        at_once: whether by `vmap`; otherwise one lane after the other.

    Returns:
        The results, [L, ...].
    """
    if a.shape[0] == b.shape[0] == 1:
        return function(a[0], b[0])[None]
    shared = {}
    mapped = {}
    for name, operand in (("a", a), ("b", b)):
        if operand.shape[0] == 1:
            shared[name] = operand[0]
        else:
            mapped[name] = operand

    def one_lane(lane: dict[str, Array]) -> Array:
        operands = shared | lane
        return function(operands["a"], operands["b"])

    if at_once:
        return jax.vmap(one_lane)(mapped)
    return jax.lax.map(one_lane, mapped)
