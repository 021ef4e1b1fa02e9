"""Headers of npz members as an attacker writes them: refused before memory is used."""

import io
import struct
import zipfile

import numpy as np
import pytest

from dgm_jax.core import DataError
from dgm_jax.data import npz

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)


def npy(header, body=b"", version=1):
    """A member by hand, with the header as it is written here."""
    text = header.encode("latin1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + body


def shaped(shape, descr="'|u1'", fortran="False"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


def written(tmp_path, members, method=zipfile.ZIP_DEFLATED):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def read(tmp_path, content, **options):
    return npz.read_npz(written(tmp_path, [("x.npy", content)], **options))[0]["train_images"]


def test_members_by_hand_are_read(tmp_path):
    body = VALUES.tobytes()
    np.testing.assert_array_equal(read(tmp_path, npy(shaped("(2, 3, 4, 1)"), body)), VALUES)
    np.testing.assert_array_equal(read(tmp_path, npy(shaped("(2, 3, 4, 1)"), body, 2)), VALUES)
    fortran = np.frombuffer(body, np.uint8).reshape(1, 4, 3, 2).T
    found = read(tmp_path, npy(shaped("(2, 3, 4, 1)", fortran="True"), body))
    np.testing.assert_array_equal(found, fortran)
    found = read(tmp_path, npy(shaped("(3,)", "'>u2'"), b"\1\2\3\4\5\6"))
    np.testing.assert_array_equal(found, [0x102, 0x304, 0x506])


SHAPES = {
    "two negative sizes": ("(-2, -12)", "an impossible shape of 2 axes"),
    "one negative size": ("(-24,)", "an impossible shape"),
    "a size that is a bool": ("(True, 24)", "an impossible shape"),
    "sixty-five axes": (f"({'1, ' * 65})", "an impossible shape of 65 axes"),
    "thirty-three axes": (f"({'1, ' * 32} 24)", "an impossible shape of 33 axes"),
    "nothing times 10^24": ("(0, 1000000000000, 1000000000000)", "an empty array|an impossible"),
    "nothing times 2^63": (f"(0, {2**63})", "an impossible shape"),
    "10^30": (f"({10**30},)", "an impossible shape"),
    "2^61": (f"({2**61}, 8)", "the header says .* bytes; found 24"),
    "more than there is": ("(25,)", "the header says .25,. uint8, 25 bytes; found 24"),
    "less than there is": ("(23,)", "23 bytes; found 24"),
    "a float": ("(24.0,)", "not in the npy format"),
    "no tuple": ("24", "not in the npy format"),
    "text": ("('24',)", "not in the npy format"),
    "deep": ("(" * 300 + ")" * 300, "not in the npy format"),
}
DTYPES = {
    "size 0": ("'|V0'", "has dtype .*, expected numbers"),
    "text of size 0": ("'<U0'", "expected numbers"),
    "raw bytes": ("'|V24'", "expected numbers"),
    "text": ("'|S24'", "expected numbers; fix for labels: labels = np.unique"),
    "dates": ("'<M8[s]'", "expected numbers"),
    "records": ("[('a', '|u1')]", "expected numbers"),
    "large records": ("[('a', '|u1', (1000000, 1000000))]", "not in the npy format|numbers"),
    "objects": ("'|O'", "is an object array"),
    "objects in records": ("[('a', '|O')]", "is an object array"),
    "no dtype": ("'hello'", "not in the npy format"),
    "code": ("__import__('os').system('true')", "not in the npy format"),
}
HEADERS = {
    "unfinished": "{'descr': (",
    "unfinished text": "{'descr': '|u1",
    "empty": "",
    "a number": "3",
    "other keys": "{'descr': '|u1', 'shape': (24,)}",
    "null bytes": "{'descr'\0: 1}",
    "not text": "\xff\xfe",
}


@pytest.mark.parametrize("case", SHAPES)
def test_impossible_shapes(tmp_path, case):
    shape, message = SHAPES[case]
    with pytest.raises(DataError, match=f"a.npz: array 'x'.*{message}"):
        read(tmp_path, npy(shaped(shape), VALUES.tobytes()))


@pytest.mark.parametrize("case", DTYPES)
def test_impossible_dtypes(tmp_path, case):
    descr, message = DTYPES[case]
    with pytest.raises(DataError, match=f"a.npz: array 'x'.*{message}"):
        read(tmp_path, npy(shaped("(24,)", descr), VALUES.tobytes()))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_are_none(tmp_path, case, version):
    with pytest.raises(DataError, match="array 'x': not in the npy format"):
        read(tmp_path, npy(HEADERS[case], VALUES.tobytes(), version))


def test_a_long_header(tmp_path):
    with pytest.raises(DataError, match="not in the npy format"):
        read(tmp_path, b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + b"{" * 20_000)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_pack_are_not_unpacked(tmp_path, method):
    """LZMA's header can ask for a dictionary of 4 GiB."""
    with pytest.raises(DataError, match=f"packed by method {method}; save with np.savez"):
        read(tmp_path, npy(shaped("(24,)"), VALUES.tobytes()), method=method)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice(tmp_path):
    content = npy(shaped("(2, 3, 4, 1)"), VALUES.tobytes())
    path = written(tmp_path, [("x.npy", content), ("x.npy", content[::-1])])
    with pytest.raises(DataError, match="x.npy stands twice in the file"):
        npz.read_npz(path)


def test_a_claim_is_weighed_against_the_file_not_against_another_claim(tmp_path):
    """The directory of the zip may say that the packed member is large as well."""
    content = npy(shaped("(300000000,)"))
    path = written(tmp_path, [("x.npy", content)], zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    claim = struct.pack("<II", 300_000_000 + len(content), 300_000_000 + len(content))
    at = raw.rindex(b"PK\1\2")
    raw[at + 20 : at + 28] = claim
    path.write_bytes(raw)
    with pytest.raises(DataError, match=f"{len(raw)} bytes claim to unpack to 3000001"):
        npz.read_npz(path)


def test_encrypted_members_and_names_with_control_characters(tmp_path):
    path = written(tmp_path, [("x.npy", npy(shaped("(24,)"), VALUES.tobytes()))])
    raw = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        raw[raw.index(mark) + at] |= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="cannot be read as npz"):
        npz.read_npz(path)
    stream = io.BytesIO()
    np.save(stream, VALUES)
    names = ["x.npy", "evil\x1b[2J.npy", "y" * 5000 + ".npy", "x\u202e.npy"]
    _, notes = npz.read_npz(written(tmp_path, [(name, stream.getvalue()) for name in names]))
    assert all(note.isprintable() and len(note) < 200 for note in notes)
