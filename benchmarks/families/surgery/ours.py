"""Surgery by the library."""

import jax.numpy as jnp
import numpy as np

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from dgm_jax.densities import gaussian
from dgm_jax.objectives import elbo_surgery


def operands(points: int, latents: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(z, loc, scale), [N, D] each."""
    loc, noise, log_scale = shared.normal(3, points, latents)
    scale = np.exp(0.3 * log_scale - 1)
    return loc + scale * noise, loc, scale


def terms(z, loc, scale) -> dict:
    """Means of all terms under N(0, I)."""
    log_prior = jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1)
    found = elbo_surgery.decompose_gaussian(z, loc, scale, log_prior)._asdict()
    return {name: term.mean for name, term in found.items() if term is not None}


def joint_terms(z, loc, scale) -> dict:
    """Without the total correlation, for which nothing is then computed."""
    found = terms(z, loc, scale)
    del found["total_correlation"]
    return found


def decompose(points: int, latents: int, joint: bool) -> Case:
    """Of all points; a unit is a pair of them."""
    inputs = map(jnp.asarray, operands(points, latents))
    function = joint_terms if joint else terms
    return shared.compiled(function, *inputs, count=float(points) ** 2)
