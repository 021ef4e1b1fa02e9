"""IDX, npz and image folders: read exactly, and refused by name when broken or hostile."""

import contextlib
import gzip
import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from dgm_jax.core import ConfigError, DataError
from dgm_jax.data import folder, folder_layout, idx, load, npz, picture_file

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 5, 4), dtype=np.uint8)
LABELS = (np.arange(20) % 2).astype(np.uint8)


def write_idx_folder(path, suffix=".gz", images=IMAGES, labels=LABELS):
    path.mkdir(exist_ok=True)
    arrays = {
        "train_images": images,
        "train_labels": labels,
        "test_images": images[:6],
        "test_labels": labels[:6],
    }
    for key, array in arrays.items():
        idx.write_idx(path / (idx.FILES[key] + suffix), array)
    return path


def idx_bytes(array, kind=8, rank=None, claim=None):
    shape = claim or array.shape
    return struct.pack(f">HBB{len(shape)}I", 0, kind, rank or len(shape), *shape) + array.tobytes()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder_reads_what_was_written(tmp_path, suffix):
    arrays = idx.read_idx_folder(write_idx_folder(tmp_path, suffix))
    np.testing.assert_array_equal(arrays["train_images"], IMAGES[..., None])
    np.testing.assert_array_equal(arrays["test_labels"], LABELS[:6])
    assert arrays["train_labels"].dtype == np.int32


def test_idx_bytes_as_the_format_describes_them(tmp_path):
    path = tmp_path / "a-idx2-ubyte"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 250]))
    np.testing.assert_array_equal(idx.read_idx(path, 2), [[1, 2, 3], [4, 5, 250]])


BAD_IDX = {
    "truncated": (idx_bytes(IMAGES)[:-7], r"\(20, 5, 4\), 400 bytes; found 393"),
    "too long": (idx_bytes(IMAGES) + b"x", "more than 400"),
    "labels": (idx_bytes(LABELS), r"got 00 00 08 01"),
    "float type": (idx_bytes(IMAGES, kind=13), r"unsigned bytes .*got 00 00 0d 03"),
    "text": (b"<html>403 Forbidden</html>", r"expected an IDX file of rank 3"),
    "empty": (b"", "got only 0 bytes"),
    "boastful": (idx_bytes(IMAGES, claim=(60000, 2000, 2000)), "claim to unpack to 240000000000"),
}


@pytest.mark.parametrize("case", BAD_IDX)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_bad_idx_files(tmp_path, case, suffix):
    content, message = BAD_IDX[case]
    path = tmp_path / f"some-images{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=f"some-images.*{message}"):
        idx.read_idx(path, 3)


@pytest.mark.parametrize("cut", [slice(0, -30), slice(4, None)])
def test_damaged_gzip(tmp_path, cut):
    path = tmp_path / "some-images.gz"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES))[cut])
    with pytest.raises(DataError, match="some-images.gz: cannot be read as an IDX file"):
        idx.read_idx(path, 3)


