import sys

from dgm_jax.experiments.vae_priors import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
