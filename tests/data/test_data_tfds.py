"""tensorflow-datasets without tensorflow: small sets prepared here, then read back."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from dgm_jax import data
from dgm_jax.core import ConfigError, DataError
from dgm_jax.data import idx, mapped, tfds_idx

RNG = np.random.default_rng(2)
PICTURES = RNG.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)


class TinyShapes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Random images with a label; `mixed` varies their height."""

    VERSION = tfds.core.Version("1.0.0")
    mixed = False

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, 5, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=["round", "square", "star"]),
                    "other": tfds.features.Scalar(np.int32),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(range(20)),
            "test": self._generate_examples(range(20, 30)),
        }

    def _generate_examples(self, rows):
        for i in rows:
            height = 6 - (i % 2 if self.mixed else 0)
            yield i, {"image": Image.fromarray(PICTURES[i, :height]), "label": i % 3, "other": i}


class MixedShapes(TinyShapes, skip_registration=True):
    """The same with two heights."""

    mixed = True


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    for builder in (TinyShapes, MixedShapes):
        builder(data_dir=str(path), file_format="array_record").download_and_prepare()
    return path


def as_set(images, labels):
    return {(x.tobytes(), int(y)) for x, y in zip(images, labels, strict=True)}


def test_a_prepared_set_is_read_exactly(data_dir):
    dataset = data.load("tfds:tiny_shapes", data_dir=data_dir)
    assert (
        dataset.train["image"].shape == (20, 6, 5, 3) and dataset.train["image"].dtype == np.uint8
    )
    assert as_set(dataset.train["image"], dataset.train["label"]) == as_set(
        PICTURES[:20], np.arange(20) % 3
    )
    assert as_set(dataset.test["image"], dataset.test["label"]) == as_set(
        PICTURES[20:], np.arange(20, 30) % 3
    )
    assert dataset.info.class_names == ("round", "square", "star")
    assert (
        dataset.info.identity == "tfds:tiny_shapes[train 20, test 10, symmetric, no dequantization]"
    )
    assert "tiny_shapes/1.0.0" in dataset.info.source


def test_a_large_set_is_decoded_once_into_files(data_dir, tmp_path, monkeypatch):
    name = "tfds:tiny_shapes"
    in_memory = data.load(name, data_dir=data_dir)
    monkeypatch.setenv("DGM_JAX_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(mapped, "MAPPED_BYTES", 100)
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 300)  # three images
    for _ in range(2):
        found = data.load(name, data_dir=data_dir)
        assert found.info == in_memory.info
        np.testing.assert_array_equal(found.train["image"], in_memory.train["image"])
        assert isinstance(mapped._root(found.train["image"]), np.memmap)
    with pytest.raises(DataError, match="mixed sizes.*image_size"):
        data.load("tfds:mixed_shapes", data_dir=data_dir)


def test_the_folder_named_by_the_environment(data_dir, monkeypatch):
    monkeypatch.setenv("DGM_JAX_DATA", str(data_dir))
    assert data.load("tfds:tiny_shapes:1.0.0").info.num_train == 20


def test_slices_and_resizing_are_said(data_dir):
    info = data.load(
        "tfds:tiny_shapes",
        data_dir=data_dir,
        train_split="train[:75%]",
        test_split="train[75%:]",
        image_size=4,
    ).info
    assert (info.num_train, info.num_test, info.shape) == (15, 5, (4, 4, 3))
    assert info.identity.endswith("splits train[:75%] and train[75%:], resized to 4x4]")


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("tfds:mixed_shapes", {}, DataError, "mixed sizes.*image_size"),
        (
            "tfds:tiny_shapes",
            {"test_split": "validation"},
            ConfigError,
            "no split 'validation'; it has test, train",
        ),
        (
            "tfds:tiny_shapes",
            {"image_key": "picture"},
            DataError,
            "no feature 'picture'; it has image, label, other",
        ),
        ("tfds:tiny_shaps", {}, ConfigError, "knows no set 'tiny_shaps'"),
        ("tfds:cifr10", {}, ConfigError, "did you mean 'cifar10'"),
        ("cifar10", {}, DataError, "'cifar10' is not prepared in .*download=True"),
        ("tfds:emnist/nope", {}, ConfigError, "cannot open 'emnist/nope'"),
    ],
)
def test_what_cannot_be_read_says_why(data_dir, name, options, error, message):
    with pytest.raises(error, match=message):
        data.load(name, data_dir=data_dir, **options)


class OddSets(TinyShapes, skip_registration=True):
    """A third split, labels beyond int32, and features that are no image or no label."""

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, 5, 3), encoding_format="png"),
            "deep": tfds.features.Tensor(shape=(4, 5, 1), dtype=np.uint16),
            "label": tfds.features.Scalar(np.int64),
            "two": tfds.features.Tensor(shape=(2,), dtype=np.int32),
            "share": tfds.features.Scalar(np.float32),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        rows = {"train": range(20), "test": range(20, 30), "extra": range(3), "far": range(30, 32)}
        return {split: self._generate_examples(numbers) for split, numbers in rows.items()}

    def _generate_examples(self, rows):
        for i in rows:
            yield (
                i,
                {
                    "image": Image.fromarray(PICTURES[i % 30]),
                    "deep": np.full((4, 5, 1), 300, np.uint16),
                    "label": 2**32 + 1 if i >= 30 else i % 3,
                    "two": np.zeros(2, np.int32),
                    "share": 0.5,
                },
            )


