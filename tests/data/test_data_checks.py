"""Every bad set of images has an error of its own, before anything compiles."""

import numpy as np
import pytest

from dgm_jax.core import ConfigError, DataError, DgmError
from dgm_jax.data import check_images

RNG = np.random.default_rng(0)
GOOD = RNG.integers(0, 256, (12, 6, 5, 1), dtype=np.uint8)
LABELS = np.arange(12) % 3


def poked(value, dtype=np.float32):
    x = (GOOD / 255).astype(dtype)
    x[7, 2, 3, 0] = value
    return x


BAD_PIXELS = {
    "floats 0..255 for unit": (
        GOOD.astype(np.float32),
        "unit",
        r"min 0, max 255, mean .*0\.\.255; fix: images = images / 255$",
    ),
    "floats 0..255 for symmetric": (
        GOOD * 1.0,
        "symmetric",
        r"expected floats in \[-1, 1\].*images / 255 \* 2 - 1",
    ),
    "symmetric for a Bernoulli": (
        GOOD / 127.5 - 1,
        "unit",
        r"look like \[-1, 1\]; fix: images = \(images \+ 1\) / 2",
    ),
    "floats 0..255 as stored pixels": (
        GOOD * 1.0,
        "uint8",
        r"fix for 0\.\.255: images = images.round\(\).astype\('uint8'\)",
    ),
    "unit floats as stored pixels": (
        GOOD / 255,
        "uint8",
        r"fix for \[0, 1\]: images = \(images \* 255\)",
    ),
    "symmetric floats as stored pixels": (GOOD / 127.5 - 1, "uint8", r"fix for \[-1, 1\]"),
    "uint16": (
        GOOD.astype(np.uint16) * 257,
        "uint8",
        r"uint16 with min 0, max 65535.*16-bit pixels",
    ),
    "int64": (
        GOOD.astype(np.int64),
        "uint8",
        r"got int64 .*fix: images = images.astype\('uint8'\)",
    ),
    "bool": (GOOD > 100, "uint8", r"got bool.*astype\('uint8'\) \* 255"),
    "complex": (GOOD * 1j, "uint8", r"got dtype complex128"),
    "NaN": (
        poked(np.nan),
        "unit",
        r"1 pixels are NaN or infinite in 1 of 12 images, first in image 7",
    ),
    "infinite": (poked(np.inf, np.float64), "uint8", r"NaN or infinite .* image 7; expected uint8"),
    "negative": (poked(-0.5), "unit", r"min -0\.5.*\[-1, 1\]"),
    "just above": (poked(1.01), "unit", r"max 1\.01"),
    "uint8 for a unit model": (GOOD, "unit", r"got uint8 .*data.to_model_range\(images, 'unit'\)"),
    "constant": (
        np.concatenate([GOOD, np.full((1, 6, 5, 1), 9, np.uint8)]),
        "uint8",
        r"1 of 13 images are constant .*first image 12 with value 9",
    ),
    "all black": (np.zeros_like(GOOD), "uint8", r"12 of 12 images are constant"),
}

BAD_LAYOUTS = {
    "no channel axis": (
        GOOD[..., 0],
        r"rank 4 \(N, H, W, C\), got rank 3 \(12, 6, 5\); fix .*images\[\.\.\., None\]",
    ),
    "flat": (
        GOOD.reshape(12, -1),
        r"got rank 2 \(12, 30\); fix: images = images.reshape\(N, H, W, C\)",
    ),
    "one image": (GOOD[0, 0], r"got rank 2"),
    "rank 5": (GOOD[None], r"got rank 5"),
    "channels first": (
        np.repeat(GOOD, 3, -1).transpose(0, 3, 1, 2),
        r"\(N, C, H, W\); fix: .*transpose\(0, 2, 3, 1\)",
    ),
    "grey channels first": (GOOD.transpose(0, 3, 1, 2), r"transpose\(0, 2, 3, 1\)"),
    "alpha": (np.repeat(GOOD, 4, -1), r"alpha channel; fix: images = images\[\.\.\., :3\]"),
    "many channels": (np.repeat(GOOD, 13, -1), r"C = 1 or 3, got \(12, 6, 5, 13\)"),
    "empty": (GOOD[:0], r"empty array of shape \(0, 6, 5, 1\)"),
    "no pixels": (GOOD[:, :0], r"empty array"),
    "object array": (
        np.array([GOOD[0], GOOD[1, :3]], dtype=object),
        r"object array of shape \(2,\).*np.stack",
    ),
    "list of mixed sizes": ([GOOD[0], GOOD[1, :3]], r"mixed sizes"),
}

