"""From NNX modules to the pair of pure functions that models use."""

import functools
from collections.abc import Callable
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from dgm_jax.core import Array, Key, Network, PyTree, described, require


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """Make a `Network(init, apply)` of an NNX module.

    Args:
        make: `rngs -> module`, such as `lambda rngs: nnx.Linear(2, 3, rngs=rngs)`, a pure function.

    Returns:
        The network. Its parameters are the module's `nnx.Param` variables and its state all others
        but random-number streams, each a dictionary by path, such as `{"linear.kernel": ...}`. With
        `train=True` the module is in the mode of `module.train()`, otherwise in that of
        `module.eval()`. The key of `apply` seeds its streams; without a key nothing is dropped.

    Raises:
        ConfigError: `make` is not such a function; from `apply`, params or state of another
            module.
    """
    hint = ": linen modules are for networks.from_flax" if isinstance(make, nn.Module) else ""
    require(
        callable(make) and not isinstance(make, (nn.Module, nnx.Module)),
        "from_nnx takes a function rngs -> module, such as"
        " lambda rngs: nnx.Linear(2, 3, rngs=rngs);"
        f" got {described(make)}{hint}",
    )
    kinds = (nnx.Param, nnx.RngState, ...)

    @functools.cache
    def structure() -> tuple:
        """The module's graph and the shapes of its variables by kind, without any computation."""
        return nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))), *kinds)

    def init(key: Key, x: PyTree, /) -> tuple[PyTree, PyTree]:
        del x  # an NNX module knows the sizes of its inputs
        _, params, _, state = nnx.split(make(nnx.Rngs(key)), *kinds)
        return _by_path(params), _by_path(cast(nnx.State, state))

    def apply(
        params: PyTree,
        state: PyTree,
        x: PyTree,
        /,
        *,
        train: bool = False,
        key: Key | None = None,
    ) -> tuple[PyTree, PyTree]:
        graph, *shapes = structure()
        streams = _streams(shapes[1], jax.random.key(0) if key is None else key)
        pairs = zip(shapes, (params, streams, state), strict=True)
        module = nnx.merge(graph, *(_with_values(shape, values) for shape, values in pairs))
        if train:
            module.train()
            if key is None:
                module.set_attributes(deterministic=True, raise_if_not_found=False)
        else:
            module.eval()
        output = module(x)
        if not train:
            return output, state
        return output, _by_path(cast(nnx.State, nnx.split(module, *kinds)[3]))

    return Network(init, apply)


def _by_path(state: nnx.State) -> dict[str, Array]:
    """An NNX state as a plain dictionary of arrays."""
    return {_name(path): variable.get_value() for path, variable in nnx.to_flat_state(state)}


def _with_values(state: nnx.State, values: dict[str, Array]) -> nnx.State:
    """The same state with other values; ConfigError where the names are not those of the module."""
    pairs = list(nnx.to_flat_state(state))
    expected = {_name(path) for path, _ in pairs}
    given = set(values)
    require(
        given == expected,
        f"the NNX module has the variables {sorted(expected)}, got values of {sorted(given)}",
    )
    return nnx.from_flat_state(
        [(path, variable.replace(values[_name(path)])) for path, variable in pairs]
    )


def _streams(state: nnx.State, key: Key) -> dict[str, Array]:
    """Values of a module's random-number streams: each has its own key and starts at count 0."""
    values = {}
    for index, (path, variable) in enumerate(nnx.to_flat_state(state)):
        is_key = isinstance(variable, nnx.RngKey)
        values[_name(path)] = jax.random.fold_in(key, index) if is_key else jnp.uint32(0)
    return values


def _name(path: tuple) -> str:
    return ".".join(map(str, path))
