"""Vectors that only fill up a batch: they move no code, start none and count for nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.quantization import QUANTIZERS, codebook_ema, kmeans

FAR = 1e3


def _padded(num, fill, seed=0):
    """[4, num / 4 + fill, 2]: vectors near the origin, and others far off where mask is False."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(4, num // 4 + fill, 2)).astype(np.float32)
    mask = np.zeros(z.shape[:2], bool)
    for row in mask:
        row[rng.permutation(len(row))[: num // 4]] = True
    return np.where(mask[..., None], z, FAR).astype(np.float32), mask


def test_revival_takes_real_vectors_without_replacement():
    z, mask = _padded(24, 8)
    state = codebook_ema.CodebookState(jnp.full((20, 2), -5.0), jnp.zeros(20))
    for seed in range(5):
        got = codebook_ema.revive(jax.random.key(seed), state, z, 0.5, mask=mask)
        rows = {tuple(row) for row in np.asarray(got.codebook)}
        assert len(rows) == 20 and rows <= {tuple(row) for row in z[mask]}
    more = codebook_ema.CodebookState(jnp.full((60, 2), -5.0), jnp.zeros(60))
    got = jax.jit(codebook_ema.revive)(jax.random.key(0), more, z, 0.5, mask=mask)
    values, counts = np.unique(np.asarray(got.codebook), axis=0, return_counts=True)
    assert len(values) == 24 and set(counts) == {2, 3}


def test_nothing_is_revived_where_every_vector_fills_up():
    z, mask = _padded(24, 8)
    state = codebook_ema.init(jnp.full((3, 2), -5.0), count=0.1)
    got = codebook_ema.revive(jax.random.key(0), state, z, 0.5, mask=np.zeros_like(mask))
    np.testing.assert_array_equal(got.codebook, state.codebook)
    np.testing.assert_array_equal(got.counts, state.counts)


@pytest.mark.parametrize("start", ["random", "plus_plus"])
def test_k_means_of_real_vectors_alone(start):
    """Each code is the mean of the real vectors that are nearest to it, and the inertia theirs."""
    z, mask = _padded(40, 12)
    got = kmeans(jax.random.key(1), z, 5, 20, start=start, mask=mask)
    codes, centres = np.asarray(got.codes), np.asarray(got.codebook)
    assert np.all(codes[~mask] == -1) and np.abs(centres).max() < 10
    squares = np.square(z[mask][:, None].astype(np.float64) - centres).sum(-1)
    np.testing.assert_array_equal(codes[mask], squares.argmin(1))
    for k in range(5):
        np.testing.assert_allclose(centres[k], z[mask][codes[mask] == k].mean(0), atol=1e-4)
    np.testing.assert_allclose(got.inertia, squares.min(1).sum(), rtol=1e-5)


@pytest.mark.parametrize("start", ["random", "plus_plus"])
def test_k_means_with_fewer_real_vectors_than_codes(start):
    z, mask = _padded(4, 6)
    got = kmeans(jax.random.key(1), z, 9, 3, start=start, mask=mask)
    assert {tuple(row) for row in np.asarray(got.codebook)} == {tuple(row) for row in z[mask]}
    assert got.inertia == 0


def test_a_mask_of_another_shape_is_refused():
    z, mask = _padded(24, 8)
    state = codebook_ema.init(jnp.zeros((3, 2)))
    with pytest.raises(ConfigError, match=r"mask must be \(4, 14\)"):
        codebook_ema.revive(jax.random.key(0), state, z, 0.5, mask=mask.ravel())
    with pytest.raises(ConfigError, match=r"mask must be \(4, 14\)"):
        kmeans(jax.random.key(0), z, 3, mask=mask[0])


@pytest.mark.parametrize(
    ("name", "num", "more"),
    [
        ("moving_average", 24, {"threshold": 2.0}),
        ("moving_average", 2000, {"threshold": 160.0}),  # so many are shuffled in two rounds
        ("residual", 24, {"threshold": 2.0, "num_levels": 2}),
        ("product", 24, {"threshold": 2.0, "num_heads": 2}),
        ("codebook_loss", 24, {}),
    ],
)
def test_a_quantizer_is_moved_by_the_real_vectors_alone(name, num, more):
    """Start by k-means, update and revival: the bits are those of the call without padding."""
    quantizer = QUANTIZERS[name](12, 2, start="kmeans", **more)
    z, mask = _padded(num, 8)
    real = z[mask]
    key, key_update = jax.random.split(jax.random.key(3))
    begin = jax.jit(lambda z, mask: quantizer.init(key, z, mask=mask))
    params, state = begin(z, mask)
    for one, other in zip(*map(jax.tree.leaves, ((params, state), begin(real, None))), strict=True):
        np.testing.assert_array_equal(one, other)

    @jax.jit
    def step(z, mask):
        quantized = quantizer.quantize(params, state, z)
        return quantized, quantizer.update(key_update, state, z, quantized, mask=mask)

    quantized, (moved, metrics) = step(z, mask)
    expected, (alone, metrics_alone) = step(real, None)
    np.testing.assert_array_equal(quantized.codes[mask], expected.codes)
    np.testing.assert_array_equal(quantized.commitment_loss[mask], expected.commitment_loss)
    for one, other in zip(*map(jax.tree.leaves, (moved, alone)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert metrics == metrics_alone
    assert name == "codebook_loss" or 0 < metrics["revived"] < 24


def test_a_batch_of_nothing_but_padding_moves_no_code():
    quantizer = QUANTIZERS["moving_average"](3, 2)
    params, state = quantizer.init(jax.random.key(0))
    z = jnp.ones((5, 2))
    quantized = quantizer.quantize(params, state, z)
    nothing = np.zeros(5, bool)
    moved, metrics = quantizer.update(jax.random.key(1), state, z, quantized, mask=nothing)
    np.testing.assert_array_equal(moved.codebook, state.codebook)
    assert metrics["revived"] == 0
