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
`on_cpu`, lanes one after the other, or elsewhere `by_lax`, all lanes at once, in the precision
(`jax.default_matmul_precision`) that was set when the convolution was traced.
"""

import functools
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
from jax.interpreters import ad, batching, mlir

from dgm_jax.core import Array
from dgm_jax.networks.layers import by_lax, on_cpu
from dgm_jax.networks.layers.maps import KERNEL_GRADIENT, ROLES, Geometry, result_shape

PRECISION = "jax_default_matmul_precision"
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
    return convolution_p.bind(
        a,
        b,
        which=which,
        geometry=geometry,
        implementation=implementation,
        precision=getattr(jax.config, PRECISION),
    )


def _vary_alike(a: Array, b: Array) -> tuple[Array, Array]:
    """Both operands varying over the same axes of a shard_map that checks it, as lax's do."""
    axes = _varying(a) | _varying(b)
    return _vary_over(a, axes), _vary_over(b, axes)


def _vary_over(operand: Array, axes: frozenset) -> Array:
    missing = axes - _varying(operand)
    if not missing:
        return operand
    return jax.lax.pcast(operand, tuple(missing), to="varying")


def _varying(operand: Array) -> frozenset:
    """The manual axes over which an operand varies: `mat` of its type, in older JAX `vma`."""
    kind = jax.typeof(operand)
    if hasattr(kind, "mat"):
        return kind.mat.varying
    return getattr(kind, "vma", frozenset())


@convolution_p.def_abstract_eval
def _abstract(a, b, *, which, geometry, implementation, precision):
    del implementation, precision
    shape = result_shape(which, a, b, geometry)
    return a.update(shape=shape, weak_type=False)


def _run(a: Array, b: Array, **settings: Any) -> Array:
    """Outside of jit: computed at once, on the devices of the operands."""
    platforms = {device.platform for device in a.devices()}
    chosen = on_cpu if platforms == {"cpu"} else by_lax
    return chosen.compute(a, b, **settings)


convolution_p.def_impl(_run)


def _lower_for_cpu(context, a, b, **settings):
    if _is_partitioned_by_xla(context):
        # XLA can split that, and would gather all operands of a call
        settings["implementation"] = "plain"
    compute = functools.partial(on_cpu.compute, **settings)
    return mlir.lower_fun(compute, multiple_results=False)(context, a, b)


def _is_partitioned_by_xla(context):
    """Whether the program is for several devices and XLA splits its arrays (not shard_map)."""
    axes = context.module_context.axis_context
    if isinstance(axes, mlir.SPMDAxisContext):
        shape = axes.mesh.shape
        return any(shape[name] > 1 for name in shape if name not in axes.manual_axes)
    return isinstance(axes, mlir.ShardingContext) and axes.num_devices > 1


mlir.register_lowering(convolution_p, mlir.lower_fun(by_lax.compute, multiple_results=False))
mlir.register_lowering(convolution_p, _lower_for_cpu, platform="cpu")


def _batch(operands: tuple, axes: tuple, **settings: Any) -> tuple[Array, int]:
    """The rule of `vmap`: S instances become images of the batch, or else lanes."""
    sizes = []
    instances_first = []
    lane_counts = []
    for operand, axis in zip(operands, axes, strict=True):
        if axis is None:
            lane_counts.append(operand.shape[0])
        else:
            operand = jnp.moveaxis(operand, axis, 0)
            sizes.append(operand.shape[0])
            lane_counts.append(operand.shape[1])
        instances_first.append(operand)
    size = sizes[0]
    kernel_serves_all = axes[1] is None and lane_counts[1] == 1
    if kernel_serves_all and settings["which"] != KERNEL_GRADIENT:
        return _fold_into_batch(*instances_first, **settings), 1
    lanes = max(lane_counts)
    merged = []
    for operand, axis in zip(instances_first, axes, strict=True):
        merged.append(_merge_lanes(operand, axis, size, lanes))
    result = convolution_p.bind(*merged, **settings)
    return result.reshape(size, lanes, *result.shape[1:]), 0


def _fold_into_batch(a: Array, b: Array, **settings: Any) -> Array:
    """One kernel for all of a [S, L, B, ...]: S B images; the result is [L, S, B, ...]."""
    size, lanes, images, *pixels = a.shape
    folded = jnp.moveaxis(a, 0, 1)
    folded = folded.reshape(lanes, size * images, *pixels)
    result = convolution_p.bind(folded, b, **settings)
    return result.reshape(lanes, size, images, *result.shape[2:])


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
    role_a, role_b, role_result = ROLES[which]
    wanted, wanted_role = (a, role_a) if position == 0 else (b, role_b)
    known, known_role = (b, role_b) if position == 0 else (a, role_a)
    by_role = {known_role: known, role_result: d}
    gradient_map = next(other for other, roles in ROLES.items() if roles[2] == wanted_role)
    first_role, second_role, _ = ROLES[gradient_map]
    operands = (by_role[first_role], by_role[second_role])
    gradient = convolution_p.bind(*operands, which=gradient_map, **settings)
    # An operand with one lane served all lanes, so its gradient is the sum over them.
    if wanted.aval.shape[0] == 1 and gradient.shape[0] > 1:
        return jnp.sum(gradient, 0, keepdims=True)
    return gradient


ad.defbilinear(
    convolution_p,
    functools.partial(_transpose, position=0),
    functools.partial(_transpose, position=1),
)
