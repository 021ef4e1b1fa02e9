"""Names that stood in `dgm_jax.evaluation` before the likelihood had a room of its own."""

import pytest

from dgm_jax import evaluation, likelihood


@pytest.mark.parametrize(
    ("name", "place", "found"),
    [
        ("likelihood", "dgm_jax.likelihood", likelihood),
        ("annealing", "dgm_jax.likelihood.annealing", likelihood.annealing),
        ("hmc", "dgm_jax.likelihood.hmc", likelihood.hmc),
        (
            "importance_weighted",
            "dgm_jax.likelihood.importance_weighted",
            likelihood.importance_weighted,
        ),
        (
            "bits_per_dimension",
            "dgm_jax.likelihood.bits_per_dimension",
            likelihood.bits_per_dimension,
        ),
        ("Estimate", "dgm_jax.likelihood.LogProbEstimate", likelihood.LogProbEstimate),
    ],
)
def test_an_old_name_gives_the_new_place_with_a_warning(name, place, found):
    with pytest.warns(DeprecationWarning, match=rf"evaluation.{name} has moved to {place}$"):
        assert getattr(evaluation, name) is found


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'likelihoods'"):
        _ = evaluation.likelihoods
