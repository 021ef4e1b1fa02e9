"""Distributions of an image given a decoder's output: log p(x | z) and the image it represents.

A decoder's output is [*B, H, W, F]; F is the number of channels, or twice that for distributions
with a location and a scale per pixel.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import (
    Array,
    DataError,
    Decode,
    Key,
    LogLikelihood,
    Network,
    Params,
    State,
    checks,
    lookup,
    require,
)
from dgm_jax.core.reductions import row_total
from dgm_jax.densities import bernoulli, logit_laplace


def _bernoulli(out: Array, x: Array) -> Array:
    """x in {0, 1}; out are logits. DataError for known x that are neither 0 nor 1."""
    if checks.is_concrete(x):
        values = np.asarray(x)
        grey = values[(values != 0) & (values != 1)]
        require(
            grey.size == 0,
            f"the bernoulli likelihood needs pixels that are 0 or 1, got {grey.size} others of"
            f" {values.size}, such as {grey.flat[0] if grey.size else ''}: binarize them"
            " (data.load(..., binarization='static'))",
            DataError,
        )
    return bernoulli.log_prob(x, out)


def _logit_laplace(out: Array, x: Array) -> Array:
    """x in [0, 1]; out holds locations and log-scales along its last axis."""
    loc, log_scale = jnp.split(out, 2, axis=-1)
    return logit_laplace.log_prob(x, loc, log_scale)


# name -> (output [*B, H, W, F], x [..., H, W, C]) -> log-likelihood of each pixel.
LIKELIHOODS = {"bernoulli": _bernoulli, "logit_laplace": _logit_laplace}
_SHOWN = {
    "bernoulli": jax.nn.sigmoid,
    "logit_laplace": lambda out: logit_laplace.reconstruct(jnp.split(out, 2, axis=-1)[0]),
}


def log_likelihood(name: str, out: Array, x: Array) -> Array:
    """Evaluate log p(x | z), summed over pixels.

    Args:
        name: of `LIKELIHOODS`.
        out: the decoder's output [*B, H, W, F].
        x: images [*B, H, W, C], or one [H, W, C] for all.

    Returns:
        [*B] in nats.

    Raises:
        ConfigError: no likelihood has the name.
        DataError: known pixels outside the support of the distribution.
    """
    return pixel_total(lookup(LIKELIHOODS, name, "likelihood")(out, x))


def pixel_total(terms: Array) -> Array:
    """Sum a value of each pixel [*B, H, W, C] over the image.

    By `core.reductions.row_total`: within a sum of its own XLA's CPU backend would compute the
    logarithms that lead to the values number by number.
    """
    return row_total(terms.reshape(*terms.shape[:-3], math.prod(terms.shape[-3:])))


def of_decoder(
    name: str, decoder: Network, part: str = "decoder", event_ndim: int = 1
) -> tuple[LogLikelihood, Decode]:
    """Make `log_likelihood` and `decode` of a `core.LatentModel` with a decoder network.

    Args:
        name: of `LIKELIHOODS`.
        decoder: `z [n, *E] -> [n, H, W, F]`. It is applied to all latents at once, so that in its
            training form batch statistics are those of all of them.
        part: the name under which params and state hold the decoder's.
        event_ndim: the number of axes *E of a latent.

    Returns:
        (log_likelihood, decode), as in `core.LatentModel`.
    """

    def log_likelihood_of(
        params: Params,
        state: State,
        z: Array,
        x: Array,
        /,
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Array, State]:
        leading = z.shape[: z.ndim - event_ndim]
        flat = z.reshape(-1, *z.shape[-event_ndim:])
        out, moved = decoder.apply(params[part], state[part], flat, train=train, key=key)
        value = log_likelihood(name, out.reshape(*leading, *out.shape[1:]), x)
        return value, {**state, part: moved}

    def decode(params: Params, state: State, z: Array, /) -> Array:
        out, _ = decoder.apply(params[part], state[part], z, train=False)
        return shown(name, out)

    return log_likelihood_of, decode


def shown(name: str, out: Array) -> Array:
    """Compute the image that a decoder's output represents: the mean or the reconstruction.

    Args:
        name: of `LIKELIHOODS`.
        out: the decoder's output [*B, H, W, F].

    Returns:
        Images [*B, H, W, C] in [0, 1].

    Raises:
        ConfigError: no likelihood has the name.
    """
    return lookup(_SHOWN, name, "likelihood")(out)
