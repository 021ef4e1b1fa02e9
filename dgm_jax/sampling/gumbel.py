"""Categorical draws by perturbation: Gumbel-max, Gumbel-softmax, top-k without replacement.

If G_k are independent standard Gumbel variables, argmax_k (logits_k + G_k) has the law
softmax(logits). Noise is drawn in float32 and the sum is formed in at least float32
whatever the dtype of the logits: bfloat16 noise takes so few values that with thousands
of classes ties, broken towards the lowest index, would decide most draws.

A logit of -inf masks its class: it is never drawn and its gradient is exactly zero.
One unmasked class is needed in every row.
"""

import math

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, at_least_float32, checks, require


def gumbel_noise(key: Key, shape: tuple[int, ...], mode: str = "low") -> Array:
    """Standard Gumbel draws, -log(-log U): float32[shape], whatever the logits are, so that a key
    gives the same classes in every type.

    mode: "low" has its largest value near 16 and biases classes of probability below
        about 1e-7; "high" draws twice the bits and ends near 32 (`jax.random.gumbel`).
    """
    return jax.random.gumbel(checks.one_key(key), (math.prod(shape),), jnp.float32, mode).reshape(
        shape
    )


def as_logits(logits) -> Array:
    """Logits in at least float32, after the checks that need no computation.

    Raises `ConfigError` for a scalar, for no class, and for known values that are
    probabilities rather than logits: all in [0, 1], every row summing to one, and not one-hot.
    """
    logits = logits if isinstance(logits, jax.Array) else jnp.asarray(logits)
    require(
        logits.ndim >= 1 and logits.shape[-1] >= 1,
        f"logits must be [*B, K] with K >= 1, got {logits.shape}",
    )
    return at_least_float32(checks.not_probabilities(logits, "logits"))


def perturbed_logits(key: Key, logits: Array, mode: str = "low") -> Array:
    """logits[*B, K] + Gumbel noise, in at least float32; the quantity behind every function here.

    The same key gives the same noise to `gumbel_max`, `gumbel_softmax` and `gumbel_top_k`,
    so a relaxed draw and the hard draw it relaxes share their largest entry.
    """
    logits = as_logits(logits)
    return logits + gumbel_noise(key, logits.shape, mode).astype(logits.dtype)


def gumbel_max(key: Key, logits: Array, *, mode: str = "low") -> Array:
    """Exact draws from softmax(logits[*B, K]): int32[*B], argmax_k (logits_k + G_k).

    Jang et al. (2017), eq. 1; Maddison et al. (2014).
    """
    return jnp.argmax(perturbed_logits(key, logits, mode), axis=-1).astype(jnp.int32)


def gumbel_top_k(key: Key, logits: Array, k: int, *, mode: str = "low") -> Array:
    """k distinct classes, drawn one after the other without replacement: int32[*B, k].

    The order is that of the draws (a Plackett-Luce law): the first entry is a draw of
    `gumbel_max` with the same key. With fewer than k unmasked classes the masked ones
    come last. Kool et al. (2019), "Stochastic beams and where to find them", section 2.
    """
    z = perturbed_logits(key, logits, mode)
    require(
        1 <= k <= z.shape[-1], f"k must be in 1..{z.shape[-1]} (the number of classes), got {k}"
    )
    return jax.lax.top_k(z, k)[1].astype(jnp.int32)


def gumbel_softmax(key: Key, logits: Array, temperature, *, mode: str = "low") -> Array:
    """softmax((logits + G) / temperature): a point of the simplex, at least float32[*B, K].

    Reparameterised: differentiable in the logits and in the temperature, a positive
    scalar or an array that broadcasts against [*B, K]. Jang et al. (2017), eq. 2;
    Maddison et al. (2017), eq. 10 (the Concrete law).
    """
    return jax.nn.softmax(tempered(perturbed_logits(key, logits, mode), temperature), axis=-1)


def log_gumbel_softmax(key: Key, logits: Array, temperature, *, mode: str = "low") -> Array:
    """log of `gumbel_softmax` without passing through the simplex: a draw of the ExpConcrete law.

    Masked classes are -inf. Its density is `densities.concrete.log_prob`. Maddison et
    al. (2017), appendix C.3.
    """
    return jax.nn.log_softmax(tempered(perturbed_logits(key, logits, mode), temperature), axis=-1)


def conditional_perturbed_logits(
    key: Key, logits: Array, index: Array, *, mode: str = "low"
) -> Array:
    """Perturbed logits given which class won: z[*B, K] ~ p(logits + G | argmax = index[*B]).

    z_b = logsumexp(logits) + G_b, and z_k = z_b - softplus(z_b - logits_k - G_k) for the
    others: Gumbel variables cut off at z_b, formed without an exponential that could
    overflow. No entry exceeds z_b. Differentiable in the logits. Maddison et al. (2014);
    Paulus et al. (2021), section 3.
    """
    logits = as_logits(logits)
    noise = gumbel_noise(key, logits.shape, mode).astype(logits.dtype)
    won = jax.nn.one_hot(index, logits.shape[-1], dtype=bool)
    largest = jax.nn.logsumexp(logits, -1, keepdims=True) + jnp.sum(
        noise, -1, keepdims=True, where=won
    )
    masked = jnp.isneginf(logits)
    cut = largest - jax.nn.softplus(largest - jnp.where(masked, 0, logits) - noise)
    return jnp.where(won, largest, jnp.where(masked, -jnp.inf, cut))


def tempered(z: Array, temperature) -> Array:
    """z / temperature for perturbed logits z[*B, K]: -inf stays -inf and has finite derivatives.

    Raises `ConfigError` for a known temperature that is not positive.
    """
    checks.positive(temperature, "temperature")
    masked = jnp.isneginf(z)
    return jnp.where(masked, -jnp.inf, jnp.where(masked, 0, z) / temperature)
