"""A convolution's three bilinear maps as one JAX primitive, differentiable to any order.

With stride s and padding p (before), for every lane

    FORWARD          y[b, i, j, n] = sum_{u, v, c} x[b, s i + u - p, s j + v - q, c] w[u, v, c, n]
    INPUT_GRADIENT   x = the transpose of FORWARD as a map of x, applied to y
    KERNEL_GRADIENT  w = the transpose of FORWARD as a map of w, applied to y

Each is bilinear in its operands, and its transpose in either of them is another of the three, so
forward and reverse mode work in any order and mixture. Shapes: x [L, B, H, W, C], w [L, kh, kw, C,
N], y [L, B, H', W', N]; an operand with one lane serves all of them.

`vmap` over images alone folds them into the batch. `vmap` over kernels adds lanes.

What computes the maps is decided when a program is lowered, by the platform that it is lowered for:
on CPU `native.onednn` or `plain`, lanes one after the other; elsewhere `lax`'s
convolutions, all lanes at once, in the precision (`jax.default_matmul_precision`) that was set when
the convolution was traced.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching, mlir

from dgm_jax.core import Array
from dgm_jax.native import AUTO, for_platform, onednn
from dgm_jax.networks.layers import plain
from dgm_jax.networks.layers.plain import Geometry

# The numbers of the maps in `onednn.cc`.
FORWARD = 0
INPUT_GRADIENT = 1
KERNEL_GRADIENT = 2
ROLES = {FORWARD: "xwy", INPUT_GRADIENT: "ywx", KERNEL_GRADIENT: "xyw"}  # two operands, result

PRECISION = "jax_default_matmul_precision"
# With fewer operations plain JAX is as fast as oneDNN, whose threads have to meet at the end of
# each call, and with 1x1 kernels it is faster. The three maps of a layer have equally many, so that
# they are computed alike: threads of oneDNN and of XLA that alternate wait for each other.
_FEW_OPERATIONS = 8e7
_FEW_OPERATIONS_1X1 = 4e8


convolution_p = jax.extend.core.Primitive("dgm_jax_convolution")


def apply(which: int, a: Array, b: Array, geometry: Geometry, implementation: str) -> Array:
    """Apply one of the three maps to operands with lanes.

    Args:
        which: FORWARD, INPUT_GRADIENT or KERNEL_GRADIENT.
        a: the first operand, x [L, B, H, W, C], or y [L, B, H', W', N] for INPUT_GRADIENT.
        b: the second, w [L, kh, kw, C, N], or y for KERNEL_GRADIENT.
        geometry: the other sizes.
        implementation: what computes the map on CPU, "onednn" or "plain"; "auto" for what
            `native.for_platform` says.

    Returns:
        y, x or w, with lanes.
    """
    a, b = _vary_alike(a, b)
    settings = {"geometry": geometry, "implementation": implementation}
    settings["precision"] = getattr(jax.config, PRECISION)
    return convolution_p.bind(a, b, which=which, **settings)


def _vary_alike(a: Array, b: Array) -> tuple[Array, Array]:
    """Both operands varying over the same axes of a shard_map that checks it, as lax's do."""
    axes = _varying(a) | _varying(b)
    return _vary_over(a, axes), _vary_over(b, axes)


def _vary_over(operand: Array, axes: frozenset) -> Array:
    missing = axes - _varying(operand)
    return jax.lax.pcast(operand, tuple(missing), to="varying") if missing else operand


def _varying(operand: Array) -> frozenset:
    """The manual axes over which an operand varies: `mat` of its type, in older JAX `vma`."""
    kind = jax.typeof(operand)
    return kind.mat.varying if hasattr(kind, "mat") else getattr(kind, "vma", frozenset())


def _shape(which: int, a: tuple, b: tuple, geometry: Geometry) -> tuple[int, ...]:
    """The shape of the result from those of the operands, all without lanes."""
    if which == FORWARD:
        return (a[0], *geometry.out, b[3])
    if which == INPUT_GRADIENT:
        return (a[0], *geometry.size, b[2])
    return (*geometry.kernel, a[3], b[3])


@convolution_p.def_abstract_eval
def _abstract(a, b, *, which, geometry, implementation, precision):
    del implementation, precision
    lanes = max(a.shape[0], b.shape[0])
    shape = (lanes, *_shape(which, a.shape[1:], b.shape[1:], geometry))
    return a.update(shape=shape, weak_type=False)


