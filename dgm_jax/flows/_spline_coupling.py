"""Coupling with rational-quadratic splines."""

from functools import partial

from dgm_jax.core import Bijection, checks
from dgm_jax.flows._coupling import coupling
from dgm_jax.flows.rational_quadratic import num_spline_params, spline_forward, spline_inverse


def spline_coupling(
    dim: int,
    *,
    num_bins: int = 8,
    bound: float = 5.0,
    hidden: tuple[int, ...] = (64, 64),
    mask: str = "halves",
    flip: bool = False,
) -> Bijection:
    """Move one part of a vector by monotone splines that depend on the other part.

    y_moved = spline(x_moved; c(x_kept)) elementwise on [-bound, bound], the identity outside and
    (to rounding) at init. Durkan et al. 2019, "Neural spline flows", section 3.2; the spline itself
    is in `rational_quadratic`.

    Args:
        dim: length of the vectors, at least 2.
        num_bins: bins of each spline, below 1000.
        bound: half the width of the interval that the splines change, in units of x.
        hidden: widths of the hidden layers of the network c.
        mask: which coordinates are kept, "halves" or "alternating" (see `coupling`).
        flip: whether the kept and the moved coordinates change places.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats.

    Raises:
        ConfigError: dim is below 2, the mask is unknown, or a number is out of its range.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> layer = flows.spline_coupling(2)
        >>> y, log_det = layer.forward_and_log_det(layer.init(jax.random.key(0)), jnp.ones(2))
        >>> print(f"{y[1]:.4f} {abs(log_det):.4f}")
        1.0000 0.0000
    """
    checks.positive(bound, "bound")
    return coupling(
        dim,
        num_spline_params(num_bins),
        partial(spline_forward, bound=bound),
        partial(spline_inverse, bound=bound),
        hidden=hidden,
        mask=mask,
        flip=flip,
    )
