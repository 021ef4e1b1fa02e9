"""The losses of likelihood-free learning, on logits.

p is the data, q the generator, l the logit of the discriminator D = sigmoid(l), and

    V(G, D) = E_p log D(x) + E_q log(1 - D(x)).

Conventions, the same for every loss in `LOSSES`:

* Real and fake terms are *summed*, each a mean over its own examples (and over patches, where
  logits are [B, H, W]). At equilibrium the discriminator's cross-entropy is 2 log 2, not log 2, and
  unequal numbers of real and fake examples do not move the optimum.
* Both sides minimise. `discriminator` is what D minimises, `generator` what G minimises.
* Logits in, never probabilities: log D is -softplus(-l) and log(1 - D) is -softplus(l), exact at
  any l. Half-precision logits are averaged in float32.

With D at its optimum l* = log p - log q, V = 2 JSD(p, q) - 2 log 2 (Goodfellow et al. 2014, theorem
1).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import (
    Array,
    Key,
    Registry,
    at_least_float32,
    checks,
    float_type,
    normal,
    require,
    widened,
)
from dgm_jax.objectives.penalties import dragan_penalty, gradient_penalty, r1_penalty, r2_penalty

__all__ = [
    "LOSSES",
    "GanLoss",
    "dragan_penalty",
    "gradient_penalty",
    "instance_noise",
    "js_lower_bound",
    "label_smoothed",
    "least_squares",
    "optimal_logits",
    "pack",
    "r1_penalty",
    "r2_penalty",
    "value",
]


class GanLoss(NamedTuple):
    """What the two sides minimise, as scalars.

    Both are `(real_logits[B, ...], fake_logits[B', ...]) -> scalar`. Of `generator`, terms that
    depend on the data alone are left out; only relativistic losses look at its real logits.
    """

    discriminator: Callable[[Array, Array], Array]
    generator: Callable[[Array, Array], Array]


def value(real_logits: Array, fake_logits: Array) -> Array:
    """V(G, D) = E_p log D + E_q log(1 - D), in nats: D maximises it, G minimises it.

    At most 0; -2 log 2 where D = 1/2; 2 JSD(p, q) - 2 log 2 at the optimal D (Goodfellow et al.
    2014, eq. 1).
    """
    return -_cross_entropy(real_logits, fake_logits)


def js_lower_bound(real_logits: Array, fake_logits: Array) -> Array:
    """log 2 + V / 2, in nats: at most JSD(p, q) in expectation for any D, equal to it at the
    optimal one."""
    return math.log(2) + value(real_logits, fake_logits) / 2


def optimal_logits(log_p: Array, log_q: Array) -> Array:
    """l* = log p - log q, the logit of D* = p / (p + q) (Goodfellow et al. 2014, proposition 1);
    elementwise.

    0 where both vanish (any value is optimal there), +-inf where one of them does.
    """
    log_p, log_q = widened(log_p, log_q)
    neither = (log_p == -jnp.inf) & (log_q == -jnp.inf)
    return jnp.where(neither, 0.0, log_p) - jnp.where(neither, 0.0, log_q)


def least_squares(
    fake_target: float = 0.0, real_target: float = 1.0, generator_target: float = 1.0
) -> GanLoss:
    """The least-squares GAN with targets a (fake), b (real) and c (what G wants D to say).

    D: E_p (l - b)^2 / 2 + E_q (l - a)^2 / 2.   G: E_q (l - c)^2 / 2.   Here l is D's raw output.
    Mao et al. 2017, "Least squares generative adversarial networks", eq. 2, with its halves; the
    optimum is l* = (b p + a q) / (p + q). `LOSSES["least_squares"]` is (0, 1, 1), their eq. 9;
    `least_squares(-1.0, 1.0, 0.0)` is their eq. 8, whose G minimises the Pearson chi-squared
    divergence between p + q and 2 q.
    """
    known = checks.is_known(fake_target) and checks.is_known(real_target)
    require(
        not known or bool(np.all(fake_target != real_target)),
        f"real and fake need two targets; got {real_target} for both",
    )

    def discriminator(real_logits, fake_logits):
        real, fake = _pair(real_logits, fake_logits)
        return (
            jnp.mean(jnp.square(real - real_target)) + jnp.mean(jnp.square(fake - fake_target))
        ) / 2

    def generator(real_logits, fake_logits):
        del real_logits
        return jnp.mean(jnp.square(_logits(fake_logits) - generator_target)) / 2

    return GanLoss(discriminator, generator)


def label_smoothed(loss: GanLoss, smoothing: float) -> GanLoss:
    """One-sided label smoothing: real examples get the label 1 - smoothing, fake ones keep 0.

    D: E_p [-(1 - s) log D - s log(1 - D)] - E_q log(1 - D), with the optimum D* = (1 - s) p / (p +
        q); so V no
    longer measures the JSD (Salimans et al. 2016, "Improved techniques for training GANs", section
    3.4). For the losses whose discriminator is a cross-entropy: `minimax` and `non_saturating`. G's
    loss is unchanged.
    """
    checks.within(smoothing, "smoothing", 0, 1, below=True)
    require(
        loss.discriminator is _cross_entropy,
        "only a cross-entropy discriminator has labels to smooth",
    )

    def discriminator(real_logits, fake_logits):
        # softplus(l) - softplus(-l) = l: moving a share s of the real labels to 0 adds s times the
        # mean logit.
        return _cross_entropy(real_logits, fake_logits) + smoothing * jnp.mean(_logits(real_logits))

    return GanLoss(discriminator, loss.generator)


def pack(x: Array, m: int) -> Array:
    """Joins each m consecutive examples along the last (feature or channel) axis: [B, ..., C] ->
    [B/m, ..., m C].

    A critic on packs compares p^m with q^m, which tells a collapsed q from one that is merely
    tilted (Lin et al. 2018, "PacGAN"). Pack real and fake alike, then use any loss or penalty. Rows
    must be independent draws in no particular order. `m = 1` returns x.
    """
    x = jnp.asarray(x)
    require(checks.is_whole(m) and m >= 1, f"packing joins m >= 1 examples; got m = {m!r}")
    require(
        x.ndim >= 2, f"packing joins along a feature axis; x needs shape [B, ..., C], got {x.shape}"
    )
    require(
        x.shape[0] % m == 0,
        f"the batch must be a multiple of the pack size; got {x.shape[0]} examples, m = {m}",
    )
    groups = jnp.moveaxis(x.reshape((x.shape[0] // m, m) + x.shape[1:]), 1, -2)
    return groups.reshape((x.shape[0] // m,) + x.shape[1:-1] + (m * x.shape[-1],))


def instance_noise(key: Key, x: Array, scale: Array | float) -> Array:
    """x + scale n with n ~ N(0, I): what D sees instead of x, for real and fake alike, with a key
    for each.

    Both densities are blurred by the same Gaussian, so they overlap and the JSD has a gradient
    (Arjovsky and Bottou 2017, "Towards principled methods for training GANs", section 3). `scale`
    is in the unit of x and may be an array, to fade it out over training; at 0 x comes back
    unchanged.
    """
    noise = normal(key, x.shape, float_type(x.dtype))
    return x + (scale * noise).astype(x.dtype)


def _logits(logits: Array) -> Array:
    """At least float32, and not empty."""
    logits = jnp.asarray(logits)
    require(logits.size > 0, f"a loss is a mean over examples; got logits of shape {logits.shape}")
    return at_least_float32(logits)


def _pair(real_logits: Array, fake_logits: Array) -> tuple[Array, Array]:
    real, fake = _logits(real_logits), _logits(fake_logits)
    require(
        real.ndim == fake.ndim and real.shape[1:] == fake.shape[1:],
        f"real and fake logits must be alike but for the batch axis; got real {real.shape} and fake"
        f" {fake.shape}",
    )
    return real, fake


def _cross_entropy(real_logits, fake_logits):
    real, fake = _pair(real_logits, fake_logits)
    return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def _hinge(real_logits, fake_logits):
    real, fake = _pair(real_logits, fake_logits)
    return jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake))


def _wasserstein(real_logits, fake_logits):
    real, fake = _pair(real_logits, fake_logits)
    return jnp.mean(fake) - jnp.mean(real)


def _log_one_minus_d(real_logits, fake_logits):
    del real_logits
    return -jnp.mean(jax.nn.softplus(_logits(fake_logits)))


def _minus_log_d(real_logits, fake_logits):
    del real_logits
    return jnp.mean(jax.nn.softplus(-_logits(fake_logits)))


def _minus_critic(real_logits, fake_logits):
    del real_logits
    return -jnp.mean(_logits(fake_logits))


LOSSES: Registry[GanLoss] = Registry(
    "GAN loss",
    {
        # G minimises E_q log(1 - D): the game of Goodfellow et al. 2014, eq. 1; its gradient dies
        # where D wins.
        "minimax": GanLoss(_cross_entropy, _log_one_minus_d),
        # G minimises -E_q log D: Goodfellow et al. 2014, section 3, the same fixed point with a
        # gradient that lives.
        "non_saturating": GanLoss(_cross_entropy, _minus_log_d),
        "least_squares": least_squares(),
        # D: E_p max(0, 1 - l) + E_q max(0, 1 + l); G: -E_q l. Lim and Ye 2017, "Geometric GAN"; D's
        # least is 2 - 2 TV.
        "hinge": GanLoss(_hinge, _minus_critic),
        # D: E_q l - E_p l; G: -E_q l. Arjovsky et al. 2017, "Wasserstein GAN"; the critic must be
        # kept Lipschitz.
        "wasserstein": GanLoss(_wasserstein, _minus_critic),
    },
)
