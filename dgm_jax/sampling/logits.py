"""What is done to the logits of a next token before it is drawn: temperature, guidance, truncation.

Functions of logits [*B, V], in at least float32, that return logits [*B, V]. A logit of -inf is
a class of probability zero and stays one. In a sampler the order is

    guide  ->  mask of the vocabulary  ->  with_temperature  ->  top_k  ->  top_p  ->  gumbel_max

since a difference of masked logits would be -inf - (-inf) = NaN, and since truncation should see
the law that is drawn from.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, at_least_float32, checks, require
from dgm_jax.sampling.gumbel import tempered


def with_temperature(logits: Array, temperature) -> Array:
    """logits / temperature: probabilities proportional to p^(1 / temperature).

    temperature: a scalar or an array that broadcasts against [*B, V]; below 1 sharpens. Raises
    ConfigError for a known temperature that is not positive.
    """
    return tempered(_as_float(logits), temperature)


def top_k(logits: Array, k: int) -> Array:
    """The k largest logits of each row, -inf elsewhere; of equal ones the lower index stays.

    Raises ConfigError unless 1 <= k <= V. Fan et al. (2018), "Hierarchical neural story
    generation".
    """
    logits = _as_float(logits)
    require(
        1 <= k <= logits.shape[-1],
        f"k must be in 1..{logits.shape[-1]} (the size of the vocabulary), got {k}",
    )
    return _keep(logits, jax.lax.top_k(logits, k)[1], True)


def top_p(logits: Array, p) -> Array:
    """The smallest set of most likely classes whose probability reaches p, -inf elsewhere; never
    empty.

    Class by class in the order of falling probability (of equal ones the lower index first), a
    class stays while those before it hold less than p. p = 1 keeps every class.

    p: a scalar or an array that broadcasts against [*B]. Raises ConfigError for a known p outside
    (0, 1]. Holtzman et al. (2020), "The curious case of neural text degeneration", section 3.1.
    """
    logits = _as_float(logits)
    if checks.is_concrete(p):
        require(
            bool(np.all((np.asarray(p) > 0) & (np.asarray(p) <= 1))),
            f"p must be in (0, 1], got {p}",
        )
    threshold = jnp.asarray(p, logits.dtype)[..., None]
    order = jnp.argsort(logits, axis=-1, stable=True, descending=True)
    probability = jax.nn.softmax(jnp.take_along_axis(logits, order, -1), -1)
    before = jnp.cumsum(probability, -1) - probability
    first = jnp.arange(logits.shape[-1]) == 0
    return _keep(logits, order, first | (before < threshold) | (threshold >= 1))


def guide(conditional: Array, unconditional: Array, scale) -> Array:
    """unconditional + scale (conditional - unconditional): classifier-free guidance on logits.

    Scale 1 is `conditional` bit for bit, 0 is `unconditional`, above 1 moves away from it. A class
    that the conditional law excludes (-inf) stays excluded; one that only the unconditional law
    excludes keeps its conditional logit, so no row becomes NaN or empty. Ho and Salimans (2022),
    eq. 6, whose w is scale - 1; on the logits of image tokens: Gafni et al. (2022), "Make-a-scene".
    """
    conditional, unconditional = _as_float(conditional), _as_float(unconditional)
    known = ~(jnp.isneginf(conditional) | jnp.isneginf(unconditional))
    difference = jnp.where(known, conditional, 0) - jnp.where(known, unconditional, 0)
    return jnp.where(
        known, jnp.where(known, conditional, 0) + (scale - 1) * difference, conditional
    )


def _as_float(logits) -> Array:
    """Logits in at least float32. Unlike `gumbel.as_logits` with no look at values: filtered logits
    are legal."""
    logits = jnp.asarray(logits)
    require(
        logits.ndim >= 1 and logits.shape[-1] >= 1,
        f"logits must be [*B, V] with V >= 1, got {logits.shape}",
    )
    return at_least_float32(logits)


def _keep(logits: Array, index: Array, keep) -> Array:
    """logits where `keep` holds for the class `index`, -inf for the others and for classes not in
    `index`."""
    chosen = jnp.zeros(logits.shape, bool)
    chosen = jnp.put_along_axis(
        chosen, index, jnp.broadcast_to(keep, index.shape), axis=-1, inplace=False
    )
    return jnp.where(chosen, logits, -jnp.inf)
