"""What the gradient estimators share: the result, the draws, and the evaluation of the objective.

Here x[n, *E, K] are n draws of the one-hot variables, p[*E, K] = softmax(logits), and
the score is d log p(x) / d logits = x - p.
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
    """One estimate of E[objective] and of its gradient."""

    value: Array  # []
    gradient: Array  # [*E, K], as the logits; at least float32


def prepare(logits: Array) -> Array:
    """Logits in at least float32, with -inf (a class that is never drawn) made finite."""
    logits = as_logits(logits)
    return jnp.where(jnp.isneginf(logits), _MASKED, logits)


def draw_perturbed(key: Key, logits: Array, num_samples: int) -> Array:
    """num_samples independent perturbed logits z[n, *E, K]."""
    require(num_samples >= 1, f"num_samples must be at least 1, got {num_samples}")
    return perturbed_logits(key, jnp.broadcast_to(logits, (num_samples, *logits.shape)))


def one_hot_argmax(z: Array) -> Array:
    """One-hot vectors at the largest entries of z[..., K]."""
    return jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=z.dtype)


def draw_one_hot(key: Key, logits: Array, num_samples: int) -> Array:
    """num_samples independent draws x[n, *E, K]."""
    return one_hot_argmax(draw_perturbed(key, logits, num_samples))


def evaluate(objective: Objective, x: Array) -> Array:
    """objective(x[n, *E, K]) -> [n], in at least float32; `ConfigError` for another shape."""
    values = jnp.asarray(objective(x))
    require(
        values.shape == x.shape[:1],
        f"the objective must give one number for each leading index: {x.shape} -> {x.shape[:1]}, "
        f"got {values.shape}",
    )
    return at_least_float32(values)


def evaluate_with_gradient(objective: Objective, x: Array) -> tuple[Array, Array]:
    """The values [n] and the derivatives [n, *E, K] of the objective at n points."""
    values, pullback = jax.vjp(lambda points: evaluate(objective, points), x)
    return values, pullback(jnp.ones_like(values))[0]


def softmax_pullback(p: Array, cotangent: Array) -> Array:
    """(diag(p) - p p^T) cotangent over the last axis: the derivative of softmax, transposed."""
    weighted = p * cotangent
    return weighted - p * jnp.sum(weighted, axis=-1, keepdims=True)


def scale_rows(weights: Array, x: Array) -> Array:
    """weights[n] times x[n, ...]."""
    return weights.reshape(weights.shape + (1,) * (x.ndim - 1)) * x
