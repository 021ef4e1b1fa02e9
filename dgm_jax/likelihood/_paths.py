"""Paths of annealing: where chains start, and what leads from there to p(x, z)."""

from collections.abc import Callable
from typing import NamedTuple

from dgm_jax.core import Array, Key


class Path(NamedTuple):
    """Where chains start, and what leads from there to p(x, z).

    Functions of arrays, differentiable in z; z is [n, b, *E], x is [b, ...].

    Attributes:
        sample: `(key, x, n) -> z`, draws of the start.
        log_prob: `(x, z) -> [n, b]`, the start's log-density.
        log_ratio: `(x, z) -> [n, b]`, log p(x, z) - log_prob(x, z).
    """

    sample: Callable[[Key, Array, int], Array]
    log_prob: Callable[[Array, Array], Array]
    log_ratio: Callable[[Array, Array], Array]


def from_prior(
    sample: Callable[[Key, int], Array],
    log_prob: Callable[[Array], Array],
    log_likelihood: Callable[[Array, Array], Array],
) -> Path:
    """A path whose chains start at the prior.

    It needs no encoder, so a decoder alone (a GAN's generator with an observation noise) can be
    measured.

    Args:
        sample: `(key, n) -> z[n, *E]`.
        log_prob: `z[..., *E] -> [...]`, nats.
        log_likelihood: `(x, z[n, b, *E]) -> [n, b]`, log p(x | z), nats.

    Returns:
        The path.

    Example:
        >>> path = from_prior(
        ...     lambda key, n: jax.random.normal(key, (n, 1)),
        ...     lambda z: -jnp.sum(z**2, axis=-1) / 2,
        ...     lambda x, z: -((x - z[..., 0]) ** 2) / 2,
        ... )
        >>> path.sample(jax.random.key(0), jnp.zeros(3), 2).shape
        (2, 3, 1)
    """

    def start(
        key: Key,
        x: Array,
        n: int,
    ) -> Array:
        flat = sample(key, n * x.shape[0])
        return flat.reshape(n, x.shape[0], *flat.shape[1:])

    return Path(start, lambda x, z: log_prob(z), log_likelihood)


def from_proposal(
    sample: Callable[[Key, Array, int], Array],
    log_prob: Callable[[Array, Array], Array],
    log_joint: Callable[[Array, Array], Array],
) -> Path:
    """A path whose chains start at an encoder's q(z | x).

    Args:
        sample: `(key, x, n) -> z[n, b, *E]`, draws of q.
        log_prob: `(x, z) -> [n, b]`, log q(z | x), nats.
        log_joint: `(x, z) -> [n, b]`, log p(x, z), nats.

    Returns:
        The path.

    Example:
        >>> path = from_proposal(
        ...     lambda key, x, n: jnp.zeros((n, len(x), 1)),
        ...     lambda x, z: jnp.full(z.shape[:2], -1.0),
        ...     lambda x, z: jnp.full(z.shape[:2], -3.0),
        ... )
        >>> path.log_ratio(jnp.zeros(1), jnp.zeros((1, 1, 1))).item()
        -2.0
    """
    return Path(sample, log_prob, lambda x, z: log_joint(x, z) - log_prob(x, z))
