"""The KL term of a VAE decomposed over the training set, and the flaws of both obvious priors.

    python -m experiments.elbo_surgery
    python -m experiments.elbo_surgery --latent 2 --num_surgery 10000

Hoffman and Johnson 2016: over the n training images, average KL(q(z | x_i) || p(z)) = mutual
information of index and z + KL(q(z) || p(z)), with q(z) the average of all n posteriors, summed
exactly (each z meets all n). The information is at most log n (log 60,000 = 11.0). `identity_error`
is the difference of the two sides as computed.

N(0, I) over-regularizes: `marginal_kl` nats an image are lost because the prior is not where the
codes are. The best prior for the training set is q(z) itself: replacing the prior by it after
training gains exactly that, `train_gain` = marginal_kl. But it overfits, since each training code
has its own component: on test images it gains `test_gain` only, and one evaluation costs n
Gaussians.

Measured with `--data fashion_mnist` (3 seeds of 0, 2026-11-23, two CPU cores, 27 minutes alongside
other work), means over seeds in nats, all 60,000 training images in the sums; log n = 11.00:

    latents  average KL  infor-   of     marginal  gain on  gain on  active  identity
                         mation   log n  KL        train    test             error
          2        6.37    5.82   .529       .55      .55      .52      2        3e-7
         10       14.66   10.47   .952      4.19     4.19     -.51   9.67        1e-6
         50       15.00   10.52   .957      4.47     4.47     -.67     13        2e-6

With ten latents or more nearly every image has its own code, N(0, I) costs 4.2 to 4.5 nats an
image, and the exact aggregate, which would recover them on the training set, is worse than N(0, I)
on test images.
"""

import dataclasses

from dgm_jax.experiments._shared import vae
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import OPTIMIZER_SWEEPABLE


@dataclasses.dataclass(frozen=True)
class Config(vae.VaeConfig):
    """ELBO surgery for several latent sizes."""

    latent: tuple[int, ...] = (2, 10, 50)
    """Numbers of latent dimensions, each an arm."""
    num_steps: int = 10_000
    log_every: int = 2_500
    num_surgery: int = 0
    """Training images over which the average KL is taken apart; 0 for all."""
    latent_size: int = 0
    """Not used here: --latent has the sizes."""


EXPERIMENT = Experiment(
    name="elbo_surgery",
    chapter="Priors and ELBO surgery",
    config=Config,
    task=f"{__name__}.task",
    sweepable=("learning_rate", *OPTIMIZER_SWEEPABLE),
    data_settings=(*vae.DATA_SETTINGS, "num_surgery"),
    headline=(
        "test_elbo",
        "average_kl",
        "analytic_kl",
        "mutual_information",
        "information_over_log_n",
        "marginal_kl",
        "identity_error",
        "test_gain",
        "active_units",
    ),
    better={"test_elbo": "higher", "identity_error": "lower", "test_gain": "higher"},
    ranges={
        "analytic_kl": (0, None),
        "information_over_log_n": (None, 1),
        "identity_error": (0, None),
        "active_units": (0, None),
    },
    explanations={
        "test_elbo": "One-draw ELBO of the test images, nats.",
        "average_kl": (
            "Mean over training images of log q(z | x) - log p(z) at one draw each, nats."
        ),
        "analytic_kl": "The same in closed form: the difference is the error of one draw an image.",
        "mutual_information": "Of image index and z under q, nats; at most log n.",
        "information_over_log_n": "mutual_information / log n.",
        "marginal_kl": (
            "KL of the aggregated posterior to N(0, I), nats: what the best prior would save."
        ),
        "identity_error": "|average_kl - mutual_information - marginal_kl|.",
        "train_gain": (
            "Gain of the ELBO of training images when q(z) replaces N(0, I): marginal_kl."
        ),
        "test_gain": (
            "Gain of the ELBO of test images by the same prior: less, or negative, where it"
            " overfits."
        ),
        "active_units": "Latents whose posterior mean varies by more than .01 over images.",
    },
    arm_field="latent",
    read_where=vae.READ_WHERE,
)
