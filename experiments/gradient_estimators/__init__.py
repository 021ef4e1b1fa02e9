"""Bias, variance and cost of every gradient estimator for discrete variables, against enumeration.

    python -m experiments.gradient_estimators
    python -m experiments.gradient_estimators --target 0.45 --temperature 2 1 0.5 0.1 0.0625

The problem of REBAR and RELAX: d/dl E[(b - t)^2], b ~ Bernoulli(sigmoid(l)), exactly (1 - 2t) p (1
- p); t = .499 makes it tiny compared with the noise of the samples. For each estimator, probability
and temperature: bias, standard deviation and root mean squared error of one estimate,
signal-to-noise ratio |mean| / sd. Estimates cost different numbers of evaluations of the objective,
so the ranking is by `rmse_at_budget`: root mean squared error of the mean of as many estimates as
`budget` evaluations pay for, at the estimator's best temperature, root mean square over the
probabilities. A biased estimator gains nothing from averaging, and that shows there.
"""

import dataclasses
import typing

from dgm_jax.experiments._shared.choices import Estimator
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import StudyConfig


@dataclasses.dataclass(frozen=True)
class Config(StudyConfig):
    """Gradient estimators side by side: which is unbiased, which is quiet, which is worth its
    cost? Nothing is trained, so there is no learning rate and no optimizer."""

    estimator: tuple[Estimator, ...] = typing.get_args(Estimator)
    """Gradient estimators, each an arm (dgm_jax.sampling.estimators.ESTIMATORS)."""
    target: float = 0.499
    """t of the objective (b - t)^2, whose expectation is differentiated."""
    probability: tuple[float, ...] = (0.5, 0.2)
    """Probabilities that b = 1, in (0, 1); each is a part of the table."""
    temperature: tuple[float, ...] = (1.0, 0.5, 0.1)
    """Temperatures of the relaxed estimators, each a part of the table."""
    num_seeds: int = 8
    num_steps: int = 100
    """Batches of estimates; nothing is trained."""
    log_every: int = 50
    batch_size: int = 1_000
    """Estimates in a batch, for every part of the table."""
    budget: int = 100
    """Evaluations of the objective that rmse_at_budget may spend, at least 4."""


_RELAXED = (
    "rebar",
    "relax",
    "gumbel_softmax",
    "straight_through_gumbel_softmax",
    "gumbel_rao",
    "reinmax",
)

EXPERIMENT = Experiment(
    name="gradient_estimators",
    chapter="Discrete latents",
    config=Config,
    task=f"{__name__}.task",
    data_settings=("target",),
    headline=("rmse_at_budget", "worst_bias", "best_snr", "evaluations"),
    better={"rmse_at_budget": "lower", "best_snr": "higher"},
    ranges={"rmse_at_budget": (0, None), "best_snr": (0, None)},
    explanations={
        "rmse_at_budget": (
            "Root mean squared error of the mean of what a budget of evaluations pays for, at the"
            " best temperature, root mean square over the probabilities."
        ),
        "worst_bias": "The bias of largest modulus over all cells.",
        "best_snr": "Largest |mean| / sd over all cells; infinite for enumeration, shown as 0.",
        "evaluations": "Points at which one estimate asks for the objective or its derivative.",
    },
    arm_field="estimator",
    read_where={"temperature": {"estimator": _RELAXED}},
    rank_by="rmse_at_budget",
)
