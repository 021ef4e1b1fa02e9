"""The FID network with random weights: names and shapes, what a broken file says, and blocks by
brute force."""

import functools
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from dgm_jax.core import DataError
from dgm_jax.evaluation import inception
from dgm_jax.evaluation.inception_layers import LAYERS

# Sizes after each stage for one 299 x 299 image, from the comments of the published definition of
# the network.
SHAPES = {
    "Conv2d_1a_3x3": (149, 149, 32),
    "Conv2d_2a_3x3": (147, 147, 32),
    "Conv2d_2b_3x3": (147, 147, 64),
    "maxpool1": (73, 73, 64),
    "Conv2d_3b_1x1": (73, 73, 80),
    "Conv2d_4a_3x3": (71, 71, 192),
    "maxpool2": (35, 35, 192),
    "Mixed_5b": (35, 35, 256),
    "Mixed_5c": (35, 35, 288),
    "Mixed_5d": (35, 35, 288),
    "Mixed_6a": (17, 17, 768),
    "Mixed_6b": (17, 17, 768),
    "Mixed_6c": (17, 17, 768),
    "Mixed_6d": (17, 17, 768),
    "Mixed_6e": (17, 17, 768),
    "Mixed_7a": (8, 8, 1280),
    "Mixed_7b": (8, 8, 2048),
    "Mixed_7c": (8, 8, 2048),
}


NORMALISATION = (
    ("weight", 0.8, 1.2),
    ("bias", -0.1, 0.1),
    ("running_mean", -0.1, 0.1),
    ("running_var", 0.5, 2),
)


def random_tensors(layers=LAYERS, seed=0):
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, layer in layers.items():
        shape = (layer.outputs, layer.inputs, layer.height, layer.width)
        fan_in = layer.inputs * layer.height * layer.width
        tensors[f"{name}.conv.weight"] = rng.standard_normal(shape, np.float32) * np.float32(
            np.sqrt(2 / fan_in)
        )
        for part, low, high in NORMALISATION:
            tensors[f"{name}.bn.{part}"] = rng.uniform(low, high, layer.outputs).astype(np.float32)
        tensors[f"{name}.bn.num_batches_tracked"] = np.array(0)
    return tensors


@pytest.fixture(scope="module")
def tensors():
    return random_tensors()


@pytest.fixture(scope="module")
def params(tensors):
    return inception.from_tensors(tensors)


