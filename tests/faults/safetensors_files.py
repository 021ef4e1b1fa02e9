"""Files of arrays that do not mean well, made of a sound safetensors file.

The format: eight bytes with the header's length, little-endian; the header, a JSON object
{name: {"dtype", "shape", "data_offsets": [begin, end]}}, perhaps with "__metadata__"; the data.
"""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

DEEP = 100_000  # nested lists


class Parts(NamedTuple):
    """A file taken apart."""

    header: dict
    data: bytes

    def joined(self) -> bytes:
        return packed(json.dumps(self.header).encode(), self.data)


def parts(content: bytes) -> Parts:
    (size,) = struct.unpack("<Q", content[:8])
    return Parts(json.loads(content[8 : 8 + size]), content[8 + size :])


def packed(header: bytes, data: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + data


class Canary:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def _npz(arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _bomb() -> bytes:
    """A zip file that unpacks to a thousand times its size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("params.npy", bytes(1 << 28))
    return buffer.getvalue()


def foreign(canary: Path) -> dict[str, Callable[[bytes], bytes]]:
    """Files of other kinds, and sound ones that were cut or lengthened."""
    objects = np.empty(1, object)
    objects[0] = Canary(canary)
    array = {"params": np.zeros(3, np.float32)}
    return {
        "text": lambda content: b"these are no weights\n" * 10,
        "a pickle": lambda content: pickle.dumps(Canary(canary)),
        "a pickle of the same length": lambda content: _padded(
            pickle.dumps(Canary(canary)), content
        ),
        "npz": lambda content: _npz(array),
        "npz of objects": lambda content: _npz({"params": objects}),
        "a zip bomb": lambda content: _bomb(),
        "empty": lambda content: b"",
        "seven bytes": lambda content: content[:7],
        "zeros": lambda content: bytes(len(content)),
        "a header cut": lambda content: content[:40],
        "data cut": lambda content: content[:-1],
        "data lengthened": lambda content: content + b"\0",
        "a header of 2^63 bytes": lambda content: packed(b"{}", b"", 2**63),
        "a header of 2^64 - 1 bytes": lambda content: packed(b"{}", b"", 2**64 - 1),
        "a header longer than the file": lambda content: packed(b"{}", b"", len(content)),
        "a header of no bytes": lambda content: packed(b"", content),
        "a header that is no JSON": lambda content: packed(b"{'params': 1}", content),
        "a header that is no UTF-8": lambda content: packed(b'{"\xff\xfe": 1}', content),
        "a header that is a list": lambda content: packed(b"[]", b""),
        "a header with nothing": lambda content: packed(b"{}", b""),
        "a deep header": lambda content: packed(b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}", b""),
        "a long header": lambda content: packed(b"{" + b" " * (1 << 25) + b"}", b""),
    }


def _padded(content: bytes, like: bytes) -> bytes:
    return content.ljust(len(like), b"\0")[: len(like)]


def _entry(change: Callable[[dict, int], dict]) -> Callable[[bytes], bytes]:
    """The first array's entry changed by `change(entry, size of the data)`."""

    def edit(content):
        header, data = parts(content)
        name = first_name(header)
        return Parts({**header, name: change(dict(header[name]), len(data))}, data).joined()

    return edit


def first_name(header: dict) -> str:
    return next(name for name in header if name != "__metadata__")


def _header(change: Callable[[dict], dict]) -> Callable[[bytes], bytes]:
    def edit(content):
        header, data = parts(content)
        return Parts(change(dict(header)), data).joined()

    return edit


def _doubled(last_is_sound: bool, other: bool):
    """The last name twice in one JSON object, perhaps once with bytes from elsewhere."""

    def edit(content):
        header, data = parts(content)
        *rest, name = [key for key in header if key != "__metadata__"]
        false = {**header[name], "data_offsets": header[rest[0]]["data_offsets"]}
        pair = [false if other else header[name], header[name]]
        pair = pair if last_is_sound else pair[::-1]
        entries = [(key, header[key]) for key in rest] + [(name, entry) for entry in pair]
        text = ", ".join(f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries)
        return packed(f"{{{text}}}".encode(), data)

    return edit


def _raw(name: str, text: str) -> Callable[[bytes], bytes]:
    """A value of the first entry as JSON text, which need not be JSON's."""

    def edit(content):
        header, data = parts(content)
        first = first_name(header)
        marked = {**header, first: {**header[first], name: "here"}}
        return packed(json.dumps(marked).replace('"here"', text).encode(), data)

    return edit


def _renamed(header: dict) -> dict:
    name = first_name(header)
    return {("params/other" if key == name else key): value for key, value in header.items()}


def _without_first(header: dict) -> dict:
    return {key: value for key, value in header.items() if key != first_name(header)}


def _swapped(header: dict) -> dict:
    """Two arrays of one shape and dtype under each other's names; the last two, if none are."""
    names = [name for name in header if name != "__metadata__"]
    kind = lambda name: (header[name]["dtype"], tuple(header[name]["shape"]))
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if kind(a) == kind(b)]
    a, b = pairs[0] if pairs else names[-2:]
    return {**header, a: header[b], b: header[a]}


def _offsets(change: Callable[[int, int, int], list]):
    return _entry(
        lambda entry, size: {**entry, "data_offsets": change(*entry["data_offsets"], size)}
    )


def _shape(change: Callable[[list], object]):
    return _entry(lambda entry, size: {**entry, "shape": change(entry["shape"])})


HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "offsets that overlap": _offsets(lambda a, b, size: [a, b + 4]),
    "offsets out of the file": _offsets(lambda a, b, size: [a + size, b + size]),
    "offsets of 2^62": _offsets(lambda a, b, size: [a, 2**62]),
    "offsets reversed": _offsets(lambda a, b, size: [b, a]),
    "negative offsets": _offsets(lambda a, b, size: [-4, b - a - 4]),
    "offsets that leave a hole": _offsets(lambda a, b, size: [a + 4, b]),
    "one offset": _offsets(lambda a, b, size: [a]),
    "offsets as text": _offsets(lambda a, b, size: [str(a), str(b)]),
    "a negative size": _shape(lambda shape: [-1, *shape]),
    "two negative sizes": _shape(lambda shape: [-1, -1, *shape]),
    "a size of 2^40": _shape(lambda shape: [2**40, *shape[1:]]),
    "sizes whose product overflows": _shape(lambda shape: [2**32, 2**32]),
    "a size of 0": _shape(lambda shape: [0, *shape]),
    "a fractional size": _shape(lambda shape: [1.5, *shape]),
    "a shape that is text": _shape(lambda shape: "many"),
    "a hundred axes": _shape(lambda shape: [1] * 100 + shape),
    "NaN for a size": _raw("shape", "[NaN]"),
    "a size of 400 digits": _raw("shape", "[" + "9" * 400 + "]"),
    "a dtype that is none": _entry(lambda entry, size: {**entry, "dtype": "O"}),
    "another dtype of the same size": _entry(lambda entry, size: {**entry, "dtype": "I32"}),
    "another dtype of another size": _entry(lambda entry, size: {**entry, "dtype": "F64"}),
    "an entry that is a list": _header(lambda header: {**header, first_name(header): []}),
    "an entry without a shape": _entry(lambda e, n: {k: e[k] for k in e if k != "shape"}),
    "a name twice, both times the same": _doubled(True, False),
    "a name twice, the first time with other bytes": _doubled(True, True),
    "a name twice, the last time with other bytes": _doubled(False, True),
    "a name too many": _header(
        lambda header: {**header, "more": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    ),
    "a name too few": _header(_without_first),
    "a name changed": _header(_renamed),
    "two arrays swapped": _header(_swapped),
    "metadata that is no object": _header(lambda header: {**header, "__metadata__": [1]}),
}


def _last_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


HEADERS["a bit of the data"] = _last_bit
