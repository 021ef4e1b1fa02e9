"""Spectral normalization of a tree of parameters (Miyato et al. 2018), as pure functions.

Every kernel W [..., in, out] is treated as the matrix [prod(...) in, out] and divided by an
estimate of its largest singular value, which power iteration computes from a stored vector u [out].
The estimates are kept in a `u_state`, a dict from the path of a kernel to its u. To advance the
estimates keep the returned `u_state`; to leave them unchanged discard it.
"""

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, PyTree
from dgm_jax.networks.layers import initializers

_TINY = 1e-12  # for kernels that are exactly zero; PyTorch's value


def spectral_init(key: Key, params: PyTree) -> dict[str, Array]:
    """Draw a random unit vector for every kernel.

    Args:
        key: of the draws.
        params: a tree; its kernels are the leaves with at least two axes.

    Returns:
        u [out] by the path of the kernel.
    """
    kernels = _kernels(params)
    num_kernels = len(kernels)
    keys = jax.random.split(key, max(num_kernels, 1))
    vectors = {}
    for key_kernel, (path, kernel) in zip(keys[:num_kernels], kernels.items(), strict=True):
        vector = initializers.normal(key_kernel, kernel.shape[-1:])
        vectors[path] = _unit(vector)
    return vectors


def spectral_normalize(
    params: PyTree, u_state: dict[str, Array], num_iterations: int = 1
) -> tuple[PyTree, dict[str, Array]]:
    """Divide each kernel by its estimated spectral norm.

    sigma = v^T W u with u and v held constant (Miyato et al. 2018, eq. 11 and algorithm 1), so the
    gradient reaches W through both W and sigma.

    Args:
        params: a tree; its kernels are the leaves with at least two axes.
        u_state: u [out] by the path of the kernel.
        num_iterations: of the power method; 0 uses u as it is.

    Returns:
        (params with normalized kernels, the advanced u_state).
    """
    sigmas = {}
    advanced = {}
    for path, kernel in _kernels(params).items():
        sigma, u = _power_iteration(kernel, u_state[path], num_iterations)
        sigmas[path] = sigma
        advanced[path] = u

    def divide(path: tuple, leaf: Array) -> Array:
        if leaf.ndim < 2:
            return leaf
        sigma = sigmas[_name(path)]
        return leaf / jnp.maximum(sigma, _TINY)

    normalized = jax.tree_util.tree_map_with_path(divide, params)
    return normalized, advanced


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _kernels(params: PyTree) -> dict[str, Array]:
    """{path: kernel} for the leaves with at least two axes."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {_name(path): leaf for path, leaf in leaves if leaf.ndim >= 2}


def _unit(x: Array) -> Array:
    length = jnp.linalg.norm(x)
    return x / jnp.maximum(length, _TINY)


def _power_iteration(kernel: Array, u: Array, num_iterations: int) -> tuple[Array, Array]:
    """(sigma, u): v = W u / |W u|, u = W^T v / |W^T v|, sigma = v^T W u; u and v carry no
    gradient."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    fixed = jax.lax.stop_gradient(matrix)
    u = jax.lax.stop_gradient(u)
    for _ in range(num_iterations):
        v = _unit(fixed @ u)
        u = _unit(fixed.T @ v)
    v = _unit(fixed @ u)
    sigma = v @ (matrix @ u)
    return sigma, u
