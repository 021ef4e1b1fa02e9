"""Mode collapse on a ring of eight Gaussians, over many seeds in one compiled program.

    python -m experiments.gan_ring --num_seeds 20
    python -m experiments.gan_ring --method vanilla packed2 --num_seeds 5
    python -m experiments.gan_ring --protocol pacgan --method vanilla packed2 \
        --num_steps 400000 --log_every 10000

Protocol `sandlund` (default): the public repository brycesandlund/paired-discriminator, whose
per-seed reports give at 10,000 steps over 5 seeds (mean, sample standard deviation) 7.60 +- 0.89
modes, 84.9 +- 1.2 % valid samples, mode TV .226 +- .072; at 50,000 steps 6.80 +- 0.84, 92.7 +- 1.6
%, .183 +- .074. Protocol `pacgan`: Lin et al. 2018, table 1 (10 trials, standard error), which
counts a mode with one sample; here data are fresh, not a fixed set of 100,000. The same "GAN" is 1
mode in VEEGAN's table: compare inside one protocol only.

Measured with the first command (seeds 0 to 19 of seed 0, 2026-11-23, two CPU cores), mean and 95 %
interval: modes 7.90 [7.76, 8.04], valid .865 [.857, .873], mode TV .159 [.138, .180]; all three
meet the published mean +- deviation.

The source does not publish its initialisation, and it matters more than most methods. The figures
above are with DCGAN's N(0, .02^2) and zero biases. PyTorch's default gave (20 seeds) 6.85 [6.32,
7.38], .833 [.820, .845], .409 [.320, .499]: random biases put the first layer's kinks anywhere, and
coverage of a ring becomes uneven. Glorot's uniform with zero biases gave (8 seeds) 7.75 [7.16,
8.34], .877 [.869, .886], .145 [.110, .180].
"""

import dataclasses

from dgm_jax.experiments._shared import toy_gan
from dgm_jax.run.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Config(toy_gan.ToyGanConfig):
    """A GAN on a ring of eight Gaussians: which modes does it cover, over many seeds?"""


EXPERIMENT = Experiment(
    name="gan_ring",
    chapter="Likelihood-free learning",
    config=Config,
    task=f"{__name__}.task",
    sweepable=toy_gan.SWEEPABLE,
    data_settings=("protocol",),
    headline=toy_gan.HEADLINE,
    better=toy_gan.BETTER,
    ranges=toy_gan.RANGES,
    levels=toy_gan.LEVELS,
    explanations=toy_gan.EXPLANATIONS,
    arm_field="method",
    read_where=toy_gan.READ_WHERE,
)
