"""From linen modules and plain functions to the pair of pure functions that models use."""

import inspect
import sys
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn

from dgm_jax.core import Array, Key, Network, PyTree, described, require


def from_flax(module: nn.Module, **apply_kwargs: Any) -> Network:
    """Make a `Network(init, apply)` of a linen module.

    Args:
        module: a `__call__` with an argument `train` receives it. Its state is all collections
            other than the parameters (`{"batch_stats": ...}`), `{}` if there are none; they change
            only with `train=True`.
        **apply_kwargs: passed to every call.

    Returns:
        The network. The key of `apply` is the module's stream "dropout" of random numbers. A module
        with an argument `deterministic` is told whether there is no key; a module that drops out
        whenever `train` is True needs the key then.

    Raises:
        ConfigError: the module is not an instance of a linen module.
    """
    nnx = sys.modules.get("flax.nnx")  # its import takes long, and nobody has a module without it
    modules = (nn.Module,) if nnx is None else (nn.Module, nnx.Module)
    is_class = isinstance(module, type) and issubclass(module, modules)
    hint = ": make one, module(...)" if is_class else ""
    if nnx is not None and isinstance(module, nnx.Module):
        hint = ": networks.from_nnx(lambda rngs: module)"
    require(
        isinstance(module, nn.Module),
        f"from_flax takes a module of linen; got {described(module)}{hint}",
    )
    arguments = inspect.signature(type(module).__call__).parameters

    def settings(train: bool, key: Key | None) -> dict[str, Any]:
        options = dict(apply_kwargs)
        if "train" in arguments:
            options["train"] = train
        if "deterministic" in arguments and "deterministic" not in options:
            options["deterministic"] = not (train and key is not None)
        return options

    def init(key: Key, x: PyTree, /) -> tuple[PyTree, PyTree]:
        variables = dict(module.init(key, x, **settings(False, None)))
        return variables.pop("params", {}), variables

    def apply(
        params: PyTree,
        state: PyTree,
        x: PyTree,
        /,
        *,
        train: bool = False,
        key: Key | None = None,
    ) -> tuple[PyTree, PyTree]:
        variables = {"params": params, **state}
        options = settings(train, key)
        if train and key is not None:
            options["rngs"] = {"dropout": key}
        if not (train and state):
            return cast(PyTree, module.apply(variables, x, **options)), state
        # With mutable collections flax returns a pair.
        pair = module.apply(variables, x, **options, mutable=list(state))
        output, changed = cast(tuple[PyTree, PyTree], pair)
        return output, {**state, **changed}

    return Network(init, apply)


def from_functions(
    init: Callable[[Key, PyTree], PyTree],
    apply: Callable[[PyTree, PyTree], Array],
) -> Network:
    """Make a `Network` of a stateless pair of functions.

    Args:
        init: `(key, x) -> params`.
        apply: `(params, x) -> output`.

    Returns:
        The network, whose state is {}.

    Raises:
        ConfigError: an argument that is not a function.
    """

    for name, function in (("init", init), ("apply", apply)):
        require(callable(function), f"{name} must be a function; got {described(function)}")

    def init_network(key: Key, x: PyTree, /) -> tuple[PyTree, PyTree]:
        return init(key, x), {}

    def apply_network(
        params: PyTree,
        state: PyTree,
        x: PyTree,
        /,
        *,
        train: bool = False,
        key: Key | None = None,
    ) -> tuple[PyTree, PyTree]:
        del train, key
        return apply(params, x), state

    return Network(init_network, apply_network)


def reshaped(network: Network, output_shape: tuple[int, ...]) -> Network:
    """Turn a network on vectors into one on arrays.

    Args:
        network: [B, D] -> [B, prod(output_shape)].
        output_shape: shape of one output.

    Returns:
        The network [B, ...] -> [B, *output_shape], whose inputs are flattened.
    """

    def init(key: Key, x: PyTree, /) -> tuple[PyTree, PyTree]:
        return network.init(key, x.reshape(x.shape[0], -1))

    def apply(
        params: PyTree,
        state: PyTree,
        x: PyTree,
        /,
        *,
        train: bool = False,
        key: Key | None = None,
    ) -> tuple[PyTree, PyTree]:
        flat = x.reshape(x.shape[0], -1)
        output, state = network.apply(params, state, flat, train=train, key=key)
        return output.reshape(-1, *output_shape), state

    return Network(init, apply)
