"""VampPrior: the average posterior of learned inputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import (
    Array,
    Key,
    Prior,
    PyTree,
    at_least_float32,
    checks,
    float_type,
    lookup,
    normal,
    require,
)
from dgm_jax.densities import mixture
from dgm_jax.priors.streaming import streamed_log_prob


def _clip(raw: Array) -> Array:
    inside = jnp.clip(raw, 0, 1)
    return lax.stop_gradient(inside) + (raw - lax.stop_gradient(raw))


# How free numbers become inputs. "hardtanh" is the published one, and an input that has left [0, 1]
# receives no gradient there ever again; "clip" has the same values and lets the gradient pass.
INPUT_RANGES: dict[str, Callable[[Array], Array]] = {
    "clip": _clip,
    "hardtanh": lambda raw: jnp.clip(raw, 0, 1),
    "sigmoid": jax.nn.sigmoid,
    "free": lambda raw: raw,
}


def vamp(
    encode: Callable[[Array], tuple[Array, Array]],
    num_components: int,
    input_shape: tuple[int, ...],
    *,
    init: Callable[[Key], Array] | None = None,
    input_range: str = "clip",
    learned_weights: bool = False,
    chunk_size: int = 256,
) -> Prior:
    """p(z) = sum_k w_k N(z; loc(u_k), diag(scale(u_k))^2) over z [*B, D] in nats, constants kept.

    Tomczak and Welling 2018, "VAE with a VampPrior", with w_k = 1 / K unless `learned_weights`.
    `encode` takes inputs u [K, *input_shape] to (loc, scale), both [K, D]. It belongs to another
    part of the model, so close it over the encoder's parameters inside the loss, and build the
    prior there: building costs nothing, and gradients reach the encoder through it. `init` never
    calls it. Each log_prob and each sample encodes the K inputs once.

    params: {"inputs": [K, *input_shape]} and with learned weights {"logits": [K]}. `init(key)`
        gives the raw inputs,
    such as training points (through log(x / (1 - x)) for "sigmoid"); by default N(0.05, 0.01^2) as
    published. `input_range` names how they become inputs: "clip" to [0, 1] with the gradient of the
    identity, "hardtanh" the same with the gradient 0 outside, "sigmoid", or "free" for data of any
    range.

    Raises `ConfigError` for an unknown range and for shapes that do not fit.
    """
    checks.whole(num_components, "num_components")
    require(
        callable(encode), f"encode must be a function from inputs to (loc, scale); got {encode!r}"
    )
    confine = lookup(INPUT_RANGES, input_range, "range of pseudo-inputs")
    shape = (num_components, *input_shape)

    def start(key):
        inputs = 0.05 + 0.01 * normal(key, shape) if init is None else jnp.asarray(init(key))
        require(
            inputs.shape == shape,
            f"init must give pseudo-inputs of shape {shape}; got {inputs.shape}",
        )
        return {"inputs": inputs} | (
            {"logits": jnp.zeros(num_components)} if learned_weights else {}
        )

    def components(params):
        return _components(encode, confine(params["inputs"]), params.get("logits"))

    def sample(params, key, n):
        return mixture.sample(key, n, *components(params)).x

    def log_prob(params, z):
        return streamed_log_prob(z, *components(params), chunk_size)

    return Prior(start, sample, log_prob)


def _components(encode, inputs: Array, logits: PyTree) -> tuple[Array, Array, Array]:
    """(log_weights [K], loc [K, D], scale [K, D])."""
    loc, scale = encode(inputs)
    num = inputs.shape[0]
    require(
        loc.ndim == 2 and loc.shape[0] == num and scale.shape == loc.shape,
        f"encode must give loc and scale, both [{num}, D]; got {loc.shape} and {scale.shape}",
    )
    return (
        jax.nn.log_softmax(
            jnp.zeros(num, float_type(loc)) if logits is None else at_least_float32(logits)
        ),
        loc,
        scale,
    )
