"""Files as an attacker would send them, over the readers of image files, npz files and IDX files.

`write(root, seed, count)` makes `count` of them, the same for the same seed: good files with some
bytes changed, cut or put in, headers with impossible numbers, contents that would run a program if
they were trusted, and what is no file. `read_hostile` reads them.
"""

import gzip
import io
import json
import os
import pathlib
import pickle
import struct
import sys
import zipfile
import zlib

import numpy as np
from hostile_pictures import FORMATS, NUMBERS, changed, large_claims, picture, with_right_checksums

IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
DTYPES = ("|u1", "<f8", "|b1", "|V0", "<U0", "|O", "<M8[s]", "<i8", "|V9999999", "nonsense", ">c16")
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
0 0 8 8 rectfill
%%EOF
"""


class Canary:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def write(root, seed: int, count: int) -> list[str]:
    """Names for `data.load` of `count` hostile sets below `root`; a canary that is let out would
    write `root/canary`."""
    root = pathlib.Path(root)
    names = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        folder = root / f"{index:04}"
        folder.mkdir(parents=True)
        make = MAKERS[index % len(MAKERS)]
        names.append(make(rng, folder, root / "canary"))
    return names


def changed_picture(rng, folder, canary) -> str:
    ending = str(rng.choice(list(FORMATS)))
    content = changed(rng, picture(rng, ending, int(rng.integers(1, 4))))
    if ending == "png" and rng.random() < 0.7:
        content = with_right_checksums(content)
    return image_folder(rng, folder, content, f"x.{ending}")


def large_claim(rng, folder, canary) -> str:
    """A small file that claims, or unpacks to, far more than it holds."""
    contents = large_claims(rng)
    name = str(rng.choice(list(contents)))
    return image_folder(rng, folder, contents[name], name)


def foreign(rng, folder, canary) -> str:
    """Contents of another kind under the name of an image, npz or IDX file."""
    contents = (
        EPS,
        pickle.dumps(Canary(canary)),
        b"",
        b"<html>403</html>",
        rng.bytes(300),
        zlib.compress(bytes(1000)),
        b"8BPS\0\1" + rng.bytes(60),
        b"\xd7\xcd\xc6\x9a" + rng.bytes(60),
        b"%PDF-1.4\n" + rng.bytes(60),
    )
    content = contents[rng.integers(len(contents))]
    kind = rng.integers(3)
    if kind == 0:
        return image_folder(rng, folder, content, f"x.{rng.choice(list(FORMATS))}")
    if kind == 1:
        (folder / "a.npz").write_bytes(content)
        return f"npz:{folder / 'a.npz'}"
    return idx_folder(rng, folder, content)


def image_folder(rng, folder, content: bytes, name: str) -> str:
    for i in range(5):
        (folder / f"good{i}.png").write_bytes(picture(rng, "png"))
    (folder / name).write_bytes(content)
    option = rng.choice(["", "&bad_files=skip", "&bad_files=skip&channels=1"])
    return f"folder:{folder}?image_size=8{option}"


def no_file(rng, folder, canary) -> str:
    """Pipes, devices, links in circles and names that no text has."""
    name = image_folder(rng, folder, b"", "x.bmp")
    path = folder / "y.png"
    kind = rng.integers(6)
    if kind == 0:
        os.mkfifo(path)
    elif kind < 5:
        os.symlink(["y.png", "/dev/zero", ".", "/dev/stdin"][kind - 1], path)
    else:
        odd = rng.choice(["\x1b[31m", "a\nb", "\udcff", "e\u0301"])
        (folder / "s" / str(odd)).mkdir(parents=True)
        (folder / "s" / str(odd) / "0.png").write_bytes(picture(rng, "png"))
        return f"folder:{folder / 's'}"
    return name


def npz_of(folder, members, method=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # of 1980, so that a seed makes the same bytes
            info.compress_type = method
            archive.writestr(info, content)
    (folder / "a.npz").write_bytes(stream.getvalue())
    return stream.getvalue()


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def good_arrays(rng) -> dict[str, bytes]:
    images = rng.integers(0, 256, (20, 6, 5, 1), np.uint8)
    return {"x.npy": npy(images), "y.npy": npy(np.arange(20) % 4)}


def changed_npz(rng, folder, canary) -> str:
    """Faults in the zip, or in a member that the zip holds without fault."""
    members = good_arrays(rng)
    if rng.random() < 0.5:
        name = str(rng.choice(list(members)))
        members[name] = changed(rng, members[name])
        npz_of(folder, members)
    else:
        (folder / "a.npz").write_bytes(changed(rng, npz_of(folder, members)))
    return f"npz:{folder / 'a.npz'}"


def header_of_npz(rng, folder, canary) -> str:
    """A member by hand: sizes, dtypes and dicts that no array has, or a pickle."""
    sizes = [-1, 0, 1, 20, True, 2**31, 2**63, 10**24, 1.5, "20"]
    count = int(rng.choice([0, 1, 4, 33, 65, 400]))
    shape = tuple(sizes[i] for i in rng.integers(0, len(sizes), count))
    head = {"descr": str(rng.choice(DTYPES)), "fortran_order": bool(rng.random() < 0.5)}
    text = repr(head | {"shape": shape}).encode()
    text = text[: int(rng.integers(1, len(text)))] if rng.random() < 0.3 else text
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    member = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + rng.bytes(40)
    if rng.random() < 0.2:
        array = np.empty(20, object)
        array[:] = Canary(canary)
        member = npy(array)
    members = good_arrays(rng) | {str(rng.choice(["x.npy", "y.npy", "x_test.npy"])): member}
    npz_of(folder, members)
    return f"npz:{folder / 'a.npz'}"


def packed_npz(rng, folder, canary) -> str:
    """Far more than the file holds, in ways of packing that are known and that are not."""
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    method = methods[rng.integers(len(methods))]
    size = 1_000 if method == zipfile.ZIP_STORED else 80_000_000
    raw = bytearray(npz_of(folder, {"x.npy": npy(np.zeros((size,), np.uint8))}, method))
    if rng.random() < 0.5:  # the directory claims that the packed bytes are many as well
        at = raw.rindex(b"PK\1\2")
        raw[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)
    (folder / "a.npz").write_bytes(raw)
    return f"npz:{folder / 'a.npz'}"


def idx_bytes(array, kind: int = 8, shape=None) -> bytes:
    shape = array.shape if shape is None else shape
    head = struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)
    return head + array.tobytes()


def idx_folder(rng, folder, content: bytes) -> str:
    images = rng.integers(0, 256, (20, 6, 5), np.uint8)
    labels = (np.arange(20) % 4).astype(np.uint8)
    for key, name in IDX_FILES.items():
        (folder / name).write_bytes(idx_bytes(images if "images" in key else labels))
    name = IDX_FILES[str(rng.choice(list(IDX_FILES)))]
    ends_in_gz = rng.random() < 0.5
    if ends_in_gz:
        (folder / name).unlink()
    (folder / (name + ".gz" * ends_in_gz)).write_bytes(content)
    return f"idx:{folder}"


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)  # without the time of day


def changed_idx(rng, folder, canary) -> str:
    array = rng.integers(0, 256, (20, 6, 5) if rng.random() < 0.5 else (20,), np.uint8)
    content = idx_bytes(array)
    if rng.random() < 0.5:
        content = changed(rng, content)
        return idx_folder(
            rng, folder, gzip.compress(content, mtime=0) if rng.random() < 0.5 else content
        )
    return idx_folder(rng, folder, changed(rng, packed(content)))


def header_of_idx(rng, folder, canary) -> str:
    rank = int(rng.choice([1, 3, 3, 3, 0, 255]))
    shape = [int(n) for n in rng.choice(NUMBERS, rank)]
    content = idx_bytes(np.zeros(40, np.uint8), int(rng.choice([8, 8, 8, 13, 0])), shape)
    if rng.random() < 0.3:
        content = idx_bytes(np.zeros(40_000_000, np.uint8), 8, (1, 1, 40))
    return idx_folder(
        rng, folder, gzip.compress(content, 1, mtime=0) if rng.random() < 0.5 else content
    )


MAKERS = (
    changed_picture,
    changed_npz,
    changed_idx,
    header_of_npz,
    header_of_idx,
    changed_picture,
    foreign,
    large_claim,
    packed_npz,
    no_file,
)


if __name__ == "__main__":
    print(json.dumps(write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
