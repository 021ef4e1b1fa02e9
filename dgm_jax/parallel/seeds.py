"""The axis of lanes: many seeds and hyper-parameters in one program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax.core import PyTree, has_kernels, lookup, platform_or_at_hand

_Function = Callable[[PyTree, PyTree], PyTree]


def _vmap(function: _Function) -> _Function:
    batched = jax.vmap(function, in_axes=(0, None))

    def mapped(lanes: PyTree, data: PyTree) -> PyTree:
        return _alone(function, lanes, data) if _is_one(lanes) else batched(lanes, data)

    return mapped


def _is_one(lanes: PyTree) -> bool:
    return all(jnp.shape(leaf)[0] == 1 for leaf in jax.tree.leaves(lanes))


def _alone(function: _Function, lanes: PyTree, data: PyTree) -> PyTree:
    """One lane without the axis.

    A matrix product with a batch of one is slower: XLA's CPU backend leaves the gradients of
    kernels transposed, and whatever updates them reads along the wrong axis.
    """
    result = function(jax.tree.map(lambda leaf: leaf[0], lanes), data)
    return jax.tree.map(lambda leaf: leaf[None], result)


def _map(function: _Function) -> _Function:
    return lambda lanes, data: jax.lax.map(lambda lane: function(lane, data), lanes)


STRATEGIES = {"vmap": _vmap, "map": _map}


def over_seeds(
    function: Callable[[PyTree, PyTree], PyTree], strategy: str = "vmap"
) -> Callable[[PyTree, PyTree], PyTree]:
    """Map a function over the leading axis of lanes, with data that all lanes share.

    Args:
        function: `(lane, data) -> result`.
        strategy: "vmap" computes all lanes at once, with batched matrix products, and a lane that
            is alone without the axis. "map" computes them one after the other inside the same
            program (`lax.map`). "auto" has to be resolved first by `choose_strategy`, which sees
            the parameters.

    Returns:
        `(lanes [L, ...], data) -> results [L, ...]`.

    Raises:
        ConfigError: an unknown strategy.
    """
    return lookup(STRATEGIES, strategy, "seed strategy")(function)


def choose_strategy(strategy: str, params: PyTree, *, platform: str | None = None) -> str:
    """Resolve the strategy "auto" to the one that was measured to be faster on a platform.

    On CPU a network with convolution kernels (rank 4) runs its lanes one after the other and any
    other network all at once; on accelerators lanes are always batched. The choice is a rule and
    not a timing at run time, because the two strategies differ in the last bit and a resumed run
    must take the same one. Shapes of parameters do not tell everything: transformers on CPU are
    faster by "map", which has to be asked for. `benchmarks/` holds the measurements.

    Args:
        strategy: "auto"; any other value is returned as it is.
        params: parameters of one lane, or their shapes.
        platform: "cpu", "gpu", "cuda", "rocm" or "tpu"; None for that of
            `jax.default_backend()`.

    Returns:
        The strategy, "vmap" or "map" for "auto".

    Raises:
        ConfigError: an unknown platform.
    """
    if strategy != "auto":
        return strategy
    on_cpu = platform_or_at_hand(platform) == "cpu"
    return "map" if has_kernels(params) and on_cpu else "vmap"
