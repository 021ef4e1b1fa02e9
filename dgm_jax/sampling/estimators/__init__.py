"""Gradient estimators for the expectation of a function of discrete variables, under one signature.

`ESTIMATORS[name](key, objective, logits, **options) -> Estimate(value, gradient)` estimates
E[objective(x)] and its gradient with respect to `logits`, where x is one-hot and drawn from
softmax(logits). `objective` maps [*B, K] to [*B] and is defined on the whole simplex.
`logits[K]` is one variable; `logits[*E, K]` is an array of independent variables, for which
the objective maps [*B, *E, K] to [*B].

`expectation` makes a scalar of an estimator that `jax.grad` can be taken of: in the logits,
and so in an encoder, and in whatever the objective closes over, such as a decoder.
"""

from dgm_jax.sampling.estimators.antithetic import disarm
from dgm_jax.sampling.estimators.control_variate import muprop, rebar, relax
from dgm_jax.sampling.estimators.enumeration import exact
from dgm_jax.sampling.estimators.estimate import Estimate, Estimator, Objective
from dgm_jax.sampling.estimators.expectation import expectation
from dgm_jax.sampling.estimators.pathwise import (
    gumbel_rao,
    gumbel_softmax,
    reinmax,
    straight_through,
    straight_through_gumbel_softmax,
)
from dgm_jax.sampling.estimators.registry import (
    DIFFERENTIATES_OBJECTIVE,
    ESTIMATORS,
    HAS_TEMPERATURE,
    UNBIASED,
)
from dgm_jax.sampling.estimators.score_function import (
    nvil,
    score_function,
    score_function_leave_one_out,
    vimco,
)

__all__ = [
    "DIFFERENTIATES_OBJECTIVE",
    "ESTIMATORS",
    "HAS_TEMPERATURE",
    "UNBIASED",
    "Estimate",
    "Estimator",
    "Objective",
    "disarm",
    "exact",
    "expectation",
    "gumbel_rao",
    "gumbel_softmax",
    "muprop",
    "nvil",
    "rebar",
    "reinmax",
    "relax",
    "score_function",
    "score_function_leave_one_out",
    "straight_through",
    "straight_through_gumbel_softmax",
    "vimco",
]
