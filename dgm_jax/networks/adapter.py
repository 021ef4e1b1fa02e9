"""From modules of flax, linen or NNX, and from plain functions, to the pair of pure functions that
models use."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from dgm_jax.core import Array, Key, Network, PyTree, described, require


def from_flax(module: nn.Module, **apply_kwargs) -> Network:
    """`Network(init, apply)` of a linen module.

    Args:
      module: a `__call__` with an argument `train` gets it. Its state is the collections beside
        the parameters (`{"batch_stats": ...}`), `{}` where there are none; they change only with
        `train=True`.
      **apply_kwargs: go to every call.

    Returns:
      The network. The key of `apply` is the module's stream "dropout" of random numbers. A module
      with an argument `deterministic` gets whether there is no key; one that drops out wherever
      `train` is True needs the key then.
    """
    kind = isinstance(module, type) and issubclass(module, (nn.Module, nnx.Module))
    is_nnx = isinstance(module, nnx.Module)
    told = ": make one, module(...)" * kind + ": networks.from_nnx(lambda rngs: module)" * is_nnx
    require(
        isinstance(module, nn.Module),
        f"from_flax takes a module of linen; got {described(module)}{told}",
    )
    takes = inspect.signature(type(module).__call__).parameters

    def settings(train: bool, key: Key | None) -> dict[str, Any]:
        options = dict(apply_kwargs)
        if "train" in takes:
            options["train"] = train
        if "deterministic" in takes and "deterministic" not in options:
            options["deterministic"] = not (train and key is not None)
        return options

    def init(key, x, /):
        variables = dict(module.init(key, x, **settings(False, None)))
        return variables.pop("params", {}), variables

    def apply(params, state, x, /, *, train=False, key=None):
        variables = {"params": params, **state}
        options = settings(train, key)
        if train and key is not None:
            options["rngs"] = {"dropout": key}
        if not (train and state):
            return cast(PyTree, module.apply(variables, x, **options)), state
        pair = module.apply(variables, x, **options, mutable=list(state))
        output, changed = cast(tuple[PyTree, PyTree], pair)  # a pair where something is mutable
        return output, {**state, **changed}

    return Network(init, apply)


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """`Network(init, apply)` of an NNX module.

    Args:
      make: `rngs -> module`, such as `lambda rngs: nnx.Linear(2, 3, rngs=rngs)`, a pure function.

    Returns:
      The network. Its parameters are the module's `nnx.Param`s and its state all other variables
      but random-number streams, each a dictionary by path, such as `{"linear.kernel": ...}`. With
      `train=True` the module is in the mode of `module.train()`, else in that of `module.eval()`;
      the key of `apply` seeds its streams, and without a key nothing is dropped.
    """
    told = ": linen modules are for networks.from_flax" * isinstance(make, nn.Module)
    require(
        callable(make) and not isinstance(make, (nn.Module, nnx.Module)),
        "from_nnx takes a function rngs -> module, such as"
        " lambda rngs: nnx.Linear(2, 3, rngs=rngs);"
        f" got {described(make)}{told}",
    )
    kinds = (nnx.Param, nnx.RngState, ...)

    @functools.cache
    def structure():
        """The module's graph and the shapes of its variables by kind, without any computation."""
        return nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))), *kinds)

    def init(key, x, /):
        del x  # an NNX module knows the sizes of its inputs
        _, params, _, state = nnx.split(make(nnx.Rngs(key)), *kinds)
        return _by_path(params), _by_path(cast(nnx.State, state))

    def apply(params, state, x, /, *, train=False, key=None):
        graph, *shapes = structure()
        streams = _streams(shapes[1], jax.random.key(0) if key is None else key)
        contents = (params, streams, state)
        states = [_with_values(of, values) for of, values in zip(shapes, contents, strict=True)]
        module = nnx.merge(graph, *states)
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
    expected, given = {_name(path) for path, _ in pairs}, set(values)
    require(
        given == expected,
        f"the NNX module has the variables {sorted(expected)}, got values of {sorted(given)}",
    )
    return nnx.from_flat_state(
        [(path, variable.replace(values[_name(path)])) for path, variable in pairs]
    )


def _streams(state: nnx.State, key: Key) -> dict[str, Array]:
    """Values of a module's random-number streams: keys of their own, all at their beginning."""
    values = {}
    for index, (path, variable) in enumerate(nnx.to_flat_state(state)):
        is_key = isinstance(variable, nnx.RngKey)
        values[_name(path)] = jax.random.fold_in(key, index) if is_key else jnp.uint32(0)
    return values


def _name(path) -> str:
    return ".".join(map(str, path))


def from_functions(
    init: Callable[[Key, PyTree], PyTree],
    apply: Callable[[PyTree, PyTree], Array],
) -> Network:
    """`Network` of a stateless pair `init(key, x) -> params`, `apply(params, x) -> output`."""

    for name, function in (("init", init), ("apply", apply)):
        require(callable(function), f"{name} must be a function; got {described(function)}")

    def init_network(key, x, /):
        return init(key, x), {}

    def apply_network(params, state, x, /, *, train=False, key=None):
        del train, key
        return apply(params, x), state

    return Network(init_network, apply_network)


def reshaped(network: Network, output_shape: tuple[int, ...]) -> Network:
    """A network on vectors as one on arrays: inputs [B, ...] are flattened, outputs become [B,
    *output_shape]."""

    def init(key, x, /):
        return network.init(key, x.reshape(x.shape[0], -1))

    def apply(params, state, x, /, *, train=False, key=None):
        output, state = network.apply(
            params, state, x.reshape(x.shape[0], -1), train=train, key=key
        )
        return output.reshape(-1, *output_shape), state

    return Network(init, apply)
