"""Changes to the logits of a next token before it is drawn: temperature, guidance, truncation.

Functions of logits [*B, V], in at least float32, that return logits [*B, V]. A logit of -inf is a
class of probability zero and stays one. In a sampler the order is

    guide  ->  mask of the vocabulary  ->  with_temperature  ->  top_k  ->  top_p  ->  gumbel_max

since a difference of masked logits would be -inf - (-inf) = NaN, and since truncation should see
the distribution that is drawn from.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, at_least_float32, checks, require
from dgm_jax.sampling.gumbel import tempered


def with_temperature(logits: Array, temperature: Array | float) -> Array:
    """Logits divided by a temperature: probabilities proportional to p^(1 / temperature).

    Args:
        logits: [*B, V].
        temperature: positive, a scalar or an array that broadcasts against [*B, V]; values below 1
            sharpen the distribution.

    Returns:
        Logits [*B, V], at least float32.

    Raises:
        ConfigError: a known temperature that is not positive.

    Example:
        >>> with_temperature(jnp.array([0.0, 1.0]), 0.5).tolist()
        [0.0, 2.0]
    """
    return tempered(_as_float(logits), temperature)


def top_k(logits: Array, k: int) -> Array:
    """Keep the k largest logits of each row; of equal ones the lower index stays.

    Fan et al. (2018), "Hierarchical neural story generation".

    Args:
        logits: [*B, V].
        k: from 1 to V.

    Returns:
        Logits [*B, V], -inf for the classes that are removed.

    Raises:
        ConfigError: k outside 1..V.

    Example:
        >>> top_k(jnp.array([0.0, 2.0, 1.0]), 2).tolist()
        [-inf, 2.0, 1.0]
    """
    logits = _as_float(logits)
    num_classes = logits.shape[-1]
    require(
        1 <= k <= num_classes,
        f"k must be in 1..{num_classes} (the size of the vocabulary), got {k}",
    )
    _, index = jax.lax.top_k(logits, k)
    return _keep(logits, index, True)


def top_p(logits: Array, p: Array | float) -> Array:
    """Keep the smallest set of most likely classes whose probability reaches p; never none.

    In order of decreasing probability (of equal ones the lower index first), a class stays if the
    classes before it have a total probability below p. p = 1 keeps every class. Holtzman et al.
    (2020), "The curious case of neural text degeneration", section 3.1.

    Args:
        logits: [*B, V].
        p: in (0, 1], a scalar or an array that broadcasts against [*B].

    Returns:
        Logits [*B, V], -inf for the classes that are removed.

    Raises:
        ConfigError: a concrete p outside (0, 1].

    Example:
        >>> jnp.isfinite(top_p(jnp.log(jnp.array([0.6, 0.3, 0.1])), 0.7)).tolist()
        [True, True, False]
    """
    logits = _as_float(logits)
    if checks.is_concrete(p):
        values = np.asarray(p)
        in_range = np.all((values > 0) & (values <= 1))
        require(bool(in_range), f"p must be in (0, 1], got {p}")
    threshold = jnp.asarray(p, logits.dtype)[..., None]
    order = jnp.argsort(logits, axis=-1, stable=True, descending=True)
    ordered = jnp.take_along_axis(logits, order, -1)
    probability = jax.nn.softmax(ordered, -1)
    before = jnp.cumsum(probability, -1) - probability
    num_classes = logits.shape[-1]
    is_first = jnp.arange(num_classes) == 0
    keep = is_first | (before < threshold) | (threshold >= 1)
    return _keep(logits, order, keep)


def guide(
    conditional: Array,
    unconditional: Array,
    scale: Array | float,
) -> Array:
    """Classifier-free guidance, unconditional + scale (conditional - unconditional), on logits.

    Scale 1 is `conditional` bit for bit, 0 is `unconditional`, above 1 moves away from it. A class
    that the conditional distribution excludes (-inf) stays excluded; one that only the
    unconditional distribution excludes keeps its conditional logit, so no row becomes NaN or empty.
    Ho and Salimans (2022), eq. 6, whose w is scale - 1; on the logits of image tokens: Gafni et al.
    (2022), "Make-a-scene".

    Args:
        conditional: logits [*B, V].
        unconditional: logits [*B, V].
        scale: a scalar or an array that broadcasts against [*B, V].

    Returns:
        Logits [*B, V], at least float32.

    Raises:
        ConfigError: logits without a class axis.

    Example:
        >>> guide(jnp.array([1.0, -jnp.inf]), jnp.array([0.0, 3.0]), 2.0).tolist()
        [2.0, -inf]
    """
    conditional = _as_float(conditional)
    unconditional = _as_float(unconditional)
    either_excludes = jnp.isneginf(conditional) | jnp.isneginf(unconditional)
    both = ~either_excludes
    start = jnp.where(both, conditional, 0)
    difference = start - jnp.where(both, unconditional, 0)
    guided = start + (scale - 1) * difference
    return jnp.where(both, guided, conditional)


def _as_float(logits: Array) -> Array:
    """Logits in at least float32; unlike `gumbel.as_logits`, filtered logits are allowed."""
    logits = jnp.asarray(logits)
    require(
        logits.ndim >= 1 and logits.shape[-1] >= 1,
        f"logits must be [*B, V] with V >= 1, got {logits.shape}",
    )
    return at_least_float32(logits)


def _keep(logits: Array, index: Array, keep: Array | bool) -> Array:
    """Set the logits of classes that are not in `index`, or whose `keep` is False, to -inf."""
    chosen = jnp.zeros(logits.shape, bool)
    keep = jnp.broadcast_to(keep, index.shape)
    chosen = jnp.put_along_axis(chosen, index, keep, axis=-1, inplace=False)
    return jnp.where(chosen, logits, -jnp.inf)
