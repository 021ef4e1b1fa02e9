"""One image file: the right pixels, found apart by hand or by another function of pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dgm_jax import data
from dgm_jax.core import ConfigError, DataError
from dgm_jax.data import folder, picture_file

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (6, 4, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 4), np.uint8)


def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(rows, width, height, depth, colour, *between):
    """A PNG by hand: `rows` are the packed bytes of each row."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    parts = [chunk(b"IHDR", head), *between, chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def decoded(tmp_path, content, name="x.png", **options):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return picture_file.decode(path, tmp_path.resolve(), **options)


# What a viewer shows of stored pixels, by the EXIF standard (2.32, tag 0x0112), as array moves.
ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("ending", ["png", "webp", "tif", "jpg"])
@pytest.mark.parametrize("orientation", [*ORIENTATIONS, 0, 9])
def test_orientation_is_applied(tmp_path, ending, orientation):
    image = Image.fromarray(np.kron(RGB[:3, :2] // 2, np.ones((16, 16, 1), np.uint8)))
    exif = image.getexif()
    exif[0x0112] = orientation
    options = {"lossless": True} if ending == "webp" else {}
    plain = tmp_path / f"plain.{ending}"
    image.save(plain, **options)
    stored = np.asarray(Image.open(plain).convert("RGB"))
    found = decoded(tmp_path, lambda p: image.save(p, exif=exif, **options), f"x.{ending}")
    np.testing.assert_array_equal(found.values, ORIENTATIONS.get(orientation, lambda a: a)(stored))
    assert ("turned" in found.remarks) == (orientation in range(2, 9))


def rows16(array):
    return [row.astype(">u2").tobytes() for row in array]


DEEP = RNG.integers(0, 4096, (6, 4, 4)).astype(np.uint16)
TIFF_TAGS = {256: 4, 257: 6, 259: 1, 262: 2, 277: 3, 278: 6}


def tiff(bits, sample_format, body, samples=3):
    """A little-endian TIFF by hand: one strip of 6 rows of 4 pixels."""
    tags = TIFF_TAGS | {262: 2 if samples == 3 else 1, 277: samples}
    tags |= {258: bits, 339: sample_format, 273: 0, 279: len(body)}
    start = 8
    ifd = start + len(body)
    extra_at, extra, entries = ifd + 2 + 12 * len(tags) + 4, b"", b""
    for tag in sorted(tags):
        value = tags[tag] if tag != 273 else start
        if tag in (258, 339) and samples > 1:
            entries += struct.pack("<HHII", tag, 3, samples, extra_at + len(extra))
            extra += struct.pack(f"<{samples}H", *[value] * samples)
        else:
            entries += struct.pack("<HHIHH", tag, 3, 1, value, 0)
    count = struct.pack("<H", len(tags))
    return struct.pack("<2sHI", b"II", 42, ifd) + body + count + entries + bytes(4) + extra


def ppm(kind, largest, values):
    return f"{kind}\n# a comment\n4 6\n{largest}\n".encode() + values.tobytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.png", png(rows16(DEEP[..., :1]), 4, 6, 16, 0)),
        ("rgb.png", png(rows16(DEEP[..., :3]), 4, 6, 16, 2)),
        ("grey_alpha.png", png(rows16(DEEP[..., :2]), 4, 6, 16, 4)),
        ("rgba.png", png(rows16(DEEP), 4, 6, 16, 6)),
        ("rgb.tif", tiff(16, 1, DEEP[..., :3].astype("<u2").tobytes())),
        ("grey.tif", tiff(16, 1, DEEP[..., :1].astype("<u2").tobytes(), 1)),
        ("rgb.ppm", ppm("P6", 65535, DEEP[..., :3].astype(">u2"))),
        ("rgb12.ppm", ppm("P6", 4095, DEEP[..., :3].astype(">u2"))),
        ("grey.pgm", ppm("P5", 4095, DEEP[..., 0].astype(">u2"))),
    ],
)
def test_more_than_8_bits_are_refused_in_every_format(tmp_path, name, content):
    with pytest.raises(DataError, match=f"{name}: 16-bit pixels, expected 8-bit; scale"):
        decoded(tmp_path, content, name)


