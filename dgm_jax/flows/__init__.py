"""Bijections of vectors with their log-determinants, under one contract.

`BIJECTIONS[name](dim) -> Bijection(init, forward_and_log_det, inverse_and_log_det)`: `init(key)`
gives the parameters, `forward_and_log_det(params, x[*B, dim])` gives y [*B, dim] and log|det dy/dx|
[*B] in nats, and `inverse_and_log_det(params, y)` gives x and log|det dx/dy|. All but `reverse` and
`shuffle` are the identity at init. `chain` and `invert` build new bijections from given ones;
`coupling_flow` and `autoregressive_flow` are the usual stacks. Couplings need dim >= 2.
"""

from dgm_jax.core import Bijection
from dgm_jax.flows._affine_coupling import affine_coupling
from dgm_jax.flows._chain import autoregressive_flow, chain, coupling_flow
from dgm_jax.flows._coupling import coupling
from dgm_jax.flows._invert import invert
from dgm_jax.flows._mixing import mixing
from dgm_jax.flows._permutation import permutation, reverse, shuffle
from dgm_jax.flows._planar import planar
from dgm_jax.flows._spline_coupling import spline_coupling
from dgm_jax.flows.activation_normalization import act_norm, act_norm_from_data
from dgm_jax.flows.autoregressive import inverse_autoregressive, masked_autoregressive
from dgm_jax.flows.batch_normalization import batch_norm, batch_norm_train
from dgm_jax.flows.conditioner import Conditioner, dense, masked_dense
from dgm_jax.flows.elementwise_affine import affine
from dgm_jax.flows.rational_quadratic import num_spline_params, spline_forward, spline_inverse
from dgm_jax.flows.registry import BIJECTIONS

__all__ = [
    "BIJECTIONS",
    "Bijection",
    "Conditioner",
    "act_norm",
    "act_norm_from_data",
    "affine",
    "affine_coupling",
    "autoregressive_flow",
    "batch_norm",
    "batch_norm_train",
    "chain",
    "coupling",
    "coupling_flow",
    "dense",
    "inverse_autoregressive",
    "invert",
    "masked_autoregressive",
    "masked_dense",
    "mixing",
    "num_spline_params",
    "permutation",
    "planar",
    "reverse",
    "shuffle",
    "spline_coupling",
    "spline_forward",
    "spline_inverse",
]
