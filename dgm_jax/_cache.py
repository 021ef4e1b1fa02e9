"""The folder for what takes long to make and can be made again: compiled code, unpacked data."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
    """Return the cache folder: `$DGM_JAX_CACHE_DIR`, or dgm_jax in `$XDG_CACHE_HOME` or `~/.cache`.

    Returns:
        The folder, which may not exist yet.

    Raises:
        RuntimeError: neither variable is set, and the user has no home folder.
    """
    chosen = os.environ.get("DGM_JAX_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen)
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "dgm_jax"
