"""The axis of lanes: many seeds and hyper-parameters in one program."""

import jax

from dgm_jax.core import PyTree, has_kernels, lookup, platform_or_at_hand


def _vmap(function):
    return jax.vmap(function, in_axes=(0, None))


def _map(function):
    return lambda lanes, data: jax.lax.map(lambda lane: function(lane, data), lanes)


STRATEGIES = {"vmap": _vmap, "map": _map}


def over_seeds(function, strategy: str = "vmap"):
    """`function(lane, data)` for every entry of the leading axis of `lanes`; `data` is shared.

    strategy:
      "vmap" computes all lanes at once: batched matrix products.
      "map" computes them one after the other inside the same program (`lax.map`).
      "auto" must be resolved first, by `choose_strategy`, which sees the parameters.

    Raises ConfigError for an unknown strategy.
    """
    return lookup(STRATEGIES, strategy, "seed strategy")(function)


def choose_strategy(strategy: str, params: PyTree, *, platform: str | None = None) -> str:
    """The strategy to use: `strategy` itself, or for "auto" the one measured faster on a platform.

    On CPU a network with convolution kernels (rank 4) runs its lanes one after the other,
    any other network all at once; on accelerators lanes are always batched. The choice is a
    rule and not a timing at run time, because the two differ in the last bit and a
    resumed run must take the same one. `benchmarks/` holds the measurements.

    platform: "cpu", "gpu", "cuda", "rocm" or "tpu"; None for the one at hand,
        `jax.default_backend()`. Raises ConfigError for an unknown one.
    """
    if strategy != "auto":
        return strategy
    on_cpu = platform_or_at_hand(platform) == "cpu"
    return "map" if has_kernels(params) and on_cpu else "vmap"
