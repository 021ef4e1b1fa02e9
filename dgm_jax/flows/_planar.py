"""The planar map: a bend along one direction."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Bijection, checks, normal
from dgm_jax.flows.events import event, wide

MIN_SLOPE = 1e-3  # the smallest slope along w: what keeps the inverse apart from noise of rounding


def planar(dim: int) -> Bijection:
    """y = x + u' tanh(w.x + b); log|det dy/dx| = log(1 + (1 - tanh^2(w.x + b)) w.u').

    u' = u + (m(w.u) - w.u) w / |w|^2 gives w.u' = m(w.u) with m(a) = 0.001 - 1 + softplus(a + c),
    m(0) = 0. So w.u' is above -1 and the map invertible, and u = 0, as at init, is the identity to
    rounding (the paper's m has no offsets: there m(0) = log 2 - 1). For the inverse, v + w.u'
    tanh(v) = w.y + b, which rises in v, is solved for v. Rezende and Mohamed 2015, "Variational
    inference with normalizing flows", eq. 10-12 and appendix A.1.

    params: {"u": [dim], "w": [dim], "b": []}.
    """
    checks.whole(dim, "dim")

    def init(key):
        return {"u": jnp.zeros(dim), "w": normal(key, (dim,)) / math.sqrt(dim), "b": jnp.zeros(())}

    def forward(params, x):
        x, params = event(x, dim), wide(params)
        direction, strength = _constrained(params["u"], params["w"])
        bend = jnp.tanh(_dot(x, params["w"]) + params["b"])
        return x + direction * bend[..., None], _log_slope(bend, strength)

    def inverse(params, y):
        y, params = event(y, dim), wide(params)
        direction, strength = _constrained(params["u"], params["w"])
        bend = jnp.tanh(_solve(_dot(y, params["w"]) + params["b"], strength))
        return y - direction * bend[..., None], -_log_slope(bend, strength)

    return Bijection(init, forward, inverse)


def _dot(x: Array, w: Array) -> Array:
    return jnp.sum(x * w, -1)


def _constrained(u: Array, w: Array) -> tuple[Array, Array]:
    """(u', w.u') with w.u' > -1."""
    along, norm = _dot(u, w), _dot(w, w)
    strength = MIN_SLOPE - 1 + jax.nn.softplus(along + math.log(math.expm1(1 - MIN_SLOPE)))
    norm = jnp.where(norm > 0, norm, 1)  # w = 0 bends nothing
    return u + (strength - along) * w / norm, strength


def _log_slope(bend: Array, strength: Array) -> Array:
    return jnp.log1p((1 - bend**2) * strength)


def _solve(target: Array, strength: Array) -> Array:
    """The root v of v + strength tanh(v) = target, elementwise.

    Bisection without gradient, from the bracket target +- |strength| down to rounding. The two
    Newton steps that follow hardly move the value; they carry the derivatives, right up to the
    third.
    """
    halvings = jnp.finfo(jnp.result_type(target, strength)).nmant + 8
    goal, slope = lax.stop_gradient((target, strength))

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        above = middle + slope * jnp.tanh(middle) > goal
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    low, high = lax.fori_loop(0, halvings, halve, (goal - jnp.abs(slope), goal + jnp.abs(slope)))
    v = (low + high) / 2
    for _ in range(2):
        bend = jnp.tanh(v)
        v = v - (v + strength * bend - target) / (1 + strength * (1 - bend**2))
    return v
