"""The command `dgm-jax` as `python -m dgm_jax`."""

import sys

from dgm_jax.cli import main

sys.exit(main())
