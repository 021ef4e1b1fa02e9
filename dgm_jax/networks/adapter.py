"""From a flax.linen module to the pair of pure functions that models use."""

import inspect
from typing import cast

import flax.linen as nn

from dgm_jax.core import Network, PyTree


def from_flax(module: nn.Module, **apply_kwargs) -> Network:
    """`Network(init, apply)` of a linen module; `apply_kwargs` go to every call.

    init: `(key, x) -> (params, state)`; `state` holds the collections beside the parameters
        (`{"batch_stats": ...}`), `{}` when there are none.
    apply: `(params, state, x, train) -> (output, state)`. Modules whose `__call__` has an argument
        `train` get it; collections change only with `train=True`.
    """
    takes_train = "train" in inspect.signature(type(module).__call__).parameters

    def settings(train):
        return {**apply_kwargs, "train": train} if takes_train else apply_kwargs

    def init(key, x):
        variables = dict(module.init(key, x, **settings(False)))
        return variables.pop("params", {}), variables

    def apply(params, state, x, train=False):
        variables = {"params": params, **state}
        if not (train and state):
            return cast(PyTree, module.apply(variables, x, **settings(train))), state
        found = module.apply(variables, x, **settings(train), mutable=list(state))
        output, changed = cast(tuple[PyTree, PyTree], found)  # a pair where something is mutable
        return output, {**state, **changed}

    return Network(init, apply)


def from_functions(init, apply) -> Network:
    """`Network` of a stateless pair `init(key, x) -> params`, `apply(params, x) -> output`."""
    return Network(
        init=lambda key, x: (init(key, x), {}),
        apply=lambda params, state, x, train=False: (apply(params, x), state),
    )


def reshaped(network: Network, output_shape: tuple[int, ...]) -> Network:
    """A network on vectors as one on arrays: inputs [B, ...] are flattened, outputs become [B,
    *output_shape]."""

    def init(key, x):
        return network.init(key, x.reshape(x.shape[0], -1))

    def apply(params, state, x, train=False):
        output, state = network.apply(params, state, x.reshape(x.shape[0], -1), train)
        return output.reshape(-1, *output_shape), state

    return Network(init, apply)
