"""Affine autoregressive maps: each coordinate is scaled and shifted by functions of those before
it.

Which side is noise is the caller's choice, and with it the name: where y is noise, x -> y in one
pass evaluates densities quickly (a masked autoregressive flow); where x is noise, it samples
quickly (an inverse autoregressive flow).
"""

import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Bijection, checks, float_type
from dgm_jax.flows._invert import invert
from dgm_jax.flows.conditioner import bounded, masked_dense
from dgm_jax.flows.events import event


def masked_autoregressive(
    dim: int,
    *,
    hidden: tuple[int, ...] = (64, 64),
    reverse: bool = False,
    log_scale_bound: float = 3.0,
) -> Bijection:
    """y_i = x_i exp(s_i(x_<i)) + t_i(x_<i); log|det dy/dx| = sum_i s_i.

    Forward is the direction in which a density is evaluated, from data x to noise y: one pass of a
    MADE. The inverse goes coordinate by coordinate in `dim` passes (a scan, differentiable in both
    modes). s is within +-log_scale_bound. The Jacobian is lower triangular, with `reverse` upper.
    The identity at init. Papamakarios et al. 2017, "Masked autoregressive flow for density
    estimation", section 3.1.
    """
    checks.whole(dim, "dim")
    checks.positive(log_scale_bound, "log_scale_bound")
    conditioner = masked_dense(dim, 2, hidden, reverse)

    def scale_and_shift(params, x):
        raw = conditioner.apply(params, x).reshape(*x.shape, 2)
        return bounded(raw[..., 0], log_scale_bound), raw[..., 1]

    def forward(params, x):
        x = event(x, dim)
        log_scale, shift = scale_and_shift(params, x)
        return x * jnp.exp(log_scale) + shift, jnp.sum(log_scale, -1)

    def inverse(params, y):
        y = event(y, dim)

        def solve(carry, i):
            x, log_det = carry
            log_scale, shift = scale_and_shift(params, x)
            here = jnp.arange(dim) == i
            x = jnp.where(here, (y - shift) * jnp.exp(-log_scale), x)
            return (x, log_det - jnp.sum(jnp.where(here, log_scale, 0), -1)), None

        dtype = float_type(y, params[0]["kernel"])
        y = y.astype(dtype)
        start = jnp.zeros(y.shape, dtype), jnp.zeros(y.shape[:-1], dtype)
        (x, log_det), _ = lax.scan(solve, start, jnp.arange(dim), reverse=reverse)
        return x, log_det

    return Bijection(conditioner.init, forward, inverse)


def inverse_autoregressive(
    dim: int,
    *,
    hidden: tuple[int, ...] = (64, 64),
    reverse: bool = False,
    log_scale_bound: float = 3.0,
) -> Bijection:
    """`masked_autoregressive` the other way round: forward takes `dim` passes, the inverse one.

    With x as noise, forward draws samples one coordinate after another and the inverse evaluates
    their density: the autoregressive flow of a prior. To turn noise into samples in one pass, as in
    the posteriors of Kingma et al. 2016, "Improving variational inference with inverse
    autoregressive flow", section 4, take `masked_autoregressive` and feed noise to its forward
    direction.
    """
    return invert(
        masked_autoregressive(dim, hidden=hidden, reverse=reverse, log_scale_bound=log_scale_bound)
    )
