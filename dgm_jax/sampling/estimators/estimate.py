"""What the gradient estimators share: the result, the draws, and evaluations of the objective.

Here x[n, *E, K] are n draws of the one-hot variables, p[*E, K] = softmax(logits), and the score is
d log p(x) / d logits = x - p.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, at_least_float32, require
from dgm_jax.sampling.gumbel import as_logits, perturbed_logits

Objective = Callable[[Array], Array]  # [*B, *E, K] -> [*B]
Estimator = Callable[..., "Estimate"]  # (key, objective, logits[*E, K], **options) -> Estimate

# Stands for -inf: its softmax is exactly zero in float32, and products with it stay finite.
_MASKED = -1e20


class Estimate(NamedTuple):
    """An estimate of E[objective] and of its gradient with respect to the logits.

    Attributes:
        value: scalar, in the unit of the objective.
        gradient: [*E, K], like the logits, at least float32.
    """

    value: Array
    gradient: Array


def prepare(logits: Array) -> Array:
    """Logits in at least float32, with -inf (a class that is never drawn) made finite.

    Args:
        logits: [*E, K].

    Returns:
        [*E, K].
    """
    logits = as_logits(logits)
    return jnp.where(jnp.isneginf(logits), _MASKED, logits)


def draw_perturbed(
    key: Key,
    logits: Array,
    num_samples: int,
) -> Array:
    """Draws independent perturbed logits.

    Args:
        key: of the draws.
        logits: [*E, K].
        num_samples: n, at least 1.

    Returns:
        z[n, *E, K].

    Raises:
        ConfigError: num_samples is less than 1.
    """
    require(num_samples >= 1, f"num_samples must be at least 1, got {num_samples}")
    return perturbed_logits(key, jnp.broadcast_to(logits, (num_samples, *logits.shape)))


def one_hot_argmax(z: Array) -> Array:
    """One-hot vectors at the largest entries.

    Args:
        z: [..., K].

    Returns:
        [..., K], in the type of z.
    """
    return jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=z.dtype)


def draw_one_hot(
    key: Key,
    logits: Array,
    num_samples: int,
) -> Array:
    """Draws independent one-hot vectors.

    Args:
        key: of the draws.
        logits: [*E, K].
        num_samples: n, at least 1.

    Returns:
        x[n, *E, K].
    """
    return one_hot_argmax(draw_perturbed(key, logits, num_samples))


def evaluate(objective: Objective, x: Array) -> Array:
    """Evaluates the objective at n points.

    Args:
        objective: x[n, *E, K] -> [n].
        x: [n, *E, K].

    Returns:
        [n], in at least float32.

    Raises:
        ConfigError: the objective returns another shape.
    """
    values = jnp.asarray(objective(x))
    require(
        values.shape == x.shape[:1],
        f"the objective must give one number for each leading index: {x.shape} -> {x.shape[:1]}, "
        f"got {values.shape}",
    )
    return at_least_float32(values)


def evaluate_with_gradient(objective: Objective, x: Array) -> tuple[Array, Array]:
    """Evaluates the objective and its derivatives at n points.

    Args:
        objective: x[n, *E, K] -> [n].
        x: [n, *E, K].

    Returns:
        The values [n] and the derivatives [n, *E, K].
    """
    values, pullback = jax.vjp(lambda points: evaluate(objective, points), x)
    return values, pullback(jnp.ones_like(values))[0]


def softmax_pullback(p: Array, cotangent: Array) -> Array:
    """(diag(p) - p p^T) cotangent over the last axis: the derivative of softmax, transposed.

    Args:
        p: [..., K], probabilities.
        cotangent: [..., K].

    Returns:
        [..., K].
    """
    weighted = p * cotangent
    return weighted - p * jnp.sum(weighted, axis=-1, keepdims=True)


def scale_rows(weights: Array, x: Array) -> Array:
    """weights[n] times x[n, ...].

    Args:
        weights: [n].
        x: [n, ...].

    Returns:
        [n, ...].
    """
    return weights.reshape(weights.shape + (1,) * (x.ndim - 1)) * x
