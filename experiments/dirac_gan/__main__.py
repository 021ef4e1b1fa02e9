import sys

from dgm_jax.experiments.dirac_gan import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
