import sys

from dgm_jax.experiments.feature_classifier import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
