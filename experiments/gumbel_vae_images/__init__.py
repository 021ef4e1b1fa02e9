"""A VAE with categorical latents on binarized images: which gradient estimator trains best?

    python -m experiments.gumbel_vae_images
    python -m experiments.gumbel_vae_images --num_variables 3 --num_classes 10 \
        --estimator exact gumbel_softmax
    python -m experiments.gumbel_vae_images --data mnist_5k --num_steps 5000

Jang et al. 2017, section 4.2, "VAE Cat": 784 - (20 x 10) - 784 with linear maps, statically
binarised images, a uniform prior, one draw in training (two for leave-one-out), momentum .9, the
temperature max(.5, exp(-r t)) renewed every 500 steps; test: the importance-weighted bound with m =
1000 hard draws, on the first `num_eval` test images. Their numbers are for MNIST and are shown in
the report as context only, since this is Fashion-MNIST. Also reported: one-draw bound, relaxed
bound at the current temperature (no bound of this model), and their difference, the relaxation gap;
with few latents (second command) also log p(x) by enumeration, and the exact gradient as an
estimator.

Measured with the first command (3 seeds of seed 0, 2026-11-23, two CPU cores, 35 minutes alongside
other work), the negative bound with m = 1000 in nats, mean and 95 % interval: Gumbel-softmax 249.0
[248.6, 249.5], straight-through Gumbel-softmax 249.5 [249.2, 249.8], score function with
leave-one-out 254.7 [251.6, 257.9]; relaxation gaps 9.5, 5.3 and 4.4 nats. The order is that of Jang
et al.
"""

import dataclasses

from dgm_jax.experiments._shared.choices import Estimator, Precision
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import (
    OPTIMIZER_READ_WHERE,
    OPTIMIZER_SWEEPABLE,
    Optimizer,
    OptimizerConfig,
)


@dataclasses.dataclass(frozen=True)
class Config(OptimizerConfig):
    """Gradient estimators for categorical latents, by the model they train."""

    data: str = "auto"
    """Images by name: fashion_mnist, mnist, digits, ..., or the path of a folder
    (dgm_jax.data.load), binarized once; auto takes the first of fashion_mnist, mnist_5k and
    digits that is installed."""
    estimator: tuple[Estimator, ...] = (
        "gumbel_softmax",
        "straight_through_gumbel_softmax",
        "score_function_leave_one_out",
    )
    """Gradient estimators, each an arm (dgm_jax.sampling.estimators.ESTIMATORS)."""
    num_variables: int = 20
    """Categorical latents of an image."""
    num_classes: int = 10
    """Classes of each latent."""
    hidden: tuple[int, ...] = ()
    """Widths of the encoder's hidden layers; the decoder has them in reverse. Without values
    both are linear."""
    num_seeds: int = 3
    num_steps: int = 20_000
    log_every: int = 5_000
    batch_size: int = 100
    """Images in a step."""
    learning_rate: float = 3e-3
    """Learning rate. The paper takes the best of 3e-5 to 1e-3 for each method, in longer
    runs."""
    optimizer: Optimizer = "momentum"
    """Optimizer; momentum, with 0.9, is the paper's."""
    anneal_rate: float = 1e-4
    """r in the temperature max(0.5, exp(-r step)) of the relaxed estimators, set anew every 500
    steps."""
    num_importance: int = 1_000
    """Draws of z for each test image in the importance-weighted bound; a multiple of 10."""
    num_eval: int = 1_000
    """Test images on which the bounds are estimated."""
    precision: Precision = "float32"
    """Of products and convolutions in the networks: float32, or bfloat16, which is made for
    accelerators. Parameters, optimizer, statistics and losses are float32 with both."""


# There is no "auto" here.
_READ_WHERE = {
    name: {"optimizer": tuple(n for n in where["optimizer"] if n != "auto")}
    for name, where in OPTIMIZER_READ_WHERE.items()
}

EXPERIMENT = Experiment(
    name="gumbel_vae_images",
    chapter="Discrete latents",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("learning_rate", "anneal_rate", *OPTIMIZER_SWEEPABLE),
    data_settings=("data", "num_eval"),
    read_where=_READ_WHERE,
    headline=(
        "negative_bound",
        "test_elbo",
        "relaxed_elbo",
        "relaxation_gap",
        "test_kl",
        "log_prob",
    ),
    better={"negative_bound": "lower", "test_elbo": "higher", "log_prob": "higher"},
    ranges={"test_kl": (0, None), "effective_sample_size": (1, None)},
    explanations={
        "negative_bound": (
            "-log p(x) <= this: importance-weighted bound with hard draws, nats an image."
        ),
        "effective_sample_size": "Of the importance weights; near 1 the bound is loose.",
        "test_elbo": "One hard draw, analytic KL: a bound on log p(x), nats.",
        "relaxed_elbo": (
            "A relaxed draw at the current temperature with the same KL: not a bound of this model."
        ),
        "relaxation_gap": "relaxed_elbo - test_elbo on the same noise.",
        "test_kl": "KL of the posterior to the uniform prior, nats.",
        "log_prob": "log p(x) by enumeration of all latents, nats.",
    },
    arm_field="estimator",
    rank_by="negative_bound",
)
