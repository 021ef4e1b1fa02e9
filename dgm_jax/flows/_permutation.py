"""Fixed rearrangements of the coordinates; their log-determinant is 0 and they have no
parameters."""

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Bijection, checks, require
from dgm_jax.flows.events import event


def permutation(order: tuple[int, ...] | np.ndarray) -> Bijection:
    """y_i = x_order[i]. Raises `ConfigError` unless `order` holds each of 0..dim-1 once."""
    order = np.asarray(order)
    fits = (
        order.ndim == 1
        and order.size >= 1
        and np.array_equal(np.sort(order), np.arange(order.size))
    )
    require(bool(fits), f"order must hold each of 0..dim-1 once; got {order.tolist()}")
    back = np.argsort(order)

    def move(indices):
        def mapped(params, x):
            del params
            x = event(x, order.size)
            return x[..., indices], jnp.zeros(x.shape[:-1], x.dtype)

        return mapped

    return Bijection(_no_params, move(order), move(back))


def reverse(dim: int) -> Bijection:
    """y_i = x_{dim-1-i}."""
    checks.whole(dim, "dim")

    def flip(params, x):
        del params
        x = event(x, dim)
        return jnp.flip(x, -1), jnp.zeros(x.shape[:-1], x.dtype)

    return Bijection(_no_params, flip, flip)


def shuffle(dim: int, seed: int = 0) -> Bijection:
    """A permutation chosen at random once, by `seed`, and the same in every run."""
    checks.whole(dim, "dim")
    return permutation(tuple(np.random.default_rng(seed).permutation(dim).tolist()))


def _no_params(key):
    del key
    return {}
