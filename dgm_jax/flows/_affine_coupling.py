"""Coupling with a scale and a shift: the layer of Real NVP."""

import jax.numpy as jnp

from dgm_jax.core import Array, Bijection, checks
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
    """Scale and shift one part of a vector by functions of the other part.

    y_moved = x_moved exp(s(x_kept)) + t(x_kept); log|det dy/dx| = sum s.

    s = bound tanh(raw / bound), so by default slopes lie within [exp(-3), exp(3)]. The map is the
    identity at init (Dinh et al. 2017, "Density estimation using Real NVP", section 3.2).

    Args:
        dim: length of the vectors, at least 2.
        hidden: widths of the hidden layers of the network that gives s and t.
        mask: which coordinates are kept, "halves" or "alternating" (see `coupling`).
        flip: whether the kept and the moved coordinates change places.
        log_scale_bound: largest |s|, in nats.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats.

    Raises:
        ConfigError: dim is below 2, the mask is unknown, a width or the bound is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> layer = flows.affine_coupling(2)
        >>> y, log_det = layer.forward_and_log_det(layer.init(jax.random.key(0)), jnp.ones(2))
        >>> print(y.tolist(), f"{log_det:.4f}")
        [1.0, 1.0] 0.0000
    """
    checks.positive(log_scale_bound, "log_scale_bound")

    def forward(moved: Array, raw: Array) -> tuple[Array, Array]:
        log_scale = bounded(raw[..., 0], log_scale_bound)
        shift = raw[..., 1]
        return moved * jnp.exp(log_scale) + shift, log_scale

    def inverse(moved: Array, raw: Array) -> tuple[Array, Array]:
        log_scale = bounded(raw[..., 0], log_scale_bound)
        shift = raw[..., 1]
        return (moved - shift) * jnp.exp(-log_scale), -log_scale

    return coupling(dim, 2, forward, inverse, hidden=hidden, mask=mask, flip=flip)
