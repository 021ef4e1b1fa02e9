import sys

from dgm_jax.experiments.elbo_surgery import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
