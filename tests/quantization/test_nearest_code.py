"""The nearest code against float64 brute force: offsets, low precision, ties, tile borders,
memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dgm_jax import quantization
from dgm_jax.core import ConfigError
from dgm_jax.quantization import nearest

nearest_code = jax.jit(quantization.nearest_code, static_argnames=("compute_dtype", "tile"))
ROUNDOFF = {"float32": 2.0**-24, "tf32": 2.0**-11, "bfloat16": 2.0**-8}


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def squared_distances(z, codebook):
    z, codebook = np.asarray(z, np.float64), np.asarray(codebook, np.float64)
    return np.stack([np.square(z - e).sum(-1) for e in codebook], axis=-1)


def tf32(monkeypatch):
    """Rounds both factors of the product to TF32's ten bits, as an accelerator does."""
    exact = nearest._best_two

    def rounded(x, codes, half_norms, precision):
        x, codes = (lax.reduce_precision(a, exponent_bits=8, mantissa_bits=10) for a in (x, codes))
        return exact(x, codes, half_norms, precision)

    monkeypatch.setattr(nearest, "_best_two", rounded)


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("compute", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("given", [jnp.float32, jnp.bfloat16])
def test_no_code_is_wrong_beyond_the_margin(monkeypatch, compute, given, offset):
    num, size, dim = 1500, 700, 64
    codebook = jnp.asarray(draw(1, size, dim) + offset)
    z = jnp.asarray(draw(0, num, dim) + offset).astype(given)
    options = {"compute_dtype": jnp.bfloat16} if compute == "bfloat16" else {}
    if compute == "tf32":
        tf32(monkeypatch)
    codes = np.asarray(
        jax.jit(lambda z, e: quantization.nearest_code(z, e, **options))(z, codebook)
    )

    wide = [np.asarray(x, np.float64) for x in (z, codebook)]
    distances = squared_distances(*wide)
    best = distances.argmin(axis=1)
    centre = np.asarray(nearest._center(codebook), np.float64)
    reach, norms = (np.linalg.norm(x - centre, axis=1) for x in wide)
    margin = (
        2
        * norms
        * ((2 * ROUNDOFF[compute] + dim * 2.0**-24) * reach[:, None] + dim * 2.0**-24 * norms)
    )
    rows = np.arange(num)
    gap = distances - distances[rows, best][:, None]
    gap[rows, best] = np.inf
    rivals = np.sum(gap <= margin + margin[rows, best][:, None], axis=1)
    told_apart = np.all(gap > (dim + 3) * 2.0**-22 * distances, axis=1)
    sure = (rivals <= 1) & told_apart
    assert sure.mean() > {"float32": 0.99, "tf32": 0.9, "bfloat16": 0.8}[compute]
    assert compute == "float32" or np.any(rivals[sure] == 1)  # some need the second candidate
    np.testing.assert_array_equal(codes[sure], best[sure])
    error = distances[rows, codes] - distances[rows, best]
    allowed = (
        margin[rows, codes] + margin[rows, best] + (dim + 3) * 2.0**-22 * distances[rows, codes]
    )
    assert np.all(error <= allowed)


def test_a_code_far_away_does_not_cost_the_others_their_precision():
    z, codebook = draw(0, 300, 8), draw(1, 40, 8)
    codebook[7] = 1e5
    truth = squared_distances(z, codebook).argmin(axis=1)
    np.testing.assert_array_equal(nearest_code(jnp.asarray(z), jnp.asarray(codebook)), truth)


def test_offset_data_keep_their_codes_in_bfloat16_compute():
    """Uncentred bfloat16 factors get 99 % of these wrong; centred, with two candidates, under 1
    %."""
    z, codebook = draw(0, 2000, 64) + 100, draw(1, 512, 64) + 100
    truth = squared_distances(z, codebook).argmin(axis=1)
    codes = nearest_code(jnp.asarray(z), jnp.asarray(codebook), compute_dtype=jnp.bfloat16)
    assert np.mean(np.asarray(codes) != truth) < 0.01
    low = [jnp.asarray(x).astype(jnp.bfloat16) for x in (z, codebook)]
    product = jnp.dot(low[0], low[1].T, preferred_element_type=jnp.float32)
    naive = jnp.argmin(jnp.sum(jnp.square(codebook), axis=1) - 2 * product, axis=1)
    assert np.mean(np.asarray(naive) != truth) > 0.9


def test_a_tiny_codebook_of_the_usual_initialisation_does_not_collapse_in_bfloat16():
    """U(-1/K, 1/K) codes against N(0, 1) vectors: in plain bfloat16 every vector gets code 0."""
    size = 512
    codebook = np.random.default_rng(3).uniform(-1 / size, 1 / size, (size, 32)).astype(np.float32)
    z = draw(4, 1000, 32)
    codes = nearest_code(jnp.asarray(z), jnp.asarray(codebook), compute_dtype=jnp.bfloat16)
    distances = squared_distances(z, codebook)
    assert np.mean(np.asarray(codes) == distances.argmin(axis=1)) > 0.98
    # Distances, not codes: row 944 has two codes at 33.1607580 and 33.1607595, which are the same
    # float32, so that the order of the sums decides between them.
    codes = np.asarray(nearest_code(jnp.asarray(z), jnp.asarray(codebook)))
    found = distances[np.arange(len(codes)), codes].astype(np.float32)
    np.testing.assert_array_equal(found, distances.min(axis=1).astype(np.float32))


@pytest.mark.parametrize("tile", [None, (1, 1), (7, 5), (1000, 1000)])
@pytest.mark.parametrize("num, size", [(1, 1), (13, 11), (50, 64)])
def test_tiles_that_do_not_divide(num, size, tile):
    z, codebook = draw(num, num, 3), draw(size + 100, size, 3)
    codes = nearest_code(jnp.asarray(z), jnp.asarray(codebook), tile=tile)
    assert codes.dtype == jnp.int32
    np.testing.assert_array_equal(codes, squared_distances(z, codebook).argmin(axis=1))


def test_both_of_the_best_two_may_lie_in_one_lane():
    """With two lanes, codes 0, 2, 4, ... share one: its second must not be lost to the
    re-ranking."""
    codebook = jnp.array([[1.0], [50.0], [1.001], [60.0], [30.0], [70.0]])
    z = jnp.array([[1.0004], [1.0006]])
    for dtype in (jnp.float32, jnp.bfloat16):  # bfloat16 cannot tell 1 from 1.001
        codes = nearest_code(z, codebook, tile=(2, 2), compute_dtype=dtype)
        np.testing.assert_array_equal(codes, [0, 2])


@pytest.mark.parametrize("tile", [None, (8, 4), (5, 3)])
def test_ties_go_to_the_lowest_index(tile):
    z = jnp.asarray(draw(0, 40, 5))
    same = jnp.broadcast_to(jnp.asarray(draw(1, 5)), (33, 5))
    np.testing.assert_array_equal(nearest_code(z, same, tile=tile), 0)
    np.testing.assert_array_equal(nearest_code(z, jnp.zeros((33, 5)), tile=tile), 0)
    far, near = jnp.full((4, 5), 100.0), jnp.asarray(draw(1, 1, 5))
    twice = jnp.concatenate([far, near, far, near, near])
    np.testing.assert_array_equal(nearest_code(z, twice, tile=tile), 4)
    cross = jnp.array([[0.0, 1], [1, 0], [0, -1], [-1, 0]])
    assert int(nearest_code(jnp.zeros(2), cross, tile=tile)) == 0


def test_leading_axes_empty_batches_and_rows_that_are_not_finite():
    z, codebook = draw(0, 2, 3, 4, 5), jnp.asarray(draw(1, 9, 5))
    codes = nearest_code(jnp.asarray(z), codebook)
    np.testing.assert_array_equal(codes, squared_distances(z, codebook).argmin(axis=-1))
    assert nearest_code(jnp.zeros((0, 7, 5)), codebook).shape == (0, 7)
    broken = jnp.asarray(z).at[0, 0, 0, 0].set(jnp.nan)
    expected = np.asarray(codes).copy()
    expected[0, 0, 0] = 0
    np.testing.assert_array_equal(nearest_code(broken, codebook), expected)


def test_vmapped_codebooks_are_each_alone():
    z, codebooks = jnp.asarray(draw(0, 3, 100, 6)), jnp.asarray(draw(1, 3, 40, 6))
    together = jax.jit(jax.vmap(nearest_code))(z, codebooks)
    for lane in range(3):
        np.testing.assert_array_equal(together[lane], nearest_code(z[lane], codebooks[lane]))


def test_no_gradient_passes():
    gradient = jax.grad(lambda z, e: jnp.sum(nearest_code(z, e) * 1.0) + 0 * jnp.sum(z), (0, 1))
    for g in gradient(jnp.asarray(draw(0, 4, 3)), jnp.asarray(draw(1, 5, 3))):
        np.testing.assert_array_equal(g, 0)


@pytest.mark.optimized
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_memory_is_far_below_the_matrix_of_distances(dtype):
    num, size, dim = 65536, 16384, 64
    z, codebook = (
        jax.ShapeDtypeStruct((num, dim), dtype),
        jax.ShapeDtypeStruct((size, dim), jnp.float32),
    )

    def temporary(f):
        return jax.jit(f).lower(z, codebook).compile().memory_analysis().temp_size_in_bytes

    matrix = num * size * 4
    assert temporary(nearest_code) < 0.02 * matrix
    assert (
        temporary(lambda z, e: jnp.argmin(jnp.sum(e * e, 1) - 2 * z.astype(e.dtype) @ e.T, 1))
        > 0.5 * matrix
    )


def test_bad_arguments():
    nearest_code = quantization.nearest_code
    with pytest.raises(ConfigError, match=r"K >= 1 and D >= 1; got \(0, 3\)"):
        nearest_code(jnp.zeros((4, 3)), jnp.zeros((0, 3)))
    with pytest.raises(ConfigError, match=r"z must be \[\*B, 2\].*got \(4, 3\)"):
        nearest_code(jnp.zeros((4, 3)), jnp.zeros((5, 2)))
    with pytest.raises(ConfigError, match="z must be floating; got int32"):
        nearest_code(jnp.zeros((4, 3), int), jnp.zeros((5, 3)))
    with pytest.raises(ConfigError, match="tile must be"):
        nearest_code(jnp.zeros((4, 3)), jnp.zeros((5, 3)), tile=(0, 1))
