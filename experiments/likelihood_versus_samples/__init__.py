"""Great likelihood with poor samples, and perfect samples with terrible likelihood.

    python -m experiments.likelihood_versus_samples
    python -m experiments.likelihood_versus_samples --arm junk_8 junk_3072 memorised_16

Theis, van den Oord and Bethge 2016, on a ring of Gaussians extended to d dimensions, whose density
is known.
`junk_d`: q = w p + (1 - w) r with r far from the data. At w = .01, 99 % of the samples are junk,
and the log-likelihood is at most log 100 = 4.605 nats below the truth: 4.605 / d for each
dimension. Maximum likelihood then learns w.
`kernels_d`, `memorised_d`: narrow Gaussians on 1,000 training points. As their width falls the
samples become perfect and the test log-likelihood falls without bound, while that of the training
points rises. `kernels` learns the width on fresh data; `memorised` on its own training points,
where maximum likelihood drives it to zero. Measured (2026-11-22, 5 seeds): .9 % valid samples cost
4.598, 4.605 and 4.605 nats in 2, 32 and 512 dimensions, of -.3, 26 and 450.
Kernels of width .0001 have 98.7 % valid samples (exact ones 98.8 %), a test log-likelihood of
-39,600 and 9.7 on their training points; the width learned on fresh data is .052, with -.380
against -.314 for the truth and 97.1 % valid.
"""

import dataclasses

from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OPTIMIZER_SWEEPABLE, OptimizerConfig


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """How far apart can likelihood and samples be?"""

    arm: tuple[str, ...] = ("junk_2", "junk_32", "junk_512", "kernels_2", "memorised_2")
    """FAMILY_DIMENSIONS, each an arm: junk (the true density with a share of noise), kernels (a
    Gaussian on each training point, its width fitted to fresh points) or memorised (its width
    fitted to the training points), as in junk_32."""
    num_steps: int = 400
    log_every: int = 100
    num_kernels: int = 1_000
    """Training points, drawn anew for each seed."""
    num_eval: int = 1_000
    """Test points, and samples of the model, in each evaluation."""
    batch_size: int = 200
    """Fresh points in a step."""
    learning_rate: float = 0.02
    """Learning rate of the one parameter: the logit of the junk's share, or the logarithm of
    the width."""


EXPERIMENT = Experiment(
    name="likelihood_versus_samples",
    chapter="Likelihood-free learning",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("learning_rate", *OPTIMIZER_SWEEPABLE),
    read_where=OPTIMIZER_READ_WHERE,
    headline=(
        "extreme_cost",
        "extreme_cost_per_dim",
        "extreme_test_log_prob",
        "extreme_train_log_prob",
        "extreme_valid",
        "perfect_valid",
        "weight",
        "width",
        "true_log_prob",
        "test_log_prob",
        "train_log_prob",
        "valid",
    ),
    better={
        "extreme_test_log_prob": "higher",
        "extreme_valid": "higher",
        "test_log_prob": "higher",
        "valid": "higher",
        "cost": "lower",
    },
    ranges=dict.fromkeys(("valid", "extreme_valid", "perfect_valid", "weight"), (0, 1)),
    levels={"valid": "perfect_valid", "test_log_prob": "true_log_prob"},
    explanations={
        "test_log_prob": "Mean log q over fresh test points, nats, of the model that was fitted.",
        "true_log_prob": (
            "Mean log p over the same points: the most that any model can have on average."
        ),
        "train_log_prob": "Mean log q over the training points that carry the kernels.",
        "cost": "true_log_prob - test_log_prob: an estimate of KL(p || q), nats.",
        "worst_cost": "The largest log p - log q over the test points.",
        "valid": (
            "Share of the model's samples within three sigma (in d dimensions the equivalent"
            " radius) of a mode."
        ),
        "perfect_valid": "The same share of exact samples of the data.",
        "weight": "The fitted w: the share of samples that are not junk.",
        "width": "The fitted width of the kernels; a mode has .1.",
        **{
            f"extreme_{name}": (
                f"{name} with 99 % junk (junk), or kernels of width .0001 (kernels); nothing is"
                " fitted."
            )
            for name in (
                "cost",
                "cost_per_dim",
                "worst_cost",
                "test_log_prob",
                "train_log_prob",
                "valid",
            )
        },
    },
    arm_field="arm",
)
