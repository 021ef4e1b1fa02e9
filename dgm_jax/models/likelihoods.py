"""Laws of an image given a decoder's output: log p(x | z) and the image that is shown for it.

A decoder's output is [*B, H, W, F]; F is the number of channels, or twice that where a pixel has a
location and a scale.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, Decode, LogLikelihood, Network, checks, lookup, require
from dgm_jax.densities import bernoulli, logit_laplace


def _bernoulli(out: Array, x: Array) -> Array:
    """x in {0, 1}; out are logits. DataError for known x that are neither."""
    if checks.is_concrete(x):
        values = np.asarray(x)
        other = values[(values != 0) & (values != 1)]
        require(
            other.size == 0,
            f"the bernoulli likelihood needs pixels that are 0 or 1, got {other.size} others of"
            f" {values.size}, such as {other.flat[0] if other.size else ''}: binarise them"
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
    """log p(x | z) in nats, the sum over pixels: output [*B, H, W, F] and x [H, W, C] or [*B, H, W,
    C] -> [*B]."""
    return jnp.sum(lookup(LIKELIHOODS, name, "likelihood")(out, x), axis=(-3, -2, -1))


def of_decoder(
    name: str, decoder: Network, part: str = "decoder", event_ndim: int = 1
) -> tuple[LogLikelihood, Decode]:
    """`log_likelihood` and `decode` of a `core.LatentModel` whose images come from a decoder.

    Args:
      name: of `LIKELIHOODS`.
      decoder: `z [n, *E] -> [n, H, W, F]`, with its parameters and state under `part`. It is
        applied to all latents at once, so that in its training form batch statistics are those of
        all of them.
      event_ndim: the number of axes *E of a latent.
    """

    def log_likelihood_of(params, state, z, x, /, *, train, key=None):
        leading = z.shape[: z.ndim - event_ndim]
        flat = z.reshape(-1, *z.shape[-event_ndim:])
        out, moved = decoder.apply(params[part], state[part], flat, train=train, key=key)
        value = log_likelihood(name, out.reshape(*leading, *out.shape[1:]), x)
        return value, {**state, part: moved}

    def decode(params, state, z, /):
        out, _ = decoder.apply(params[part], state[part], z, train=False)
        return shown(name, out)

    return log_likelihood_of, decode


def shown(name: str, out: Array) -> Array:
    """The images [*B, H, W, C] in [0, 1] for a decoder's output: the mean, or what the law calls
    its reconstruction."""
    return lookup(_SHOWN, name, "likelihood")(out)
