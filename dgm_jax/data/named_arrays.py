"""Arrays by name, of a file or in memory: which are images and labels of which split."""

from collections.abc import Collection

from dgm_jax.core import DataError, require
from dgm_jax.data.paths import listed

TRAIN_IMAGES = ("image", "images", "x_train", "X_train", "train_images", "train_image", "x", "X")
TRAIN_LABELS = ("label", "labels", "y_train", "Y_train", "train_labels", "train_label", "y", "Y")
TEST_IMAGES = ("x_test", "X_test", "test_images", "test_image")
TEST_LABELS = ("y_test", "Y_test", "test_labels", "test_label")
_VALIDATION = ("val", "valid", "validation")
VALIDATION_IMAGES = tuple(
    name for v in _VALIDATION for name in (f"x_{v}", f"X_{v}", f"{v}_images", f"{v}_image")
)
VALIDATION_LABELS = tuple(
    name for v in _VALIDATION for name in (f"y_{v}", f"Y_{v}", f"{v}_labels", f"{v}_label")
)

Choice = dict[str, str | None]
Pair = tuple[str | None, str | None]  # names of images and labels of a split


def choose(names: Collection[str], what: str) -> tuple[Choice, tuple[str, ...]]:
    """Choose which arrays are the images and labels of which split.

    Validation arrays are the test split if there is no other. Every array that is not read is named
    in the notes.

    Args:
        names: names of the arrays.
        what: where they come from, for messages.

    Returns:
        {train_images, train_labels, test_images, test_labels: name or None}, and notes.

    Raises:
        DataError: no images, a name given twice, labels without images, or labels in one split
            only.
    """
    train = _pair(names, TRAIN_IMAGES, TRAIN_LABELS, what)
    test = _pair(names, TEST_IMAGES, TEST_LABELS, what)
    validation = _pair(names, VALIDATION_IMAGES, VALIDATION_LABELS, what)
    require(
        train[0] is not None,
        f"{what}: no array named one of {', '.join(TRAIN_IMAGES)}; found {listed(names) or 'none'}",
        DataError,
    )
    for images, labels in (test, validation):
        require(
            images is not None or labels is None,
            f"{what}: {labels} are labels without images; give their images too, or leave them out",
            DataError,
        )
    notes = []
    if test[0] is None and validation[0] is not None:
        test = validation
        notes.append(f"{test[0]} is the test split")
    _require_labels_of_both(train, test, what)
    if train[1] is None:
        notes.append("no labels, so one class")
    unread = set(names) - {*train, *test}
    if unread:
        notes.append(f"arrays not read: {listed(unread)}")
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    return dict(zip(keys, (*train, *test), strict=True)), tuple(notes)


def _require_labels_of_both(train: Pair, test: Pair, what: str) -> None:
    """Refuse labels in one split only, if there are two."""
    train_images, train_labels = train
    test_images, test_labels = test
    if test_images is None or (train_labels is None) == (test_labels is None):
        return
    if train_labels is None:
        unlabeled = train_images
        labels = test_labels
        other_way = ""
    else:
        unlabeled = test_images
        labels = train_labels
        other_way = f", or leave {unlabeled} out (a fifth becomes the test split)"
    raise DataError(
        f"{what}: {unlabeled} has no labels, though {labels} is there; give labels of both splits,"
        f" or leave {labels} out (one class){other_way}"
    )


def _pair(
    names: Collection[str], images: tuple[str, ...], labels: tuple[str, ...], what: str
) -> Pair:
    return _one(names, images, what), _one(names, labels, what)


def _one(names: Collection[str], accepted: tuple[str, ...], what: str) -> str | None:
    """The accepted name among these names, if any; more than one is an error."""
    matches = [name for name in accepted if name in names]
    require(
        len(matches) <= 1,
        f"{what}: both {' and '.join(matches)} are there; keep one of them",
        DataError,
    )
    return matches[0] if matches else None
