"""Optional packages, imported only if a data set needs them."""

import importlib
from types import ModuleType

from dgm_jax.core import ConfigError

INSTALL = 'pip install "dgm_jax[data]"'
OFFLINE = "digits: 8x8 images of digits shipped with scikit-learn, works offline at once"


class MissingPackage(ConfigError):
    """An optional package, `package`, cannot be imported."""

    def __init__(self, package: str, error: ImportError) -> None:
        other = "" if package == "scikit-learn" else f". What needs none of this is {OFFLINE}"
        super().__init__(
            f"this data set needs the package {package} ({error}); install it with:"
            f" {INSTALL}{other}"
        )
        self.package = package


def optional(module: str, package: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: name of the module.
        package: the package to install for it.

    Returns:
        The module.

    Raises:
        MissingPackage: if it cannot be imported; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(package, error) from error