def test_incomplete_idx_folder(tmp_path):
    write_idx_folder(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"missing t10k-labels-idx1-ubyte\[.gz\]"):
        load(f"idx:{tmp_path}")
    with pytest.raises(DataError, match="elsewhere: no such folder"):
        load(f"idx:{tmp_path / 'elsewhere'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="missing train-images"):
        load(f"idx:{tmp_path / 'empty'}")


def save(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("image", "label", None, None),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_npz_under_its_usual_names(tmp_path, names):
    values = (IMAGES[..., None], LABELS, IMAGES[:4, ..., None], LABELS[:4])
    path = save(
        tmp_path / "set.npz",
        **{name: value for name, value in zip(names, values, strict=True) if name},
    )
    arrays, notes = npz.read_npz(path)
    assert notes == ()
    np.testing.assert_array_equal(arrays["train_images"], values[0])
    np.testing.assert_array_equal(arrays["train_labels"], LABELS)
    assert (arrays["test_images"] is None) == (names[2] is None)


def test_npz_in_fortran_order_and_other_dtypes(tmp_path):
    wide = np.asfortranarray(RNG.integers(-5, 5, (3, 4, 2), dtype=np.int64))
    arrays, _ = npz.read_npz(save(tmp_path / "set.npz", x=wide, y=np.arange(3.0)))
    np.testing.assert_array_equal(arrays["train_images"], wide)
    assert arrays["train_labels"].dtype == np.float64


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


class Canary:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


BAD_NPZ = {
    "shape bomb": (
        {"x.npy": npy_bytes(IMAGES).replace(b"(20, 5, 4), }   ", b"(200, 500, 400), }")[:128]},
        "the header says .200, 500, 400. uint8, 40000000 bytes; found 0",
    ),
    "no npy": ({"x.npy": b"hello"}, "array 'x': not in the npy format"),
    "future npy": ({"x.npy": npy_bytes(IMAGES).replace(b"NUMPY\x01", b"NUMPY\x09")}, "format"),
    "truncated member": ({"x.npy": npy_bytes(IMAGES)[:-9]}, "found 391"),
    "wrong names": (
        {"pictures.npy": npy_bytes(IMAGES)},
        "no array named one of image, .*; found pictures",
    ),
    "nothing": ({}, "found none"),
    "two candidates": (
        {"x.npy": npy_bytes(IMAGES), "image.npy": npy_bytes(IMAGES)},
        "both image and x",
    ),
    "zip bomb": ({"x.npy": npy_bytes(np.zeros(80_000_000, np.uint8))}, "claim to unpack to 800001"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz_files(tmp_path, case):
    members, message = BAD_NPZ[case]
    zip_of(tmp_path / "set.npz", members)
    with pytest.raises(DataError, match=f"set.npz.*{message}"):
        load(f"npz:{tmp_path / 'set.npz'}")


def test_object_arrays_are_never_unpickled(tmp_path):
    array = np.empty(2, object)
    array[:] = [Canary(tmp_path / "canary"), None]
    zip_of(tmp_path / "set.npz", {"x.npy": npy_bytes(array)})
    with pytest.raises(
        DataError, match="'x' is an object array .*pickle is never read; fix: np.stack"
    ):
        load(f"npz:{tmp_path / 'set.npz'}")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [b"", b"text", npy_bytes(IMAGES)])
def test_files_that_are_no_zip(tmp_path, content):
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(DataError, match="set.npz: not an npz file"):
        load(f"npz:{tmp_path / 'set.npz'}")
    with pytest.raises(DataError, match="no such file"):
        load(f"npz:{tmp_path / 'other.npz'}")


def test_damaged_zip_is_named(tmp_path):
    path = save(tmp_path / "set.npz", x=IMAGES)
    content = bytearray(path.read_bytes())
    content[150:170] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match="set.npz"):
        npz.read_npz(path)


def picture(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def class_folder(root, count=5, size=(6, 4)):
    for label, kind in enumerate(("cat", "dog")):
        for i in range(count):
            picture(
                root / kind / f"{i:02d}.png",
                np.full((*size, 3), 10, np.uint8)
                + np.uint8(label)
                + RNG.integers(0, 9 * (i + 1), (*size, 3), dtype=np.uint8),
            )
    return root


def test_class_folders_in_order_of_names(tmp_path):
    class_folder(tmp_path)
    arrays, classes, notes = folder.read_folder(tmp_path)
    assert classes == ("cat", "dog") and notes == () and arrays["test_images"] is None
    assert (
        arrays["train_images"].shape == (10, 6, 4, 3) and arrays["train_images"].dtype == np.uint8
    )
    np.testing.assert_array_equal(arrays["train_labels"], [0] * 5 + [1] * 5)
    np.testing.assert_array_equal(
        arrays["train_images"][7], np.asarray(Image.open(tmp_path / "dog" / "02.png"))
    )


def test_train_and_test_folders_and_flat_ones(tmp_path):
    class_folder(tmp_path / "a" / "train")
    class_folder(tmp_path / "a" / "test", count=2)
    arrays, classes, _ = folder.read_folder(tmp_path / "a")
    assert (
        classes == ("cat", "dog")
        and len(arrays["train_labels"]) == 10
        and len(arrays["test_labels"]) == 4
    )
    for i in range(3):
        picture(tmp_path / "flat" / f"{i}.PNG", IMAGES[i])
    arrays, classes, _ = folder.read_folder(tmp_path / "flat")
    assert classes == ("all",) and arrays["train_images"].shape == (3, 5, 4, 1)
    np.testing.assert_array_equal(arrays["train_images"][2, ..., 0], IMAGES[2])


def test_grey_and_colour_together_become_colour(tmp_path):
    picture(tmp_path / "a.png", IMAGES[0])
    picture(tmp_path / "b.png", np.repeat(IMAGES[1, ..., None], 3, -1))
    both, _, _ = folder.read_folder(tmp_path)
    np.testing.assert_array_equal(both["train_images"], np.repeat(IMAGES[:2, ..., None], 3, -1))
    grey, _, _ = folder.read_folder(tmp_path, channels=1)
    np.testing.assert_array_equal(grey["train_images"], IMAGES[:2, ..., None])


def test_an_opaque_alpha_channel_is_dropped_and_a_transparent_one_refused(tmp_path):
    rgba = RNG.integers(0, 255, (4, 4, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    picture(tmp_path / "a.png", rgba)
    arrays, _, _ = folder.read_folder(tmp_path)
    np.testing.assert_array_equal(arrays["train_images"][0], rgba[..., :3])
    rgba[1, 2, 3] = 100
    picture(tmp_path / "b.png", rgba)
    with pytest.raises(DataError, match="b.png: has transparent pixels"):
        folder.read_folder(tmp_path)


def test_mixed_sizes_name_two_files_and_can_be_resized(tmp_path):
    picture(tmp_path / "a.png", IMAGES[0])
    picture(tmp_path / "b.png", np.full((8, 8), 77, np.uint8))
    with pytest.raises(DataError, match="a.png is 5x4, .*b.png is 8x8 .*image_size"):
        folder.read_folder(tmp_path)
    arrays, _, notes = folder.read_folder(tmp_path, image_size=3)
    assert arrays["train_images"].shape == (2, 3, 3, 1)
    assert notes == ("resized to 3x3", "not square before it, so stretched: 1 images")
    assert (arrays["train_images"][1] == 77).all()


def bad_files(root):
    """name -> message, for files that no image can be read from."""
    good = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, (64, 64), dtype=np.uint8)).save(good, "PNG")
    (root / "cut.png").write_bytes(good.getvalue()[:1500])
    (root / "text.png").write_text("not an image")
    (root / "empty.jpg").write_bytes(b"")
    huge = bytearray(good.getvalue())
    huge[16:24] = struct.pack(">II", 50_000, 50_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(bytes(huge[12:29])))
    (root / "huge.png").write_bytes(huge)
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(root / "deep.png")
    outside = picture(root.parent / "outside.png", IMAGES[0])
    os.symlink(outside, root / "link.png")
    os.symlink(root / "nowhere.png", root / "broken.png")
    return {
        "cut.png": "not a readable image",
        "text.png": "not a readable image",
        "empty.jpg": "not a readable image",
        "huge.png": "50000 x 50000 pixels|not a readable image",
        "deep.png": "16-bit pixels, expected 8-bit",
        "link.png": "a link that leads out of the folder",
        "broken.png": "no such file",
    }


def test_broken_and_hostile_files_are_named_or_skipped_and_counted(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    messages = bad_files(root)
    for name, message in messages.items():
        with pytest.raises(DataError, match=f"{name}.*({message})"):
            picture_file.decode(root / name, root.resolve())
    with pytest.raises(DataError, match="none of 7 image files can be used"):
        folder.read_folder(root, bad_files="skip")
    for i in range(12):
        picture(root / f"good{i}.png", IMAGES[i])
    with pytest.raises(DataError, match="broken.png.*bad_files='skip'"):
        folder.read_folder(root)
    dataset = load(f"folder:{root}", bad_files="skip")
    assert dataset.info.num_train + dataset.info.num_test == 12
    assert "7 unreadable files skipped" in dataset.info.identity


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
%%EndProlog
0 0 8 8 rectfill
%%EOF
"""


def test_no_picture_starts_a_program(tmp_path, monkeypatch):
    """EPS under the name of a PNG: pillow would call `gs`, here a program that leaves a canary."""
    programs = tmp_path / "programs"
    programs.mkdir()
    ghostscript = programs / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'canary'}\necho 10.0\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # not looked for yet
    root = tmp_path / "set"
    root.mkdir()
    (root / "x.png").write_bytes(EPS)
    with pytest.raises(DataError, match="x.png: not a readable image"):
        load(f"folder:{root}")
    assert not (tmp_path / "canary").exists()
    # The canary does sing where pillow may choose the format by itself.
    with contextlib.suppress(OSError), Image.open(root / "x.png") as image:
        image.load()
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("suffix", folder_layout.SUFFIXES)
def test_every_ending_is_a_format_that_is_read(tmp_path, suffix):
    rng = np.random.default_rng(0)
    for i in range(2):
        picture(tmp_path / f"{i}{suffix}", rng.integers(0, 256, (6, 5), dtype=np.uint8))
    arrays, _, _ = folder.read_folder(tmp_path, channels=1)
    assert arrays["train_images"].shape == (2, 6, 5, 1)


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (lambda p: None, {}, DataError, "no image files"),
        (
            lambda p: [picture(p / "a.png", IMAGES[0]), class_folder(p)],
            {},
            DataError,
            "beside them .a.png.; keep one",
        ),
        (class_folder, {"bad_files": "ignore"}, ConfigError, "bad_files is one of"),
        (class_folder, {"channels": 4}, ConfigError, "channels is 1, 3 or None"),
        (
            class_folder,
            {"image_size": 0},
            ConfigError,
            "image_size must be an integer of at least 1; got 0",
        ),
    ],
)
def test_bad_folders_and_options(tmp_path, make, options, error, message):
    make(tmp_path)
    with pytest.raises(error, match=message):
        folder.read_folder(tmp_path, **options)
    with pytest.raises(DataError, match="no such folder"):
        folder.read_folder(tmp_path / "none")
