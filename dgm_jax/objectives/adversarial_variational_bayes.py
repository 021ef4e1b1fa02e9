"""Adversarial variational Bayes: the ELBO for posteriors that can be sampled and have no density.

Mescheder, Nowozin and Geiger 2017. A critic T(x, z) tells z ~ q(z | x) from z ~ p(z); its optimum
is T* = log q(z | x) - log p(z) (Prop. 1), so KL(q(z | x) || p(z)) = E_q[T*], and two players
alternate:

    critic:             min_T    E softplus(-T(x, z_q)) + E softplus(T(x, z_p))
    encoder, decoder:   max      E[log p(x | z_q) - T(x, z_q)],   z_q = z(x, noise)

T depends on the encoder, and that gradient is left out: E_q[grad_phi T*] = 0 (Prop. 2). In
practice: the gradient of the encoder and decoder flows through z_q *into* T, while T's own
parameters are constants for that player; the critic takes z_q as a constant. Both follow when each
player owns its parts.

A critic that underfits overstates the bound, which can then exceed log p(x): report log p(x) by
another method as well, by `contrast_log_weights` with `iwae.bound`, or by annealing. All in nats,
summed over latents and pixels.
"""

import jax.numpy as jnp

from dgm_jax.core import Array, at_least_float32, require, widened
from dgm_jax.objectives import density_ratio, elbo
from dgm_jax.objectives._contrast import (
    Contrast,
    contrast_log_prob,
    contrast_sample,
    moments,
    normalize,
)

__all__ = [
    "Contrast",
    "adaptive_kl",
    "contrast_log_prob",
    "contrast_log_weights",
    "contrast_sample",
    "critic_loss",
    "loss",
    "moments",
    "normalize",
    "terms",
    "with_prior",
]


def critic_loss(logits_posterior: Array, logits_prior: Array) -> Array:
    """What the critic minimizes: `density_ratio.logistic_loss` of posterior against prior draws.

    With adaptive contrast, the first are T at (x, z after `normalize`) and the second T at
    (x, standard normal noise).

    Args:
        logits_posterior: T at (x, z ~ q(z | x)), [*B].
        logits_prior: T at (x, z ~ p(z)), [*B].

    Returns:
        A scalar in nats.

    Raises:
        ConfigError: no draws.

    Example:
        >>> loss = adversarial_variational_bayes.critic_loss(jnp.zeros(2), jnp.zeros(2))
        >>> print(f"{loss:.4f}")  # 2 log 2
        1.3863
    """
    return density_ratio.logistic_loss(logits_posterior, logits_prior)


def with_prior(raw_logits: Array, prior_log_prob: Array) -> Array:
    """T = raw - log p(z): then the critic's network only has to learn log q(z | x).

    Args:
        raw_logits: output of the critic's network, [*B].
        prior_log_prob: log p(z) under the prior itself, whatever it is, [*B]; for N(0, I) this adds
            |z|^2 / 2 + D log(2 pi) / 2. (One of the authors' programs adds |z|^2, which leaves half
            a log-prior over.) This is also how a prior with parameters gets its gradient: through T
            alone it would have none.

    Returns:
        T in nats, [*B].

    Raises:
        ConfigError: different shapes.

    Example:
        >>> t = adversarial_variational_bayes.with_prior(jnp.array([1.0]), jnp.array([-2.0]))
        >>> t.tolist()
        [3.0]
    """
    _require_one_shape(raw_logits=raw_logits, prior_log_prob=prior_log_prob)
    raw_logits, prior_log_prob = widened(raw_logits, prior_log_prob)
    return raw_logits - prior_log_prob


def terms(
    log_likelihood: Array,
    logits: Array,
    beta: Array | float = 1.0,
) -> elbo.ElboTerms:
    """The adversarial ELBO log p(x | z_q) - beta T(x, z_q) with its two terms apart.

    In expectation a bound on log p(x) for the optimal critic only.

    Args:
        log_likelihood: log p(x | z_q), [*B].
        logits: T at z_q, [*B].
        beta: factor on T, from `elbo.warm_up` for instance.

    Returns:
        The terms per example, [*B] each, in nats.

    Raises:
        ConfigError: different shapes.

    Example:
        >>> adversarial_variational_bayes.terms(jnp.array([-2.0]), jnp.array([1.0])).elbo.tolist()
        [-3.0]
    """
    _require_one_shape(log_likelihood=log_likelihood, logits=logits)
    return elbo.elbo(log_likelihood, logits, beta)


