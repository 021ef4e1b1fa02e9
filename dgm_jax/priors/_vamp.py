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

# inputs u [K, *input_shape] -> (loc [K, D], scale [K, D])
Encode = Callable[[Array], tuple[Array, Array]]


def _clip(raw: Array) -> Array:
    inside = jnp.clip(raw, 0, 1)
    return lax.stop_gradient(inside) + (raw - lax.stop_gradient(raw))


# How unconstrained numbers become inputs. "hardtanh" is the published one; an input that has left
# [0, 1] never receives a gradient there again. "clip" has the same values and passes the gradient.
INPUT_RANGES: dict[str, Callable[[Array], Array]] = {
    "clip": _clip,
    "hardtanh": lambda raw: jnp.clip(raw, 0, 1),
    "sigmoid": jax.nn.sigmoid,
    "free": lambda raw: raw,
}


def vamp(
    encode: Encode,
    num_components: int,
    input_shape: tuple[int, ...],
    *,
    init: Callable[[Key], Array] | None = None,
    input_range: str = "clip",
    learned_weights: bool = False,
    chunk_size: int = 256,
) -> Prior:
    """Average the encoder's posteriors of K learned inputs.

    p(z) = sum_k w_k N(z; loc(u_k), diag(scale(u_k))^2), with w_k = 1 / K unless they are learned.

    Tomczak and Welling 2018, "VAE with a VampPrior". The encoder belongs to another part of the
    model, so close `encode` over the encoder's parameters inside the loss and build the prior
    there: building costs nothing, and gradients reach the encoder through it. Each log_prob and
    each sample encodes the K inputs once.

    Args:
        encode: inputs u [K, *input_shape] -> (loc, scale), both [K, D]. `init` of the prior never
            calls it.
        num_components: K.
        input_shape: the shape of one input of the encoder.
        init: `key -> raw inputs [K, *input_shape]`, such as training points (through
            log(x / (1 - x)) for "sigmoid"); None draws N(0.05, 0.01^2) as published.
        input_range: how raw inputs become inputs: "clip" to [0, 1] with the gradient of the
            identity, "hardtanh" the same with the gradient 0 outside, "sigmoid", or "free" for data
            of any range.
        learned_weights: learn the weights w_k.
        chunk_size: components evaluated at once.

    Returns:
        A prior over z [*B, D], in nats with all constants. Its params are
        {"inputs": [K, *input_shape]}, and with learned weights also {"logits": [K]}.

    Raises:
        ConfigError: the range is unknown, or shapes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import priors
        >>> encode = lambda u: (u, jnp.ones_like(u))
        >>> prior = priors.vamp(encode, 2, (1,), input_range="free")
        >>> params = {"inputs": jnp.array([[-1.0], [1.0]])}
        >>> print(f"{prior.log_prob(params, jnp.zeros(1)):.4f}")  # -1 / 2 - log(2 pi) / 2
        -1.4189
    """
    checks.whole(num_components, "num_components")
    message = f"encode must be a function from inputs to (loc, scale); got {encode!r}"
    require(callable(encode), message)
    confine = lookup(INPUT_RANGES, input_range, "range of pseudo-inputs")
    shape = (num_components, *input_shape)

    def init_params(key: Key) -> PyTree:
        inputs = 0.05 + 0.01 * normal(key, shape) if init is None else jnp.asarray(init(key))
        message = f"init must give pseudo-inputs of shape {shape}; got {inputs.shape}"
        require(inputs.shape == shape, message)
        params = {"inputs": inputs}
        if learned_weights:
            params["logits"] = jnp.zeros(num_components)
        return params

    def components(params: PyTree) -> tuple[Array, Array, Array]:
        return _components(encode, confine(params["inputs"]), params.get("logits"))

    def sample(params: PyTree, key: Key, n: int) -> Array:
        return mixture.sample(key, n, *components(params)).x

    def log_prob(params: PyTree, z: Array) -> Array:
        return streamed_log_prob(z, *components(params), chunk_size)

    return Prior(init_params, sample, log_prob)


def _components(encode: Encode, inputs: Array, logits: Array | None) -> tuple[Array, Array, Array]:
    """(log_weights [K], loc [K, D], scale [K, D])."""
    loc, scale = encode(inputs)
    num = inputs.shape[0]
    require(
        loc.ndim == 2 and loc.shape[0] == num and scale.shape == loc.shape,
        f"encode must give loc and scale, both [{num}, D]; got {loc.shape} and {scale.shape}",
    )
    raw = jnp.zeros(num, float_type(loc)) if logits is None else at_least_float32(logits)
    return jax.nn.log_softmax(raw), loc, scale
