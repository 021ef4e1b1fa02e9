"""Arrays by name, of npz files and in memory: none is left out without a word, none is invented."""

import re

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import ConfigError, DataError, DgmError

RNG = np.random.default_rng(3)
X = RNG.integers(0, 256, (20, 5, 4, 1), np.uint8)
Y = np.arange(20) % 4
HELD_OUT = "last fifth of each class held out as test"


def from_npz(tmp_path, arrays, **options):
    np.savez(tmp_path / "a.npz", **arrays)
    return data.load(f"npz:{tmp_path / 'a.npz'}", **options)


def from_memory(tmp_path, arrays, **options):
    return data.from_arrays(arrays, **options)


both = pytest.mark.parametrize("read", [from_npz, from_memory])


@both
@pytest.mark.parametrize(
    ("arrays", "sizes", "notes"),
    [
        ({"x_train": X, "y_train": Y, "x_test": X[:8], "y_test": Y[:8]}, (20, 8, 4), ()),
        ({"x": X, "y": Y}, (16, 4, 4), (HELD_OUT,)),
        ({"x": X}, (16, 4, 1), ("no labels, so one class", HELD_OUT)),
        ({"x": X, "x_test": X[:8]}, (20, 8, 1), ("no labels, so one class",)),
        (
            {"x_train": X, "y_train": Y, "x_val": X[:8], "y_val": Y[:8]},
            (20, 8, 4),
            ("x_val is the test split",),
        ),
        (
            {"train_images": X, "train_labels": Y, "validation_images": X, "validation_labels": Y},
            (20, 20, 4),
            ("validation_images is the test split",),
        ),
        (
            {"x": X, "y": Y, "x_test": X[:8], "y_test": Y[:8], "x_val": X[:4], "y_val": Y[:4]},
            (20, 8, 4),
            ("arrays not read: x_val, y_val",),
        ),
        (
            {"x": X, "y": Y, "mean": Y, "Images": X},
            (16, 4, 4),
            ("arrays not read: Images, mean", HELD_OUT),
        ),
        (
            {"x": X, "y": Y} | {f"extra{i:02}": Y for i in range(13)},
            (16, 4, 4),
            (
                f"arrays not read: {', '.join(f'extra{i:02}' for i in range(10))} and 3 more",
                HELD_OUT,
            ),
        ),
        (
            {"x": X, "y": Y, "x_test": X[:8], "y_test": Y[:8] % 2},
            (20, 8, 4),
            ("no test images of class 2, 3",),
        ),
    ],
)
def test_what_is_read_and_what_is_said(tmp_path, read, arrays, sizes, notes):
    found = read(tmp_path, arrays).info
    assert (found.num_train, found.num_test, found.num_classes) == sizes
    assert found.notes == notes
    assert all(note in found.identity for note in notes)


@both
@pytest.mark.parametrize(
    ("arrays", "message", "mended"),
    [
        (
            {"x_train": X, "y_train": Y, "x_test": X},
            "x_test has no labels, though y_train is there; give labels of both splits, or leave"
            " y_train out .*, or leave x_test out",
            ["y_train", "x_test"],
        ),
        (
            {"x_train": X, "x_test": X, "y_test": Y},
            "x_train has no labels, though y_test is there; .*leave y_test out",
            ["y_test"],
        ),
        (
            {"x_train": X, "y_train": Y, "x_val": X},
            "x_val has no labels, though y_train is there",
            ["y_train", "x_val"],
        ),
        ({"x": X, "y": Y, "y_test": Y}, "y_test are labels without images.*leave", ["y_test"]),
        ({"x": X, "y": Y, "y_val": Y}, "y_val are labels without images", ["y_val"]),
        ({"y_train": Y}, "no array named one of image, .*; found y_train", []),
        ({"x_test": X, "y_test": Y}, "no array named .*; found x_test, y_test", []),
        ({"x": X, "images": X}, "both images and x are there; keep one", ["x", "images"]),
        ({"x": X, "x_val": X, "val_images": X}, "both x_val and val_images", ["x_val"]),
    ],
)
def test_pairs_that_are_not_whole_are_refused_and_the_advice_works(
    tmp_path, read, arrays, message, mended
):
    with pytest.raises(DataError, match=message):
        read(tmp_path, arrays)
    for name in mended:
        assert read(tmp_path, {k: v for k, v in arrays.items() if k != name}).info.num_train > 0


def run_advice(error, images, labels):
    """Runs the code after "fix...: " of a message, up to the first word that is no code."""
    found = re.search(r"; fix.*?: ((?:images|labels)\b.*? = .*)", str(error))
    code = re.split(r", or (?:state|load)", found[1])[0]
    scope = {"images": images, "labels": labels, "np": np}
    exec(code, scope)
    return scope["images"], scope["labels"]


LARGE = RNG.integers(0, 4096, X.shape).astype(np.uint16)
LARGE.flat[0] = 4095
NAMES = np.array(["cat", "dog", "emu", "fox"])


