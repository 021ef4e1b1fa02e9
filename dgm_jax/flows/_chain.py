"""Bijections one after another, and the usual stacks of them."""

from collections.abc import Callable
from typing import Any, cast

import jax

from dgm_jax.core import Array, Bijection, Key, PyTree, checks, lookup, require
from dgm_jax.flows._affine_coupling import affine_coupling
from dgm_jax.flows._coupling import MASKS
from dgm_jax.flows._spline_coupling import spline_coupling
from dgm_jax.flows.autoregressive import masked_autoregressive

COUPLINGS = {"affine": affine_coupling, "spline": spline_coupling}

# (params, x) -> (y, log|det dy/dx|)
MapAndLogDet = Callable[[PyTree, Array], tuple[Array, Array]]


def chain(*bijections: Bijection) -> Bijection:
    """Compose bijections: x passes through the first, then the second, and so on.

    The log-determinants of the steps add up.

    Args:
        *bijections: the steps, at least one, in forward order.

    Returns:
        A bijection whose params are a tuple with one entry per step.

    Raises:
        ConfigError: there is no step, or one of them is not a `Bijection`.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> double = {"log_scale": jnp.log(jnp.full(2, 2.0)), "shift": jnp.zeros(2)}
        >>> twice = flows.chain(flows.affine(2), flows.affine(2))
        >>> y, log_det = twice.forward_and_log_det((double, double), jnp.ones(2))
        >>> print(f"{y[0]:.4f} {log_det:.4f}")  # 4 and 4 log 2
        4.0000 2.7726
    """
    require(len(bijections) >= 1, "chain needs at least one bijection")
    for bijection in bijections:
        require(
            isinstance(bijection, Bijection),
            f"chain takes bijections, as affine(dim) gives; got {bijection!r}",
        )

    def init(key: Key) -> PyTree:
        keys = jax.random.split(key, len(bijections))
        pairs = zip(bijections, keys, strict=True)
        return tuple(bijection.init(key_of_step) for bijection, key_of_step in pairs)

    def forward(params: PyTree, x: Array) -> tuple[Array, Array]:
        pairs = zip(bijections, params, strict=True)
        return _run([(step.forward_and_log_det, of_step) for step, of_step in pairs], x)

    def inverse(params: PyTree, y: Array) -> tuple[Array, Array]:
        pairs = zip(bijections, params, strict=True)
        steps = [(step.inverse_and_log_det, of_step) for step, of_step in pairs]
        return _run(steps[::-1], y)

    return Bijection(init, forward, inverse)


def coupling_flow(
    dim: int,
    num_layers: int = 4,
    hidden: tuple[int, ...] = (64, 64),
    kind: str = "affine",
    **options: Any,
) -> Bijection:
    """Stack couplings of one kind, the identity at init.

    The masks take turns: halves, halves flipped, alternating, alternating flipped. So two layers
    move every coordinate, and after four layers each coordinate depends on all others. Either
    direction takes one pass.

    Args:
        dim: length of the vectors, at least 2.
        num_layers: number of couplings.
        hidden: widths of the hidden layers of each coupling's network.
        kind: "affine" or "spline".
        **options: further arguments of the coupling (`num_bins`, `bound`, `log_scale_bound`).

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats.

    Raises:
        ConfigError: the kind is unknown, there is no layer, or the coupling refuses an argument.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> flow = flows.coupling_flow(3, hidden=(8,))
        >>> y, log_det = flow.forward_and_log_det(flow.init(jax.random.key(0)), jnp.ones(3))
        >>> print(y.tolist(), f"{log_det:.4f}")
        [1.0, 1.0, 1.0] 0.0000
    """
    make = lookup(COUPLINGS, kind, "coupling")
    _require_layers(num_layers)
    layers = []
    for index in range(num_layers):
        mask = MASKS[index // 2 % 2]
        layers.append(make(dim, hidden=hidden, mask=mask, flip=index % 2 == 1, **options))
    return chain(*layers)


def autoregressive_flow(
    dim: int,
    num_layers: int = 2,
    hidden: tuple[int, ...] = (64, 64),
    *,
    log_scale_bound: float = 3.0,
) -> Bijection:
    """Stack masked autoregressive maps in alternating orders, the identity at init.

    Every second layer treats the coordinates in reversed order. Forward takes one pass a layer,
    the inverse `dim` passes a layer.

    Args:
        dim: length of the vectors.
        num_layers: number of maps.
        hidden: widths of the hidden layers of each map's network.
        log_scale_bound: largest absolute log-scale of a coordinate in one layer, in nats.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats.

    Raises:
        ConfigError: there is no layer, or `masked_autoregressive` refuses an argument.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> flow = flows.autoregressive_flow(3, hidden=(8,))
        >>> y, log_det = flow.forward_and_log_det(flow.init(jax.random.key(0)), jnp.ones(3))
        >>> print(y.tolist(), f"{log_det:.4f}")
        [1.0, 1.0, 1.0] 0.0000
    """
    _require_layers(num_layers)
    layers = []
    for index in range(num_layers):
        layer = masked_autoregressive(
            dim,
            hidden=hidden,
            reverse=index % 2 == 1,
            log_scale_bound=log_scale_bound,
        )
        layers.append(layer)
    return chain(*layers)


def _run(steps: list[tuple[MapAndLogDet, PyTree]], x: Array) -> tuple[Array, Array]:
    total = 0
    for function, params in steps:
        x, log_det = function(params, x)
        total = total + log_det
    return x, cast(Array, total)  # an array, since there is at least one step


def _require_layers(num_layers: int) -> None:
    require(
        checks.is_whole(num_layers) and num_layers >= 1,
        f"num_layers must be at least 1; got {num_layers!r}",
    )
