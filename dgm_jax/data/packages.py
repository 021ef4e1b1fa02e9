"""Optional packages, imported only when a data set needs them."""

import importlib
from types import ModuleType

from dgm_jax.core import ConfigError


def optional(module: str, package: str) -> ModuleType:
    """Imports `module`, or raises a `ConfigError` that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"this data set needs the package {package} ({error}); install it with: pip install"
            " dgm_jax[data]"
        ) from error
