import sys

from dgm_jax.experiments.likelihood_versus_samples import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
