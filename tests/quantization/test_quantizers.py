"""Every quantizer of the registry through the one contract, and what each promises beyond it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.cluster.vq import vq

from dgm_jax import core, quantization
from dgm_jax.core import ConfigError, DataError, Quantizer
from dgm_jax.quantization import QUANTIZERS, codebook_ema

D, K = 4, 6
SETTINGS = {
    "moving_average": {"num_codes": K, "width": D},
    "codebook_loss": {"num_codes": K, "width": D},
    "finite_scalar": {"levels": (3, 2, 4, 5)},
    "residual": {"num_codes": K, "width": D, "num_levels": 3},
    "product": {"num_codes": K, "width": D, "num_heads": 2},
}
WITH_CODEBOOKS = [name for name in SETTINGS if name != "finite_scalar"]
VARIANTS = {name: (name, {}) for name in SETTINGS} | {
    "moving_average, rotation": ("moving_average", {"gradient": "rotation"}),
    "moving_average, no revival": ("moving_average", {"threshold": 0.0}),
    "cosine": ("codebook_loss", {"cosine": True}),
    "residual, codebook loss": ("residual", {"decay": None}),
    "product, cosine": ("product", {"decay": None, "cosine": True}),
}
NORMAL = np.random.default_rng(0).normal(size=(3, 10, D))
Z = jnp.asarray(NORMAL, jnp.float32)


def make(variant, **more) -> Quantizer:
    name, options = VARIANTS[variant]
    return QUANTIZERS[name](**SETTINGS[name], **options, **more)


@functools.cache
def fresh(variant):
    """(quantizer, params, state), the first of them what `quantize` gives for Z."""
    quantizer = make(variant)
    params, state = quantizer.init(jax.random.key(0))
    return quantizer, params, state, quantizer.quantize(params, state, Z)


def test_every_quantizer_of_the_registry_is_looked_at_here():
    assert set(SETTINGS) == set(QUANTIZERS) == {name for name, _ in VARIANTS.values()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_codes_lie_in_range_and_shapes_are_as_declared(variant):
    quantizer, _, _, quantized = fresh(variant)
    shape = (3, 10, *quantizer.code_shape)
    assert quantizer.width == D and quantized.quantized.shape == Z.shape
    assert quantized.codes.shape == shape and quantized.codes.dtype == jnp.int32
    assert quantized.codebook_loss.shape == quantized.commitment_loss.shape == shape
    codes = np.asarray(quantized.codes)
    assert 0 <= codes.min() < codes.max() < quantizer.num_codes


@pytest.mark.parametrize("variant", VARIANTS)
def test_looking_codes_up_gives_the_quantized_values(variant):
    quantizer, params, state, quantized = fresh(variant)
    np.testing.assert_array_equal(
        quantizer.lookup(params, state, quantized.codes), quantized.quantized
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_code_can_be_looked_up_and_no_other(variant):
    quantizer, params, state, _ = fresh(variant)
    every = jnp.arange(quantizer.num_codes).reshape(-1, *(1 for _ in quantizer.code_shape))
    every = jnp.broadcast_to(every, (quantizer.num_codes, *quantizer.code_shape))
    values = np.asarray(quantizer.lookup(params, state, every))
    assert values.shape == (quantizer.num_codes, D)
    assert len(np.unique(values, axis=0)) == quantizer.num_codes
    with pytest.raises(DataError, match=rf"\[0, {quantizer.num_codes}\)"):
        quantizer.lookup(params, state, every + 1)


def gradient_at(quantizer, params, state, z, weights):
    """Of sum(weights * quantized), by the vectors and by the parameters."""
    value = lambda z, params: jnp.sum(weights * quantizer.quantize(params, state, z).quantized)
    return jax.grad(value, (0, 1))(z, params)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gradient_reaches_the_vectors_and_no_codebook(variant):
    """Straight through: copied, but for the derivative of tanh in a bounded quantizer and of the
    normalization of cosine codes; the rotation keeps its length relative to the vectors'."""
    quantizer, params, state, quantized = fresh(variant)
    weights = jax.random.normal(jax.random.key(3), Z.shape)
    by_z, by_params = gradient_at(quantizer, params, state, Z, weights)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(by_params))
    if variant == "moving_average, rotation":
        scale = np.linalg.norm(quantized.quantized, axis=-1) / np.linalg.norm(NORMAL, axis=-1)
        lengths = np.linalg.norm(weights, axis=-1)
        np.testing.assert_allclose(np.linalg.norm(by_z, axis=-1), scale * lengths, rtol=1e-4)
    elif variant == "finite_scalar":
        levels = np.asarray(SETTINGS[variant]["levels"])
        height = (levels - 1) * (1 + 1e-3) / 2
        shift = np.arctanh(np.where(levels % 2 == 0, 0.5, 0) / height)
        slope = height / np.cosh(NORMAL + shift) ** 2 / (levels // 2)
        np.testing.assert_allclose(by_z, slope * weights, rtol=1e-3, atol=1e-5)
    elif "cosine" in variant:
        parts = (3, 10, -1, D // (2 if "product" in variant else 1))
        z, w = NORMAL.reshape(parts), np.asarray(weights, np.float64).reshape(parts)
        length = np.linalg.norm(z, axis=-1, keepdims=True)
        along = np.sum(w * z, axis=-1, keepdims=True) * z / length**2
        np.testing.assert_allclose(by_z, ((w - along) / length).reshape(Z.shape), atol=1e-5)
    else:
        np.testing.assert_array_equal(by_z, weights)


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_move_what_they_are_named_for(variant):
    """The codebook loss reaches parameters only, the commitment loss vectors only; where codebooks
    are moving averages, or where there are none, the codebook loss is zero."""
    quantizer, params, state, quantized = fresh(variant)

    def gradient(term):
        value = lambda z, params: jnp.sum(getattr(quantizer.quantize(params, state, z), term))
        return jax.grad(value, (0, 1))(Z, params)

    by_z, by_params = gradient("codebook_loss")
    np.testing.assert_array_equal(by_z, 0)
    trained = bool(jax.tree.leaves(params))
    assert trained == (variant.endswith(("loss", "cosine")))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(by_params))
    assert np.all((np.asarray(quantized.codebook_loss) > 0) == trained)
    by_z, by_params = gradient("commitment_loss")
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(by_params))
    assert np.any(by_z != 0) == (variant != "finite_scalar")


