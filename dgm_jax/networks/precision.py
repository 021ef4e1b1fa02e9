"""Networks that compute in bfloat16 while parameters, state and results stay in float32.

bfloat16 has the exponents of float32 and eight bits of mantissa: a number is rounded by up to a
share of 2^-9. Nothing overflows that does not in float32, so no loss needs a scale. What is small
beside what it is added to is lost, and so whatever is summed up over steps or over many numbers has
to stay in float32: parameters, the optimizer's moments, batch statistics, codebooks, means,
variances, softmax and losses. Micikevicius et al. 2018, "Mixed precision training"; Kalamkar et al.
2019, "A study of BFLOAT16 for deep learning training".
"""

import functools
from typing import TypeVar, cast

import jax
import jax.numpy as jnp

from dgm_jax.core import ApplyNetwork, Array, Key, Network, PyTree, described, lookup, require
from dgm_jax.networks.causal import CausalNetwork
from dgm_jax.networks.narrowing import (
    NARROW,
    is_wide,
    narrow_products,
    trace,
    with_narrow_products,
)

PRECISIONS = ("float32", "bfloat16")

AnyNetwork = TypeVar("AnyNetwork", Network, CausalNetwork)


def in_precision(
    network: AnyNetwork, precision: str, *, elementwise: str | None = None
) -> AnyNetwork:
    """Compute a network in a precision.

    Parameters, state, inputs and outputs keep their types, so that losses, gradients and optimizers
    see float32. The network is traced at each call: compile what calls it. Inside,

        elementwise="float32"    matrix products and convolutions take operands of bfloat16
                                 (`networks.narrow_products`), and all else is as before: sums,
                                 normalizations, softmax, activations;
        elementwise="bfloat16"   parameters and inputs are converted to bfloat16 first, too, so that
                                 activations are bfloat16 from the first layer on, in half the
                                 memory. What a module computes in float32 by itself stays so:
                                 statistics of `BatchNorm` and `GroupNorm`, softmax of attention,
                                 modules with `dtype=jnp.float32`.

    Args:
        network: a `Network`, also one of your own, or a `CausalNetwork`, which computes all but its
            products in float32.
        precision: "float32", which returns the network itself, or "bfloat16".
        elementwise: precision of all but products; None for "float32" on CPU, where XLA has no
            arithmetic of bfloat16 and converts for each operation, and "bfloat16" elsewhere, by
            the platform that a program is lowered for.

    Returns:
        The network with the same `init`.

    Raises:
        ConfigError: an unknown precision; no network; `elementwise` "bfloat16" in float32 or for a
            `CausalNetwork`.

    Example:
        >>> network = networks.from_flax(networks.MLP((8, 1)))
        >>> params, state = network.init(jax.random.key(0), jnp.ones((4, 3)))
        >>> half = networks.in_precision(network, "bfloat16")
        >>> half.apply(params, state, jnp.ones((4, 3)), train=True)[0].dtype
        dtype('float32')
    """
    lookup(PRECISIONS, precision, "precision")
    if elementwise is not None:
        lookup(PRECISIONS, elementwise, "elementwise precision")
    require(
        isinstance(network, (Network, CausalNetwork)),
        f"in_precision takes a Network or a CausalNetwork; got {described(network)}",
    )
    causal = isinstance(network, CausalNetwork)
    require(
        elementwise != "bfloat16" or (precision == "bfloat16" and not causal),
        "elementwise='bfloat16' is for a Network in bfloat16; got a"
        f" {type(network).__name__} in {precision}",
    )
    if precision == "float32":
        return network
    if isinstance(network, CausalNetwork):
        return cast(AnyNetwork, _causal(network))
    return cast(AnyNetwork, Network(network.init, _apply(network.apply, elementwise)))


def _causal(network: CausalNetwork) -> CausalNetwork:
    functions = {name: getattr(network, name) for name in ("logits", "prefill", "step")}
    return network._replace(
        **{name: narrow_products(f) for name, f in functions.items() if f is not None}
    )


def _apply(network: ApplyNetwork, elementwise: str | None) -> ApplyNetwork:
    def apply(
        params: PyTree,
        state: PyTree,
        x: PyTree,
        /,
        *,
        train: bool = False,
        key: Key | None = None,
    ) -> tuple[PyTree, PyTree]:
        def call(params: PyTree, state: PyTree, x: PyTree, key: Key | None):
            return network(params, state, x, train=train, key=key)

        def everything(params: PyTree, state: PyTree, x: PyTree, key: Key | None):
            narrow = narrow_products(call)(_narrowed(params), state, _narrowed(x), key)
            return jax.tree.map(lambda leaf, shape: leaf.astype(shape.dtype), narrow, traced.shapes)

        arguments = (params, state, x, key)
        traced = trace(call, *arguments)
        products = functools.partial(with_narrow_products, traced)
        if elementwise == "float32":
            return products(*arguments)
        if elementwise == "bfloat16":
            return everything(*arguments)
        return jax.lax.platform_dependent(*arguments, cpu=products, default=everything)

    return apply


def _narrowed(tree: PyTree) -> PyTree:
    """Wide floating arrays of a tree in bfloat16."""

    def narrowed(leaf: Array) -> Array:
        return leaf.astype(NARROW) if is_wide(jnp.result_type(leaf)) else leaf

    return jax.tree.map(narrowed, tree)
