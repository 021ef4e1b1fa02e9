"""Spectral normalisation of a tree of parameters (Miyato et al. 2018), as pure functions.

Every kernel W [..., in, out] is seen as the matrix [prod(...) in, out] and divided by an
estimate of its largest singular value, found by power iteration from a kept vector u [out].
The estimates live in a `u_state`, a dict from the path of a kernel to its u; whoever keeps the
returned `u_state` advances them, whoever drops it leaves them unchanged.
"""

import jax
import jax.numpy as jnp

from dgm_jax import core
from dgm_jax.core import Array, Key, PyTree

_TINY = 1e-12  # for kernels that are exactly zero; PyTorch's value


def _kernels(params):
    """{path: kernel} for the leaves with at least two axes."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
        if leaf.ndim >= 2
    }


def _unit(x):
    return x / jnp.maximum(jnp.linalg.norm(x), _TINY)


def _power_iteration(kernel, u, num_iterations):
    """(sigma, u): v = W u / |W u|, u = W^T v / |W^T v|, sigma = v^T W u; u and v carry no
    gradient."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    fixed = jax.lax.stop_gradient(matrix)
    u = jax.lax.stop_gradient(u)
    for _ in range(num_iterations):
        u = _unit(fixed.T @ _unit(fixed @ u))
    v = _unit(fixed @ u)
    return v @ (matrix @ u), u


def spectral_init(key: Key, params: PyTree) -> dict[str, Array]:
    """A random unit vector u [out] for every kernel of `params` (every leaf with two axes or
    more)."""
    kernels = _kernels(params)
    keys = jax.random.split(key, max(len(kernels), 1))
    return {
        path: _unit(core.normal(k, kernel.shape[-1:]))
        for k, (path, kernel) in zip(keys[: len(kernels)], kernels.items(), strict=True)
    }


def spectral_normalize(
    params: PyTree, u_state: dict[str, Array], num_iterations: int = 1
) -> tuple[PyTree, dict[str, Array]]:
    """`params` with each kernel divided by its estimated spectral norm, and the advanced u_state.

    sigma = v^T W u with u and v held constant (Miyato et al. 2018, eq. 11 and algorithm 1), so the
    gradient reaches W through both W and sigma. `num_iterations=0` uses u as it is.
    """
    estimates = {
        path: _power_iteration(w, u_state[path], num_iterations)
        for path, w in _kernels(params).items()
    }

    def divide(path, leaf):
        if leaf.ndim < 2:
            return leaf
        sigma, _ = estimates[jax.tree_util.keystr(path, simple=True, separator="/")]
        return leaf / jnp.maximum(sigma, _TINY)

    return jax.tree_util.tree_map_with_path(divide, params), {
        path: u for path, (_, u) in estimates.items()
    }
