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
on CPU `native.onednn` or `networks.plain`, lanes one after the other; elsewhere `lax`'s
convolutions, all lanes at once, in the precision (`jax.default_matmul_precision`) of the place
where the convolution was traced.
"""

import functools
from typing import NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching, mlir

from dgm_jax.core import Array
from dgm_jax.native import AUTO, for_platform, onednn
from dgm_jax.networks.layers import plain

FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT = 0, 1, 2
ROLES = {FORWARD: "xwy", INPUT_GRADIENT: "ywx", KERNEL_GRADIENT: "xyw"}  # two operands, result

PRECISION = "jax_default_matmul_precision"


class Geometry(NamedTuple):
    """The sizes of a convolution that do not follow from its operands; pairs are (rows,
    columns)."""

    stride: tuple[int, int]
    before: tuple[int, int]  # zeros above and to the left
    size: tuple[int, int]  # H, W
    kernel: tuple[int, int]  # kh, kw
    out: tuple[int, int]  # H', W'


convolution_p = jax.extend.core.Primitive("dgm_jax_convolution")


def apply(which: int, a: Array, b: Array, geometry: Geometry, implementation: str) -> Array:
    """One of the three maps on its operands in the order (x, w), (y, w) or (x, y), with lanes.

    implementation: what computes it on CPU, "onednn" or "plain"; "auto" for what
        `native.for_platform` says.
    """
    a, b = _vary_alike(a, b)
    settings = {"geometry": geometry, "implementation": implementation}
    settings["precision"] = getattr(jax.config, PRECISION)
    return convolution_p.bind(a, b, which=which, **settings)


def _vary_alike(a, b):
    """Both operands varying over the same axes of a shard_map that checks it, as lax's do."""
    axes = [_varying(operand) for operand in (a, b)]
    both = axes[0] | axes[1]
    return tuple(
        jax.lax.pcast(operand, tuple(both - own), to="varying") if both - own else operand
        for operand, own in zip((a, b), axes, strict=True)
    )


def _varying(operand) -> frozenset:
    """The manual axes over which an operand varies: `mat` of its type, in older JAX `vma`."""
    kind = jax.typeof(operand)
    return kind.mat.varying if hasattr(kind, "mat") else getattr(kind, "vma", frozenset())


def _shape(which, a, b, geometry):
    """Of the result, without lanes, from the shapes of the operands without lanes."""
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


def _compute(a, b, *, which, geometry, implementation, precision):
    """The map on CPU, where float32 has one precision."""
    del precision
    implementation = for_platform("cpu") if implementation == AUTO else implementation
    if implementation == "onednn" and onednn.computes(a.dtype):
        lanes = max(a.shape[0], b.shape[0])
        shape = (lanes, *_shape(which, a.shape[1:], b.shape[1:], geometry))
        result = onednn.convolution(a, b, shape, which, geometry.stride, geometry.before)
        return _without_padding_taps(result, geometry) if which == KERNEL_GRADIENT else result
    return _over_lanes(lambda a, b: plain.MAPS[which](a, b, geometry), a, b, at_once=False)


def _without_padding_taps(gradient, geometry):
    """The gradient of kernels [L, kh, kw, C, N] with zeros at taps that see nothing but padding.

    oneDNN 3.2 leaves some of them unwritten in bfloat16: whatever lay in memory (seen on a
    processor with AVX-512 and bfloat16 instructions, with stride 2 or 3 and few columns).
    """
    rows, columns = (
        np.array(
            [any(0 <= step * i + u - before < size for i in range(out)) for u in range(taps)], bool
        )
        for step, before, size, taps, out in zip(*geometry, strict=True)
    )
    seen = rows[:, None] & columns
    if seen.all():
        return gradient
    return jnp.where(seen[:, :, None, None], gradient, jnp.zeros((), gradient.dtype))


def _over_lanes(function, a, b, *, at_once):
    """`function` on each lane of a and b, where an operand with one lane serves all."""
    if a.shape[0] == b.shape[0] == 1:
        return function(a[0], b[0])[None]
    shared = [operand[0] if operand.shape[0] == 1 else None for operand in (a, b)]

    def lane(operands):
        return function(*(s if o is None else o for o, s in zip(operands, shared, strict=True)))

    lanes = tuple(o if s is None else None for o, s in zip((a, b), shared, strict=True))
    return jax.vmap(lane)(lanes) if at_once else jax.lax.map(lane, lanes)


def _run(a, b, **settings):
    """Outside of jit: step by step, where the operands are."""
    platforms = {device.platform for device in a.devices()}
    return (_compute if platforms == {"cpu"} else _by_lax)(a, b, **settings)


convolution_p.def_impl(_run)


def _by_lax(a, b, *, which, geometry, implementation, precision):
    """The map by lax's own convolution and its transposes."""
    del implementation
    return _over_lanes(lambda a, b: _LAX[which](a, b, geometry, precision), a, b, at_once=True)


def lax_forward(x: Array, w: Array, geometry: Geometry, precision=None) -> Array:
    """FORWARD without lanes by `lax.conv_general_dilated`."""
    after = [
        (out - 1) * stride + taps - size - before
        for stride, before, size, taps, out in zip(*geometry, strict=True)
    ]
    return jax.lax.conv_general_dilated(
        x,
        w,
        geometry.stride,
        list(zip(geometry.before, after, strict=True)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _lax_input_gradient(y, w, geometry, precision=None):
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry.size, w.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: lax_forward(x, w, geometry, precision), x)(y)[0]


def _lax_kernel_gradient(x, y, geometry, precision=None):
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


def _batch(operands, axes, **settings):
    size = next(o.shape[d] for o, d in zip(operands, axes, strict=True) if d is not None)
    a, b = (o if d is None else jnp.moveaxis(o, d, 0) for o, d in zip(operands, axes, strict=True))
    if settings["which"] != KERNEL_GRADIENT and axes[1] is None and b.shape[0] == 1:
        # One kernel for all: more images in the batch. a is [S, L, B, ...].
        lanes, images = a.shape[1:3]
        folded = jnp.moveaxis(a, 0, 1).reshape(lanes, size * images, *a.shape[3:])
        result = convolution_p.bind(folded, b, **settings)
        return result.reshape(lanes, size, images, *result.shape[2:]), 1
    lanes = max(o.shape[0 if d is None else 1] for o, d in zip((a, b), axes, strict=True))
    merged = [_merge_lanes(o, d, size, lanes) for o, d in zip((a, b), axes, strict=True)]
    result = convolution_p.bind(*merged, **settings)
    return result.reshape(size, lanes, *result.shape[1:]), 0


def _merge_lanes(operand, axis, size, lanes):
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
    """The gradient of the operand at `position`: the map whose result has that operand's role, on
    the other operand and the cotangent d, which has the role of this map's result."""
    *roles, result = ROLES[which]
    known = {roles[1 - position]: (b, a)[position], result: d}
    wanted = next(other for other, role in ROLES.items() if role[2] == roles[position])
    operands = (known[role] for role in ROLES[wanted][:2])
    gradient = convolution_p.bind(*operands, which=wanted, **settings)
    served_all = (a, b)[position].aval.shape[0] == 1 and gradient.shape[0] > 1
    return jnp.sum(gradient, 0, keepdims=True) if served_all else gradient


ad.defbilinear(
    convolution_p,
    functools.partial(_transpose, position=0),
    functools.partial(_transpose, position=1),
)
