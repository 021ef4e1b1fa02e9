"""Distributions over latents under one contract, `Prior(init, sample, log_prob)`, so that an
ablation only exchanges names.

`init(key)` gives the parameters, `sample(params, key, n)` draws z [n, dim], and
`log_prob(params, z[*B, dim])` is [*B] in nats with all constants. Every prior is normalized but
`implicit_ratio`, which says in its field `normalized` whether it is. `PRIORS` names them all.
`PRIORS[name](dim)` builds those in `FROM_DIM`; the others need the encoder, the data or a
discriminator (see `registry`). `streamed_log_prob` evaluates a mixture of many components a chunk
at a time.
"""

from dgm_jax.core import Prior
from dgm_jax.priors._aggregated_posterior import aggregated_posterior
from dgm_jax.priors._flow import (
    autoregressive_flow_prior,
    coupling_flow_prior,
    flow,
    spline_flow_prior,
)
from dgm_jax.priors._implicit_ratio import ImplicitRatio, estimate_log_normalizer, implicit_ratio
from dgm_jax.priors._mixture import mixture
from dgm_jax.priors._standard_normal import standard_normal
from dgm_jax.priors._vamp import INPUT_RANGES, vamp
from dgm_jax.priors.registry import FROM_DIM, PRIORS
from dgm_jax.priors.shapes import require_density
from dgm_jax.priors.streaming import streamed_log_prob

__all__ = [
    "FROM_DIM",
    "INPUT_RANGES",
    "PRIORS",
    "ImplicitRatio",
    "Prior",
    "aggregated_posterior",
    "autoregressive_flow_prior",
    "coupling_flow_prior",
    "estimate_log_normalizer",
    "flow",
    "implicit_ratio",
    "mixture",
    "require_density",
    "spline_flow_prior",
    "standard_normal",
    "streamed_log_prob",
    "vamp",
]
