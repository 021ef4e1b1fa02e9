"""What is minimised: arrays in (logits, log-probabilities), scalars or per-example nats out.

A module a subject. `divergences`: KL, Jensen-Shannon and total variation between known
distributions.
`gan`: the losses of likelihood-free learning with their transforms. `penalties`: on a critic's
gradient.
`elbo`, `iwae`, `vqvae`: bounds on log p(x), with their terms apart. `path_derivatives`,
    `free_bits`: how to go up them.
`elbo_surgery`, `aggregate_density`: what the KL term is made of. `density_ratio`,
    `adversarial_variational_bayes`: the
KL term from a classifier, for posteriors that can only be sampled.
No network is known here, and every loss is a mean over examples.
"""

from dgm_jax.objectives import (
    adversarial_variational_bayes,
    aggregate_density,
    density_ratio,
    divergences,
    elbo,
    elbo_surgery,
    free_bits,
    gan,
    iwae,
    path_derivatives,
    penalties,
    vqvae,
)

__all__ = [
    "adversarial_variational_bayes",
    "aggregate_density",
    "density_ratio",
    "divergences",
    "elbo",
    "elbo_surgery",
    "free_bits",
    "gan",
    "iwae",
    "path_derivatives",
    "penalties",
    "vqvae",
]