@both
@pytest.mark.parametrize(
    ("images", "labels", "right_images", "right_labels"),
    [
        (LARGE, Y, np.rint(LARGE * (255 / 4095)), Y),
        (LARGE.astype(np.int32), Y, np.rint(LARGE * (255 / 4095)), Y),
        (LARGE // 4, Y, np.rint((LARGE // 4) * (255 / 1023)), Y),
        (LARGE * 16.0, Y, np.rint(LARGE * 16 * (255 / 65535)), Y),
        (X.astype(np.float16), Y, X, Y),
        (X.astype(">i4"), Y, X, Y),
        (X / 255, Y, X, Y),
        (X / 127.5 - 1, Y, X, Y),
        (X > 127, Y, (X > 127) * 255, Y),
        (X[..., 0], Y, X, Y),
        (np.repeat(X, 3, -1).transpose(0, 3, 1, 2), Y, np.repeat(X, 3, -1), Y),
        (np.repeat(X, 4, -1), Y, np.repeat(X, 3, -1), Y),
        (X, Y.astype(np.float32), X, Y),
        (X, np.eye(4)[Y], X, Y),
        (X, Y[:, None], X, Y),
        (X, Y + 1, X, Y),
        (X, np.where(Y == 3, 2**40, Y), X, Y),
        (X, np.where(Y == 3, -1, Y), X[Y < 3], Y[Y < 3]),
        (X, NAMES[Y], X, Y),
        (X, NAMES[Y].astype("S"), X, Y),
    ],
)
def test_the_first_advice_is_followed_and_right(
    tmp_path, read, images, labels, right_images, right_labels
):
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"x": images, "y": labels})
    images, labels = run_advice(caught.value, images, labels)
    np.testing.assert_array_equal(images, right_images)
    np.testing.assert_array_equal(labels, right_labels)
    assert read(tmp_path, {"x": images, "y": labels}).info.num_train > 0


@both
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y + 0.5}, "expected integers, got dtype float64$"),
        ({"x": X, "y": np.where(Y == 1, np.nan, Y)}, "expected integers, got dtype float64$"),
        ({"x": X, "y": Y * 1j}, "expected integers, got dtype complex128$"),
        ({"x": X, "y": Y[:-1]}, "20 images but 19 labels"),
        ({"x": X, "y": np.uint64(2**63) + Y.astype(np.uint64)}, "no example of class 0"),
        ({"x": X, "y": np.int64(3)}, r"expected shape \(20,\), got \(\)"),
        ({"x": X * 1j}, "dtype complex128"),
        ({"x": X[0]}, "got rank 3"),
        ({"x": X[:0], "y": Y[:0]}, "empty"),
        ({"x": X, "y": Y, "x_test": X[:, :3], "y_test": Y}, "but test images are"),
    ],
)
def test_what_no_line_of_code_mends_has_no_advice_that_loses_values(
    tmp_path, read, arrays, message
):
    with pytest.raises(DataError, match=message):
        read(tmp_path, arrays)


def test_arrays_in_memory_are_those_given(tmp_path):
    import jax.numpy as jnp

    halves = np.arange(20) // 10
    arrays = {"x_train": X, "y_train": halves, "x_test": X[8:12], "y_test": halves[8:12]}
    dataset = data.from_arrays(arrays, scaling="unit", num_train=np.int64(10))
    np.testing.assert_array_equal(dataset.train["image"], X[::2])
    np.testing.assert_array_equal(dataset.test["label"], [0, 0, 1, 1])
    assert dataset.info.identity == (
        "arrays[train 10, test 4, unit, no dequantization, 10 of 20 train examples, evenly spaced]"
    )
    on_device = data.from_arrays({k: jnp.asarray(v) for k, v in arrays.items()}, num_train=10)
    from_file = from_npz(tmp_path, arrays, num_train=10)
    assert dataset.info.sha256 == on_device.info.sha256 == from_file.info.sha256
    lists = data.from_arrays({"x": [*X], "y": Y.tolist()})
    assert lists.info.sha256 == data.from_arrays({"x": X, "y": Y}).info.sha256


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        (X, {}, r"expected arrays by name, such as .*got uint8\[20, 5, 4, 1\]"),
        ({1: X}, {}, "expected arrays by name"),
        ({"x": X}, {"image_size": 3}, "no option 'image_size'"),
        ({"x": X}, {"num_classes": 2.5}, "num_classes takes int, got 2.5"),
        ({"x": X}, {"num_train": True}, "num_train takes int, got True"),
        ({"x": X}, {"allow_constant": 1}, "allow_constant takes bool, got 1"),
        ({"x": X}, {"seed": 2**32}, "seed must be at most 4294967295"),
        ({"x": X}, {"seed": 1.0}, "seed must be an integer"),
        ({"x": [X[0], X[1, :3]]}, {}, "mixed sizes"),
        ({"x": np.array([None] * 20)}, {}, "object array"),
        ({"x": X, "y": [[1], [1, 2]]}, {}, "train labels: expected one integer for each image"),
    ],
)
def test_arrays_and_options_that_do_not_fit(arrays, options, message):
    with pytest.raises(DgmError, match=message):
        data.from_arrays(arrays, **options)


@pytest.mark.parametrize("value", [np.int8(7), np.uint64(7), np.asarray(7)[()]])
def test_numpy_integers_are_integers(value):
    found = data.from_arrays({"x": X, "y": Y}, num_classes=value, seed=value).info
    assert found.num_classes == 7 and type(found.seed) is int
    with pytest.raises(ConfigError, match="num_train takes int"):
        data.from_arrays({"x": X}, num_train=float(value))
