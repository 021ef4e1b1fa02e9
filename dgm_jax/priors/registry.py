"""The priors by name.

Those in `FROM_DIM` are built from the length of the latents alone, `PRIORS[name](dim)`; options are
keywords. The others need parts that only a model has: `flow(bijection, dim)` a bijection,
`aggregated_posterior(loc, scale)` the posteriors of all data,
`vamp(encode, num_components, input_shape)` the encoder, and
`implicit_ratio(base, log_ratio, init_ratio)` a discriminator. An autoregressive prior over grids of
codes is a network: `models.code_prior`.
"""

from collections.abc import Callable

from dgm_jax.core import Prior, Registry
from dgm_jax.priors._aggregated_posterior import aggregated_posterior
from dgm_jax.priors._flow import (
    autoregressive_flow_prior,
    coupling_flow_prior,
    flow,
    spline_flow_prior,
)
from dgm_jax.priors._implicit_ratio import ImplicitRatio, implicit_ratio
from dgm_jax.priors._mixture import mixture
from dgm_jax.priors._standard_normal import standard_normal
from dgm_jax.priors._vamp import vamp

PRIORS: Registry[Callable[..., Prior | ImplicitRatio]] = Registry(
    "prior",
    {
        "standard_normal": standard_normal,
        "mixture": mixture,
        "coupling_flow": coupling_flow_prior,
        "spline_flow": spline_flow_prior,
        "autoregressive_flow": autoregressive_flow_prior,
        "flow": flow,
        "aggregated_posterior": aggregated_posterior,
        "vamp": vamp,
        "implicit_ratio": implicit_ratio,
    },
)

FROM_DIM = frozenset(
    {"standard_normal", "mixture", "coupling_flow", "spline_flow", "autoregressive_flow"}
)