def by_hand(tensors, name, x, stride=1, pad=(0, 0)):
    """x [H, W, C]: correlation, then batch normalisation as it is defined, then ReLU; float64."""
    weight = tensors[f"{name}.conv.weight"].astype(np.float64)
    x = np.pad(x.astype(np.float64), ((pad[0], pad[0]), (pad[1], pad[1]), (0, 0)))
    maps = [
        sum(correlate(x[..., c], kernel[c], "valid", "direct") for c in range(x.shape[2]))
        for kernel in weight
    ]
    y = np.stack(maps, axis=-1)[::stride, ::stride]
    gamma, beta, mean, variance = (
        tensors[f"{name}.bn.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return np.maximum(gamma * (y - mean) / np.sqrt(variance + 1e-3) + beta, 0)


def pool_by_hand(x, reduce, stride=1, pad=1):
    """3 x 3 windows over the pixels that there are."""
    height, width = ((size + 2 * pad - 3) // stride + 1 for size in x.shape[:2])
    out = np.empty((height, width, x.shape[2]))
    for i in range(height):
        for j in range(width):
            top, left = i * stride - pad, j * stride - pad
            out[i, j] = reduce(x[max(top, 0) : top + 3, max(left, 0) : left + 3], axis=(0, 1))
    return out


def narrow(block, width=3):
    """Random weights for one block, with `width` channels wherever the network has more."""
    layers = {}
    for name, layer in LAYERS.items():
        if name.startswith(block + "."):
            layers[name] = layer._replace(inputs=width, outputs=width)
    return random_tensors(layers), layers


def fold(tensors, layers):
    """The block's folded parameters, by the formula of the docstring."""
    params = {}
    for name in layers:
        gain = tensors[f"{name}.bn.weight"] / np.sqrt(tensors[f"{name}.bn.running_var"] + 1e-3)
        kernel = np.transpose(
            tensors[f"{name}.conv.weight"] * gain[:, None, None, None], (2, 3, 1, 0)
        )
        bias = tensors[f"{name}.bn.bias"] - tensors[f"{name}.bn.running_mean"] * gain
        params[name] = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    return params


def chain(tensors, block, x, *steps):
    for name, *options in steps:
        x = by_hand(tensors, f"{block}.{name}", x, *options)
    return x


P11, P13, P31, P17, P71, P22 = (
    (1, (1, 1)),
    (1, (0, 1)),
    (1, (1, 0)),
    (1, (0, 3)),
    (1, (3, 0)),
    (1, (2, 2)),
)
DOWN = (2, (0, 0))


def block_by_hand(block, t, x):
    kind = block[:7]
    if kind == "Mixed_5":
        return [
            chain(t, block, x, ["branch1x1"]),
            chain(t, block, x, ["branch5x5_1"], ["branch5x5_2", *P22]),
            chain(
                t, block, x, ["branch3x3dbl_1"], ["branch3x3dbl_2", *P11], ["branch3x3dbl_3", *P11]
            ),
            chain(t, block, pool_by_hand(x, np.mean), ["branch_pool"]),
        ]
    if block == "Mixed_6a":
        return [
            chain(t, block, x, ["branch3x3", *DOWN]),
            chain(
                t, block, x, ["branch3x3dbl_1"], ["branch3x3dbl_2", *P11], ["branch3x3dbl_3", *DOWN]
            ),
            pool_by_hand(x, np.max, 2, 0),
        ]
    if kind == "Mixed_6":
        double = zip(range(1, 6), ((1, (0, 0)), P71, P17, P71, P17), strict=True)
        return [
            chain(t, block, x, ["branch1x1"]),
            chain(t, block, x, ["branch7x7_1"], ["branch7x7_2", *P17], ["branch7x7_3", *P71]),
            chain(t, block, x, *([f"branch7x7dbl_{i}", *options] for i, options in double)),
            chain(t, block, pool_by_hand(x, np.mean), ["branch_pool"]),
        ]
    if block == "Mixed_7a":
        steps = zip(range(1, 5), ((1, (0, 0)), P17, P71, DOWN), strict=True)
        return [
            chain(t, block, x, ["branch3x3_1"], ["branch3x3_2", *DOWN]),
            chain(t, block, x, *([f"branch7x7x3_{i}", *options] for i, options in steps)),
            pool_by_hand(x, np.max, 2, 0),
        ]
    single = chain(t, block, x, ["branch3x3_1"])
    double = chain(t, block, x, ["branch3x3dbl_1"], ["branch3x3dbl_2", *P11])
    return [
        chain(t, block, x, ["branch1x1"]),
        chain(t, block, single, ["branch3x3_2a", *P13]),
        chain(t, block, single, ["branch3x3_2b", *P31]),
        chain(t, block, double, ["branch3x3dbl_3a", *P13]),
        chain(t, block, double, ["branch3x3dbl_3b", *P31]),
        chain(
            t, block, pool_by_hand(x, np.max if block == "Mixed_7c" else np.mean), ["branch_pool"]
        ),
    ]


@pytest.mark.parametrize(
    "block", ["Mixed_5b", "Mixed_6a", "Mixed_6b", "Mixed_7a", "Mixed_7b", "Mixed_7c"]
)
def test_blocks_by_brute_force(block):
    """Order of the branches, padding, stride, and which pool: 7 x 9 pixels, three channels
    everywhere, values of either sign so that a padding of zeros would show in the maximum too."""
    tensors, layers = narrow(block)
    x = (np.random.default_rng(1).normal(size=(7, 9, 3)) - 1).astype(np.float32)
    expected = np.concatenate(block_by_hand(block, tensors, x), axis=-1)
    stage = jax.jit(lambda params, x: inception.STAGES[block](params, block, x))
    got = stage(fold(tensors, layers), x[None])[0]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_average_pool_counts_the_pixels_that_there_are():
    x = jnp.ones((2, 4, 5, 3)).at[:, 0, 0].set(5.0)
    got = inception._average_pool(x)
    np.testing.assert_allclose(got[0, 0, 0], 1 + 4 / 4)
    np.testing.assert_allclose(got[0, 0, 1], 1 + 4 / 6, rtol=1e-6)
    np.testing.assert_allclose(got[1, 1, 1], 1 + 4 / 9, rtol=1e-6)
    np.testing.assert_allclose(got[:, 2:], 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["Conv2d_1a_3x3", "Conv2d_2b_3x3"])
def test_stem_layers_with_folded_batch_normalisation(name, tensors, params):
    layer = LAYERS[name]
    x = np.random.default_rng(2).normal(size=(9, 8, layer.inputs)).astype(np.float32)
    got = jax.jit(lambda params, x: inception.STAGES[name](params, name, x))(params, x[None])[0]
    pad = (1, 1) if name == "Conv2d_2b_3x3" else (0, 0)
    expected = by_hand(tensors, name, x, 2 if name == "Conv2d_1a_3x3" else 1, pad)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_shapes_of_all_stages_and_number_of_parameters(params):
    x = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    assert list(inception.STAGES) == list(SHAPES)
    for name, stage in inception.STAGES.items():
        x = jax.eval_shape(lambda p, x, stage=stage, name=name: stage(p, name, x), params, x)
        assert x.shape == (1, *SHAPES[name]), name
    kernels = sum(
        layer.inputs * layer.outputs * layer.height * layer.width for layer in LAYERS.values()
    )
    # 23,834,568 parameters of Inception-v3 without its auxiliary head and with 1,000 classes, less
    # the last layer and the two normalisation parameters of each channel, leave the kernels.
    channels = sum(layer.outputs for layer in LAYERS.values())
    assert len(LAYERS) == 94 and kernels + 2 * channels == 23_834_568 - 2048 * 1000 - 1000


def resized(image, size):
    """Linear interpolation between pixel centres along each axis, clamped at the border, by
    numpy."""
    for axis in (0, 1):
        length = image.shape[axis]
        centres = (np.arange(size) + 0.5) * length / size - 0.5
        between = functools.partial(np.interp, centres, np.arange(length))
        image = np.apply_along_axis(between, axis, image)
    return image


@pytest.mark.parametrize(
    "shape", [(28, 28, 1), (20, 33, 3), (610, 299, 1)], ids=["grey", "wide", "shrunk"]
)
def test_resize_and_range(shape):
    """Up and down: when shrinking, no low-pass filter, as in the port that published scores come
    from."""
    image = np.random.default_rng(3).uniform(size=shape).astype(np.float32)
    got = jax.jit(inception._prepare)(image[None])[0]
    expected = 2 * np.broadcast_to(resized(image, 299), (299, 299, 3)) - 1
    # A coordinate of 610 in float32 is known to 3e-5, and so is its interpolation weight.
    np.testing.assert_allclose(got, expected, atol=max(2e-5, 2.5e-7 * shape[0]))


def test_features_of_a_batch(params):
    """An image's features depend neither on its place nor on its batch, and grey is grey in three
    channels."""
    images = np.random.default_rng(4).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)
    images[4] = images[1]
    got = np.asarray(inception.features(params, images, batch_size=2))
    assert got.shape == (5, inception.NUM_FEATURES) and got.dtype == np.float32
    np.testing.assert_allclose(got[4], got[1], atol=1e-5)
    distance = np.linalg.norm(got[:, None] - got, axis=-1)
    assert np.sum(distance < 1e-3) == 7  # each with itself, and 1 with 4
    assert np.all(got >= 0) and 0.01 < got.mean() < 100


def test_features_are_means_over_pixels_after_all_stages_in_order(monkeypatch):
    stages = {"first": lambda p, name, x: x + p[name], "second": lambda p, name, x: x * p[name]}
    monkeypatch.setattr(inception, "STAGES", stages)
    x = np.random.default_rng(5).normal(size=(2, 4, 3, 6)).astype(np.float32)
    got = inception._pool3({"first": 1.0, "second": 2.0}, x)
    np.testing.assert_allclose(got, ((x + 1) * 2).mean((1, 2)), rtol=1e-5)


def test_file_round_trip(tmp_path, tensors, params):
    path = tmp_path / "inception.npz"
    np.savez(
        path,
        **tensors,
        **{"fc.weight": np.zeros((1008, 2048), np.float32), "fc.bias": np.zeros(1008)},
    )
    jax.tree.map(np.testing.assert_array_equal, inception.load(path), params)
    assert list(params) == list(LAYERS)


SEVEN = "Mixed_6c.branch7x7_2.conv.weight"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (SEVEN, None, rf"'{SEVEN}' is missing.*\(160, 160, 1, 7\)"),
        (
            "Mixed_7c.branch_pool.bn.running_var",
            None,
            "'Mixed_7c.branch_pool.bn.running_var' is missing",
        ),
        (
            SEVEN,
            np.zeros((160, 160, 7, 1)),
            rf"'{SEVEN}' .* \(160, 160, 1, 7\); got float64 \(160, 160, 7, 1\)",
        ),
        (
            "Mixed_5b.branch1x1.bn.bias",
            np.zeros(64, int),
            r"'Mixed_5b.branch1x1.bn.bias' must be floats .* got int64",
        ),
        ("Mixed_5b.branch1x1.bn.bias", np.full(64, np.nan), "'Mixed_5b.branch1x1.bn.bias' has NaN"),
        (
            "Mixed_5b.branch1x1.bn.running_var",
            np.full(64, -1.0),
            "Mixed_5b.branch1x1.bn.running_var has negative",
        ),
        (
            "fc.weight",
            np.zeros((1000, 2048)),
            "fc.weight has 1000 rows; the FID network's has 1008",
        ),
    ],
)
def test_a_broken_tensor_is_named(tensors, name, value, message):
    broken = {key: tensor for key, tensor in tensors.items() if key != name}
    if value is not None:
        broken[name] = value
    with pytest.raises(DataError, match=message):
        inception.from_tensors(broken, source="weights.npz")


