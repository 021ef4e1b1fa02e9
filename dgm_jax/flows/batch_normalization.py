"""Batch normalisation as a bijection, and the training step in which it is none.

With the statistics of its own batch, the map of one example depends on the others: it is not a
function of x and has no inverse of its own. So the bijection here normalises with stored
statistics, in every call, and `batch_norm_train` is the other form, for training by hand: it
normalises with the batch and returns the moved statistics. Only the first fits in a `chain`; where
a layer is wanted that simply trains, `act_norm` is the one.
"""

import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Bijection, DataError, PyTree, checks, require
from dgm_jax.flows.events import event, wide

EPSILON = 1e-5


def batch_norm(dim: int, *, epsilon: float = EPSILON) -> Bijection:
    """y = (x - mean) / sqrt(variance + epsilon); log|det dy/dx| = -sum log(variance + epsilon) / 2.

    params: {"mean": [dim], "variance": [dim]}, running statistics that receive no gradient. At init
        0 and 1 - epsilon:
    the identity. Dinh et al. 2017, "Density estimation using Real NVP", section 3.7 and appendix E.
    """
    checks.whole(dim, "dim")
    checks.positive(epsilon, "epsilon")

    def init(key):
        del key
        return {"mean": jnp.zeros(dim), "variance": jnp.full(dim, 1 - epsilon)}

    def forward(params, x):
        return _normalise(event(x, dim), *_statistics(params, epsilon))

    def inverse(params, y):
        y = event(y, dim)
        mean, variance = _statistics(params, epsilon)
        log_det = jnp.broadcast_to(jnp.sum(jnp.log(variance)) / 2, y.shape[:-1])
        return y * jnp.sqrt(variance) + mean, log_det

    return Bijection(init, forward, inverse)


def batch_norm_train(
    params: PyTree, x: Array, *, decay: float = 0.99, epsilon: float = EPSILON
) -> tuple[Array, Array, PyTree]:
    """(y, log_det, params) of x [*B, dim]: normalised with the batch, statistics moved a share 1 -
    decay towards it.

    Gradients pass through the batch's mean and variance. log_det [*B] is what the formula of
    `batch_norm` says with these statistics held fixed, the practice of Dinh et al. 2017; it is not
    the log-determinant of the whole batch's map. The variance is the biased one. Raises `DataError`
    without a leading axis.
    """
    checks.share(decay, "decay")
    checks.positive(epsilon, "epsilon")
    x = event(x, params["mean"].shape[-1])
    require(
        x.ndim >= 2, f"x must be [*B, dim] with at least one leading axis; got {x.shape}", DataError
    )
    params = wide(params)
    rows = x.reshape(-1, x.shape[-1])
    mean, variance = jnp.mean(rows, 0), jnp.var(rows, 0)
    y, log_det = _normalise(x, mean, variance + epsilon)
    seen = lax.stop_gradient({"mean": mean, "variance": variance})
    return y, log_det, {name: decay * params[name] + (1 - decay) * seen[name] for name in seen}


def _statistics(params: PyTree, epsilon: float) -> tuple[Array, Array]:
    params = lax.stop_gradient(wide(params))
    return params["mean"], params["variance"] + epsilon


def _normalise(x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    log_det = jnp.broadcast_to(-jnp.sum(jnp.log(variance)) / 2, x.shape[:-1])
    return (x - mean) / jnp.sqrt(variance), log_det
