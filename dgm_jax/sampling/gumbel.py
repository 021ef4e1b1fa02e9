"""Categorical draws by perturbation: Gumbel-max, Gumbel-softmax, top-k without replacement.

If G_k are independent standard Gumbel variables, argmax_k (logits_k + G_k) is distributed as
softmax(logits). Noise is drawn in float32 and the sum is formed in at least float32, whatever the
dtype of the logits: bfloat16 noise takes so few values that with thousands of classes most draws
would be decided by ties, broken towards the lowest index.

A logit of -inf masks its class: the class is never drawn and its gradient is exactly zero. Every
row needs at least one class that is not masked.
"""

import math

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, at_least_float32, checks, quick_key, require


def gumbel_noise(
    key: Key,
    shape: tuple[int, ...],
    mode: str = "low",
) -> Array:
    """Standard Gumbel draws -log(-log U), always in float32.

    So a key gives the same classes whatever the dtype of the logits.

    Args:
        key: a typed key.
        shape: of the result.
        mode: "low" has its largest value near 16 and biases classes of probability below about
            1e-7; "high" draws twice as many bits and reaches about 32 (`jax.random.gumbel`).

    Returns:
        float32[*shape].

    Example:
        >>> gumbel_noise(jax.random.key(0), (2, 3)).shape
        (2, 3)
    """
    noise = jax.random.gumbel(quick_key(key), (math.prod(shape),), jnp.float32, mode)
    return noise.reshape(shape)


def as_logits(logits: Array) -> Array:
    """Logits in at least float32, refused where they look like probabilities.

    Args:
        logits: [*B, K].

    Returns:
        [*B, K], at least float32.

    Raises:
        ConfigError: a scalar, no class, or known values that are probabilities rather than logits:
            all in [0, 1], every row summing to one, and not one-hot.
    """
    logits = logits if isinstance(logits, jax.Array) else jnp.asarray(logits)
    require(
        logits.ndim >= 1 and logits.shape[-1] >= 1,
        f"logits must be [*B, K] with K >= 1, got {logits.shape}",
    )
    return at_least_float32(checks.not_probabilities(logits, "logits"))


def perturbed_logits(
    key: Key,
    logits: Array,
    mode: str = "low",
) -> Array:
    """Logits plus Gumbel noise, on which every function of this module is built.

    The same key gives the same noise to `gumbel_max`, `gumbel_softmax` and `gumbel_top_k`, so a
    relaxed draw and the hard draw that it relaxes have their largest entry at the same class.

    Args:
        key: a typed key.
        logits: [*B, K].
        mode: of the noise, see `gumbel_noise`.

    Returns:
        [*B, K], at least float32.

    Raises:
        ConfigError: probabilities in place of logits.

    Example:
        >>> z = perturbed_logits(jax.random.key(0), jnp.array([0.0, -jnp.inf]))
        >>> jnp.isneginf(z).tolist()  # a masked class stays masked
        [False, True]
    """
    logits = as_logits(logits)
    return logits + gumbel_noise(key, logits.shape, mode).astype(logits.dtype)


def gumbel_max(
    key: Key,
    logits: Array,
    *,
    mode: str = "low",
) -> Array:
    """Exact draws argmax_k (logits_k + G_k) from softmax(logits).

    Jang et al. (2017), eq. 1; Maddison et al. (2014).

    Args:
        key: a typed key.
        logits: [*B, K].
        mode: of the noise, see `gumbel_noise`.

    Returns:
        Classes int32[*B].

    Raises:
        ConfigError: probabilities in place of logits.

    Example:
        >>> classes = gumbel_max(jax.random.key(0), jnp.zeros((10_000, 4)))
        >>> bool(jnp.all(jnp.abs(jnp.bincount(classes, length=4) / 10_000 - 0.25) < 0.02))
        True
    """
    return jnp.argmax(perturbed_logits(key, logits, mode), axis=-1).astype(jnp.int32)


def gumbel_top_k(
    key: Key,
    logits: Array,
    k: int,
    *,
    mode: str = "low",
) -> Array:
    """k distinct classes, drawn one after the other without replacement.

    They come in the order of the draws (a Plackett-Luce distribution): the first entry is a draw of
    `gumbel_max` with the same key. With fewer than k unmasked classes the masked ones come last.
    Kool et al. (2019), "Stochastic beams and where to find them", section 2.

    Args:
        key: a typed key.
        logits: [*B, K].
        k: number of classes to draw, from 1 to K.
        mode: of the noise, see `gumbel_noise`.

    Returns:
        Classes int32[*B, k].

    Raises:
        ConfigError: k outside 1..K, or probabilities in place of logits.

    Example:
        >>> sorted(gumbel_top_k(jax.random.key(0), jnp.zeros(3), 3).tolist())
        [0, 1, 2]
    """
    z = perturbed_logits(key, logits, mode)
    require(
        1 <= k <= z.shape[-1], f"k must be in 1..{z.shape[-1]} (the number of classes), got {k}"
    )
    return jax.lax.top_k(z, k)[1].astype(jnp.int32)


