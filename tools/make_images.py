"""Writes a large set of gray images as IDX files, to try data that do not fit into memory.

    python tools/make_images.py FOLDER --gigabytes 8 --side 64
    dgm-jax run vqvae_images --data idx:FOLDER --data_on host

Each image is a plane wave, 127.5 + 127.5 cos(2 pi (f x + g y + p) / 256), of random whole
frequencies f and g and phase p. Its label is the quarter turn that the wave's direction lies in.
The same arguments give the same bytes. A test split of 1,000 images comes with it.
"""

import argparse
import pathlib
import struct

import numpy as np

COSINE = np.round(127.5 + 127.5 * np.cos(2 * np.pi * np.arange(256) / 256)).astype(np.uint8)
FREQUENCIES = 24  # both run from -24 to 24; more would alias at 8 pixels a side
NUM_TEST = 1000
AT_ONCE = 4096


def waves(rng: np.random.Generator, num: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """`num` images uint8[num, side, side] and their labels uint8[num] in 0..3."""
    f, g = rng.integers(-FREQUENCIES, FREQUENCIES + 1, (2, num))
    f = np.where((f == 0) & (g == 0), 1, f)  # a wave without a frequency is constant
    phase = rng.integers(0, 256, num)
    places = np.arange(side) * max(1, 128 // side)
    along_x = (f[:, None] * places + phase[:, None]).astype(np.uint8)  # modulo 256
    along_y = (g[:, None] * places).astype(np.uint8)
    images = COSINE[along_y[:, :, None] + along_x[:, None, :]]
    labels = 2 * (f < 0) + (g < 0)
    return images, labels.astype(np.uint8)


def write(folder: pathlib.Path, split: str, num: int, side: int, seed: int) -> None:
    """One split: its images block by block, then its labels."""
    rng = np.random.default_rng(seed)
    labels = []
    with open(folder / f"{split}-images-idx3-ubyte", "wb") as stream:
        stream.write(struct.pack(">BBBB3I", 0, 0, 8, 3, num, side, side))
        for start in range(0, num, AT_ONCE):
            images, of_images = waves(rng, min(AT_ONCE, num - start), side)
            stream.write(images.data)
            labels.append(of_images)
    header = struct.pack(">BBBBI", 0, 0, 8, 1, num)
    (folder / f"{split}-labels-idx1-ubyte").write_bytes(header + np.concatenate(labels).tobytes())


def main() -> None:
    """Writes both splits."""
    parser = argparse.ArgumentParser(description="Writes a large set of gray images.")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--gigabytes", type=float, default=8.0, help="of the training images, 10^9")
    parser.add_argument("--side", type=int, default=64, help="pixels of a side")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    num = int(arguments.gigabytes * 1e9) // arguments.side**2
    write(arguments.folder, "train", num, arguments.side, 2 * arguments.seed)
    write(arguments.folder, "t10k", NUM_TEST, arguments.side, 2 * arguments.seed + 1)
    print(f"{num:,} training images and {NUM_TEST:,} test images in {arguments.folder}")


if __name__ == "__main__":
    main()
