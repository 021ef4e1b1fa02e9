"""Captions: true of their images, readable back, and errors that name the word."""

import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import DataError
from dgm_jax.data import captions

NAMES = ("T-shirt/top", "Bag", "Ankle boot")


def box(height, width, value, size=28):
    image = np.zeros((size, size, 1), np.uint8)
    image[3 : 3 + height, 5 : 5 + width] = value
    return image


def test_measurements_of_boxes():
    images = np.stack([box(10, 4, 200), box(2, 20, 40), box(5, 5, 31)])
    found = captions.measurements(images)
    np.testing.assert_array_equal(found["brightness"], [200, 40, 0])  # 31 is off
    np.testing.assert_array_equal(found["width"], [4, 20, 0])
    np.testing.assert_array_equal(found["height"], [10, 2, 0])
    # more than are measured at once, and none
    many = captions.measurements(np.tile(images, (90, 1, 1, 1)))
    for name, values in found.items():
        np.testing.assert_array_equal(many[name], np.tile(values, 90))
        assert captions.measurements(images[:0])[name].shape == (0,)


def test_words_are_judged_against_the_terciles():
    images = np.stack(
        [
            box(h, 10, v)
            for h, v in zip((4, 8, 12, 16, 20, 24), (40, 60, 80, 100, 120, 240), strict=True)
        ]
    )
    limits = captions.terciles(images)
    words = captions.describe(images, limits)
    measured = captions.measurements(images)
    assert captions.terciles(images[:0], measured) == limits  # what is at hand is not measured
    assert captions.describe(images, limits, measured) == words
    assert words[0] == ("dark", "short") and words[5] == ("bright", "tall") and words[2] == ()
    assert all("wide" not in w and "narrow" not in w for w in words)  # all have one width


def test_every_caption_is_true_and_can_be_read():
    rng = np.random.default_rng(0)
    images = np.stack([box(*rng.integers(2, 22, 2), rng.integers(40, 256)) for _ in range(60)])
    labels = rng.integers(0, 3, 60)
    limits, reader = captions.terciles(images), captions.tokenizer(NAMES)
    texts = captions.captions(images, labels, NAMES, limits, num_texts=6, seed=1)
    assert texts.shape == (60, 6, reader.length) and texts.dtype == np.int32
    adjectives = {word for pair in captions.WORDS.values() for word in pair}
    used = set()
    for label, true, rows in zip(labels, captions.describe(images, limits), texts, strict=True):
        for row in rows:
            text = reader.decode(row)
            np.testing.assert_array_equal(reader.encode(text), row)
            said = set(text.split()) & adjectives
            assert said <= set(true)
            assert any(text.endswith(noun) for noun in captions.nouns(NAMES[label]))
            assert " a a" not in f" {text}" and " an t" not in text and " an b" not in text
            used |= said
    assert used == adjectives
    np.testing.assert_array_equal(
        texts, captions.captions(images, labels, NAMES, limits, num_texts=6, seed=1)
    )
    assert np.any(texts != captions.captions(images, labels, NAMES, limits, num_texts=6, seed=2))


def test_captions_are_drawn_one_after_the_other():
    """The same tokens as by a loop that draws a number at a time, for hundreds of images."""
    rng = np.random.default_rng(2)
    images = np.stack([box(*rng.integers(2, 22, 2), rng.integers(40, 256)) for _ in range(300)])
    labels = rng.integers(0, 3, 300)
    limits, reader = captions.terciles(images), captions.tokenizer(NAMES)
    rng = np.random.default_rng(7)
    expected = []
    for label, words in zip(labels, captions.describe(images, limits), strict=True):
        for _ in range(5):
            chosen = [word for word in words if rng.integers(2)]
            names = captions.nouns(NAMES[label])
            noun = names[rng.integers(len(names))]
            form = captions.FORMS[rng.integers(len(captions.FORMS))]
            expected.append(reader.encode(captions.sentence(form, " ".join([*chosen, noun]))))
    texts = captions.captions(images, labels, NAMES, limits, num_texts=5, seed=7)
    np.testing.assert_array_equal(texts.reshape(-1, reader.length), expected)


def test_articles():
    assert captions.sentence("a photo of a {}", "ankle boot") == "a photo of an ankle boot"
    assert captions.sentence("this is a {}", "dark ankle boot") == "this is a dark ankle boot"


def test_the_longest_caption_fits():
    reader = captions.tokenizer(NAMES)
    assert reader.length == len("a photo of a dark narrow short ankle boot".split())
    assert reader.vocabulary[0] == captions.PAD and len(set(reader.vocabulary)) == len(
        reader.vocabulary
    )


def test_bad_texts():
    reader = captions.tokenizer(NAMES)
    with pytest.raises(DataError, match="unknown word 'boots' .did you mean 'boot'"):
        reader.encode("boots")
    with pytest.raises(DataError, match="has 10 words, at most 9"):
        reader.encode("a " * 10)


def test_real_digits_have_captions():
    dataset = data.load("digits")
    images, labels = dataset.test["image"], dataset.test["label"]
    texts = captions.captions(
        images, labels, dataset.info.class_names, captions.terciles(dataset.train["image"])
    )
    reader = captions.tokenizer(dataset.info.class_names)
    assert all(
        reader.decode(row[0]).endswith(str(label)) for row, label in zip(texts, labels, strict=True)
    )
