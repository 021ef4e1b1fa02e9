"""oneDNN's convolutions in JAX programs on CPU: found, loaded and called.

The library is the package `onednn-cpu-gomp` (with `onednn-devel-cpu-gomp`, its headers). The glue
between it and XLA is `onednn.cc` beside this file, compiled at its first use, in seconds, and kept
(`native.compiler`). It is not built when the package is installed: it must fit the jaxlib that is
there when it is used, an update of jaxlib would leave it behind, and an isolated build sees
another jaxlib than the environment has.
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

LIBRARY, HEADERS = "onednn-cpu-gomp", "onednn-devel-cpu-gomp"
TARGET = "dgm_jax_convolution"


@functools.cache
def why_not() -> str | None:
    """None where oneDNN is ready for use, else the reason, which is logged once as a warning."""
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
    """Whether oneDNN has convolutions of this type for this processor."""
    if dtype == jnp.bfloat16:
        return bool(_load().dgm_jax_has_bfloat16())
    return dtype == np.float32


def convolution(
    a: Array, b: Array, shape: tuple, which: int, stride: tuple, before: tuple
) -> Array:
    """One of the three maps of `networks.bilinear` on arrays with lanes, as a call of oneDNN."""
    numbers = {"stride_height": stride[0], "stride_width": stride[1]}
    numbers |= {"map": which, "top": before[0], "left": before[1]}
    result = jax.ShapeDtypeStruct(shape, a.dtype)
    return jax.ffi.ffi_call(TARGET, result)(a, b, **{k: np.int64(v) for k, v in numbers.items()})


@functools.cache
def _load() -> ctypes.CDLL:
    """The compiled handler, registered with XLA. Raises Unavailable."""
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
