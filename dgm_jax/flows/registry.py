"""The bijections by name. Each is built from its dimension; other options are keywords."""

from collections.abc import Callable
from functools import partial

from dgm_jax.core import Bijection, Registry
from dgm_jax.flows._affine_coupling import affine_coupling
from dgm_jax.flows._chain import autoregressive_flow, coupling_flow
from dgm_jax.flows._mixing import mixing
from dgm_jax.flows._permutation import reverse, shuffle
from dgm_jax.flows._planar import planar
from dgm_jax.flows._spline_coupling import spline_coupling
from dgm_jax.flows.activation_normalization import act_norm
from dgm_jax.flows.autoregressive import inverse_autoregressive, masked_autoregressive
from dgm_jax.flows.batch_normalization import batch_norm
from dgm_jax.flows.elementwise_affine import affine

BIJECTIONS: Registry[Callable[..., Bijection]] = Registry(
    "bijection",
    {
        "affine": affine,
        "affine_coupling": affine_coupling,
        "spline_coupling": spline_coupling,
        "masked_autoregressive": masked_autoregressive,
        "inverse_autoregressive": inverse_autoregressive,
        "planar": planar,
        "reverse": reverse,
        "shuffle": shuffle,
        "mixing": mixing,
        "act_norm": act_norm,
        "batch_norm": batch_norm,
        "coupling_flow": coupling_flow,
        "spline_flow": partial(coupling_flow, kind="spline"),
        "autoregressive_flow": autoregressive_flow,
    },
)
