"""What is minimized: arrays in (logits, log-probabilities), scalars or nats per example out.

One module for each subject:

* `divergences`: KL, Jensen-Shannon and total variation between known distributions;
* `gan`: losses of likelihood-free learning and their transforms; `penalties`: penalties on the
  gradient of a critic;
* `elbo`, `iwae`, `vqvae`: bounds on log p(x), with their terms apart;
* `path_derivatives`, `free_bits`: gradient estimators and regularizers for these bounds;
* `elbo_surgery`, `aggregate_density`: what the KL term consists of;
* `density_ratio`, `adversarial_variational_bayes`: the KL term from a classifier, for posteriors
  that can only be sampled.

No network appears here, and every loss is a mean over examples.
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
