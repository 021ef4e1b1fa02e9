"""How orbax is used: by one process, and without its messages."""

import contextlib
import logging
from collections.abc import Iterator

import jax
import orbax.checkpoint as ocp


def alone() -> ocp.options.MultiprocessingOptions:
    """The options with which this process saves and restores alone."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix="alone"
    )


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Suppress what orbax logs through absl.

    Its warnings do not help a user, and its errors are raised as well and reported from there.
    """
    logger = logging.getLogger("absl")

    def silent(record: logging.LogRecord) -> bool:
        del record
        return False

    logger.addFilter(silent)
    try:
        yield
    finally:
        logger.removeFilter(silent)