def test_the_same_tiff_and_ppm_of_8_bits_are_read(tmp_path):
    body = RGB.tobytes()
    np.testing.assert_array_equal(decoded(tmp_path, tiff(8, 1, body), "a.tif").values, RGB)
    np.testing.assert_array_equal(decoded(tmp_path, ppm("P6", 255, RGB), "a.ppm").values, RGB)
    with pytest.raises(DataError, match="not unsigned integers .SampleFormat .2"):
        decoded(tmp_path, tiff(8, 2, GREY.tobytes(), 1), "signed.tif")
    few = GREY // 16  # 0..15 of 15 are 0..255 by the PGM standard
    np.testing.assert_array_equal(
        decoded(tmp_path, ppm("P5", 15, few), "b.pgm").values[..., 0], few * 17
    )


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_fewer_than_8_bits_are_scaled(tmp_path, depth):
    values = RNG.integers(0, 2**depth, (6, 8), np.uint8)
    bits = ((values[..., None] >> np.arange(depth)[::-1]) & 1).reshape(6, -1)
    content = png(np.packbits(bits.astype(np.uint8), axis=1), 8, 6, depth, 0)
    found = decoded(tmp_path, content).values
    np.testing.assert_array_equal(found[..., 0], values * (255 // (2**depth - 1)))


PALETTE = RNG.integers(0, 256, (4, 3), np.uint8)


def test_palettes_and_what_is_transparent_in_them(tmp_path):
    codes = RNG.integers(0, 3, (6, 4), np.uint8)
    colours = chunk(b"PLTE", PALETTE.tobytes())

    def with_alpha(*alpha):
        return png(codes, 4, 6, 8, 3, colours, *([chunk(b"tRNS", bytes(alpha))] if alpha else []))

    for alpha in ((), (255, 255, 255), (255, 255, 255, 0)):  # colour 3 does not occur
        np.testing.assert_array_equal(decoded(tmp_path, with_alpha(*alpha)).values, PALETTE[codes])
    with pytest.raises(DataError, match="has transparent pixels; flatten"):
        decoded(tmp_path, with_alpha(255, 10, 255))
    key = struct.pack(">H", int(GREY[2, 2]))
    with pytest.raises(DataError, match="has transparent pixels"):
        decoded(tmp_path, png(GREY, 4, 6, 8, 0, chunk(b"tRNS", key)))


def test_cmyk_is_turned_into_rgb_and_said(tmp_path):
    cmyk = np.zeros((6, 4, 4), np.uint8)
    cmyk[..., :3] = 255 - RGB
    image = Image.fromarray(cmyk, "CMYK")
    found = decoded(tmp_path, lambda p: image.save(p), "x.tif")
    np.testing.assert_array_equal(found.values, RGB)  # without black: red is 255 - cyan
    assert found.remarks == ("cmyk",)


def test_a_profile_other_than_srgb_is_said(tmp_path):
    from PIL import ImageCms

    image = Image.fromarray(RGB)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, remarks in (
        (srgb, ()),
        (srgb.replace(b"s\0R\0G\0B", b"w\0i\0d\0e"), ("profile",)),
    ):
        wide = profile.replace(b"sRGB", b"wide") if remarks else profile
        found = decoded(tmp_path, lambda p, w=wide: image.save(p, icc_profile=w))
        np.testing.assert_array_equal(found.values, RGB)
        assert found.remarks == remarks


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_the_first_of_several_frames_is_read_and_said(tmp_path, ending):
    pair = [np.kron(a, np.ones((8, 8), np.uint8)) for a in (GREY, 255 - GREY)]
    first, second = (Image.fromarray(a).convert("RGB" if ending == "webp" else "L") for a in pair)
    options = {"lossless": True} if ending == "webp" else {}
    name = tmp_path / f"x.{ending}"
    found = decoded(
        tmp_path,
        lambda p: first.save(p, save_all=True, append_images=[second], **options),
        name.name,
    )
    assert found.remarks == ("frame",)
    np.testing.assert_array_equal(found.values[..., 0], pair[0])
    first.save(name, **options)
    assert picture_file.decode(name, tmp_path.resolve()).remarks == ()


def test_remarks_are_counted_in_the_notes(tmp_path):
    for i in range(12):
        rng = np.random.default_rng(i)
        image = Image.fromarray(rng.integers(0, 256, (6, 4, 3), np.uint8))
        exif = image.getexif()
        exif[0x0112] = 3 if i < 4 else 1
        image.save(tmp_path / f"{i:02}.png", exif=exif)
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    notes = data.load(f"folder:{tmp_path}").info.notes
    assert notes[:2] == (
        "turned upright by their EXIF orientation: 4 images",
        "grey given three equal channels: 1 images",
    )
    notes = data.load(f"folder:{tmp_path}", channels=1, image_size=4).info.notes
    assert notes[:4] == (
        "resized to 4x4",
        "turned upright by their EXIF orientation: 4 images",
        "not square before it, so stretched: 13 images",
        "colour turned grey: 12 images",
    )


def solid(path, side):
    Image.new("L", (side, side), 7).save(path)


def test_pixels_that_a_file_cannot_hold_are_not_decoded(tmp_path):
    """A small file of one colour unpacks to hundreds of megabytes."""
    with pytest.raises(
        DataError, match="5000 x 5000 pixels in .* at most 16777216 in so few; scale"
    ):
        decoded(tmp_path, lambda p: solid(p, 5000))
    with pytest.raises(DataError, match="9000 x 9000 pixels, expected 1 to 67108864"):
        decoded(tmp_path, lambda p: solid(p, 9000))
    assert decoded(tmp_path, lambda p: solid(p, 600)).pixels == 360_000


@pytest.mark.parametrize("bad_files", ["error", "skip"])
def test_the_sum_of_pixels_is_limited(tmp_path, monkeypatch, bad_files):
    """A limit of the set: no file can be skipped to mend it."""
    for i in range(9):
        solid(tmp_path / f"{i}.png", 400)
    monkeypatch.setattr(folder, "SMALL_SET_BYTES", 400 * 400 * 8)
    with pytest.raises(DataError, match="hold more than 1280000 pixels.*scale the images down"):
        folder.read_folder(tmp_path, bad_files=bad_files)
    (tmp_path / "0.png").unlink()
    assert len(folder.read_folder(tmp_path)[0]["train_images"]) == 8
    monkeypatch.setattr(folder, "MAX_BYTES", 8 * 50**2)
    with pytest.raises(DataError, match="more than 20000 bytes together"):
        folder.read_folder(tmp_path, bad_files=bad_files)
    with pytest.raises(DataError, match="give a smaller image_size"):
        folder.read_folder(tmp_path, image_size=51)
    assert folder.read_folder(tmp_path, image_size=50)[0]["train_images"].shape == (8, 50, 50, 1)


@pytest.mark.parametrize("size", [2.5, 10**9, -1, True, "8"])
def test_absurd_sizes_are_refused(tmp_path, size):
    with pytest.raises(ConfigError, match="image_size"):
        folder.read_folder(tmp_path, image_size=size)


def test_numpy_numbers_are_numbers(tmp_path):
    for i in range(6):
        Image.fromarray(np.roll(GREY, i)).save(tmp_path / f"{i}.png")
    found = data.load(f"folder:{tmp_path}", image_size=np.int64(4), num_train=np.int32(3)).info
    assert (found.shape, found.num_train) == ((4, 4, 1), 3)


@pytest.mark.parametrize("ending", ["eps", "psd", "ico", "tga", "pcx", "fli"])
def test_other_formats_under_the_name_of_a_png_are_not_decoded(tmp_path, ending):
    stream = io.BytesIO()
    try:
        Image.fromarray(RGB).save(stream, {"tga": "TGA"}.get(ending, ending.upper()))
        content = stream.getvalue()
    except (KeyError, ValueError):
        content = {"psd": b"8BPS\0\1" + bytes(30), "fli": bytes(4) + b"\x11\xaf" + bytes(200)}[
            ending
        ]
    with pytest.raises(DataError, match="x.png: not a readable image .UnidentifiedImageError"):
        decoded(tmp_path, content)
