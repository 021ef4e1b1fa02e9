"""Fixed permutations of the coordinates, with log-determinant 0 and without parameters."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Bijection, Key, PyTree, checks, require
from dgm_jax.flows.events import event


def permutation(order: tuple[int, ...] | np.ndarray) -> Bijection:
    """Permute the coordinates: y_i = x_order[i].

    Args:
        order: each of 0..dim-1 once.

    Returns:
        A bijection of x [*B, dim] whose log-determinants [*B] are 0.

    Raises:
        ConfigError: `order` is not a permutation of 0..dim-1.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> y, log_det = flows.permutation((2, 0, 1)).forward_and_log_det({}, jnp.arange(3.0))
        >>> print(y.tolist(), f"{log_det:.4f}")
        [2.0, 0.0, 1.0] 0.0000
    """
    order = np.asarray(order)
    is_vector = order.ndim == 1 and order.size >= 1
    fits = is_vector and np.array_equal(np.sort(order), np.arange(order.size))
    require(bool(fits), f"order must hold each of 0..dim-1 once; got {order.tolist()}")
    inverse_order = np.argsort(order)

    def move(indices: np.ndarray) -> Callable[[PyTree, Array], tuple[Array, Array]]:
        def mapped(params: PyTree, x: Array) -> tuple[Array, Array]:
            del params
            x = event(x, order.size)
            return x[..., indices], jnp.zeros(x.shape[:-1], x.dtype)

        return mapped

    return Bijection(_no_params, move(order), move(inverse_order))


def reverse(dim: int) -> Bijection:
    """Reverse the order of the coordinates: y_i = x_{dim-1-i}.

    Args:
        dim: length of the vectors.

    Returns:
        A bijection of x [*B, dim] whose log-determinants [*B] are 0.

    Raises:
        ConfigError: dim is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> flows.reverse(3).forward_and_log_det({}, jnp.arange(3.0))[0].tolist()
        [2.0, 1.0, 0.0]
    """
    checks.whole(dim, "dim")

    def flip(params: PyTree, x: Array) -> tuple[Array, Array]:
        del params
        x = event(x, dim)
        return jnp.flip(x, -1), jnp.zeros(x.shape[:-1], x.dtype)

    return Bijection(_no_params, flip, flip)


def shuffle(dim: int, seed: int = 0) -> Bijection:
    """Permute the coordinates in a random order that is the same in every run.

    Args:
        dim: length of the vectors.
        seed: of the order.

    Returns:
        A bijection of x [*B, dim] whose log-determinants [*B] are 0.

    Raises:
        ConfigError: dim is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> y, _ = flows.shuffle(4).forward_and_log_det({}, jnp.arange(4.0))
        >>> sorted(y.tolist())
        [0.0, 1.0, 2.0, 3.0]
    """
    checks.whole(dim, "dim")
    return permutation(tuple(np.random.default_rng(seed).permutation(dim).tolist()))


def _no_params(key: Key) -> PyTree:
    del key
    return {}
