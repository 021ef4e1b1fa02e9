"""Log-densities with their constants, samplers and closed-form divergences, in nats.

One module for each family: `gaussian`, `bernoulli`, `discretized_logistic` and `logit_laplace` work
elementwise; `categorical` and `concrete` over a last axis of categories; `mixture` holds mixtures
of Gaussians over vectors, `aggregate` the average of very many of them, `kernel_density` kernel
density estimates, `posteriors` densities known up to a constant.
"""

from dgm_jax.densities import (
    aggregate,
    bernoulli,
    categorical,
    concrete,
    discretized_logistic,
    gaussian,
    kernel_density,
    logit_laplace,
    mixture,
    posteriors,
)

__all__ = [
    "aggregate",
    "bernoulli",
    "categorical",
    "concrete",
    "discretized_logistic",
    "gaussian",
    "kernel_density",
    "logit_laplace",
    "mixture",
    "posteriors",
]
