"""Captions in words for labelled images, and the small tokenizer that reads them.

A caption names the class and, now and then, what can be computed from the pixels: dark or bright,
wide or narrow, tall or short, judged against the terciles of the training images. "a photo of a
dark wide pullover" is true of its image.
"""

import re
from typing import NamedTuple

import numpy as np

from dgm_jax.core import DataError, did_you_mean, require

PAD = "<pad>"
FORMS = ("a {}", "a photo of a {}", "this is a {}", "{}")
WORDS = {"brightness": ("dark", "bright"), "width": ("narrow", "wide"), "height": ("short", "tall")}
ON = 32  # a pixel of at least this value belongs to the object


class Tokenizer(NamedTuple):
    """Words and ids: id i is vocabulary[i], id 0 is the padding. length: tokens of every text."""

    vocabulary: tuple[str, ...]
    length: int

    def encode(self, text: str) -> np.ndarray:
        """int32[length], filled up with padding. `DataError` for an unknown word (the nearest is
        named) or a long text."""
        words = re.findall(r"[\w-]+", text.lower())
        ids = {word: index for index, word in enumerate(self.vocabulary)}
        for word in words:
            require(
                word in ids,
                f"unknown word {word!r}{did_you_mean(word, self.vocabulary[1:])} in {text!r}",
                DataError,
            )
        require(
            len(words) <= self.length,
            f"{text!r} has {len(words)} words, at most {self.length} fit",
            DataError,
        )
        return np.array([ids[word] for word in words] + [0] * (self.length - len(words)), np.int32)

    def decode(self, tokens) -> str:
        """The words of int[length], without padding."""
        return " ".join(self.vocabulary[int(i)] for i in tokens if int(i) != 0)


def tokenizer(class_names: tuple[str, ...]) -> Tokenizer:
    """For the captions of these classes, every word in the order of the alphabet."""
    longest = max(len(noun.split()) for name in class_names for noun in nouns(name))
    fixed = (
        " ".join(FORMS).replace("{}", "").split()
        + ["an"]
        + [w for pair in WORDS.values() for w in pair]
    )
    words = {word for name in class_names for noun in nouns(name) for word in noun.split()} | set(
        fixed
    )
    longest_form = max(len(form.replace("{}", "").split()) for form in FORMS)
    return Tokenizer((PAD, *sorted(words)), longest_form + len(WORDS) + longest)


def nouns(class_name: str) -> tuple[str, ...]:
    """The ways to name a class: "T-shirt/top" is a "t-shirt" or a "top"."""
    return tuple(part.strip().lower() for part in class_name.split("/"))


def measurements(images: np.ndarray) -> dict[str, np.ndarray]:
    """brightness, width and height [N] of the object in uint8 images [N, H, W, C].

    Brightness is the mean of the pixels that are on (`ON`), width and height are those of their
    bounding box; an empty image has zeros.
    """
    grey = images.mean(axis=-1)
    on = grey >= ON
    columns, rows = on.any(axis=1), on.any(axis=2)
    extent = lambda hit: np.where(
        hit.any(1), hit.shape[1] - hit.argmax(1) - hit[:, ::-1].argmax(1), 0
    )
    count = np.maximum(on.sum(axis=(1, 2)), 1)
    return {
        "brightness": (grey * on).sum(axis=(1, 2)) / count,
        "width": extent(columns),
        "height": extent(rows),
    }


def terciles(images: np.ndarray) -> dict[str, tuple[float, float]]:
    """The values below which a third and two thirds of the images lie, for each measurement."""
    return {
        name: tuple(np.quantile(values, (1 / 3, 2 / 3)))
        for name, values in measurements(images).items()
    }


def describe(images: np.ndarray, limits: dict[str, tuple[float, float]]) -> list[tuple[str, ...]]:
    """The words that are true of each image: strictly below the lower limit, or strictly above the
    upper one."""
    found = [[] for _ in images]
    for name, values in measurements(images).items():
        (low, high), (below, above) = limits[name], WORDS[name]
        for words, value in zip(found, values, strict=True):
            words += [below] if value < low else [above] if value > high else []
    return [tuple(words) for words in found]


def captions(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    limits: dict[str, tuple[float, float]],
    *,
    num_texts: int = 4,
    seed: int = 0,
) -> np.ndarray:
    """int32[N, num_texts, L]: `num_texts` captions of each image by `tokenizer(class_names)`.

    Each takes a form, a name of the class, and every word of `describe` with probability 1/2, drawn
    by the seed.
    """
    rng = np.random.default_rng(seed)
    words, reader = describe(images, limits), tokenizer(class_names)
    known: dict[str, np.ndarray] = {}

    def one(label, true_words):
        names = nouns(class_names[label])
        chosen = [word for word in true_words if rng.integers(2)]
        phrase = " ".join([*chosen, names[rng.integers(len(names))]])
        text = sentence(FORMS[rng.integers(len(FORMS))], phrase)
        if text not in known:
            known[text] = reader.encode(text)
        return known[text]

    return np.stack(
        [
            [one(label, true) for _ in range(num_texts)]
            for label, true in zip(labels, words, strict=True)
        ]
    )


def sentence(form: str, phrase: str) -> str:
    """The form with the phrase in it; "a" becomes "an" before a vowel."""
    text = form.format(phrase)
    return re.sub(r"\ba (?=[aeiou])", "an ", text)
