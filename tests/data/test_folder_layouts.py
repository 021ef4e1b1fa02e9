"""Which images of a folder belong to which split and class; what else lies there is said."""

import os
import re
import socket
import subprocess
import unicodedata

import numpy as np
import pytest
from PIL import Image

from dgm_jax import data
from dgm_jax.core import DataError, DgmError
from dgm_jax.data import folder_scan

NFC, NFD = "caf\u00e9", "cafe\u0301"


def fill(root, *names, count=6):
    """`count` random pictures in each folder, every one different."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            rng = np.random.default_rng([i, *map(ord, name)])
            Image.fromarray(rng.integers(0, 256, (6, 4, 3), np.uint8)).save(
                root / name / f"{i}.png"
            )
    return root


def info(root, **options):
    return data.load(f"folder:{root}", **options).info


def summary(root):
    found = info(root)
    return found.num_train, found.num_test, found.class_names


HELD_OUT = "last fifth of each class held out as test"


@pytest.mark.parametrize(
    ("folders", "right", "note"),
    [
        (["train/a", "train/b", "test/a", "test/b"], (12, 12, ("a", "b")), None),
        (["Train/a", "TEST/a"], (6, 6, ("a",)), None),
        (["training/a", "testing/a"], (6, 6, ("a",)), None),
        (["train/a", "val/a"], (6, 6, ("a",)), "val is the test split"),
        (["train/a", "validation/a"], (6, 6, ("a",)), "validation is the test split"),
        (["train/a", "val/a", "test/a"], (6, 6, ("a",)), "val not read (6 images)"),
        (["train/a", "test/a", "extra"], (6, 6, ("a",)), "extra not read (6 images)"),
        (["train", "test"], (6, 6, ("all",)), None),
        (["train/a", "train/b"], (10, 2, ("a", "b")), "train is the only split in the folder"),
        (["train", "car", "bus"], (15, 3, ("bus", "car", "train")), HELD_OUT),
        (
            ["a/left", "a/right/far", "b"],
            (15, 3, ("a", "b")),
            "12 images of a from a/left, a/right",
        ),
        (["train/a/x", "test/a"], (6, 6, ("a",)), "6 images of a from train/a/x"),
        (["train/a", "train/b", "test/b"], (12, 6, ("a", "b")), "no test images of class a"),
        (["train/a", "test/a", "test/b"], (6, 12, ("a", "b")), "no train images of class b"),
    ],
)
def test_layouts(tmp_path, folders, right, note):
    fill(tmp_path, *folders)
    assert summary(tmp_path) == right
    notes = info(tmp_path).notes
    assert note is None and notes == () or any(note in n for n in notes), notes


def test_labels_are_those_of_the_folders_that_the_pixels_lie_in(tmp_path):
    fill(tmp_path, "train/b/deep", "train/a", "test/b", "test/a")
    dataset = data.load(f"folder:{tmp_path}")
    for split in ("train", "test"):
        arrays = getattr(dataset, split)
        for image, label in zip(arrays["image"], arrays["label"], strict=True):
            at = tmp_path / split / "ab"[label]
            files = [np.asarray(Image.open(p)) for p in at.rglob("*.png")]
            assert sum(np.array_equal(image, f) for f in files) == 1


@pytest.mark.parametrize(
    ("folders", "message", "advised"),
    [
        (["test/a"], "test looks like a split.*give folder:(?P<path>.*) to read", "path"),
        (["val/a", "test/a"], "test and val looks like a split", None),
        (["cat", "dog", "test"], "no train folder; move the other folders into .*train, or", None),
        (["train/a", "val/a", "valid/a"], "val and valid would both be the test split", None),
        (["Train/a", "train/a", "test/a"], "Train and train would both be the train split", None),
        (["set/train/a", "set/test/a"], "only folder.*give folder:(?P<path>.*); if they", "path"),
        (["images/cat", "images/dog"], "only folder.*give folder:(?P<path>.*); if they", "path"),
        (["cat/train", "cat/test", "dog/train"], "splits within a class; expected train/cat", None),
        (["train/a", "test"], "class subfolders in one split, none in .*test", None),
        ([NFC, NFD], "two folders are called caf", None),
        (["train/" + NFC, "train/" + NFD, "test/" + NFC], "two folders are called", None),
        (["a\x1b[31mb", "c"], "control characters", None),
        (["a\nb", "c"], "control characters", None),
        (["a\udcff", "c"], "is not UTF-8", None),
    ],
)
def test_what_could_mean_two_things_is_refused_and_the_advice_works(
    tmp_path, folders, message, advised
):
    fill(tmp_path, *folders)
    with pytest.raises(DataError, match=message) as caught:
        info(tmp_path)
    if advised:
        assert info(re.search(message, str(caught.value))[advised]).num_train > 0


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path):
    fill(tmp_path, f"train/{NFC}", "train/tea", f"test/{NFD}", "test/tea")
    found = info(tmp_path)
    assert found.class_names == (NFC, "tea") and found.notes == ()
    hangul, kana = "\ud55c\uae00", "\u304c"  # composed: two syllables, one kana with its mark
    for name in (hangul, kana):
        root = tmp_path / ascii(name)
        fill(root, f"train/{unicodedata.normalize('NFD', name)}", f"test/{name}")
        assert info(root).class_names == (name,)


def test_empty_classes_and_files_that_are_not_read_are_said(tmp_path):
    fill(tmp_path, "a", "c")
    (tmp_path / "b").mkdir()
    (tmp_path / "d" / "deep").mkdir(parents=True)
    for name in ("a/x.heic", "a/y.HEIC", "c/readme.txt", "c/no_ending"):
        (tmp_path / name).write_text("x")
    for name in ("a/._0.png", "a/.thumbnail.jpg", "a/.DS_Store"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".cache").mkdir()
    assert info(tmp_path).class_names == ("a", "c")
    assert info(tmp_path).notes == (
        "no images in b, d, so no class of that name",
        "3 hidden images or folders not read",
        "files of other endings not read: .heic 2, .txt 1, none 1",
        HELD_OUT,
    )


def test_images_beside_splits_and_other_endings_alone(tmp_path):
    fill(tmp_path, "s/train/a", "s/test/a")
    fill(tmp_path, "s", count=1)
    assert info(tmp_path / "s").notes == ("images beside the splits not read: 0.png",)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x.heic").write_text("x")
    with pytest.raises(DataError, match=r"no image files .*; it has \.heic 1"):
        info(tmp_path / "raw")
    fill(tmp_path, "mixed/train/a", "mixed/test/a", "mixed/test")
    with pytest.raises(DataError, match="beside them .0.png"):
        info(tmp_path / "mixed")


def test_classes_too_small_for_a_test_split_are_named(tmp_path):
    fill(tmp_path, "a", "e", count=5)
    fill(tmp_path, "b", "c", count=1)
    found = info(tmp_path)
    assert (found.num_train, found.num_test) == (10, 2)
    assert found.notes == (HELD_OUT, "no test images of class b, c (fewer than 5 each)")
    fill(tmp_path, "few/a", "few/b", count=4)
    with pytest.raises(
        DataError, match="8 images have no test split.*at least 5 images of a class"
    ):
        info(tmp_path / "few")
    fill(tmp_path, "few/a", count=5)  # what it says works
    assert info(tmp_path / "few").num_test == 1


def special_files(root, outside):
    """name -> message for what is no regular file within the folder."""
    os.mkfifo(root / "pipe.png")
    plug = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(root)  # the path of a socket is short
    plug.bind("plug.png")
    os.chdir(here)
    plug.close()
    os.symlink("loop.png", root / "loop.png")
    os.symlink("nowhere.png", root / "broken.png")
    os.symlink(outside, root / "out.png")
    os.symlink("/dev/zero", root / "device.png")
    return {
        "pipe.png": "a pipe, expected a file",
        "plug.png": "a socket, expected a file",
        "loop.png": "cannot be opened: Too many levels of symbolic links",
        "broken.png": "no such file",
        "out.png": "a link that leads out of the folder",
        "device.png": "a device, expected a file",
    }


def test_what_is_no_file_is_refused_or_skipped_and_nothing_hangs(tmp_path):
    fill(tmp_path, "set", "outside")
    messages = special_files(tmp_path / "set", tmp_path / "outside" / "0.png")
    for name, message in messages.items():
        single = tmp_path / f"only {name}"
        fill(single, ".")
        os.rename(tmp_path / "set" / name, single / name)
        with pytest.raises(DataError, match=f"{name}: {message}.*bad_files='skip'"):
            info(single)
        assert "1 unreadable files skipped" in info(single, bad_files="skip").notes
    os.symlink(tmp_path / "set" / "0.png", tmp_path / "set" / "again.png")  # within: a file
    assert info(tmp_path / "set").num_train == 6


@pytest.mark.parametrize("target", ["a", "../elsewhere", "."])
def test_links_to_folders_are_not_followed(tmp_path, target):
    fill(tmp_path, "set/a", "set/c", "elsewhere")
    os.symlink(target, tmp_path / "set" / "b")
    with pytest.raises(DataError, match="b: a link to a folder, which is not followed.*skip"):
        info(tmp_path / "set")
    found = info(tmp_path / "set", bad_files="skip")
    assert found.class_names == ("a", "c") and "1 links to folders not followed" in found.notes
    os.symlink(tmp_path / "elsewhere", tmp_path / "way")  # the folder itself may be one
    assert info(tmp_path / "way").num_train == 5


@pytest.mark.parametrize("kind", ["folder", "npz", "idx"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 300, "File name too long"),
        ("/".join(["x" * 200] * 30), "File name too long|no such"),
        ("loop", "Too many levels"),
        ("a\udcff", "no such"),
        ("pipe", "a pipe|a file, expected a folder"),
        ("", "a folder, expected a file|no image files|missing"),
    ],
)
def test_paths_that_cannot_be_opened(tmp_path, kind, name, message):
    os.symlink("loop", tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DgmError, match=message):
        data.load(f"{kind}:{tmp_path}/{name}")


def test_the_number_of_files_is_limited(tmp_path, monkeypatch):
    fill(tmp_path, "a", "b")
    monkeypatch.setattr(folder_scan, "MAX_FILES", 14)
    assert info(tmp_path).num_train == 10
    (tmp_path / "b" / "notes.txt").write_text("one too many")
    with pytest.raises(DataError, match="more than 14 files and folders"):
        info(tmp_path)


def test_a_folder_deeper_than_paths_can_be(tmp_path):
    at, here = fill(tmp_path, "b"), os.getcwd()
    try:
        os.chdir(at)
        for _ in range(2500):  # more levels than Python's stack has, too
            os.mkdir("d")
            os.chdir("d")
        os.chdir(here)
        with pytest.raises(DataError, match="cannot be listed: File name too long"):
            summary(at)
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", at / "d"], check=True)  # shutil would recurse