@pytest.fixture(scope="module")
def odd_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("odd")
    OddSets(data_dir=str(path), file_format="array_record").download_and_prepare()
    return path


def test_splits_that_are_not_read_are_said(odd_dir):
    info = data.load("tfds:odd_sets", data_dir=odd_dir).info
    assert info.notes == ("splits not read: extra, far",)
    info = data.load("tfds:odd_sets", data_dir=odd_dir, test_split="train[:50%]").info
    assert info.notes[:2] == (
        "splits not read: extra, far, test",
        "10 examples are in both splits",
    )


def test_examples_of_both_splits_are_counted(data_dir):
    for train, test, both in (
        ("train[:75%]", "train[75%:]", 0),
        ("train[:15]", "train[12:]", 3),
        ("train+test", "test", 10),
    ):
        options = {"train_split": train, "test_split": test}
        notes = data.load("tfds:tiny_shapes", data_dir=data_dir, **options).info.notes
        assert (f"{both} examples are in both splits" in notes) == (both > 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_key": "deep"}, DataError, "deep is uint16 of shape .*, expected uint8"),
        ({"image_key": "two"}, DataError, "two is int32 of shape .2,., expected uint8"),
        ({"label_key": "two"}, DataError, "two is int32 of shape .2,., expected one whole"),
        ({"label_key": "share"}, DataError, "share is float32 of shape .., expected one whole"),
        ({"test_split": "far"}, DataError, r"test labels: expected 0\.\.2, got 4294967297"),
        ({"test_split": "test[:0]"}, ConfigError, "tfds test.:0.: no examples in it"),
        ({"test_split": "test[:"}, DataError, "test.: cannot be read"),
        ({"test_split": "test[:900%]"}, DataError, "test.:900%. cannot be read"),
        ({"image_size": 10**9}, ConfigError, "image_size must be at most 8192"),
        ({"image_size": 0}, ConfigError, "image_size must be an integer of at least 1"),
        ({"train_split": 3}, ConfigError, "train_split takes str, got 3"),
        ({"download": "yes"}, ConfigError, "download takes bool, got the text 'yes'"),
    ],
)
def test_features_and_options_that_do_not_fit(odd_dir, options, error, message):
    with pytest.raises(error, match=message):
        data.load("tfds:odd_sets", data_dir=odd_dir, **options)


def test_mixed_sizes_can_be_resized(data_dir):
    assert data.load("tfds:mixed_shapes", data_dir=data_dir, image_size=5).info.shape == (5, 5, 3)


def write_fashion(path, num=20):
    pictures = RNG.integers(0, 256, (num, 28, 28), dtype=np.uint8)
    labels = (np.arange(num) % 10).astype(np.uint8)
    for key in idx.FILES:
        idx.write_idx(path / f"{idx.FILES[key]}.gz", pictures if key.endswith("images") else labels)
    return pictures, labels


def test_fashion_mnist_prepared_from_idx_files_reads_back(tmp_path, capsys):
    (tmp_path / "source").mkdir()
    pictures, labels = write_fashion(tmp_path / "source")
    arguments = ["--source", str(tmp_path / "source"), "--data_dir", str(tmp_path / "tfds")]
    assert tfds_idx.main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("NOT the published file") == 4 and "prepared " in out
    dataset = data.load("fashion_mnist", data_dir=tmp_path / "tfds")
    assert as_set(dataset.train["image"], dataset.train["label"]) == as_set(pictures, labels)
    assert (
        dataset.info.class_names[0] == "T-shirt/top"
        and "fashion_mnist/3.0.1" in dataset.info.source
    )
    plain = tfds.data_source(
        "fashion_mnist", data_dir=str(tmp_path / "tfds"), split="test", download=False
    )
    assert len(plain) == 20 and plain[0]["image"].shape == (28, 28, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--require_verified"], "not all files are the published ones"),
        ([], "error: "),
    ],
)
def test_preparation_refuses_what_it_should(tmp_path, capsys, arguments, message):
    source = tmp_path / "source"
    source.mkdir()
    if arguments:
        write_fashion(source)
    assert (
        tfds_idx.main(["--source", str(source), "--data_dir", str(tmp_path / "tfds"), *arguments])
        == 2
    )
    assert message in capsys.readouterr().out
    assert not (tmp_path / "tfds" / "fashion_mnist").exists()


def test_a_damaged_file_is_named(tmp_path):
    TinyShapes(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    for path in tmp_path.rglob("*train*array_record*"):
        content = path.read_bytes()
        path.write_bytes(content[:100] + bytes(1900) + content[2000:])
    with pytest.raises(DataError, match="tiny_shapes/1.0.0 in .*: train cannot be read"):
        data.load("tfds:tiny_shapes", data_dir=tmp_path)
