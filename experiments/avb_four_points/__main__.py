import sys

from dgm_jax.experiments.avb_four_points import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
