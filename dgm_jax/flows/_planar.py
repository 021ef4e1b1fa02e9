"""The planar map: a bend along one direction."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Bijection, Key, PyTree, checks, normal
from dgm_jax.flows.events import event, wide

# The smallest slope along w. With a smaller one the inverse would amplify rounding errors.
MIN_SLOPE = 1e-3


def planar(dim: int) -> Bijection:
    """Bend the space along one direction.

    y = x + u' tanh(w.x + b); log|det dy/dx| = log(1 + (1 - tanh^2(w.x + b)) w.u').

    u' = u + (m(w.u) - w.u) w / |w|^2 gives w.u' = m(w.u) with m(a) = 0.001 - 1 + softplus(a + c),
    m(0) = 0. So w.u' is above -1 and the map is invertible; u = 0, as at init, is the identity to
    rounding. (The paper's m has no offsets: there m(0) = log 2 - 1.) The inverse solves
    v + w.u' tanh(v) = w.y + b for v, in which the left-hand side increases. Rezende and Mohamed
    2015, "Variational inference with normalizing flows", eq. 10-12 and appendix A.1.

    Args:
        dim: length of the vectors.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats. Its params are
        {"u": [dim], "w": [dim], "b": []}.

    Raises:
        ConfigError: dim is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> params = {"u": jnp.zeros(2), "w": jnp.ones(2), "b": jnp.zeros(())}
        >>> y, log_det = flows.planar(2).forward_and_log_det(params, jnp.ones(2))
        >>> print(f"{y[0]:.4f} {abs(log_det):.4f}")
        1.0000 0.0000
    """
    checks.whole(dim, "dim")

    def init(key: Key) -> PyTree:
        direction = normal(key, (dim,)) / math.sqrt(dim)
        return {"u": jnp.zeros(dim), "w": direction, "b": jnp.zeros(())}

    def forward(params: PyTree, x: Array) -> tuple[Array, Array]:
        x = event(x, dim)
        params = wide(params)
        w = params["w"]
        direction, strength = _constrained(params["u"], w)
        along = _dot(x, w) + params["b"]
        bend = jnp.tanh(along)
        y = x + direction * bend[..., None]
        log_det = _log_slope(bend, strength)
        return y, log_det

    def inverse(params: PyTree, y: Array) -> tuple[Array, Array]:
        y = event(y, dim)
        params = wide(params)
        w = params["w"]
        direction, strength = _constrained(params["u"], w)
        target = _dot(y, w) + params["b"]
        along = _solve(target, strength)
        bend = jnp.tanh(along)
        x = y - direction * bend[..., None]
        log_slope = _log_slope(bend, strength)
        return x, -log_slope

    return Bijection(init, forward, inverse)


def _dot(x: Array, w: Array) -> Array:
    return jnp.sum(x * w, -1)


def _constrained(u: Array, w: Array) -> tuple[Array, Array]:
    """(u', w.u') with w.u' > -1."""
    along = _dot(u, w)
    squared_norm = _dot(w, w)
    offset = math.log(math.expm1(1 - MIN_SLOPE))  # c, so that m(0) = 0
    strength = MIN_SLOPE - 1 + jax.nn.softplus(along + offset)
    squared_norm = jnp.where(squared_norm > 0, squared_norm, 1)  # w = 0 bends nothing
    correction = (strength - along) * w / squared_norm
    return u + correction, strength


def _log_slope(bend: Array, strength: Array) -> Array:
    return jnp.log1p((1 - bend**2) * strength)


def _solve(target: Array, strength: Array) -> Array:
    """The root v of v + strength tanh(v) = target, elementwise.

    Bisection from the bracket target +- |strength| down to rounding finds the value, without
    gradient. The two Newton steps that follow hardly change it; they carry the derivatives, which
    are right up to the third.
    """
    dtype = jnp.result_type(target, strength)
    num_halvings = jnp.finfo(dtype).nmant + 8
    fixed_target, slope = lax.stop_gradient((target, strength))

    def halve(_, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        value = middle + slope * jnp.tanh(middle)
        above = value > fixed_target
        low = jnp.where(above, low, middle)
        high = jnp.where(above, middle, high)
        return low, high

    reach = jnp.abs(slope)
    bracket = (fixed_target - reach, fixed_target + reach)
    low, high = lax.fori_loop(0, num_halvings, halve, bracket)
    v = (low + high) / 2
    for _ in range(2):
        bend = jnp.tanh(v)
        value = v + strength * bend
        residual = value - target
        derivative = 1 + strength * (1 - bend**2)
        v = v - residual / derivative
    return v
