"""`python -m dgm_jax` is the command `dgm-jax`."""

import sys

from dgm_jax.cli import main

sys.exit(main())
