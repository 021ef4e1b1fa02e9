"""The parameters of the FID network from a file of its tensors: see `inception`."""

import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, require
from dgm_jax.evaluation.inception_layers import LAYERS

BATCH_NORM_EPSILON = 1e-3
# rows of the FID network's last layer; the ImageNet weights of torchvision have 1000
FID_CLASSES = 1008

InceptionParams = dict[str, dict[str, Array]]


def load(path) -> InceptionParams:
    """The parameters for `features` from an npz file of the network's tensors; see `inception`.

    Raises `DataError` that names the file, and the tensor where one is missing, misshaped or not
    finite. Pickled content is never read.
    """
    path = pathlib.Path(path)
    require(
        path.is_file(),
        f"{path}: no such file; Inception weights must be brought as an npz file",
        DataError,
    )
    require(
        zipfile.is_zipfile(path),
        f"{path}: not an npz file (a zip of named arrays), or cut short",
        DataError,
    )
    try:
        with np.load(path, allow_pickle=False) as archive:
            tensors = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an npz file of arrays: {error}") from error
    return from_tensors(tensors, source=str(path))


def from_tensors(
    tensors: Mapping[str, np.ndarray], *, source: str = "the weights"
) -> InceptionParams:
    """Kernels and biases by layer, batch normalisation folded in, from arrays named as in the
    PyTorch port.

    kernel = weight gamma / sqrt(running_var + 1e-3), turned from [out, in, h, w] to [h, w, in,
    out]; bias = beta - running_mean gamma / sqrt(running_var + 1e-3). The last layer (`fc`) is not
    used.
    """
    classes = np.shape(tensors["fc.weight"])[0] if "fc.weight" in tensors else FID_CLASSES
    require(
        classes == FID_CLASSES,
        f"{source}: fc.weight has {classes} rows; the FID network's has {FID_CLASSES}, and other"
        " weights of the same architecture give distances that compare with nothing",
        DataError,
    )
    params = {}
    for name, layer in LAYERS.items():
        vector = (layer.outputs,)
        shape = (layer.outputs, layer.inputs, layer.height, layer.width)
        weight = _tensor(tensors, f"{name}.conv.weight", shape, source)
        gamma, beta = (
            _tensor(tensors, f"{name}.bn.{part}", vector, source) for part in ("weight", "bias")
        )
        mean, variance = (
            _tensor(tensors, f"{name}.bn.running_{part}", vector, source)
            for part in ("mean", "var")
        )
        require(
            bool(np.all(variance >= 0)),
            f"{source}: {name}.bn.running_var has negative values",
            DataError,
        )
        gain = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel = (weight * gain[:, None, None, None]).transpose(2, 3, 1, 0)
        bias = beta - mean * gain
        params[name] = {
            "kernel": jnp.asarray(kernel, jnp.float32),
            "bias": jnp.asarray(bias, jnp.float32),
        }
    return params


def _tensor(
    tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], source: str
) -> np.ndarray:
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
