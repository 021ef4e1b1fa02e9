"""Adversarial variational Bayes: the ELBO for posteriors that can be sampled and have no density.

Mescheder, Nowozin and Geiger 2017. A critic T(x, z) tells z ~ q(z | x) from z ~ p(z); its optimum
is T* = log q(z | x) - log p(z) (Prop. 1), so KL(q(z | x) || p(z)) = E_q[T*], and two players
alternate:

    critic:             min_T    E softplus(-T(x, z_q)) + E softplus(T(x, z_p))
    encoder, decoder:   max      E[log p(x | z_q) - T(x, z_q)],   z_q = z(x, noise)

T depends on the encoder, and that gradient is left out: E_q[grad_phi T*] = 0 (Prop. 2). In
practice: the encoder's and decoder's gradient flows through z_q *into* T, and T's own parameters
are constants of that player; the critic takes z_q as a constant. Both follow when each player owns
its parts.

A critic that underfits overstates the bound, which can then exceed log p(x): report log p(x) by
other means beside it, by `contrast_log_weights` with `iwae.bound`, or by annealing. All in nats,
sums over latents and pixels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, at_least_float32, checks, normal, require, widened
from dgm_jax.densities import gaussian
from dgm_jax.objectives import density_ratio, elbo


class Contrast(NamedTuple):
    """r(z | x) = N(loc, diag(scale)^2) with the posterior's own moments: [*B, D] each. The one
    scale serves to normalise and in the density."""

    loc: Array
    scale: Array


def critic_loss(logits_posterior: Array, logits_prior: Array) -> Array:
    """`density_ratio.logistic_loss`, a scalar: T at (x, z ~ q(z | x)) against T at (x, z ~ p(z)),
    both [*B].

    With adaptive contrast the second are T at (x, standard normal noise), and the first at (x,
    `normalise`d z).
    """
    return density_ratio.logistic_loss(logits_posterior, logits_prior)


def with_prior(raw_logits: Array, prior_log_prob: Array) -> Array:
    """T = raw - log p(z): then the critic's network need only find log q(z | x); [*B] in nats.

    prior_log_prob: log p(z) by the prior itself, whatever it is; for N(0, I) this adds |z|^2 / 2 +
        D log(2 pi) / 2. (Of
    the authors' programs one adds |z|^2, which leaves half a log-prior over.) It is also the way in
    which a prior with parameters of its own gets its gradient: through T alone it would have none.
    """
    _require_one_shape(raw_logits=raw_logits, prior_log_prob=prior_log_prob)
    raw_logits, prior_log_prob = widened(raw_logits, prior_log_prob)
    return raw_logits - prior_log_prob


def terms(log_likelihood: Array, logits: Array, beta: Array | float = 1.0) -> elbo.ElboTerms:
    """The adversarial ELBO log p(x | z_q) - beta T(x, z_q) with its two terms apart, per example
    [*B].

    beta: `elbo.warm_up`, say. A bound on log p(x), in expectation, for the optimal critic only.
    """
    _require_one_shape(log_likelihood=log_likelihood, logits=logits)
    return elbo.elbo(log_likelihood, logits, beta)


def loss(log_likelihood: Array, logits: Array, beta: Array | float = 1.0) -> Array:
    """-mean(log p(x | z_q) - beta T(x, z_q)), a scalar: what encoder and decoder (and prior)
    minimise.

    logits: [*B], T at z_q, with the critic's parameters held constant; differentiable through z_q.
        With a prior whose
    log-density enters by `with_prior`, and with `adaptive_kl` in place of T, nothing else changes.
    """
    return -jnp.mean(terms(log_likelihood, logits, beta).elbo)


def moments(samples: Array, epsilon: float = 1e-6) -> Contrast:
    """r(z | x) from draws of the posterior: samples [S, *B, D] -> loc and scale [*B, D], without
    gradient.

    scale = sqrt(variance + epsilon), the variance divided by S - 1. Epsilon is here and nowhere
    else: r is the Gaussian with *this* scale, and the decomposition of `adaptive_kl` holds for any
    r. (Other programs normalise with sqrt(variance + epsilon) and use log(variance) in the density:
    wrong by log(1 + epsilon / variance) / 2 per dimension.)
    """
    shape = jnp.shape(samples)
    require(
        len(shape) >= 2 and shape[0] >= 2,
        f"samples must be [S, *B, D] with S at least 2 draws; got {shape}",
    )
    checks.not_negative(epsilon, "epsilon")
    samples = jax.lax.stop_gradient(at_least_float32(samples))
    return Contrast(jnp.mean(samples, axis=0), jnp.sqrt(jnp.var(samples, axis=0, ddof=1) + epsilon))


def normalise(z: Array, contrast: Contrast) -> Array:
    """(z - loc) / scale: what the critic sees of z under adaptive contrast; r becomes N(0, I). [*S,
    *B, D]."""
    contrast = jax.lax.stop_gradient(contrast)
    return (z - contrast.loc) / contrast.scale


def contrast_log_prob(z: Array, contrast: Contrast) -> Array:
    """log r(z | x), summed over D: [*S, *B, D] -> [*S, *B]; the gradient flows through z only."""
    return jnp.sum(gaussian.log_prob(z, *jax.lax.stop_gradient(contrast)), axis=-1)


def contrast_sample(key: Key, contrast: Contrast, num_samples: int) -> Array:
    """num_samples draws of r(z | x): [S, *B, D], without gradient."""
    require(num_samples >= 1, f"num_samples must be at least 1; got {num_samples}")
    loc, scale = jax.lax.stop_gradient(contrast)
    return loc + scale * normal(key, (num_samples, *jnp.shape(loc)), jnp.result_type(loc))


def adaptive_kl(logits: Array, z: Array, contrast: Contrast, prior_log_prob: Array) -> Array:
    """T_r(x, z) + log r(z | x) - log p(z): one draw of KL(q || p) under adaptive contrast, [*S, *B]
    in nats.

    KL(q || p) = KL(q || r) + E_q[log r - log p] (paper, section 3.3): the critic only has to find
    T_r = log q - log r, which is zero where q is Gaussian, and gets `normalise(z, contrast)`
    against N(0, I).

    logits: T_r, [*S, *B]; z ~ q: [*S, *B, D]; prior_log_prob: log p(z) [*S, *B]. Use it as `logits`
        of `loss`.
    """
    log_r = contrast_log_prob(z, contrast)
    _require_one_shape(logits=logits, contrast_log_prob=log_r, prior_log_prob=prior_log_prob)
    return at_least_float32(logits) + log_r - prior_log_prob


def contrast_log_weights(
    log_likelihood: Array, prior_log_prob: Array, z: Array, contrast: Contrast
) -> Array:
    """log p(x | z) + log p(z) - log r(z | x) for z ~ r (`contrast_sample`): [S, *B] in nats.

    The mean over S is the ELBO of the Gaussian r, `iwae.bound` the importance-weighted one: lower
    bounds on log p(x) that owe nothing to the critic.
    """
    log_r = contrast_log_prob(z, contrast)
    _require_one_shape(
        log_likelihood=log_likelihood, prior_log_prob=prior_log_prob, contrast_log_prob=log_r
    )
    log_likelihood, prior_log_prob, log_r = widened(log_likelihood, prior_log_prob, log_r)
    return log_likelihood + prior_log_prob - log_r


def _require_one_shape(**arrays: Array) -> None:
    shapes = {name: jnp.shape(a) for name, a in arrays.items()}
    told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    require(
        len(set(shapes.values())) == 1,
        f"one figure for each draw is needed, in one shape; got {told}",
    )
