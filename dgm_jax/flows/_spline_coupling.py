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
    """y_moved = spline(x_moved; c(x_kept)) elementwise on [-bound, bound], the identity outside.

    The identity (to rounding) at init. `mask`, `flip` and errors as in `coupling`. Durkan et al.
    2019, "Neural spline flows", section 3.2; the spline itself is in `rational_quadratic`.
    """
    checks.positive(bound, "bound")
    forward, inverse = partial(spline_forward, bound=bound), partial(spline_inverse, bound=bound)
    return coupling(
        dim, num_spline_params(num_bins), forward, inverse, hidden=hidden, mask=mask, flip=flip
    )