def test_a_broken_file_is_named(tmp_path):
    with pytest.raises(DataError, match="missing.npz: no such file"):
        inception.load(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(DataError, match="text.npz: not an npz file"):
        inception.load(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="one.npy: not an npz file"):
        inception.load(tmp_path / "one.npy")
    # An object array would need pickle, which is refused.
    np.savez(tmp_path / "pickled.npz", **{"Conv2d_1a_3x3.conv.weight": np.array([{}], object)})
    with pytest.raises(DataError, match="pickled.npz: cannot be read .* allow_pickle"):
        inception.load(tmp_path / "pickled.npz")
    np.savez(tmp_path / "cut.npz", a=np.zeros(1000))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:500])
    with pytest.raises(DataError, match="cut.npz: not an npz file .* cut short"):
        inception.load(tmp_path / "cut.npz")
    np.savez(tmp_path / "flipped.npz", a=np.zeros(1000))
    content = bytearray((tmp_path / "flipped.npz").read_bytes())
    content[300] ^= 1
    (tmp_path / "flipped.npz").write_bytes(content)
    with pytest.raises(DataError, match="flipped.npz: cannot be read as an npz file .* CRC"):
        inception.load(tmp_path / "flipped.npz")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(DataError, match="empty.npz: tensor 'Conv2d_1a_3x3.conv.weight' is missing"):
        inception.load(tmp_path / "empty.npz")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8)), r"must be \[N, height, width, 3 or 1\]; got \(2, 8, 8\)"),
        (np.zeros((2, 3, 8, 8)), r"got \(2, 3, 8, 8\)"),
        (np.full((2, 8, 8, 3), 255.0), r"must lie in \[0, 1\]; got \[255, 255\]"),
        (np.full((2, 8, 8, 3), -1.0), r"must lie in \[0, 1\]"),
        (np.full((2, 8, 8, 3), np.nan), r"must lie in \[0, 1\]; got \[nan, nan\]"),
        (np.zeros((2, 8, 8, 3), int), "must be uint8 or floats; got int32"),
    ],
)
def test_wrong_images_are_named(params, images, message):
    with pytest.raises(DataError, match=message):
        inception.features(params, images)
