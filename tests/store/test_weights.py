"""Weights: what comes back, writes that are cut short, and files that do not fit or mean harm."""

import contextlib
import hashlib
import json
import os
import pathlib
import pickle
import struct

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from dgm_jax.core import ConfigError, RunDirectoryError, tree_sha256
from dgm_jax.store import records, weights


def tree_of(scale=1.0):
    """Two seeds of leaves of every kind that a model has."""
    return {
        "params": {
            "dense": {"kernel": scale * jnp.arange(6.0).reshape(2, 3)},
            "half": jnp.array([[1.5], [-2.25]], jnp.bfloat16),
        },
        "state": {
            "count": jnp.array([3, -4], jnp.int32),
            "used": jnp.array([True, False]),
            "pair": (jnp.zeros((2, 0)), [jnp.ones((2, 1))]),
            "key": jax.random.split(jax.random.key(5), 2),
            "empty": {},
        },
    }


def read(folder, like=None, name="m"):
    like = jax.eval_shape(tree_of) if like is None else like
    return weights.read_weights(weights.read_manifest(folder, name), like)


@pytest.fixture
def written(tmp_path):
    weights.write_weights(tmp_path, "m", tree_of(), {"arm": "plain"})
    return tmp_path


def test_every_leaf_comes_back(written):
    found, truth = read(written), tree_of()
    assert jax.tree.structure(found) == jax.tree.structure(truth)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
    assert tree_sha256(found) == tree_sha256(truth)
    assert sorted(path.name for path in written.iterdir()) == ["m.json", "m.safetensors"]


def test_other_programs_read_the_file_and_the_manifest_tells_the_truth(written):
    tree = {"params": {"dense": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}}
    weights.write_weights(written, "n", tree, {})
    held = safetensors.numpy.load_file(written / "n.safetensors")
    np.testing.assert_array_equal(held["params/dense/kernel"], [[0, 1, 2], [3, 4, 5]])
    manifest = json.loads((written / "n.json").read_text())
    content = (written / "n.safetensors").read_bytes()
    assert (manifest["format"], manifest["bytes"]) == (1, len(content))
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    array = np.arange(6, dtype="<f4").tobytes()
    assert manifest["arrays"] == {
        "params/dense/kernel": {
            "dtype": "float32",
            "shape": [2, 3],
            "sha256": hashlib.sha256(array).hexdigest(),
        }
    }


def test_half_precision_is_stored_as_it_is(written):
    manifest = json.loads((written / "m.json").read_text())["arrays"]["params/half"]
    expected = np.array([[1.5], [-2.25]], ml_dtypes.bfloat16).tobytes()
    assert manifest["dtype"] == "bfloat16"
    assert manifest["sha256"] == hashlib.sha256(expected).hexdigest()


def test_two_leaves_of_one_path_and_strange_dtypes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="one path"):
        weights.write_weights(tmp_path, "m", {"a": {"b": jnp.ones(1)}, "a/b": jnp.ones(1)}, {})
    with pytest.raises(ConfigError, match="a: arrays of .* cannot be written"):
        weights.write_weights(tmp_path, "m", {"a": np.array(["text"])}, {})
    assert list(tmp_path.iterdir()) == []


class Killed(Exception):
    pass


def killed_at(patch, number):
    """The number-th thing that is done to the disk does not happen, nor any after it."""
    done = []

    def counted(function):
        def call(*arguments, **options):
            done.append(0)
            if len(done) > number:
                raise Killed
            return function(*arguments, **options)

        return call

    patch.setattr(records, "write_atomically", counted(records.write_atomically))
    patch.setattr(os, "link", counted(os.link))
    patch.setattr(pathlib.Path, "unlink", counted(pathlib.Path.unlink))


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("number", range(7))
def test_a_write_that_is_cut_short_leaves_the_old_model_or_the_new(
    written, monkeypatch, number, links
):
    hashes = {tree_sha256(tree_of()), tree_sha256(tree_of(2.0))}

    def no_links(*_):
        raise OSError("no hard links here")

    with monkeypatch.context() as patch:
        if not links:
            patch.setattr(os, "link", no_links)
        killed_at(patch, number)
        with contextlib.suppress(Killed):
            weights.write_weights(written, "m", tree_of(2.0), {})
    assert tree_sha256(read(written)) in hashes
    weights.write_weights(written, "m", tree_of(2.0), {})
    assert tree_sha256(read(written)) == tree_sha256(tree_of(2.0))
    assert sorted(path.name for path in written.iterdir()) == ["m.json", "m.safetensors"]


