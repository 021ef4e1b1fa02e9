import sys

from dgm_jax.experiments.gradient_estimators import EXPERIMENT
from dgm_jax.run import main

sys.exit(main(EXPERIMENT))
