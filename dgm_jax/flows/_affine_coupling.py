"""Coupling with a scale and a shift: the layer of Real NVP."""

import jax.numpy as jnp

from dgm_jax.core import Bijection, checks
from dgm_jax.flows._coupling import coupling
from dgm_jax.flows.conditioner import bounded


def affine_coupling(
    dim: int,
    *,
    hidden: tuple[int, ...] = (64, 64),
    mask: str = "halves",
    flip: bool = False,
    log_scale_bound: float = 3.0,
) -> Bijection:
    """y_moved = x_moved exp(s(x_kept)) + t(x_kept); log|det dy/dx| = sum s.

    s = bound tanh(raw / bound) stays within +-log_scale_bound, so the slope within [exp(-3),
    exp(3)] by default. The identity at init. `mask`, `flip` and errors as in `coupling`. Dinh et
    al. 2017, section 3.2.
    """
    checks.positive(log_scale_bound, "log_scale_bound")

    def forward(moved, raw):
        log_scale, shift = bounded(raw[..., 0], log_scale_bound), raw[..., 1]
        return moved * jnp.exp(log_scale) + shift, log_scale

    def inverse(moved, raw):
        log_scale, shift = bounded(raw[..., 0], log_scale_bound), raw[..., 1]
        return (moved - shift) * jnp.exp(-log_scale), -log_scale

    return coupling(dim, 2, forward, inverse, hidden=hidden, mask=mask, flip=flip)
