"""Bounds on log p(x) with the full or the path-only gradient in the encoder.

With reparameterized draws z = z(posterior, noise) and w = p(x, z) / q(z | x), the derivative of
log w in the encoder's parameters has two parts: through z (the path) and direct, -d log q(z | x),
the score. The score has mean zero in the ELBO, and can be exchanged for another path term in the
importance-weighted bound:

    name                    value       gradient in the encoder
    elbo                    mean log w  mean (path + score)
    sticking_the_landing    mean log w  mean path                              (Roeder et al. 2017)
    importance_weighted     log mean w  sum w~ (path + score), w~ = w / sum w  (Burda et al. 2016)
    doubly_reparameterized  log mean w  sum w~^2 path                          (Tucker et al. 2019)

All four are unbiased for the gradient of their value's expectation, and in the parameters of the
model (of log_joint) all have the plain gradient. Without the score there is no variance where q is
the posterior, and little near it; far from it the path terms alone can vary more than the sum.

All have the signature `(z, posterior, log_joint, log_q, beta=1.0) -> [*B]`, are to be maximized and
are differentiable with jax.grad.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, PyTree, require, widened
from dgm_jax.densities import gaussian
from dgm_jax.objectives import iwae

LogJoint = Callable[[Array], Array]
LogPosterior = Callable[[PyTree, Array], Array]


def elbo(
    z: Array,
    posterior: PyTree,
    log_joint: LogJoint,
    log_q: LogPosterior,
    beta: Array | float = 1.0,
) -> Array:
    """ELBO: the mean over S of log w, with its full derivative.

    Args:
        z: S reparameterized draws [S, *B, *E], such as loc + scale * noise.
        posterior: the tree of arrays that they were made from, such as (loc, scale).
        log_joint: `z -> [S, *B]`, log p(x, z).
        log_q: `(posterior, z) -> [S, *B]`, log q(z | x), summed over *E; it must not use other
            outputs of the encoder than `posterior`, or the score comes back in.
        beta: factor on log q.

    Returns:
        Nats [*B].

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> posterior = (jnp.zeros(1), jnp.ones(1))  # q = p(z), and log p(x | z) = -3
        >>> log_q = path_derivatives.gaussian_log_q
        >>> log_joint = lambda z: log_q(posterior, z) - 3
        >>> path_derivatives.elbo(jnp.ones((2, 1)), posterior, log_joint, log_q).item()
        -3.0
    """
    return jnp.mean(_log_weights(z, posterior, log_joint, log_q, beta), axis=0)


def sticking_the_landing(
    z: Array,
    posterior: PyTree,
    log_joint: LogJoint,
    log_q: LogPosterior,
    beta: Array | float = 1.0,
) -> Array:
    """The mean over S of log w, with the path derivative in the encoder.

    Where q is the exact posterior, each draw's gradient in the encoder is zero. Roeder, Wu and
    Duvenaud 2017, "Sticking the landing".

    Args:
        z: S reparameterized draws [S, *B, *E].
        posterior: the tree of arrays that they were made from.
        log_joint: `z -> [S, *B]`, log p(x, z).
        log_q: `(posterior, z) -> [S, *B]`, log q(z | x).
        beta: factor on log q.

    Returns:
        Nats [*B].

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> log_q = path_derivatives.gaussian_log_q
        >>> log_joint = lambda z: log_q((0.0, 1.0), z)  # the posterior is N(0, 1), and so is q
        >>> bound = lambda loc: path_derivatives.sticking_the_landing(
        ...     loc + jnp.ones((2, 1)), (loc, 1.0), log_joint, log_q
        ... )
        >>> jax.grad(bound)(0.0).item()
        0.0
    """
    constant = jax.lax.stop_gradient(posterior)
    return jnp.mean(_log_weights(z, constant, log_joint, log_q, beta), axis=0)


def importance_weighted(
    z: Array,
    posterior: PyTree,
    log_joint: LogJoint,
    log_q: LogPosterior,
    beta: Array | float = 1.0,
) -> Array:
    """Importance-weighted bound: the log of the mean over S of w, with its full derivative.

    Burda, Grosse and Salakhutdinov 2016, section 3. The signal-to-noise ratio of the encoder's
    gradient falls as 1 / sqrt(S) (Rainforth et al. 2018, "Tighter variational bounds are not
    necessarily better").

    Args:
        z: S reparameterized draws [S, *B, *E].
        posterior: the tree of arrays that they were made from.
        log_joint: `z -> [S, *B]`, log p(x, z).
        log_q: `(posterior, z) -> [S, *B]`, log q(z | x).
        beta: factor on log q.

    Returns:
        Nats [*B].

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> posterior = (jnp.zeros(1), jnp.ones(1))  # q = p(z), and log p(x | z) = -3
        >>> log_q = path_derivatives.gaussian_log_q
        >>> log_joint = lambda z: log_q(posterior, z) - 3
        >>> z = jnp.ones((2, 1))
        >>> path_derivatives.importance_weighted(z, posterior, log_joint, log_q).item()
        -3.0
    """
    return iwae.bound(_log_weights(z, posterior, log_joint, log_q, beta))


def doubly_reparameterized(
    z: Array,
    posterior: PyTree,
    log_joint: LogJoint,
    log_q: LogPosterior,
    beta: Array | float = 1.0,
) -> Array:
    """The log of the mean over S of w, with the derivative sum_s w~_s^2 path_s in the encoder.

    In the model the derivative is sum_s w~_s d log p(x, z_s). Tucker et al. 2019, "Doubly
    reparameterized gradient estimators for Monte Carlo objectives". With beta other than 1 the
    score's weight is beta w~, and the exchange leaves ((1 - beta) w~ + beta w~^2) path_s.

    Args:
        z: S reparameterized draws [S, *B, *E].
        posterior: the tree of arrays that they were made from.
        log_joint: `z -> [S, *B]`, log p(x, z).
        log_q: `(posterior, z) -> [S, *B]`, log q(z | x).
        beta: factor on log q.

    Returns:
        Nats [*B].

    Raises:
        ConfigError: shapes that do not fit.

    Example:
        >>> log_q = path_derivatives.gaussian_log_q
        >>> log_joint = lambda z: log_q((0.0, 1.0), z)  # the posterior is N(0, 1), and so is q
        >>> bound = lambda loc: path_derivatives.doubly_reparameterized(
        ...     loc + jnp.ones((2, 1)), (loc, 1.0), log_joint, log_q
        ... )
        >>> jax.grad(bound)(0.0).item()
        0.0
    """
    constant = jax.lax.stop_gradient(posterior)
    z_value = jax.lax.stop_gradient(z)
    log_weights = jax.lax.stop_gradient(_log_weights(z_value, posterior, log_joint, log_q, beta))
    share = jax.nn.softmax(log_weights, axis=0)  # w~
    # The surrogate weights log w by w~, once. The second factor is put on the derivative of z: this
    # has the value of z and (1 - beta) + beta w~ times its derivative.
    factor = (1 - beta) + beta * share
    factor = factor.reshape(factor.shape + (1,) * (z.ndim - factor.ndim))
    scaled = z_value + factor * (z - z_value)
    scaled_weights = _log_weights(scaled, constant, log_joint, log_q, beta)
    surrogate = jnp.sum(jnp.where(share > 0, share * scaled_weights, 0), axis=0)
    return iwae.bound(log_weights) + surrogate - jax.lax.stop_gradient(surrogate)


# By name, under one signature.
BOUNDS = {
    "elbo": elbo,
    "sticking_the_landing": sticking_the_landing,
    "importance_weighted": importance_weighted,
    "doubly_reparameterized": doubly_reparameterized,
}


def gaussian_log_q(posterior: tuple[Array, Array], z: Array) -> Array:
    """log q of diagonal Gaussians, summed over D.

    Args:
        posterior: (loc, scale), each [*B, D].
        z: [S, *B, D].

    Returns:
        Nats [S, *B].

    Example:
        >>> value = path_derivatives.gaussian_log_q((jnp.zeros(2), jnp.ones(2)), jnp.zeros((1, 2)))
        >>> print(f"{value[0]:.4f}")  # -log(2 pi)
        -1.8379
    """
    return jnp.sum(gaussian.log_prob(z, *posterior), axis=-1)


def _log_weights(
    z: Array, posterior: PyTree, log_joint: LogJoint, log_q: LogPosterior, beta: Array | float
) -> Array:
    joint = log_joint(z)
    density = log_q(posterior, z)
    shape = jnp.shape(joint)
    fits = shape == jnp.shape(density) == jnp.shape(z)[: len(shape)] and len(shape) >= 1
    require(
        fits,
        f"log_joint and log_q must give [S, *B] for z {jnp.shape(z)}; got {shape} and"
        f" {jnp.shape(density)}",
    )
    joint, density = widened(joint, density)
    return joint - beta * density
