"""Sets in the IDX format under the names that copies of them have."""

import gzip

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import DataError
from dgm_jax.data import idx, idx_names

RNG = np.random.default_rng(8)
X = RNG.integers(0, 256, (20, 5, 4), np.uint8)
Y = (np.arange(20) % 4).astype(np.uint8)
PARTS = {"images": (X, 3), "labels": (Y, 1)}


def fill(folder, pattern, tests="t10k", labels=Y):
    """The four files; `pattern` has the split, what is in it and the rank."""
    folder.mkdir(exist_ok=True)
    for split in ("train", tests):
        for what, (array, rank) in PARTS.items():
            array = labels if what == "labels" else array
            idx.write_idx(folder / pattern.format(split, what, rank), array)
    return folder


def load(folder, **options):
    return data.load(f"idx:{folder}", **options)


@pytest.mark.parametrize(
    ("pattern", "tests"),
    [
        ("{}-{}-idx{}-ubyte", "t10k"),
        ("{}-{}-idx{}-ubyte.gz", "t10k"),
        ("{}-{}.idx{}-ubyte", "t10k"),
        ("{}-{}.idx{}-ubyte", "test"),
        ("{}_{}.idx{}.ubyte.gz", "test"),
        ("kmnist-{}-{}-idx{}-ubyte.gz", "t10k"),
        ("set.of.mine-{}-{}-idx{}-ubyte", "test"),
        ("{}-{}-IDX{}-UBYTE", "T10K"),
    ],
)
def test_names_of_copies(tmp_path, pattern, tests):
    dataset = load(fill(tmp_path / "set", pattern, tests))
    for part in (dataset.train, dataset.test):
        np.testing.assert_array_equal(part["image"][..., 0], X)
        np.testing.assert_array_equal(part["label"], Y)
    assert dataset.info.notes == ()


@pytest.mark.parametrize("ending", [".gz", ".GZ", "", ".Gz"])
def test_packed_files_under_any_ending(tmp_path, ending):
    fill(tmp_path / "set", "{}-{}-idx{}-ubyte")
    for path in list((tmp_path / "set").iterdir()):
        content = path.read_bytes()
        path.unlink()
        path.with_name(path.name + ending).write_bytes(gzip.compress(content))
    np.testing.assert_array_equal(load(tmp_path / "set").train["image"][..., 0], X)


def test_emnist_is_turned_upright_and_its_letters_counted_from_zero(tmp_path):
    """As published, an image is its own transpose and the letters are 1..26."""
    letters = fill(tmp_path / "a", "emnist-letters-{}-{}-idx{}-ubyte.gz", "test", Y + 1)
    dataset = load(letters)
    np.testing.assert_array_equal(dataset.train["image"][..., 0], X.transpose(0, 2, 1))
    np.testing.assert_array_equal(dataset.test["label"], Y)
    assert dataset.info.notes == (
        "EMNIST: rows and columns of images exchanged, so that they are upright",
        "EMNIST: labels of letters counted from 0",
    )
    digits = load(fill(tmp_path / "b", "emnist-digits-{}-{}-idx{}-ubyte.gz", "test"))
    np.testing.assert_array_equal(digits.train["label"], Y)
    assert digits.info.notes == dataset.info.notes[:1]


def test_of_several_sets_one_is_chosen(tmp_path):
    fill(tmp_path, "emnist-letters-{}-{}-idx{}-ubyte", "test", Y + 1)
    fill(tmp_path, "emnist-digits-{}-{}-idx{}-ubyte", "test")
    with pytest.raises(DataError, match=r"'emnist-digits', 'emnist-letters'; choose .*prefix="):
        load(tmp_path)
    for name in ("emnist-letters", "emnist-letters-"):
        assert load(tmp_path, prefix=name).info.num_classes == 4
        assert data.load(f"idx:{tmp_path}?prefix={name}").info.num_classes == 4
    with pytest.raises(DataError, match="begin with 'emnist-leters' .did you mean 'emnist-letters"):
        load(tmp_path, prefix="emnist-leters")
    fill(tmp_path, "{}-{}-idx{}-ubyte")  # MNIST's own names come first, the others are named
    found = load(tmp_path)
    np.testing.assert_array_equal(found.train["image"][..., 0], X)
    assert len(found.info.notes) == 1 and "emnist-digits-test-images-idx3" in found.info.notes[0]


def test_files_beside_the_four_are_said(tmp_path):
    fill(tmp_path, "{}-{}-idx{}-ubyte.gz")
    idx.write_idx(tmp_path / "train-images-idx3-ubyte", X[::-1])  # unpacked beside, and older
    idx.write_idx(tmp_path / "valid-images-idx3-ubyte", X)
    (tmp_path / "readme.txt").write_text("x")
    found = load(tmp_path)
    np.testing.assert_array_equal(found.train["image"][..., 0], X)
    assert found.info.notes == (
        "IDX files not read: train-images-idx3-ubyte, valid-images-idx3-ubyte",
    )


@pytest.mark.parametrize("gone", sorted(idx.FILES))
def test_three_files_are_not_enough(tmp_path, gone):
    fill(tmp_path, "emnist-digits-{}-{}-idx{}-ubyte", "test")
    idx_names.find(tmp_path, None).paths[gone].unlink()
    with pytest.raises(DataError, match=f"missing emnist-digits-{idx.FILES[gone]}"):
        load(tmp_path)


def test_labels_from_one_have_advice_that_works(tmp_path):
    fill(tmp_path, "{}-{}-idx{}-ubyte", labels=Y + 1)
    with pytest.raises(DataError, match="1..4, no example of class 0.*or state num_classes"):
        load(tmp_path)
    found = data.load(f"idx:{tmp_path}?num_classes=5").info
    assert found.notes == ("no train images of class 0", "no test images of class 0")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"\0\0\x08\3" + bytes(12), r"an empty array of shape \(0, 0, 0\)"),
        (b"\0\0\x08\3" + bytes(4) + b"\xff" * 8, "an empty array"),
        (b"\0\0\x08\3" + b"\xff" * 12, "claim to unpack to"),
        (b"\0\0\x08\3\0\0\0\1\0\0\0\2\0\0\0\2abc", r"\(1, 2, 2\), 4 bytes; found 3"),
        (b"\0\0\x0d\3" + bytes(12), "unsigned bytes"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_headers_that_no_array_has(tmp_path, header, message, packed):
    fill(tmp_path, "{}-{}-idx{}-ubyte")
    content = gzip.compress(header) if packed else header
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte: .*{message}"):
        load(tmp_path)


def test_a_packed_file_that_unpacks_without_end(tmp_path):
    """Its header claims little: what comes after the claim is not unpacked."""
    fill(tmp_path, "{}-{}-idx{}-ubyte")
    head = b"\0\0\x08\3\0\0\0\1\0\0\0\2\0\0\0\2"
    (tmp_path / "train-images-idx3-ubyte").write_bytes(gzip.compress(head + bytes(10**7)))
    with pytest.raises(DataError, match="4 bytes; found more than 4"):
        load(tmp_path)
