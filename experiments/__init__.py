"""Studies with their published protocols: `dgm-jax run NAME --help`.

In a checkout `python -m experiments.NAME` does the same; the modules are `dgm_jax.experiments.NAME`
all the same, so a process never holds one of them twice.
"""

import signal
import sys

if sys.argv[:1] == ["-m"]:  # Python is looking for the module of `python -m experiments.NAME`
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback before the command hears signals

if __name__ == "experiments":  # in a checkout; see dgm_jax/experiments/__init__.py there
    import dgm_jax.experiments

    sys.modules[__name__] = dgm_jax.experiments
