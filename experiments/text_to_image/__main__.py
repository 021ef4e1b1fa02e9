import sys

from dgm_jax.experiments.text_to_image import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