def gumbel_softmax(
    key: Key,
    logits: Array,
    temperature: Array | float,
    *,
    mode: str = "low",
) -> Array:
    """Relaxed draws softmax((logits + G) / temperature), points of the simplex.

    Reparameterized: differentiable in the logits and in the temperature. Jang et al. (2017), eq. 2;
    Maddison et al. (2017), eq. 10 (the Concrete distribution).

    Args:
        key: a typed key.
        logits: [*B, K].
        temperature: positive, a scalar or an array that broadcasts against [*B, K].
        mode: of the noise, see `gumbel_noise`.

    Returns:
        [*B, K], at least float32, with rows that sum to one.

    Raises:
        ConfigError: probabilities in place of logits, or a known temperature that is not positive.

    Example:
        >>> print(f"{gumbel_softmax(jax.random.key(0), jnp.zeros(3), 0.5).sum():.4f}")
        1.0000
    """
    return jax.nn.softmax(tempered(perturbed_logits(key, logits, mode), temperature), axis=-1)


def log_gumbel_softmax(
    key: Key,
    logits: Array,
    temperature: Array | float,
    *,
    mode: str = "low",
) -> Array:
    """Logarithm of `gumbel_softmax`, never rounded through the simplex (ExpConcrete distribution).

    Its density is `densities.concrete.log_prob`. Maddison et al. (2017), appendix C.3.

    Args:
        key: a typed key.
        logits: [*B, K].
        temperature: positive, a scalar or an array that broadcasts against [*B, K].
        mode: of the noise, see `gumbel_noise`.

    Returns:
        [*B, K], at least float32; -inf for masked classes.

    Raises:
        ConfigError: probabilities in place of logits, or a known temperature that is not positive.

    Example:
        >>> log_y = log_gumbel_softmax(jax.random.key(0), jnp.zeros(3), 0.01)
        >>> print(f"{jnp.exp(log_y).sum():.4f}")
        1.0000
    """
    return jax.nn.log_softmax(tempered(perturbed_logits(key, logits, mode), temperature), axis=-1)


def conditional_perturbed_logits(
    key: Key,
    logits: Array,
    index: Array,
    *,
    mode: str = "low",
) -> Array:
    """Perturbed logits given the class that is largest: z ~ p(logits + G | argmax = index).

    z_b = logsumexp(logits) + G_b for the given class b, and z_k = z_b - softplus(z_b - logits_k -
    G_k) for the others: Gumbel variables truncated at z_b, formed without an exponential that could
    overflow. No entry exceeds z_b. Differentiable in the logits. Maddison et al. (2014); Paulus et
    al. (2021), section 3.

    Args:
        key: a typed key.
        logits: [*B, K].
        index: the class b, integers [*B].
        mode: of the noise, see `gumbel_noise`.

    Returns:
        z [*B, K], at least float32; -inf for masked classes.

    Raises:
        ConfigError: probabilities in place of logits.

    Example:
        >>> z = conditional_perturbed_logits(jax.random.key(0), jnp.array([0.0, 5.0, 1.0]), 0)
        >>> z.argmax().item()
        0
    """
    logits = as_logits(logits)
    noise = gumbel_noise(key, logits.shape, mode).astype(logits.dtype)
    is_largest = jax.nn.one_hot(index, logits.shape[-1], dtype=bool)
    # The maximum of all perturbed logits is a Gumbel variable around logsumexp(logits),
    # independent of the class at which it occurs.
    noise_of_largest = jnp.sum(noise, -1, keepdims=True, where=is_largest)
    largest = jax.nn.logsumexp(logits, -1, keepdims=True) + noise_of_largest
    masked = jnp.isneginf(logits)
    truncated = largest - jax.nn.softplus(largest - jnp.where(masked, 0, logits) - noise)
    return jnp.where(is_largest, largest, jnp.where(masked, -jnp.inf, truncated))


def tempered(z: Array, temperature: Array | float) -> Array:
    """Perturbed logits divided by a temperature; -inf stays -inf and has finite derivatives.

    Args:
        z: [*B, K].
        temperature: positive, a scalar or an array that broadcasts against [*B, K].

    Returns:
        z / temperature, [*B, K].

    Raises:
        ConfigError: a known temperature that is not positive.
    """
    checks.positive(temperature, "temperature")
    masked = jnp.isneginf(z)
    return jnp.where(masked, -jnp.inf, jnp.where(masked, 0, z) / temperature)
