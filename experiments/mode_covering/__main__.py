import sys

from dgm_jax.experiments.mode_covering import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
