"""Studies with their published protocols: `dgm-jax run NAME --help`.

In a checkout `python -m experiments.NAME` does the same; the modules are `dgm_jax.experiments.NAME`
all the same, so a process never holds one of them twice.
"""

import sys

if __name__ == "experiments":  # in a checkout; see dgm_jax/experiments/__init__.py there
    import dgm_jax.experiments

    sys.modules[__name__] = dgm_jax.experiments