def edit(folder, **changes):
    """Changes fields of the manifest."""
    path = folder / "m.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace(folder, content: bytes):
    """Another file under the name, with a manifest that says its true size and hash."""
    (folder / "m.safetensors").write_bytes(content)
    edit(folder, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def file_of(header: bytes, data: bytes = b"\0" * 52) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def flipped(folder):
    content = bytearray((folder / "m.safetensors").read_bytes())
    content[-3] ^= 16
    (folder / "m.safetensors").write_bytes(content)


def truncated(folder):
    file = folder / "m.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def link_out(folder):
    outside = folder.parent / "outside.safetensors"
    outside.write_bytes((folder / "m.safetensors").read_bytes())
    (folder / "m.safetensors").unlink()
    (folder / "m.safetensors").symlink_to(outside)


def pipe(folder, name="m.safetensors"):
    (folder / name).unlink()
    os.mkfifo(folder / name)


def folder_instead(folder):
    (folder / "m.safetensors").unlink()
    (folder / "m.safetensors").mkdir()


def sparse(folder):
    with open(folder / "m.safetensors", "wb") as file:
        file.truncate(2**40)
    edit(folder, bytes=2**40)


def other_dtype(folder):
    arrays = json.loads((folder / "m.json").read_text())["arrays"]
    arrays["state/count"]["dtype"] = "float32"
    edit(folder, arrays=arrays)


def without(folder):
    arrays = json.loads((folder / "m.json").read_text())["arrays"]
    del arrays["state/count"]
    edit(folder, arrays=arrays)


def with_another(folder):
    arrays = json.loads((folder / "m.json").read_text())["arrays"]
    edit(folder, arrays=arrays | {"params/extra": {"dtype": "float32", "shape": [2**50]}})


def renamed_inside(folder):
    held = safetensors.deserialize((folder / "m.safetensors").read_bytes())
    header, data = {}, b""
    for name, entry in held:
        start, data = len(data), data + bytes(entry["data"])
        where = {"shape": entry["shape"], "data_offsets": [start, len(data)]}
        header[name.replace("count", "counts")] = {"dtype": entry["dtype"], **where}
    replace(folder, file_of(json.dumps(header).encode(), data))


def other_arrays(folder):
    """A sound file of the same names and shapes, with a manifest that has its true hash."""
    old = json.loads((folder / "m.json").read_text())
    weights.write_weights(folder, "m", tree_of(3.0), {})
    edit(folder, arrays=old["arrays"])


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def npz(folder):
    np.savez(folder / "other.npz", a=np.ones(3))
    replace(folder, (folder / "other.npz").read_bytes() + b"\0" * 200)


def link_to_itself(folder, name="m.safetensors"):
    (folder / name).unlink()
    (folder / name).symlink_to(folder / name)


AXES = json.dumps({"a": {"dtype": "U8", "shape": [1] * 102, "data_offsets": [0, 1]}}).encode()
HUGE = json.dumps({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}}).encode()
OVERLAP = json.dumps(
    {
        "a": {"dtype": "U8", "shape": [52], "data_offsets": [0, 52]},
        "b": {"dtype": "U8", "shape": [52], "data_offsets": [0, 52]},
    }
).encode()
HOSTILE = {
    "a flipped bit": (flipped, "its SHA-256 is .*, and m.json says"),
    "a truncated file": (truncated, "expected .* bytes, as m.json says, got"),
    "an empty file": (lambda f: (f / "m.safetensors").write_bytes(b""), "expected .* bytes"),
    "no file": (lambda f: (f / "m.safetensors").unlink(), "No such file"),
    "a link out of the folder": (link_out, "lies outside"),
    "a link to itself": (link_to_itself, "links|levels"),
    "a manifest that links to itself": (lambda f: link_to_itself(f, "m.json"), "links|levels"),
    "a hundred axes": (lambda f: replace(f, file_of(AXES, b"1")), "a is no array"),
    "a pipe": (pipe, "no regular file"),
    "a folder": (folder_instead, "m.safetensors: "),
    "a terabyte": (sparse, "it claims 1099511627776 bytes"),
    "a pickle": (lambda f: replace(f, pickle.dumps(Bomb()) + b"\0" * 200), "no safetensors file"),
    "an npz": (npz, "no safetensors file"),
    "text": (lambda f: replace(f, b"weights" * 60), "no safetensors file"),
    "a header of garbage": (lambda f: replace(f, file_of(b"\xff" * 99)), "no safetensors file"),
    "a header past the end": (
        lambda f: replace(f, struct.pack("<Q", 2**63) + b"{}" + b"\0" * 99),
        "no safetensors file",
    ),
    "a header of 2^60 numbers": (lambda f: replace(f, file_of(HUGE)), "no safetensors file"),
    "arrays that overlap": (lambda f: replace(f, file_of(OVERLAP)), "no safetensors file"),
    "a deep header": (lambda f: replace(f, file_of(b"[" * 50_000)), "no safetensors file"),
    "other names inside": (renamed_inside, "state/count: absent there, int32.2. expected"),
    "other arrays inside": (other_arrays, "the SHA-256 of its array is .*, and the manifest says"),
    "another dtype": (other_dtype, r"state/count: float32\[2\] there, int32\[2\] expected"),
    "a leaf too few": (without, "state/count: absent there"),
    "a leaf too many": (with_another, r"params/extra: float32\[1125899906842624\] there, absent"),
    "a newer format": (lambda f: edit(f, format=2), "format is 2, and this program reads 1"),
    "no format": (lambda f: (f / "m.json").write_text("{}"), "format is None"),
    "a file elsewhere": (lambda f: edit(f, file="../../m.safetensors"), "its file must be"),
    "bytes as text": (lambda f: edit(f, bytes="12"), "bytes must be a int, got a str"),
    "negative bytes": (lambda f: edit(f, bytes=-1), "it claims -1 bytes"),
    "arrays as a list": (lambda f: edit(f, arrays=[]), "arrays must be a dict, got a list"),
    "an array as a number": (lambda f: edit(f, arrays={"params/half": 7}), "params/half: a int"),
    "a manifest cut short": (lambda f: os.truncate(f / "m.json", 99), "cannot be read as JSON"),
    "a deep manifest": (lambda f: (f / "m.json").write_text("[" * 99_999), "cannot be read as JS"),
    "a manifest of NaN": (lambda f: (f / "m.json").write_text("NaN"), "cannot be read as JSON"),
    "a manifest of bytes": (lambda f: (f / "m.json").write_bytes(b"\xff\xfe\0"), "cannot be read"),
    "a large manifest": (lambda f: os.truncate(f / "m.json", 2**40), "expected at most"),
    "a manifest that is a pipe": (lambda f: pipe(f, "m.json"), "no regular file"),
    "no manifest": (lambda f: (f / "m.json").unlink(), "No such file"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_does_not_fit_is_refused_by_name(written, monkeypatch, kind):
    do, message = HOSTILE[kind]
    monkeypatch.chdir(written)
    do(written)
    with pytest.raises(RunDirectoryError, match=message) as caught:
        read(written)
    assert len(str(caught.value)) < 3_000
    assert not (written / "exploded").exists()


def test_another_structure_is_refused_with_both_sides(written):
    like = jax.eval_shape(tree_of)
    like["params"]["dense"]["kernel"] = jax.ShapeDtypeStruct((2, 4), jnp.float32)
    with pytest.raises(RunDirectoryError, match=r"float32\[2, 3\] there, float32\[2, 4\] expected"):
        read(written, like)
