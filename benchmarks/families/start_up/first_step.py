"""The command `dgm-jax` in a process that ends when its first chunk of training is computed."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import jax

from dgm_jax import training
from dgm_jax.cli import main

_run = training.run


def _first_chunk_of(*args: Any, **settings: Any) -> Iterator[training.Chunk]:
    """In the place of `training.run`: ends the process instead of the first pause."""
    chunk = next(_run(*args, **settings))
    jax.block_until_ready(chunk.lanes)
    os._exit(0)


training.run = _first_chunk_of
main(sys.argv[1:])
sys.exit("the command ended without training anything")
