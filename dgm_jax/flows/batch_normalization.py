"""Batch normalization as a bijection, and the training step in which it is none.

With the statistics of its own batch, the map of one example depends on the others: it is not a
function of x alone and has no inverse. So the bijection always normalizes with stored statistics,
and `batch_norm_train` is the training form: it normalizes with the batch and returns the updated
statistics. Only the first fits in a `chain`; for a layer that is simply trained use `act_norm`.
"""

import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, Bijection, DataError, Key, PyTree, checks, require
from dgm_jax.flows.events import event, wide

EPSILON = 1e-5


def batch_norm(dim: int, *, epsilon: float = EPSILON) -> Bijection:
    """Normalize with stored running statistics, the identity at init.

    y = (x - mean) / sqrt(variance + epsilon); log|det dy/dx| = -sum log(variance + epsilon) / 2.

    Dinh et al. 2017, "Density estimation using Real NVP", section 3.7 and appendix E.

    Args:
        dim: length of the vectors.
        epsilon: added to the variance, in squared units of x.

    Returns:
        A bijection of x [*B, dim], with log-determinants [*B] in nats. Its params are
        {"mean": [dim], "variance": [dim]}, statistics that receive no gradient; they start at 0
        and 1 - epsilon.

    Raises:
        ConfigError: dim is not a positive integer, or epsilon is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> params = {"mean": jnp.ones(1), "variance": jnp.array([4.0 - 1e-5])}
        >>> y, log_det = flows.batch_norm(1).forward_and_log_det(params, jnp.array([5.0]))
        >>> print(f"{y[0]:.4f} {log_det:.4f}")  # 2 and -log 2
        2.0000 -0.6931
    """
    checks.whole(dim, "dim")
    checks.positive(epsilon, "epsilon")

    def init(key: Key) -> PyTree:
        del key
        return {"mean": jnp.zeros(dim), "variance": jnp.full(dim, 1 - epsilon)}

    def forward(params: PyTree, x: Array) -> tuple[Array, Array]:
        x = event(x, dim)
        mean, variance = _statistics(params, epsilon)
        return _normalize(x, mean, variance)

    def inverse(params: PyTree, y: Array) -> tuple[Array, Array]:
        y = event(y, dim)
        mean, variance = _statistics(params, epsilon)
        log_sum = jnp.sum(jnp.log(variance))
        log_det = jnp.broadcast_to(log_sum / 2, y.shape[:-1])
        x = y * jnp.sqrt(variance) + mean
        return x, log_det

    return Bijection(init, forward, inverse)


def batch_norm_train(
    params: PyTree, x: Array, *, decay: float = 0.99, epsilon: float = EPSILON
) -> tuple[Array, Array, PyTree]:
    """Normalize a batch with its own statistics and update the running ones.

    Gradients pass through the batch's mean and (biased) variance. log_det is the formula of
    `batch_norm` with the batch's statistics held fixed, as in Dinh et al. 2017; it is not the
    log-determinant of the map of the whole batch.

    Args:
        params: those of `batch_norm`, {"mean": [dim], "variance": [dim]}.
        x: [*B, dim], with at least one leading axis.
        decay: share of the running statistics that is kept, in [0, 1].
        epsilon: added to the variance, in squared units of x.

    Returns:
        (y [*B, dim], log_det [*B] in nats, params with the updated statistics).

    Raises:
        ConfigError: decay or epsilon is out of its range.
        DataError: x has no leading axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> params = {"mean": jnp.zeros(1), "variance": jnp.ones(1)}
        >>> x = jnp.array([[1.0], [5.0]])
        >>> y, log_det, moved = flows.batch_norm_train(params, x, decay=0.5)
        >>> print(f"{y[1, 0]:.4f} {log_det[0]:.4f} {moved['mean'][0]:.4f}")  # 1, -log 2, 3 / 2
        1.0000 -0.6931 1.5000
    """
    checks.share(decay, "decay")
    checks.positive(epsilon, "epsilon")
    dim = params["mean"].shape[-1]
    x = event(x, dim)
    message = f"x must be [*B, dim] with at least one leading axis; got {x.shape}"
    require(x.ndim >= 2, message, DataError)
    params = wide(params)
    rows = x.reshape(-1, dim)
    mean = jnp.mean(rows, 0)
    variance = jnp.var(rows, 0)
    y, log_det = _normalize(x, mean, variance + epsilon)
    batch = lax.stop_gradient({"mean": mean, "variance": variance})
    moved = {}
    for name, value in batch.items():
        kept = decay * params[name]
        moved[name] = kept + (1 - decay) * value
    return y, log_det, moved


def _statistics(params: PyTree, epsilon: float) -> tuple[Array, Array]:
    params = lax.stop_gradient(wide(params))
    return params["mean"], params["variance"] + epsilon


def _normalize(x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    log_sum = jnp.sum(jnp.log(variance))
    log_det = jnp.broadcast_to(-log_sum / 2, x.shape[:-1])
    y = (x - mean) / jnp.sqrt(variance)
    return y, log_det