def loss(
    log_likelihood: Array,
    logits: Array,
    beta: Array | float = 1.0,
) -> Array:
    """What encoder, decoder and prior minimize: -mean(log p(x | z_q) - beta T(x, z_q)).

    Args:
        log_likelihood: log p(x | z_q), [*B].
        logits: T at z_q, [*B], with the critic's parameters held constant; differentiable through
            z_q. With a prior whose log-density enters by `with_prior`, and with `adaptive_kl` in
            place of T, nothing else changes.
        beta: factor on T.

    Returns:
        A scalar in nats.

    Raises:
        ConfigError: different shapes.

    Example:
        >>> adversarial_variational_bayes.loss(jnp.array([-2.0]), jnp.array([1.0])).item()
        3.0
    """
    return -jnp.mean(terms(log_likelihood, logits, beta).elbo)


def adaptive_kl(
    logits: Array,
    z: Array,
    contrast: Contrast,
    prior_log_prob: Array,
) -> Array:
    """T_r(x, z) + log r(z | x) - log p(z): one draw of KL(q || p) under adaptive contrast.

    KL(q || p) = KL(q || r) + E_q[log r - log p] (paper, section 3.3): the critic only has to learn
    T_r = log q - log r, which is zero where q is Gaussian; it sees `normalize(z, contrast)` against
    N(0, I).

    Args:
        logits: T_r, [*S, *B].
        z: draws of q, [*S, *B, D].
        contrast: loc and scale [*B, D].
        prior_log_prob: log p(z), [*S, *B].

    Returns:
        Nats [*S, *B], to be given to `loss` as its `logits`.

    Raises:
        ConfigError: different shapes.

    Example:
        >>> contrast = adversarial_variational_bayes.Contrast(jnp.zeros(1), jnp.ones(1))
        >>> z = jnp.zeros(1)
        >>> log_p = adversarial_variational_bayes.contrast_log_prob(z, contrast)  # r = p
        >>> adversarial_variational_bayes.adaptive_kl(jnp.float32(0.5), z, contrast, log_p).item()
        0.5
    """
    log_r = contrast_log_prob(z, contrast)
    _require_one_shape(logits=logits, contrast_log_prob=log_r, prior_log_prob=prior_log_prob)
    return at_least_float32(logits) + log_r - prior_log_prob


def contrast_log_weights(
    log_likelihood: Array,
    prior_log_prob: Array,
    z: Array,
    contrast: Contrast,
) -> Array:
    """log p(x | z) + log p(z) - log r(z | x) for z ~ r.

    The mean over S is the ELBO of the Gaussian r, `iwae.bound` the importance-weighted one: lower
    bounds on log p(x) that do not depend on the critic.

    Args:
        log_likelihood: [S, *B].
        prior_log_prob: [S, *B].
        z: draws of `contrast_sample`, [S, *B, D].
        contrast: loc and scale [*B, D].

    Returns:
        Nats [S, *B].

    Raises:
        ConfigError: different shapes.

    Example:
        >>> contrast = adversarial_variational_bayes.Contrast(jnp.zeros(1), jnp.ones(1))
        >>> log_weights = adversarial_variational_bayes.contrast_log_weights(
        ...     jnp.zeros(1), jnp.zeros(1), jnp.zeros((1, 1)), contrast
        ... )
        >>> print(f"{log_weights[0]:.4f}")  # log(2 pi) / 2
        0.9189
    """
    log_r = contrast_log_prob(z, contrast)
    _require_one_shape(
        log_likelihood=log_likelihood, prior_log_prob=prior_log_prob, contrast_log_prob=log_r
    )
    log_likelihood, prior_log_prob, log_r = widened(log_likelihood, prior_log_prob, log_r)
    return log_likelihood + prior_log_prob - log_r


def _require_one_shape(**arrays: Array) -> None:
    shapes = {name: jnp.shape(a) for name, a in arrays.items()}
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    require(
        len(set(shapes.values())) == 1,
        f"one value for each draw is needed, in one shape; got {listed}",
    )
