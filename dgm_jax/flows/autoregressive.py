"""Affine autoregressive maps: each coordinate is scaled and shifted by functions of the earlier
ones.

The caller chooses which side is noise, and with it the usual name. If y is noise, x -> y evaluates
densities in one pass (a masked autoregressive flow); if x is noise, x -> y draws samples in one
pass (an inverse autoregressive flow).
"""

import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Bijection, PyTree, checks, float_type
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
    """Scale and shift each coordinate by functions of the coordinates before it.

    y_i = x_i exp(s_i(x_<i)) + t_i(x_<i); log|det dy/dx| = sum_i s_i.

    Forward is the direction in which a density is evaluated, from data x to noise y, in one pass
    of a MADE. The inverse goes coordinate by coordinate in `dim` passes (a scan, differentiable in
    both modes). The Jacobian is lower triangular, upper with `reverse`; the map is the identity at
    init. Papamakarios et al. 2017, "Masked autoregressive flow for density estimation",
    section 3.1.

    Args:
        dim: length of the vectors.
        hidden: widths of the hidden layers of the MADE.
        reverse: treat the coordinates from the last to the first.
        log_scale_bound: largest |s_i|, in nats.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats.

    Raises:
        ConfigError: dim or a width is not a positive integer, or the bound is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> layer = flows.masked_autoregressive(2)
        >>> y, log_det = layer.forward_and_log_det(layer.init(jax.random.key(0)), jnp.ones(2))
        >>> print(y.tolist(), f"{log_det:.4f}")
        [1.0, 1.0] 0.0000
    """
    checks.whole(dim, "dim")
    checks.positive(log_scale_bound, "log_scale_bound")
    conditioner = masked_dense(dim, 2, hidden, reverse)

    def scale_and_shift(params: PyTree, x: Array) -> tuple[Array, Array]:
        raw = conditioner.apply(params, x).reshape(*x.shape, 2)
        return bounded(raw[..., 0], log_scale_bound), raw[..., 1]

    def forward(params: PyTree, x: Array) -> tuple[Array, Array]:
        x = event(x, dim)
        log_scale, shift = scale_and_shift(params, x)
        return x * jnp.exp(log_scale) + shift, jnp.sum(log_scale, -1)

    def inverse(params: PyTree, y: Array) -> tuple[Array, Array]:
        y = event(y, dim)

        # Step i of the scan fixes coordinate i, whose parameters depend on the earlier ones only.
        # The coordinates not yet solved are zero and have no effect. A mask instead of an indexed
        # update keeps the gradient free of scatters.
        def solve(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
            x, log_det = carry
            log_scale, shift = scale_and_shift(params, x)
            is_current = jnp.arange(dim) == i
            x = jnp.where(is_current, (y - shift) * jnp.exp(-log_scale), x)
            log_det = log_det - jnp.sum(jnp.where(is_current, log_scale, 0), -1)
            return (x, log_det), None

        dtype = float_type(y, params[0]["kernel"])
        y = y.astype(dtype)
        start = (jnp.zeros(y.shape, dtype), jnp.zeros(y.shape[:-1], dtype))
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
    """Exchange the directions of `masked_autoregressive`.

    Forward takes `dim` passes and the inverse one. With x as noise, forward draws samples one
    coordinate after another and the inverse evaluates their density: the autoregressive flow of a
    prior. To turn noise into samples in one pass, as in the posteriors of Kingma et al. 2016,
    "Improving variational inference with inverse autoregressive flow", section 4, use
    `masked_autoregressive` and feed noise to its forward direction.

    Args:
        dim: length of the vectors.
        hidden: widths of the hidden layers of the MADE.
        reverse: treat the coordinates from the last to the first.
        log_scale_bound: largest absolute log-scale of a coordinate, in nats.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats.

    Raises:
        ConfigError: dim or a width is not a positive integer, or the bound is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> layer = flows.inverse_autoregressive(2)
        >>> y, log_det = layer.forward_and_log_det(layer.init(jax.random.key(0)), jnp.ones(2))
        >>> print(y.tolist(), f"{abs(log_det):.4f}")
        [1.0, 1.0] 0.0000
    """
    bijection = masked_autoregressive(
        dim,
        hidden=hidden,
        reverse=reverse,
        log_scale_bound=log_scale_bound,
    )
    return invert(bijection)