@pytest.mark.parametrize("variant", VARIANTS)
def test_updates_move_moving_averages_and_nothing_else(variant):
    quantizer, params, state, quantized = fresh(variant)
    moved, metrics = quantizer.update(jax.random.key(1), state, Z, quantized)
    assert jax.tree.structure(moved) == jax.tree.structure(state)
    averages = variant.startswith("moving") or variant in ("residual", "product")
    assert averages == bool(jax.tree.leaves(state))
    assert all(
        a.shape == b.shape and a.dtype == b.dtype and np.any(a != b)
        for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(state), strict=True)
    )
    assert set(metrics) == ({"revived"} if averages and "no revival" not in variant else set())
    moves = lambda z: sum(
        jnp.sum(leaf)
        for leaf in jax.tree.leaves(quantizer.update(jax.random.key(1), state, z, quantized)[0])
    )
    if averages:
        np.testing.assert_array_equal(jax.grad(moves)(Z), 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_duplicated_batch_changes_no_loss(variant):
    quantizer, params, state, quantized = fresh(variant)
    twice = quantizer.quantize(params, state, jnp.concatenate([Z, Z]))
    for one, two in zip(quantized, twice, strict=True):
        np.testing.assert_array_equal(two, jnp.concatenate([one, one]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_several_at_once_equal_each_alone(variant):
    quantizer = make(variant)
    keys = jax.random.split(jax.random.key(5), 3)

    def whole(key, z):
        params, state = quantizer.init(key)
        quantized = quantizer.quantize(params, state, z)
        return quantized, quantizer.update(core.named_key(key, "update"), state, z, quantized)

    together = jax.jit(jax.vmap(whole))(keys, Z)
    for index in range(3):
        alone = jax.jit(whole)(keys[index], Z[index])
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(a, b[index], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_vectors_of_another_width_are_refused(variant):
    quantizer, params, state, _ = fresh(variant)
    with pytest.raises(ConfigError, match=r"z must be \[\*B, 4\].*\(2, 5\)"):
        quantizer.quantize(params, state, jnp.zeros((2, 5)))


@pytest.mark.parametrize("name", WITH_CODEBOOKS)
def test_codebooks_that_start_by_kmeans_fit_their_vectors_better(name):
    """Than normal ones; every code of the first level is near the mean of its vectors."""
    z = 3 + 2 * jax.random.normal(jax.random.key(4), (200, D))
    losses = {}
    for start in ("normal", "kmeans"):
        quantizer = make(name, start=start)
        params, state = quantizer.init(jax.random.key(0), z)
        quantized = quantizer.quantize(params, state, z)
        losses[start] = np.sum(np.square(z - quantized.quantized))
    assert losses["kmeans"] < losses["normal"] / 2
    books = params if jax.tree.leaves(params) else state.codebook
    first = books.reshape(-1, *books.shape[-2:])[0]
    rows = np.asarray(z)[:, : first.shape[-1]]
    nearest, _ = vq(rows, np.asarray(first))
    centres = [rows[nearest == k].mean(0) for k in range(K)]
    spread = np.abs(np.asarray(first) - centres).max()
    assert spread < 0.5  # ten iterations, not convergence
    with pytest.raises(ConfigError, match="needs vectors"):
        quantizer.init(jax.random.key(0))
    with pytest.raises(ConfigError, match=r"\[\*B, 4\]"):
        quantizer.init(jax.random.key(0), jnp.zeros((9, 3)))
    with pytest.raises(ConfigError, match="num_codes must lie in"):
        quantizer.init(jax.random.key(0), z[:2])


def test_each_level_of_a_residual_quantizer_follows_what_is_left_over():
    """Against level after level by hand, in float64."""
    quantizer = make("residual", threshold=0.0, decay=0.9)
    params, state = quantizer.init(jax.random.key(0))
    quantized = quantizer.quantize(params, state, Z)
    moved, _ = quantizer.update(jax.random.key(1), state, Z, quantized)
    rest = NORMAL.reshape(-1, D)
    for level in range(3):
        codes = np.asarray(quantized.codes)[..., level].reshape(-1)
        book = np.asarray(state.codebook[level], np.float64)
        squares = np.sum((rest[:, None] - book) ** 2, axis=-1)
        np.testing.assert_array_equal(codes, np.argmin(squares, axis=1))
        counts = 0.9 + 0.1 * np.bincount(codes, minlength=K)
        sums = 0.9 * book
        np.add.at(sums, codes, 0.1 * rest)
        used = np.bincount(codes, minlength=K) > 0
        expected = np.where(used[:, None], sums / counts[:, None], book)
        np.testing.assert_allclose(moved.counts[level], counts, rtol=1e-6)
        np.testing.assert_allclose(moved.codebook[level], expected, rtol=1e-5, atol=1e-6)
        rest = rest - book[codes]


def test_each_part_of_a_product_quantizer_is_a_quantizer_of_its_own():
    quantizer = make("product", threshold=0.0)
    params, state = quantizer.init(jax.random.key(0))
    quantized = quantizer.quantize(params, state, Z)
    moved, _ = quantizer.update(jax.random.key(1), state, Z, quantized)
    for head in range(2):
        book = jax.tree.map(lambda leaf, head=head: leaf[head], state)
        expected = codebook_ema.update(
            book, Z[..., 2 * head : 2 * head + 2], quantized.codes[..., head]
        )
        for one, other in zip(expected, moved, strict=True):
            np.testing.assert_allclose(other[head], one, rtol=1e-6)


@pytest.mark.parametrize("name", ["moving_average", "residual", "product"])
def test_dead_codes_are_revived_at_each_level(name):
    """All codes but the first are far away: what a batch can revive stands on its vectors."""
    quantizer = make(name)
    params, state = quantizer.init(jax.random.key(0))
    state = state._replace(codebook=state.codebook.at[..., 1:, :].add(1000.0))
    quantized = quantizer.quantize(params, state, Z)
    assert np.all(np.asarray(quantized.codes) == 0)
    moved, metrics = quantizer.update(jax.random.key(1), state, Z, quantized)
    levels = int(np.prod(quantizer.code_shape))
    assert metrics["revived"] == (K - 1) * levels
    assert np.all(np.abs(moved.codebook) < 10)
    if levels == 1:
        rows = NORMAL.reshape(-1, D).astype(np.float32)
        assert all(np.any(np.all(rows == code, axis=1)) for code in np.asarray(moved.codebook[1:]))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("moving_average", {"num_codes": 0, "width": 2}, "num_codes"),
        ("codebook_loss", {"num_codes": 2, "width": 0}, "width"),
        ("residual", {"num_codes": 2, "width": 2, "num_levels": 0}, "num_levels"),
        ("product", {"num_codes": 2, "width": 3, "num_heads": 2}, "multiple of 2"),
        ("product", {"num_codes": 2, "width": 2, "num_heads": 2, "cosine": True}, "decay=None"),
        ("finite_scalar", {"levels": (3, 1)}, "levels must be integers"),
        ("moving_average", {"num_codes": 2, "width": 2, "decay": 1.5}, "decay"),
        ("moving_average", {"num_codes": 2, "width": 2, "threshold": -1.0}, "threshold"),
        ("residual", {"num_codes": 2, "width": 2, "num_levels": 1, "gradient": "rot"}, "rotation"),
        ("moving_average", {"num_codes": 2, "width": 2, "start": "means"}, "kmeans"),
    ],
)
def test_settings_that_no_quantizer_has(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        QUANTIZERS[name](**settings)


def test_usage_by_level_counts_each_level_alone():
    codes = jnp.asarray([[[0, 1], [0, 2]], [[0, 3], [1, 3]]])
    usage = quantization.codebook_usage(codes, 4, (2,))
    np.testing.assert_array_equal(usage.num_used, [2, 3])
    share = np.asarray([1, 1, 2]) / 4
    entropies = [
        -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)),
        -np.sum(share * np.log(share)),
    ]
    np.testing.assert_allclose(usage.perplexity, np.exp(entropies), rtol=1e-6)
    with pytest.raises(ConfigError, match="codes must be"):
        quantization.codebook_usage(codes, 4, (3,))
