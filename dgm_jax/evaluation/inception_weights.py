"""The parameters of the FID network from a file of its tensors; see `inception`."""

import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, require
from dgm_jax.evaluation.inception_layers import LAYERS, Convolution

BATCH_NORM_EPSILON = 1e-3
# Rows of the FID network's last layer; torchvision's ImageNet weights have 1000.
FID_CLASSES = 1008

InceptionParams = dict[str, dict[str, Array]]


def load(path: str | os.PathLike[str]) -> InceptionParams:
    """Read the parameters for `features` from an npz file of the network's tensors.

    Pickled content is never read.

    Args:
        path: the file; `inception` says how to write it.

    Returns:
        {layer: {"kernel", "bias"}}, see `from_tensors`.

    Raises:
        DataError: if the file is missing or damaged, or a tensor in it is missing, misshapen or not
            finite; the message names file and tensor.
    """
    file = pathlib.Path(path)
    require(
        file.is_file(),
        f"{file}: no such file; Inception weights must be brought as an npz file",
        DataError,
    )
    require(
        zipfile.is_zipfile(file),
        f"{file}: not an npz file (a zip of named arrays), or cut short",
        DataError,
    )
    try:
        with np.load(file, allow_pickle=False) as archive:
            tensors = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file}: cannot be read as an npz file of arrays: {error}") from error
    return from_tensors(tensors, source=str(file))


def from_tensors(
    tensors: Mapping[str, np.ndarray], *, source: str = "the weights"
) -> InceptionParams:
    """Convert the PyTorch port's tensors to kernels and biases, with batch normalization folded in.

    kernel = weight gamma / sqrt(running_var + 1e-3), transposed from [out, in, h, w] to [h, w, in,
    out]; bias = beta - running_mean gamma / sqrt(running_var + 1e-3). The last layer (`fc`) is not
    used.

    Args:
        tensors: the network's tensors by their names in the PyTorch port.
        source: where they come from, for messages.

    Returns:
        {layer: {"kernel": float32[h, w, in, out], "bias": float32[out]}}.

    Raises:
        DataError: if a tensor is missing, misshapen or not finite, a variance is negative, or `fc`
            is that of other weights.
    """
    classes = np.shape(tensors["fc.weight"])[0] if "fc.weight" in tensors else FID_CLASSES
    require(
        classes == FID_CLASSES,
        f"{source}: fc.weight has {classes} rows; the FID network's has {FID_CLASSES}, and other"
        " weights of the same architecture give distances that compare with nothing",
        DataError,
    )
    return {name: _folded(tensors, name, layer, source) for name, layer in LAYERS.items()}


def _folded(
    tensors: Mapping[str, np.ndarray], name: str, layer: Convolution, source: str
) -> dict[str, Array]:
    """Kernel and bias of one layer, with its batch normalization folded in."""
    vector = (layer.outputs,)
    shape = (layer.outputs, layer.inputs, layer.height, layer.width)
    weight = _tensor(tensors, f"{name}.conv.weight", shape, source)
    gamma = _tensor(tensors, f"{name}.bn.weight", vector, source)
    beta = _tensor(tensors, f"{name}.bn.bias", vector, source)
    mean = _tensor(tensors, f"{name}.bn.running_mean", vector, source)
    variance = _tensor(tensors, f"{name}.bn.running_var", vector, source)
    require(
        bool(np.all(variance >= 0)),
        f"{source}: {name}.bn.running_var has negative values",
        DataError,
    )
    gain = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    kernel = (weight * gain[:, None, None, None]).transpose(2, 3, 1, 0)
    bias = beta - mean * gain
    return {
        "kernel": jnp.asarray(kernel, jnp.float32),
        "bias": jnp.asarray(bias, jnp.float32),
    }


def _tensor(
    tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], source: str
) -> np.ndarray:
    """One tensor in float64, after a check of its shape, dtype and values."""
    require(
        name in tensors,
        f"{source}: tensor {name!r} is missing; expected its shape to be {shape}",
        DataError,
    )
    value = np.asarray(tensors[name])
    require(
        value.shape == shape and value.dtype.kind == "f",
        f"{source}: tensor {name!r} must be floats of shape {shape}; got {value.dtype}"
        f" {value.shape}",
        DataError,
    )
    require(
        bool(np.isfinite(value).all()), f"{source}: tensor {name!r} has NaN or infinity", DataError
    )
    return value.astype(np.float64)
