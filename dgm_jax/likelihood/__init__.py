"""Estimates of log p(x) for models with latents, each with its error.

`evidence_lower_bound`, `importance_weighted`, `annealed_importance_sampling` and `bidirectional`
cost more in this order and come closer to the truth; `ladder` gives the first three side by side.
`annealing` holds their chains, `hmc` the transitions. `overstated` compares a bound with an
independent estimate.
"""

from dgm_jax.likelihood import annealing, hmc
from dgm_jax.likelihood._comparisons import Average, Overstated, average, jackknife, overstated
from dgm_jax.likelihood._paths import Path, from_prior, from_proposal
from dgm_jax.likelihood.annealing import Settings
from dgm_jax.likelihood.estimates import (
    Ladder,
    Sandwich,
    annealed_importance_sampling,
    bidirectional,
    evidence_lower_bound,
    ladder,
)
from dgm_jax.likelihood.importance_sampling import (
    LogProbEstimate,
    bits_per_dimension,
    importance_weighted,
)

__all__ = [
    "Average",
    "Ladder",
    "LogProbEstimate",
    "Overstated",
    "Path",
    "Sandwich",
    "Settings",
    "annealed_importance_sampling",
    "annealing",
    "average",
    "bidirectional",
    "bits_per_dimension",
    "evidence_lower_bound",
    "from_prior",
    "from_proposal",
    "hmc",
    "importance_weighted",
    "jackknife",
    "ladder",
    "overstated",
]
