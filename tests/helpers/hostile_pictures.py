"""Good pictures of every format, faults put into them, and small files that claim to be large."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

FORMATS = {
    "png": {},
    "jpg": {},
    "gif": {},
    "webp": {"lossless": True},
    "tif": {"compression": "tiff_lzw"},
    "bmp": {},
    "ppm": {},
}
NUMBERS = (0, 1, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def picture(rng, ending: str, frames: int = 1) -> bytes:
    """A good file of random pixels."""
    side = int(rng.integers(4, 40))
    values = rng.integers(0, 256, (frames, side, side, 3), np.uint8)
    images = [Image.fromarray(v) for v in values]
    options = dict(FORMATS[ending])
    if frames > 1 and ending in ("png", "gif", "webp", "tif"):
        options |= {"save_all": True, "append_images": images[1:]}
    if rng.random() < 0.3 and ending in ("png", "jpg", "webp", "tif"):
        exif = images[0].getexif()
        exif[0x0112] = int(rng.integers(0, 10))
        options["exif"] = exif
        options.pop("compression", None)  # libtiff does not take both
    stream = io.BytesIO()
    images[0].save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), **options)
    return stream.getvalue()


def changed(rng, content: bytes) -> bytes:
    """The content after one to three faults: bytes changed, cut, doubled, or a number replaced."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        # Most faults in the first bytes, where headers are.
        size = max(1, len(data))
        at = int(rng.integers(0, min(size, 200) if rng.random() < 0.7 else size))
        kind = rng.integers(6)
        if kind == 0:
            data[at : at + 1] = bytes([rng.integers(256)])
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 30))]
        elif kind == 3:
            data[at:at] = data[at : at + int(rng.integers(1, 60))]
        elif kind == 4:
            data[at:at] = rng.bytes(int(rng.integers(1, 30)))
        else:
            number = int(rng.choice(NUMBERS))
            data[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), number)
    return bytes(data)


def with_right_checksums(content: bytes) -> bytes:
    """A PNG of which the chunks that still are whole pass their test, so that their contents are
    looked at."""
    out, at = bytearray(content[:8]), 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : at + 8 + length]
        out += content[at : at + 8 + length] + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def large_claims(rng) -> dict[str, bytes]:
    """Small files, by name, that claim or unpack to far more than they hold."""
    side = int(rng.choice([6_000, 8_192, 30_000, 2**31 - 1]))
    head = struct.pack(">IIBBBBB", side, side, 8, int(rng.choice([0, 2, 6])), 0, 0, 0)
    packed = zlib.compress(bytes(min(side, 8_192) ** 2 // 4), 1)
    png = b"\x89PNG\r\n\x1a\n"
    text = b"k\0\0" + zlib.compress(bytes(50_000_000), 1)
    profile = b"p\0\0" + zlib.compress(bytes(50_000_000), 1)
    small = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    frames = struct.pack(">II", 2**31 - 1, 0)
    return {
        "x.png": png + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b""),
        "text.png": png + chunk(b"IHDR", small) + chunk(b"zTXt", text),
        "profile.png": png + chunk(b"IHDR", small) + chunk(b"iCCP", profile),
        "frames.png": png + chunk(b"IHDR", small) + chunk(b"acTL", frames),
        "x.ppm": f"P6 {side} {side} 255\n".encode() + bytes(100),
        "x.bmp": b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, side, 1, 1, 24) + bytes(100),
        "x.gif": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\2\0;",
    }
