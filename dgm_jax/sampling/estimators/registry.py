"""The gradient estimators by name, and what they promise."""

from dgm_jax.core import Registry
from dgm_jax.sampling.estimators.antithetic import disarm
from dgm_jax.sampling.estimators.control_variate import muprop, rebar, relax
from dgm_jax.sampling.estimators.enumeration import exact
from dgm_jax.sampling.estimators.estimate import Estimator
from dgm_jax.sampling.estimators.pathwise import (
    gumbel_rao,
    gumbel_softmax,
    reinmax,
    straight_through,
    straight_through_gumbel_softmax,
)
from dgm_jax.sampling.estimators.score_function import (
    nvil,
    score_function,
    score_function_leave_one_out,
    vimco,
)

ESTIMATORS: Registry[Estimator] = Registry(
    "gradient estimator",
    {
        "exact": exact,
        "score_function": score_function,
        "score_function_leave_one_out": score_function_leave_one_out,
        "nvil": nvil,
        "vimco": vimco,
        "muprop": muprop,
        "rebar": rebar,
        "relax": relax,
        "disarm": disarm,
        "straight_through": straight_through,
        "gumbel_softmax": gumbel_softmax,
        "straight_through_gumbel_softmax": straight_through_gumbel_softmax,
        "gumbel_rao": gumbel_rao,
        "reinmax": reinmax,
    },
)

# The mean of the gradient is the gradient of E[objective], for every objective and every option.
# (`vimco(multi_sample="log_mean_exp")` is unbiased too, for the multi-sample objective that it
# names.)
UNBIASED = frozenset(
    {
        "exact",
        "score_function",
        "score_function_leave_one_out",
        "nvil",
        "vimco",
        "muprop",
        "rebar",
        "relax",
        "disarm",
    }
)

# Those that ask for the derivative of the objective; the others evaluate it at one-hot points only.
DIFFERENTIATES_OBJECTIVE = frozenset(
    {
        "muprop",
        "rebar",
        "relax",
        "straight_through",
        "gumbel_softmax",
        "straight_through_gumbel_softmax",
        "gumbel_rao",
        "reinmax",
    }
)

# Those that have a `temperature`.
HAS_TEMPERATURE = frozenset(
    {"rebar", "relax", "gumbel_softmax", "straight_through_gumbel_softmax", "gumbel_rao", "reinmax"}
)
