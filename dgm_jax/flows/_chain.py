"""Bijections one after another, and the usual stacks."""

from typing import cast

import jax

from dgm_jax.core import Array, Bijection, checks, lookup, require
from dgm_jax.flows._affine_coupling import affine_coupling
from dgm_jax.flows._coupling import MASKS
from dgm_jax.flows._spline_coupling import spline_coupling
from dgm_jax.flows.autoregressive import masked_autoregressive

COUPLINGS = {"affine": affine_coupling, "spline": spline_coupling}


def chain(*bijections: Bijection) -> Bijection:
    """x through the first, then the second, and so on; log-determinants add up.

    params: a tuple, one entry a bijection. Raises `ConfigError` for none and for what is no
        `Bijection`.
    """
    require(len(bijections) >= 1, "chain needs at least one bijection")
    for b in bijections:
        require(
            isinstance(b, Bijection), f"chain takes bijections, as affine(dim) gives; got {b!r}"
        )

    def init(key):
        return tuple(
            b.init(k)
            for b, k in zip(bijections, jax.random.split(key, len(bijections)), strict=True)
        )

    def forward(params, x):
        steps = [(b.forward_and_log_det, p) for b, p in zip(bijections, params, strict=True)]
        return _run(steps, x)

    def inverse(params, y):
        steps = [(b.inverse_and_log_det, p) for b, p in zip(bijections, params, strict=True)]
        return _run(steps[::-1], y)

    return Bijection(init, forward, inverse)


def coupling_flow(
    dim: int,
    num_layers: int = 4,
    hidden: tuple[int, ...] = (64, 64),
    kind: str = "affine",
    **options,
) -> Bijection:
    """`num_layers` couplings of one `kind`, "affine" or "spline". The identity at init.

    The masks take turns: halves, halves flipped, alternating, alternating flipped, so that two
    layers move every coordinate and after four each depends on all others. `options` go to the
    coupling (`num_bins`, `bound`, `log_scale_bound`). One pass in either direction.
    """
    make = lookup(COUPLINGS, kind, "coupling")
    _require_layers(num_layers)
    layers = (
        make(dim, hidden=hidden, mask=MASKS[i // 2 % 2], flip=i % 2 == 1, **options)
        for i in range(num_layers)
    )
    return chain(*layers)


def autoregressive_flow(
    dim: int,
    num_layers: int = 2,
    hidden: tuple[int, ...] = (64, 64),
    *,
    log_scale_bound: float = 3.0,
) -> Bijection:
    """`num_layers` of `masked_autoregressive`, every other one in reversed order. The identity at
    init.

    Forward takes one pass a layer, the inverse `dim` of them.
    """
    _require_layers(num_layers)
    layers = (
        masked_autoregressive(
            dim, hidden=hidden, reverse=i % 2 == 1, log_scale_bound=log_scale_bound
        )
        for i in range(num_layers)
    )
    return chain(*layers)


def _run(steps, x):
    total = 0
    for function, params in steps:
        x, log_det = function(params, x)
        total = total + log_det
    return x, cast(Array, total)  # of at least one step


def _require_layers(num_layers):
    require(
        checks.is_whole(num_layers) and num_layers >= 1,
        f"num_layers must be at least 1; got {num_layers!r}",
    )