def _compute(
    a: Array, b: Array, *, which: int, geometry: Geometry, implementation: str, precision: object
) -> Array:
    """The map on CPU, where float32 has one precision."""
    del precision
    is_auto = implementation == AUTO
    implementation = for_platform("cpu") if is_auto else implementation
    few_channels = which == INPUT_GRADIENT and b.shape[3] <= plain.FEW_CHANNELS
    lanes = max(a.shape[0], b.shape[0])
    shape = (lanes, *_shape(which, a.shape[1:], b.shape[1:], geometry))
    by_onednn = implementation == "onednn" and onednn.computes(a.dtype)
    plain_is_faster = few_channels or (is_auto and _is_light(which, a, b, shape, geometry))
    if by_onednn and not plain_is_faster:
        result = onednn.convolution(a, b, shape, which, geometry.stride, geometry.before)
        return _without_padding_taps(result, geometry) if which == KERNEL_GRADIENT else result
    return _over_lanes(lambda a, b: plain.MAPS[which](a, b, geometry), a, b, at_once=False)


def _is_light(which: int, a: Array, b: Array, result: tuple[int, ...], geometry: Geometry) -> bool:
    """Whether `plain` is faster, in float32, by the times of both in benchmarks/README.md."""
    shapes = dict(zip(ROLES[which], (a.shape, b.shape, result), strict=True))
    operations = 2 * math.prod(shapes["y"][1:4]) * math.prod(shapes["w"][1:])
    few = _FEW_OPERATIONS_1X1 if geometry.is_pointwise else _FEW_OPERATIONS
    return a.dtype == jnp.float32 and operations < few


def _without_padding_taps(gradient: Array, geometry: Geometry) -> Array:
    """The gradient of kernels [L, kh, kw, C, N] with zeros at taps that see nothing but padding.

    oneDNN 3.2 leaves some of them unwritten in bfloat16, so that they hold whatever was in memory
    (observed on a processor with AVX-512 and bfloat16 instructions, with stride 2 or 3 and few
    columns).
    """

    def sees(step: int, before: int, size: int, taps: int, out: int) -> np.ndarray:
        """bool[taps], along one axis."""
        rows = [
            [0 <= step * place + tap - before < size for place in range(out)] for tap in range(taps)
        ]
        return np.array([any(row) for row in rows], bool)

    rows, columns = (sees(*sizes) for sizes in zip(*geometry, strict=True))
    sees_images = rows[:, None] & columns
    if sees_images.all():
        return gradient
    mask = sees_images[:, :, None, None]
    return jnp.where(mask, gradient, jnp.zeros((), gradient.dtype))


def _over_lanes(
    function: Callable[[Array, Array], Array], a: Array, b: Array, *, at_once: bool
) -> Array:
    """`function` on each lane of a and b, where an operand with one lane serves all lanes."""
    if a.shape[0] == b.shape[0] == 1:
        return function(a[0], b[0])[None]
    # An operand is either shared (its only lane is closed over) or mapped (None stands for the
    # other in the tree of operands).
    shared: list[Any] = [operand[0] if operand.shape[0] == 1 else None for operand in (a, b)]
    pairs = zip((a, b), shared, strict=True)
    mapped = tuple(operand if only is None else None for operand, only in pairs)

    def lane(operands: Any) -> Array:
        pairs = zip(operands, shared, strict=True)
        return function(*(only if operand is None else operand for operand, only in pairs))

    return jax.vmap(lane)(mapped) if at_once else jax.lax.map(lane, mapped)


def _run(a: Array, b: Array, **settings: Any) -> Array:
    """Outside of jit: computed at once, on the devices of the operands."""
    platforms = {device.platform for device in a.devices()}
    compute = _compute if platforms == {"cpu"} else _by_lax
    return compute(a, b, **settings)


convolution_p.def_impl(_run)


def _by_lax(
    a: Array, b: Array, *, which: int, geometry: Geometry, implementation: str, precision: object
) -> Array:
    """The map by lax's own convolution and its transposes."""
    del implementation
    return _over_lanes(lambda a, b: _LAX[which](a, b, geometry, precision), a, b, at_once=True)


def lax_forward(x: Array, w: Array, geometry: Geometry, precision: Any = None) -> Array:
    """Apply FORWARD without lanes by `lax.conv_general_dilated`.

    Args:
        x: [B, H, W, C].
        w: [kh, kw, C, N].
        geometry: the other sizes.
        precision: of the products, as in `lax`.

    Returns:
        y [B, H', W', N].
    """
    after = []
    for stride, before, size, taps, out in zip(*geometry, strict=True):
        seen = (out - 1) * stride + taps
        after.append(seen - size - before)
    padding = list(zip(geometry.before, after, strict=True))
    return jax.lax.conv_general_dilated(
        x,
        w,
        geometry.stride,
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _lax_input_gradient(y: Array, w: Array, geometry: Geometry, precision: Any = None) -> Array:
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry.size, w.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: lax_forward(x, w, geometry, precision), x)(y)[0]


