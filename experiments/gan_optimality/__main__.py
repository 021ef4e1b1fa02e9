import sys

from dgm_jax.experiments.gan_optimality import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
