"""The scores by the library."""

import jax
import jax.numpy as jnp

from benchmarks.contract import Case
from benchmarks.families._shared.features import operands
from benchmarks.families.neighbours import NEAREST
from dgm_jax.evaluation import PrecisionRecall, precision_recall_density_coverage


def evaluate(real: jax.Array, fake: jax.Array) -> PrecisionRecall:
    """All four scores."""
    return precision_recall_density_coverage(real=real, fake=fake, nearest_k=NEAREST)


def scores(rows: int, features: int) -> Case:
    """Of both sets; a unit is a real row with a fake one."""
    real, fake = map(jnp.asarray, operands(rows, features))
    return Case(lambda: evaluate(real, fake), rows)
