"""Captions for labeled images, and a small tokenizer for them.

A caption names the class and sometimes what can be computed from the pixels: dark or bright, wide
or narrow, tall or short, relative to the terciles of the training images. "a photo of a dark wide
pullover" is true of its image.
"""

import itertools
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from dgm_jax.core import DataError, did_you_mean, require

PAD = "<pad>"
FORMS = ("a {}", "a photo of a {}", "this is a {}", "{}")
WORDS = {"brightness": ("dark", "bright"), "width": ("narrow", "wide"), "height": ("short", "tall")}
ON = 32  # a pixel belongs to the object if its value is at least this

Measurements = dict[str, np.ndarray]

_AT_ONCE = 100  # images whose pixels as float64 stay in a processor's cache


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


def measurements(images: np.ndarray) -> Measurements:
    """Measure brightness, width and height of the object in each image.

    Brightness is the mean of the object's pixels (at least `ON`); width and height are those of
    their bounding box. All are 0 for an empty image.

    Args:
        images: uint8[N, H, W, C].

    Returns:
        {"brightness", "width", "height"}, each [N].
    """
    starts = range(0, max(1, len(images)), _AT_ONCE)
    parts = [_measured(images[start : start + _AT_ONCE]) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measured(images: np.ndarray) -> Measurements:
    gray = images[..., 0] if images.shape[-1] == 1 else images.mean(axis=-1)
    on = gray >= ON
    num_on = on.sum(axis=(1, 2))
    total = (gray * on).sum(axis=(1, 2), dtype=float)
    brightness = total / np.maximum(num_on, 1)
    width = _extent(np.asarray(on.any(axis=1)))
    height = _extent(np.asarray(on.any(axis=2)))
    return {"brightness": brightness, "width": width, "height": height}


def _extent(on: np.ndarray) -> np.ndarray:
    """Distance [N] from the first to the last true entry of each row, both included."""
    before = on.argmax(axis=1)
    after = on[:, ::-1].argmax(axis=1)
    extent = on.shape[1] - before - after
    is_on = on.any(axis=1)
    return np.where(is_on, extent, 0)


def terciles(
    images: np.ndarray, measured: Measurements | None = None
) -> dict[str, tuple[float, float]]:
    """Compute the values below which a third and two thirds of the images lie.

    Args:
        images: uint8[N, H, W, C].
        measured: `measurements(images)`, if they are at hand.

    Returns:
        For each of the `measurements`, its lower and its upper tercile.
    """
    measured = measurements(images) if measured is None else measured
    return {name: tuple(np.quantile(values, (1 / 3, 2 / 3))) for name, values in measured.items()}


def describe(
    images: np.ndarray,
    limits: dict[str, tuple[float, float]],
    measured: Measurements | None = None,
) -> list[tuple[str, ...]]:
    """List the words that are true of each image.

    Args:
        images: uint8[N, H, W, C].
        limits: lower and upper limit of each measurement, from `terciles`.
        measured: `measurements(images)`, if they are at hand.

    Returns:
        For each image the words of `WORDS` whose measurement is strictly below the lower limit, or
        strictly above the upper one.
    """
    side_of = np.zeros(len(images), np.int64)  # a digit for each measurement: 0 neither, 1, 2
    measured = measurements(images) if measured is None else measured
    for name, values in measured.items():
        low, high = limits[name]
        side_of = 3 * side_of + np.where(values < low, 1, np.where(values > high, 2, 0))
    pairs = WORDS.values()
    listed = []
    for sides in itertools.product(range(3), repeat=len(pairs)):
        listed.append(
            tuple(pair[side - 1] for side, pair in zip(sides, pairs, strict=True) if side)
        )
    return [listed[number] for number in side_of.tolist()]


def captions(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    limits: dict[str, tuple[float, float]],
    *,
    num_texts: int = 4,
    seed: int = 0,
    measured: Measurements | None = None,
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
        measured: `measurements(images)`, if they are at hand.

    Returns:
        int32[N, num_texts, L].
    """
    true_words = describe(images, limits, measured)
    groups: dict[tuple[int, tuple[str, ...]], int] = {}  # images of which the same is true
    group_of = np.array(
        [
            groups.setdefault((int(label), words), len(groups))
            for label, words in zip(labels, true_words, strict=True)
        ]
    )
    listed = list(groups)
    num_words = np.array([len(words) for _, words in listed])[group_of]
    num_names = np.array([len(nouns(class_names[label])) for label, _ in listed])[group_of]
    choices = _choices(num_words, num_names, num_texts, np.random.default_rng(seed))
    # A few hundred different captions serve all images.
    shape = len(listed), 2 ** len(WORDS), num_names.max(), len(FORMS)
    numbers = np.ravel_multi_index((np.repeat(group_of, num_texts), *choices), shape)
    different, which = np.unique(numbers, return_inverse=True)
    reader = tokenizer(class_names)
    encoded = []
    for group, said, name, form in zip(*np.unravel_index(different, shape), strict=True):
        label, words = listed[group]
        chosen = [word for index, word in enumerate(words) if said >> index & 1]
        noun = nouns(class_names[label])[name]
        encoded.append(reader.encode(sentence(FORMS[form], " ".join([*chosen, noun]))))
    return np.stack(encoded)[which.reshape(len(images), num_texts)]


def _choices(
    num_words: np.ndarray, num_names: np.ndarray, num_texts: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chooses words, a name and a form for each caption, [N * num_texts] each.

    Bit i of the first says whether word i is in the caption. All are drawn at once, in the order of
    the captions: 0 or 1 for each word, then the name, then the form.
    """
    num_words = np.repeat(num_words, num_texts)
    ends = np.cumsum(num_words + 2)
    limits = np.full(ends[-1], 2)
    limits[ends - 2] = np.repeat(num_names, num_texts)
    limits[ends - 1] = len(FORMS)
    drawn = rng.integers(limits)
    said = np.zeros(len(ends), np.int64)
    for index in range(len(WORDS)):
        has = num_words > index
        said[has] += drawn[(ends - 2 - num_words)[has] + index] << index
    return said, drawn[ends - 2], drawn[ends - 1]


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