BAD_LABELS = {
    "off by one": (
        LABELS + 1,
        3,
        r"expected 0\.\.2, got 1\.\.3; off by one; fix: labels = labels - 1",
    ),
    "off by one, classes not stated": (
        LABELS + 1,
        None,
        r"1\.\.3, no example of class 0.*off by one",
    ),
    "too large": (LABELS * 5, 3, r"got 0\.\.10; num_classes is 3"),
    "negative": (LABELS - 1, 3, r"got -1\.\.1"),
    "floats": (
        LABELS * 1.0,
        3,
        r"expected integers, got dtype float64; fix: labels = labels.astype\('int32'\)",
    ),
    "strings": (LABELS.astype(str), 3, r"expected integers, got dtype <U"),
    "objects": (LABELS.astype(object), 3, r"got dtype object"),
    "one-hot": (np.eye(3, dtype=int)[LABELS], 3, r"labels.argmax\(-1\)$"),
    "one-hot floats": (np.eye(3)[LABELS], 3, r"\(12, 3\); fix .*labels = labels.argmax\(-1\)$"),
    "one-hot float32": (np.eye(3, dtype=np.float32)[LABELS], None, r"labels.argmax\(-1\)$"),
    "one-hot bools": (np.eye(3, dtype=bool)[LABELS], None, r"labels.argmax\(-1\)$"),
    "a column": (LABELS[:, None], 3, r"\(12, 1\); fix: labels = labels\[:, 0\]$"),
    "more classes than images can mean": (
        LABELS * 2**40,
        None,
        r"0\.\.2199023255552 would be 2199023255553 classes for 12 images, expected at most 1000;",
    ),
    "too few": (LABELS[:-1], 3, r"12 images but 11 labels"),
}


@pytest.mark.parametrize("case", BAD_PIXELS)
def test_bad_pixels(case):
    images, pixels, message = BAD_PIXELS[case]
    with pytest.raises(DataError, match=message) as caught:
        check_images(images, split="test", pixels=pixels)
    assert "test images" in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize("case", BAD_LAYOUTS)
def test_bad_layouts(case):
    images, message = BAD_LAYOUTS[case]
    with pytest.raises(DataError, match=message):
        check_images(images)


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels(case):
    labels, num_classes, message = BAD_LABELS[case]
    with pytest.raises(DataError, match=message):
        check_images(GOOD, labels, num_classes=num_classes)


@pytest.mark.parametrize("dtype", [int, np.uint8, bool, np.float32, float])
def test_the_first_advice_for_one_hot_labels_mends_them(dtype):
    rows = np.eye(3)[LABELS].astype(dtype)
    with pytest.raises(DataError) as caught:
        check_images(GOOD, rows)
    scope = {"labels": rows}
    exec(str(caught.value).split("fix for one-hot rows: ")[1], scope)
    np.testing.assert_array_equal(scope["labels"], LABELS)
    assert check_images(GOOD, scope["labels"]) is None


def test_the_advice_for_a_far_label_mends_it():
    far = np.where(LABELS == 2, 2**40, LABELS)
    with pytest.raises(DataError) as caught:
        check_images(GOOD, far)
    scope = {"labels": far, "np": np}
    exec(str(caught.value).split("that occur: ")[1].split(", or state")[0], scope)
    np.testing.assert_array_equal(scope["labels"], LABELS)


@pytest.mark.parametrize("num_classes", [26, 100, 1000])
def test_a_few_images_of_many_classes_are_no_mistake(num_classes):
    few = np.where(np.arange(12) == 5, num_classes - 1, LABELS)
    assert check_images(GOOD, few) is None


def test_every_bad_set_has_its_own_message():
    messages = []
    for images, pixels in [(x, p) for x, p, _ in BAD_PIXELS.values()] + [
        (x, "uint8") for x, _ in BAD_LAYOUTS.values()
    ]:
        with pytest.raises(DgmError) as caught:
            check_images(images, pixels=pixels)
        messages.append(str(caught.value))
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize(
    ("images", "pixels"),
    [
        (GOOD, "uint8"),
        (GOOD / 255, "unit"),
        ((GOOD / 127.5 - 1).astype(np.float32), "symmetric"),
        (np.repeat(GOOD, 3, -1), "uint8"),
        (GOOD[:, :3, :3], "uint8"),
    ],
)
def test_good_images_pass(images, pixels):
    assert check_images(images, LABELS, pixels=pixels, num_classes=3, batch_size=12) is None
    assert check_images(images, LABELS.astype(np.uint8), pixels=pixels) is None


@pytest.mark.parametrize("batch_size", [13, 0, -1, 2.0, True])
def test_batch_must_fit_the_data(batch_size):
    expected = (
        "batch_size 13 is larger than the 12 examples of the train"
        if batch_size == 13
        else "positive integer"
    )
    with pytest.raises(ConfigError, match=expected):
        check_images(GOOD, LABELS, batch_size=batch_size)


def test_constant_images_can_be_allowed():
    assert check_images(np.zeros_like(GOOD), allow_constant=True) is None
    with pytest.raises(ConfigError, match="pixels is one of"):
        check_images(GOOD, pixels="bytes")
