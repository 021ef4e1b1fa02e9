"""Sets larger than a limit stay in files, with the contents that they have in memory."""

import gzip
import pathlib

import numpy as np
import pytest
from PIL import Image

from dgm_jax import data
from dgm_jax.core import DataError
from dgm_jax.data import folder, idx, mapped

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (60, 6, 5, 1), dtype=np.uint8)
LABELS = np.arange(60) % 3


def idx_files(root, suffix=""):
    for split, rows in (("train", slice(0, 40)), ("t10k", slice(40, 60))):
        idx.write_idx(root / f"{split}-images-idx3-ubyte{suffix}", IMAGES[rows, ..., 0])
        idx.write_idx(root / f"{split}-labels-idx1-ubyte{suffix}", LABELS[rows].astype(np.uint8))
    return f"idx:{root}"


def npz_file(root, save=np.savez, **more):
    save(root / "set.npz", x_train=IMAGES, y_train=LABELS, **more)
    return f"npz:{root / 'set.npz'}"


def png_files(root):
    for i, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        (root / str(label)).mkdir(exist_ok=True)
        values = image[..., 0] if i else np.repeat(image, 3, axis=-1)  # one of them in color
        Image.fromarray(values).save(root / str(label) / f"{i:02}.png")
    return f"folder:{root}"


SOURCES = {
    "idx": idx_files,
    "idx.gz": lambda root: idx_files(root, ".gz"),
    "npz": npz_file,
    "npz compressed": lambda root: npz_file(root, np.savez_compressed),
    "folder": png_files,
}
OPTIONS = [
    {},
    {"num_train": 31},
    {"scaling": "unit", "binarization": "static", "seed": 4},
    {"scaling": "unit", "binarization": "threshold", "num_test": 7},
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    path = tmp_path / "cache"
    monkeypatch.setenv("DGM_JAX_CACHE_DIR", str(path))
    return path


def make_everything_large(monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_BYTES", 100)
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 200)  # seven images


def is_mapped(array):
    return isinstance(mapped._root(array), np.memmap)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("source", SOURCES)
def test_a_mapped_set_is_the_set_in_memory(source, options, tmp_path, monkeypatch):
    root = tmp_path / "set"
    root.mkdir()
    name = SOURCES[source](root)
    in_memory = data.load(name, **options)
    make_everything_large(monkeypatch)
    for _ in range(2):  # written, and taken from the cache
        found = data.load(name, **options)
        assert found.info == in_memory.info
        for split, expected in ((found.train, in_memory.train), (found.test, in_memory.test)):
            np.testing.assert_array_equal(split["image"], expected["image"])
            np.testing.assert_array_equal(split["label"], expected["label"])
            assert is_mapped(split["image"]) and not is_mapped(expected["image"])


def test_images_are_decoded_once(tmp_path, monkeypatch):
    root = tmp_path / "set"
    root.mkdir()
    name = png_files(root)
    make_everything_large(monkeypatch)
    before = data.load(name)
    decode = folder.decode
    asked = []
    monkeypatch.setattr(folder, "decode", lambda path, *of: asked.append(path) or decode(path, *of))
    assert data.load(name).info == before.info and len(asked) == 1  # to see how large it is
    image = Image.fromarray(IMAGES[1, ..., 0].T.copy().T)
    image.save(root / "1" / "58.png")  # another image under an old name
    changed = data.load(name)
    assert changed.info.sha256 != before.info.sha256 and len(asked) > 60


def test_plain_idx_files_are_not_copied(tmp_path, monkeypatch, cache):
    make_everything_large(monkeypatch)
    root = tmp_path / "set"
    root.mkdir()
    images = data.load(idx_files(root)).train["image"]
    file = pathlib.Path(mapped._root(images).filename)
    assert file == root / "train-images-idx3-ubyte" and not cache.exists()


def test_a_damaged_large_file_gets_the_sentence_of_a_small_one(tmp_path, monkeypatch):
    path = tmp_path / "x-idx3-ubyte"
    idx.write_idx(path, IMAGES[..., 0])
    whole = path.read_bytes()
    make_everything_large(monkeypatch)
    for content, found in ((whole[:-3], "1797"), (whole + b"x", "more than 1800")):
        for name, packed in ((path, content), (tmp_path / "y.gz", gzip.compress(content))):
            name.write_bytes(packed)
            with pytest.raises(DataError, match=f"1800 bytes; found {found}"):
                idx.read_idx(name, 3)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_cut_file_of_the_cache_is_written_again(monkeypatch, cache):
    kept = mapped.Cache("something")
    make = lambda: [IMAGES[:9], IMAGES[9:]]
    np.testing.assert_array_equal(kept.array("x", (6, 5, 1), np.uint8, make), IMAGES)
    path = kept.path("x")
    assert path.parent == cache / "data" and path.name.startswith("x-")
    np.testing.assert_array_equal(np.load(path), IMAGES)
    path.write_bytes(path.read_bytes()[:-1])
    np.testing.assert_array_equal(kept.array("x", (6, 5, 1), np.uint8, make), IMAGES)
    other = kept.extended(1).array("x", (6, 5, 1), np.uint8, lambda: [IMAGES[:3]])
    assert len(other) == 3 and len(list(path.parent.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DGM_JAX_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written.*DGM_JAX_CACHE_DIR"):
        mapped.Cache("x").array("x", (6, 5, 1), np.uint8, lambda: [IMAGES])
