"""Measures of how good samples are, as plain functions of arrays.

`mode_coverage` counts the modes of a known mixture under each published convention.
`frechet_distance`, `kernel_distance`, `sliced_wasserstein` and `precision_recall_density_coverage`
compare two sets of feature vectors, always passed as `real=` and `fake=`. `discriminator_distances`
compares logits with the optimal logits of two known densities. `inception` computes the features of
the FID network from a local file of weights. Estimates of log p(x) are in `dgm_jax.likelihood`.
"""

import importlib
import warnings

from dgm_jax.evaluation import inception
from dgm_jax.evaluation._mode_coverage import (
    ModeCoverage,
    expected_valid,
    mode_coverage,
    perfect_sampler,
)
from dgm_jax.evaluation.discriminator import DiscriminatorGrid, discriminator_distances
from dgm_jax.evaluation.frechet import (
    Moments,
    frechet_distance,
    frechet_distance_on_device,
    frechet_from_moments,
    merge_moments,
    moments,
)
from dgm_jax.evaluation.neighbours import PrecisionRecall, precision_recall_density_coverage
from dgm_jax.evaluation.sample_quality import (
    KernelDistance,
    kernel_distance,
    kernel_distance_over_subsets,
    sliced_wasserstein,
)

__all__ = [
    "DiscriminatorGrid",
    "KernelDistance",
    "ModeCoverage",
    "Moments",
    "PrecisionRecall",
    "discriminator_distances",
    "expected_valid",
    "frechet_distance",
    "frechet_distance_on_device",
    "frechet_from_moments",
    "inception",
    "kernel_distance",
    "kernel_distance_over_subsets",
    "merge_moments",
    "mode_coverage",
    "moments",
    "perfect_sampler",
    "precision_recall_density_coverage",
    "sliced_wasserstein",
]

# Names that were here before `dgm_jax.likelihood` became a package of its own.
_MOVED = {
    "likelihood": "dgm_jax.likelihood",
    "annealing": "dgm_jax.likelihood.annealing",
    "hmc": "dgm_jax.likelihood.hmc",
    "importance_weighted": "dgm_jax.likelihood:importance_weighted",
    "bits_per_dimension": "dgm_jax.likelihood:bits_per_dimension",
    "Estimate": "dgm_jax.likelihood:LogProbEstimate",
}


def __getattr__(name: str) -> object:
    """Look up a name that has moved, with a `DeprecationWarning` that names its new place.

    Args:
        name: the attribute asked for.

    Returns:
        The function, class or module at its new place.

    Raises:
        AttributeError: if the name never was here.
    """
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _MOVED[name].partition(":")
    place = f"{module}.{attribute}" if attribute else module
    warnings.warn(
        f"{__name__}.{name} has moved to {place}", category=DeprecationWarning, stacklevel=2
    )
    new_home = importlib.import_module(module)
    return getattr(new_home, attribute) if attribute else new_home