def _lax_kernel_gradient(x: Array, y: Array, geometry: Geometry, precision: Any = None) -> Array:
    w = jax.ShapeDtypeStruct((*geometry.kernel, x.shape[3], y.shape[3]), y.dtype)
    return jax.linear_transpose(lambda w: lax_forward(x, w, geometry, precision), w)(y)[0]


_LAX = (lax_forward, _lax_input_gradient, _lax_kernel_gradient)


def _lower_for_cpu(context, a, b, **settings):
    if _is_partitioned_by_xla(context):
        # XLA can split that, and would gather all operands of a call
        settings["implementation"] = "plain"
    compute = functools.partial(_compute, **settings)
    return mlir.lower_fun(compute, multiple_results=False)(context, a, b)


def _is_partitioned_by_xla(context):
    """Whether the program is for several devices and XLA splits its arrays (not shard_map)."""
    axes = context.module_context.axis_context
    if isinstance(axes, mlir.SPMDAxisContext):
        shape = axes.mesh.shape
        return any(shape[name] > 1 for name in shape if name not in axes.manual_axes)
    return isinstance(axes, mlir.ShardingContext) and axes.num_devices > 1


mlir.register_lowering(convolution_p, mlir.lower_fun(_by_lax, multiple_results=False))
mlir.register_lowering(convolution_p, _lower_for_cpu, platform="cpu")


def _batch(operands: tuple, axes: tuple, **settings: Any) -> tuple[Array, int]:
    """The rule of `vmap`: S instances become images of the batch, or else lanes."""
    pairs = list(zip(operands, axes, strict=True))
    size = next(operand.shape[axis] for operand, axis in pairs if axis is not None)
    a, b = (operand if axis is None else jnp.moveaxis(operand, axis, 0) for operand, axis in pairs)
    if settings["which"] != KERNEL_GRADIENT and axes[1] is None and b.shape[0] == 1:
        # One kernel for all: more images in the batch. a is [S, L, B, ...].
        lanes, images = a.shape[1:3]
        folded = jnp.moveaxis(a, 0, 1).reshape(lanes, size * images, *a.shape[3:])
        result = convolution_p.bind(folded, b, **settings)
        return result.reshape(lanes, size, images, *result.shape[2:]), 1
    pairs = list(zip((a, b), axes, strict=True))
    of_lanes = [0 if axis is None else 1 for axis in axes]
    lanes = max(a.shape[of_lanes[0]], b.shape[of_lanes[1]])
    merged = [_merge_lanes(operand, axis, size, lanes) for operand, axis in pairs]
    result = convolution_p.bind(*merged, **settings)
    return result.reshape(size, lanes, *result.shape[1:]), 0


def _merge_lanes(operand: Array, axis: int | None, size: int, lanes: int) -> Array:
    """[S, l, ...], or [l, ...] that serves every entry of S, -> [S L, ...] or [1, ...]."""
    if axis is None:
        if operand.shape[0] == 1:
            return operand
        operand = jnp.broadcast_to(operand, (size, *operand.shape))
    elif operand.shape[1] != lanes:
        operand = jnp.broadcast_to(operand, (size, lanes, *operand.shape[2:]))
    return operand.reshape(size * lanes, *operand.shape[2:])


batching.primitive_batchers[convolution_p] = _batch


def _transpose(d, a, b, *, which, position, **settings):
    """The gradient of the operand at `position`, for the cotangent d of the result.

    It is the map whose result has that operand's role (x, w or y), applied to the other operand and
    to d, which has the role of this map's result.
    """
    *roles, result = ROLES[which]
    known = {roles[1 - position]: (b, a)[position], result: d}
    gradient_map = next(other for other, role in ROLES.items() if role[2] == roles[position])
    operands = (known[role] for role in ROLES[gradient_map][:2])
    gradient = convolution_p.bind(*operands, which=gradient_map, **settings)
    # An operand with one lane served all lanes, so its gradient is the sum over them.
    served_all = (a, b)[position].aval.shape[0] == 1 and gradient.shape[0] > 1
    return jnp.sum(gradient, 0, keepdims=True) if served_all else gradient


ad.defbilinear(
    convolution_p,
    functools.partial(_transpose, position=0),
    functools.partial(_transpose, position=1),
)
