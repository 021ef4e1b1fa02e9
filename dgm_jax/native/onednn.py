"""The convolutions of oneDNN in JAX programs on CPU.

The library is the package `onednn-cpu-gomp` (with `onednn-devel-cpu-gomp`, its headers). The glue
between it and XLA is `onednn.cc` next to this file, compiled at its first use, in seconds, and kept
(`native.compiler`). It is not built when the package is installed: it must fit the jaxlib in use,
an update of jaxlib would leave it behind, and an isolated build sees another jaxlib than the
environment has.
"""

import ctypes
import functools
import importlib.metadata
import importlib.resources
import logging
import pathlib
import platform

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array
from dgm_jax.native.compiler import Unavailable, compiled

LIBRARY = "onednn-cpu-gomp"
HEADERS = "onednn-devel-cpu-gomp"
TARGET = "dgm_jax_convolution"


@functools.cache
def why_not() -> str | None:
    """Return why oneDNN cannot be used; logs the reason once as a warning.

    Returns:
        The reason, or None where oneDNN is ready.
    """
    try:
        _load()
    except Unavailable as reason:
        logging.getLogger("dgm_jax").warning(
            "dgm_jax: convolutions on CPU by plain JAX, not by oneDNN: %s", reason
        )
        return str(reason)
    return None


@functools.cache
def computes(dtype: np.dtype) -> bool:
    """Return whether oneDNN has convolutions of a type for this processor.

    Args:
        dtype: type of both arguments and of the result.

    Returns:
        True for float32, and for bfloat16 where the processor has it.

    Raises:
        Unavailable: oneDNN cannot be used; see `why_not`.
    """
    if dtype == jnp.bfloat16:
        return bool(_load().dgm_jax_has_bfloat16())
    return dtype == np.float32


def convolution(
    a: Array,
    b: Array,
    shape: tuple[int, ...],
    which: int,
    stride: tuple[int, int],
    before: tuple[int, int],
) -> Array:
    """Compute one of the three maps of `networks.layers.bilinear` by oneDNN.

    Args:
        a: the first argument of the map, with a leading axis of lanes.
        b: the second one, likewise.
        shape: of the result, with the axis of lanes.
        which: number of the map, such as `networks.layers.maps.FORWARD`.
        stride: by height and width.
        before: padding at the top and at the left.

    Returns:
        The result, in the type of `a`.
    """
    attributes = {
        "stride_height": stride[0],
        "stride_width": stride[1],
        "map": which,
        "top": before[0],
        "left": before[1],
    }
    result = jax.ShapeDtypeStruct(shape, a.dtype)
    call = jax.ffi.ffi_call(TARGET, result)
    return call(a, b, **{name: np.int64(value) for name, value in attributes.items()})


@functools.cache
def _load() -> ctypes.CDLL:
    """Return the compiled handler, registered with XLA, or raise Unavailable."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise Unavailable(f"no package of it for {platform.system()} on {platform.machine()}")
    library = _file_of(LIBRARY, "libdnnl.so.3")
    includes = [_file_of(HEADERS, "oneapi/dnnl/dnnl.hpp").parents[2]]
    includes.append(pathlib.Path(jax.ffi.include_dir()))
    source = importlib.resources.files("dgm_jax.native").joinpath("onednn.cc").read_bytes()
    versions = [importlib.metadata.version(name) for name in ("jaxlib", LIBRARY, HEADERS)]
    try:
        ctypes.CDLL(str(library))  # so that the handler finds it by its name
        handler = ctypes.CDLL(str(compiled(source, includes, library, versions)))
    except OSError as error:
        raise Unavailable(str(error)) from error
    capsule = jax.ffi.pycapsule(getattr(handler, TARGET))
    jax.ffi.register_ffi_target(TARGET, capsule, platform="cpu")
    return handler


def _file_of(package: str, ending: str) -> pathlib.Path:
    """Return the file of an installed package whose path has this ending, or raise Unavailable."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        message = f"{package} is not installed (pip install 'dgm_jax[onednn]')"
        raise Unavailable(message) from None
    for file in distribution.files or ():
        if file.as_posix().endswith("/" + ending):
            path = pathlib.Path(str(distribution.locate_file(file))).resolve()
            if path.exists():
                return path
    raise Unavailable(f"{package} {distribution.version} has no file {ending}")
