"""Bounds on log p(x) whose gradient in the encoder takes the path through z alone, and those that
take it whole.

With reparameterised draws z = z(posterior, noise) and w = p(x, z) / q(z | x), the derivative of log
w in the encoder's parameters has two parts: through z (the path) and direct, -d log q(z | x), the
score. The score has mean zero in the ELBO, and can be traded for another path in the
importance-weighted bound:

    name                    value       gradient in the encoder
    elbo                    mean log w  mean (path + score)
    sticking_the_landing    mean log w  mean path                              (Roeder et al. 2017)
    importance_weighted     log mean w  sum w~ (path + score), w~ = w / sum w  (Burda et al. 2016)
    doubly_reparameterised  log mean w  sum w~^2 path                          (Tucker et al. 2019)

All four are unbiased for the gradient of their value's expectation, and in the model's
(log_joint's) parameters all are the plain gradient. Without the score there is no variance where q
is the posterior, and little near it; far from it the paths alone can vary more than the whole.

One signature: `(z, posterior, log_joint, log_q, beta=1.0) -> [*B]`, to be maximised, differentiable
with jax.grad.

z: [S, *B, *E], S reparameterised draws, e.g. loc + scale * noise. posterior: the tree of arrays
    that they were made
from, e.g. (loc, scale). log_joint: `z -> [S, *B]`, log p(x, z). log_q: `(posterior, z) -> [S, *B]`,
log q(z | x), summed over *E; of the encoder's outputs it may use no other than `posterior`, or the
score comes back in.
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
    """mean over S of log w, with its whole derivative."""
    return jnp.mean(_log_weights(z, posterior, log_joint, log_q, beta), axis=0)


def sticking_the_landing(
    z: Array,
    posterior: PyTree,
    log_joint: LogJoint,
    log_q: LogPosterior,
    beta: Array | float = 1.0,
) -> Array:
    """mean over S of log w, with the path derivative in the encoder.

    Roeder, Wu and Duvenaud 2017, "Sticking the landing". Where q is the exact posterior each draw's
    gradient in the encoder is zero.
    """
    held = jax.lax.stop_gradient(posterior)
    return jnp.mean(_log_weights(z, held, log_joint, log_q, beta), axis=0)


def importance_weighted(
    z: Array,
    posterior: PyTree,
    log_joint: LogJoint,
    log_q: LogPosterior,
    beta: Array | float = 1.0,
) -> Array:
    """log of the mean over S of w, with its whole derivative.

    Burda, Grosse and Salakhutdinov 2016, section 3. The signal-to-noise ratio of the encoder's
    gradient falls as 1 / sqrt(S) (Rainforth et al. 2018, "Tighter variational bounds are not
    necessarily better").
    """
    return iwae.bound(_log_weights(z, posterior, log_joint, log_q, beta))


def doubly_reparameterised(
    z: Array,
    posterior: PyTree,
    log_joint: LogJoint,
    log_q: LogPosterior,
    beta: Array | float = 1.0,
) -> Array:
    """log of the mean over S of w; its derivative is sum_s w~_s^2 path_s in the encoder, sum_s w~_s
    d log p(x, z_s) in the model. Tucker et al. 2019, "Doubly reparameterized gradient estimators
    for Monte Carlo objectives".

    With beta other than 1 the score's weight is beta w~, and what it is traded for leaves
    ((1 - beta) w~ + beta w~^2) path_s.
    """
    fixed = jax.lax.stop_gradient(posterior)
    held = jax.lax.stop_gradient(z)
    log_weights = jax.lax.stop_gradient(_log_weights(held, posterior, log_joint, log_q, beta))
    share = jax.nn.softmax(log_weights, axis=0)
    # The value of z with (1 - beta) + beta w~ times its derivative: the second factor.
    factor = (1 - beta) + beta * share
    scaled = held + factor.reshape(factor.shape + (1,) * (z.ndim - factor.ndim)) * (z - held)
    scaled_weights = _log_weights(scaled, fixed, log_joint, log_q, beta)
    surrogate = jnp.sum(jnp.where(share > 0, share * scaled_weights, 0), axis=0)
    return iwae.bound(log_weights) + surrogate - jax.lax.stop_gradient(surrogate)


# By name, under one signature.
BOUNDS = {
    "elbo": elbo,
    "sticking_the_landing": sticking_the_landing,
    "importance_weighted": importance_weighted,
    "doubly_reparameterised": doubly_reparameterised,
}


def gaussian_log_q(posterior: tuple[Array, Array], z: Array) -> Array:
    """log_q of diagonal Gaussians: posterior = (loc, scale), each [*B, D], z [S, *B, D] -> [S,
    *B]."""
    return jnp.sum(gaussian.log_prob(z, *posterior), axis=-1)


def _log_weights(
    z: Array, posterior: PyTree, log_joint: LogJoint, log_q: LogPosterior, beta: Array | float
) -> Array:
    joint, density = log_joint(z), log_q(posterior, z)
    shapes = jnp.shape(joint), jnp.shape(density)
    fits = shapes[0] == shapes[1] == jnp.shape(z)[: len(shapes[0])] and len(shapes[0]) >= 1
    require(
        fits,
        f"log_joint and log_q must give [S, *B] for z {jnp.shape(z)}; got {shapes[0]} and"
        f" {shapes[1]}",
    )
    joint, density = widened(joint, density)
    return joint - beta * density
