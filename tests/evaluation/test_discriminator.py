"""How far logits are from the optimal ones: nothing at the optimum, its square beside it, and what
a discriminator has that knows nothing. The densities are those of `gan_optimality`."""

import functools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.evaluation import discriminator_distances
from dgm_jax.experiments.gan_optimality.pairs import PAIRS, tabulate
from dgm_jax.experiments.gan_optimality.task import OPTIMAL_VALUES
from dgm_jax.objectives import gan


@functools.cache
def known(arm):
    pair = PAIRS[arm]()
    grid = tabulate(pair)
    return pair, grid, gan.optimal_logits(grid.log_p, grid.log_q)


@pytest.mark.parametrize("arm", PAIRS)
def test_the_optimal_logit_closes_every_distance(arm):
    pair, grid, best = known(arm)
    found = discriminator_distances(best, grid, pair.cell)
    # V(G, D*) = 2 JSD - 2 log 2: the left side from logits, the right side from the two densities.
    np.testing.assert_allclose(found["value"], found["optimal_value"], atol=3e-6)
    np.testing.assert_allclose(found["value"], OPTIMAL_VALUES[arm], atol=5e-5)
    np.testing.assert_allclose(found["js_lower_bound"], found["jsd"], atol=2e-6)
    for name in (
        "gap",
        "logit_rms",
        "logit_rms_undecided",
        "logit_max_undecided",
        "probability_rms",
    ):
        assert float(found[name]) == 0


@pytest.mark.parametrize("arm", PAIRS)
def test_a_discriminator_that_knows_nothing(arm):
    pair, grid, best = known(arm)
    found = discriminator_distances(jnp.zeros_like(best), grid, pair.cell)
    np.testing.assert_allclose(found["value"], -2 * math.log(2), atol=5e-5)
    np.testing.assert_allclose(found["js_lower_bound"], 0, atol=3e-5)
    np.testing.assert_allclose(found["gap"], 2 * found["jsd"], rtol=1e-3)
    np.testing.assert_allclose(
        found["logit_max_undecided"], np.abs(best)[np.asarray(grid.undecided)].max(), rtol=1e-6
    )


@pytest.mark.parametrize("arm", PAIRS)
@pytest.mark.parametrize("size", [0.02, -0.02])
def test_any_change_of_the_optimal_logit_lowers_the_value_by_its_square(arm, size):
    """V(l*) - V(l* + e h) = e^2 / 2 int pq / (p + q) h^2 + O(e^3)."""
    pair, grid, best = known(arm)
    direction = jnp.sin(3 * grid.points[:, 0]) + 0.5
    gap = discriminator_distances(best + size * direction, grid, pair.cell)["gap"]
    p, q = np.exp(np.float64(grid.log_p)), np.exp(np.float64(grid.log_q))
    curvature = (p * q / (p + q + 1e-300) * np.float64(direction) ** 2).sum() * pair.cell
    np.testing.assert_allclose(gap, size**2 / 2 * curvature, rtol=0.03)


def test_the_gap_is_the_difference_of_the_values():
    pair, grid, best = known("mixture_1d")
    found = discriminator_distances(0.5 * best + 0.3, grid, pair.cell)
    assert float(found["gap"]) > 0.01
    np.testing.assert_allclose(found["gap"], found["optimal_value"] - found["value"], atol=2e-6)
