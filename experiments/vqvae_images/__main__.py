import sys

from dgm_jax.experiments.vqvae_images import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
