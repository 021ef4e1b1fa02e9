"""Captions for labeled images, and a small tokenizer for them.

A caption names the class and sometimes what can be computed from the pixels: dark or bright, wide
or narrow, tall or short, relative to the terciles of the training images. "a photo of a dark wide
pullover" is true of its image.
"""

import functools
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import DataError, did_you_mean, require

PAD = "<pad>"
FORMS = ("a {}", "a photo of a {}", "this is a {}", "{}")
WORDS = {"brightness": ("dark", "bright"), "width": ("narrow", "wide"), "height": ("short", "tall")}
ON = 32  # a pixel belongs to the object if its value is at least this


class Tokenizer(NamedTuple):
    """A fixed vocabulary, with ids in its order.

    Attributes:
        vocabulary: word i has the id i; id 0 is the padding.
        length: number of tokens of every encoded text.
    """

    vocabulary: tuple[str, ...]
    length: int

    def encode(self, text: str) -> np.ndarray:
        """Convert a text to ids, padded to `length`.

        Args:
            text: words; case and punctuation are ignored.

        Returns:
            int32[length].

        Raises:
            DataError: for an unknown word (the message suggests the nearest) or too many words.
        """
        words = re.findall(r"[\w-]+", text.lower())
        ids = {word: index for index, word in enumerate(self.vocabulary)}
        for word in words:
            if word not in ids:
                hint = did_you_mean(word, self.vocabulary[1:])
                raise DataError(f"unknown word {word!r}{hint} in {text!r}")
        num_words = len(words)
        require(
            num_words <= self.length,
            f"{text!r} has {num_words} words, at most {self.length} fit",
            DataError,
        )
        tokens = [ids[word] for word in words]
        tokens += [0] * (self.length - num_words)
        return np.array(tokens, np.int32)

    def decode(self, tokens: Iterable[Any]) -> str:
        """Convert ids back to words.

        Args:
            tokens: int[length].

        Returns:
            The words, separated by spaces, without padding.
        """
        words = []
        for token in tokens:
            index = int(token)
            if index != 0:
                words.append(self.vocabulary[index])
        return " ".join(words)


def tokenizer(class_names: tuple[str, ...]) -> Tokenizer:
    """Build the tokenizer for the captions of these classes, with words in alphabetical order.

    Args:
        class_names: names of the classes, see `nouns`.

    Returns:
        A `Tokenizer` long enough for the longest caption.
    """
    split_nouns = []
    for name in class_names:
        for noun in nouns(name):
            split_nouns.append(noun.split())
    split_forms = []
    for form in FORMS:
        text = form.replace("{}", "")
        split_forms.append(text.split())
    words = {"an"}
    words.update(*split_nouns)
    words.update(*split_forms)
    words.update(*WORDS.values())
    vocabulary = (PAD, *sorted(words))
    longest_noun = max(map(len, split_nouns))
    longest_form = max(map(len, split_forms))
    length = longest_form + len(WORDS) + longest_noun
    return Tokenizer(vocabulary, length)


def nouns(class_name: str) -> tuple[str, ...]:
    """List the ways to name a class: "T-shirt/top" is a "t-shirt" or a "top".

    Args:
        class_name: the name, with alternatives separated by slashes.

    Returns:
        The alternatives in lower case.
    """
    alternatives = class_name.split("/")
    return tuple(alternative.strip().lower() for alternative in alternatives)


def measurements(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measure brightness, width and height of the object in each image.

    Brightness is the mean of the object's pixels (at least `ON`); width and height are those of
    their bounding box. All are 0 for an empty image.

    Args:
        images: uint8[N, H, W, C].

    Returns:
        {"brightness", "width", "height"}, each [N].
    """
    gray = images.mean(axis=-1)
    on = gray >= ON
    num_on = on.sum(axis=(1, 2))
    total = (gray * on).sum(axis=(1, 2))
    brightness = total / np.maximum(num_on, 1)
    width = _extent(on.any(axis=1))
    height = _extent(on.any(axis=2))
    return {"brightness": brightness, "width": width, "height": height}


def _extent(on: np.ndarray) -> np.ndarray:
    """Distance [N] from the first to the last true entry of each row, both included."""
    before = on.argmax(axis=1)
    after = on[:, ::-1].argmax(axis=1)
    extent = on.shape[1] - before - after
    is_on = on.any(axis=1)
    return np.where(is_on, extent, 0)


def terciles(images: np.ndarray) -> dict[str, tuple[float, float]]:
    """Compute the values below which a third and two thirds of the images lie.

    Args:
        images: uint8[N, H, W, C].

    Returns:
        For each of the `measurements`, its lower and its upper tercile.
    """
    return {
        name: tuple(np.quantile(values, (1 / 3, 2 / 3)))
        for name, values in measurements(images).items()
    }


def describe(images: np.ndarray, limits: dict[str, tuple[float, float]]) -> list[tuple[str, ...]]:
    """List the words that are true of each image.

    Args:
        images: uint8[N, H, W, C].
        limits: lower and upper limit of each measurement, from `terciles`.

    Returns:
        For each image the words of `WORDS` whose measurement is strictly below the lower limit, or
        strictly above the upper one.
    """
    words_of: list[list[str]] = [[] for _ in images]
    for name, values in measurements(images).items():
        low, high = limits[name]
        below, above = WORDS[name]
        for words, value in zip(words_of, values, strict=True):
            if value < low:
                words.append(below)
            elif value > high:
                words.append(above)
    return [tuple(words) for words in words_of]


def captions(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    limits: dict[str, tuple[float, float]],
    *,
    num_texts: int = 4,
    seed: int = 0,
) -> np.ndarray:
    """Write captions for images, as tokens of `tokenizer(class_names)`.

    Each caption takes a random form, a random name of the class, and every word of `describe` with
    probability 1/2.

    Args:
        images: uint8[N, H, W, C].
        labels: int[N], indices into class_names.
        class_names: names of the classes.
        limits: from `terciles`.
        num_texts: captions for each image.
        seed: of the random choices.

    Returns:
        int32[N, num_texts, L].
    """
    rng = np.random.default_rng(seed)
    true_words = describe(images, limits)
    reader = tokenizer(class_names)
    names_by_label = [nouns(name) for name in class_names]
    encoded = []

    @functools.cache
    def number_of(form: str, *words: str) -> int:
        # A few hundred different captions serve all images.
        text = sentence(form, " ".join(words))
        encoded.append(reader.encode(text))
        return len(encoded) - 1

    def random_caption(label: int, words: tuple[str, ...]) -> int:
        names = names_by_label[label]
        chosen = [word for word in words if rng.integers(2)]
        noun = names[rng.integers(len(names))]
        form = FORMS[rng.integers(len(FORMS))]
        return number_of(form, *chosen, noun)

    numbers = []
    for label, words in zip(labels, true_words, strict=True):
        numbers.append([random_caption(label, words) for _ in range(num_texts)])
    return np.stack(encoded)[np.array(numbers)]


def sentence(form: str, phrase: str) -> str:
    """Insert a phrase into a form; "a" becomes "an" before a vowel.

    Args:
        form: a text with one `{}`, such as those of `FORMS`.
        phrase: the words to insert.

    Returns:
        The sentence.
    """
    text = form.format(phrase)
    return re.sub(r"\ba (?=[aeiou])", "an ", text)
