"""Draws from discrete and continuous distributions, and gradients through them.

`gumbel_max` and its relatives draw from a categorical distribution by perturbing logits;
`straight_through` joins a hard value to a soft gradient; `gaussian` is the Gaussian
reparameterization; `with_temperature`, `top_k`, `top_p` and `guide` change the logits before a
draw; `temperature` holds annealing schedules as functions of the step; `estimators.ESTIMATORS` is
the registry of gradient estimators for E[f(one_hot)], all with one signature. Noise is drawn in
float32 or wider, whatever the dtype of the logits.
"""

from dgm_jax.sampling import estimators, temperature
from dgm_jax.sampling._straight_through import straight_through, straight_through_gumbel_softmax
from dgm_jax.sampling.gumbel import (
    conditional_perturbed_logits,
    gumbel_max,
    gumbel_noise,
    gumbel_softmax,
    gumbel_top_k,
    log_gumbel_softmax,
    perturbed_logits,
)
from dgm_jax.sampling.logits import guide, top_k, top_p, with_temperature
from dgm_jax.sampling.reparameterize import gaussian

__all__ = [
    "conditional_perturbed_logits",
    "estimators",
    "gaussian",
    "guide",
    "gumbel_max",
    "gumbel_noise",
    "gumbel_softmax",
    "gumbel_top_k",
    "log_gumbel_softmax",
    "perturbed_logits",
    "straight_through",
    "straight_through_gumbel_softmax",
    "temperature",
    "top_k",
    "top_p",
    "with_temperature",
]
