"""The nearest code of each vector, streamed: no N x K matrix, and codes that survive rounding.

The search gives the same codes at any precision of the matrix product, up to a stated margin.
"""

import functools

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from dgm_jax.core import Array, even_chunks, float_type, require
from dgm_jax.core.reductions import row_min

# (rows, codes) of a tile of scores. On the CPU a tile and its running minima stay in the cache; an
# accelerator wants fewer and larger products.
_CPU_TILE = (256, 1024)
_ACCELERATOR_TILE = (4096, 2048)

Arrays = tuple[Array, ...]


def nearest_code(
    z: Array,
    codebook: Array,
    *,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
    compute_dtype: DTypeLike | None = None,
    tile: tuple[int, int] | None = None,
) -> Array:
    """argmin_k |z - codebook_k|^2, the index of the nearest code.

    Scores |e_k - c|^2 / 2 - (z - c).(e_k - c), with c a center of the codebook, select the best two
    codes, and the sums of (z - e)^2 in at least float32 decide between these. |z|^2, equal for all
    codes, is left out, and the center is subtracted first, so data far from the origin lose no
    digits. c is the mean of the codes, computed once more without those farther from it than
    average: a dead code far away does not pull it along. Ties go to the lowest index.

    Margin: with u the unit roundoff of the product (2^-24 for float32, 2^-11 for TF32, 2^-8 for
    bfloat16), b the true code and

        m_k = 2 |e_k - c| ((2 u + D 2^-24) |z - c| + D 2^-24 |e_k - c|),

    the result is b wherever |z - e_j|^2 - |z - e_b|^2 > m_j + m_b for every other j. One j may come
    closer than that, down to (D + 3) 2^-22 |z - e_j|^2. All this holds for z and codebook as given:
    a bfloat16 z is widened first.

    No gradient passes.

    Args:
        z: floating [*B, D].
        codebook: floating [K, D].
        precision: of the product, as in `jnp.dot`; matters on accelerators only.
        compute_dtype: floating dtype to which the factors of the product are cast; sums stay at
            least float32.
        tile: (rows, codes) of the scores held at once; about five times as many numbers are in
            memory. By default chosen for the platform. Sizes need not divide N or K.

    Returns:
        int32[*B] in [0, K); a row with NaN has code 0.

    Raises:
        ConfigError: an empty codebook, a width that differs, integers, or a tile below 1.

    Example:
        >>> codebook = jnp.array([[0.0, 0.0], [1.0, 1.0]])
        >>> nearest_code(jnp.array([[0.9, 0.8], [0.2, 0.1]]), codebook).tolist()
        [1, 0]
    """
    batch = require_vectors(z, codebook)
    require(
        tile is None or (len(tile) == 2 and min(tile) >= 1),
        f"tile must be (rows, codes), both at least 1; got {tile}",
    )
    dtype = float_type(z, codebook)
    z = lax.stop_gradient(jnp.asarray(z, dtype))
    codebook = lax.stop_gradient(jnp.asarray(codebook, dtype))
    rows = z.reshape(-1, z.shape[-1])
    if len(rows) == 0:
        return jnp.zeros(batch, jnp.int32)

    product_dtype = compute_dtype or dtype
    search = functools.partial(_search, precision=precision, compute_dtype=product_dtype)
    if tile is not None:
        codes = search(rows, codebook, tile=tile)
        return codes.reshape(batch)
    on_cpu = functools.partial(search, tile=_CPU_TILE)
    on_accelerator = functools.partial(search, tile=_ACCELERATOR_TILE)
    codes = lax.platform_dependent(rows, codebook, cpu=on_cpu, default=on_accelerator)
    return codes.reshape(batch)


def require_vectors(z: Array, codebook: Array) -> tuple[int, ...]:
    """Check vectors against a codebook.

    Args:
        z: floating [*B, D].
        codebook: floating [K, D].

    Returns:
        The leading axes *B of z.

    Raises:
        ConfigError: an empty codebook, a width that differs, or integers.
    """
    shape = jnp.shape(codebook)
    got = jnp.shape(z)
    require(
        len(shape) == 2 and min(shape) >= 1,
        f"codebook must be [K, D] with K >= 1 and D >= 1; got {shape}",
    )
    require(
        len(got) >= 1 and got[-1] == shape[1],
        f"z must be [*B, {shape[1]}], the width of the codebook {shape}; got {got}",
    )
    for name, x in (("z", z), ("codebook", codebook)):
        dtype = jnp.result_type(x)
        require(jnp.issubdtype(dtype, jnp.floating), f"{name} must be floating; got {dtype}")
    return got[:-1]


def _search(
    rows: Array,
    codebook: Array,
    tile: tuple[int, int],
    precision: lax.PrecisionLike,
    compute_dtype: DTypeLike,
) -> Array:
    """int32[N]: rows in tiles, each against the codebook in tiles."""
    rows_per_tile, codes_per_tile = tile
    center = _center(codebook)
    codes = codebook - center
    squared_norms = jnp.sum(codes * codes, axis=1)
    # padding is never nearest
    half_norms = even_chunks(squared_norms / 2, codes_per_tile, jnp.inf)
    codes = even_chunks(codes, codes_per_tile, 0)
    codes = jnp.swapaxes(codes, 1, 2)
    codes = codes.astype(compute_dtype)

    def nearest(x: Array) -> Array:
        centered = (x - center).astype(compute_dtype)
        first, second = _best_two(centered, codes, half_norms, precision)
        distance_1 = _squared_distance(x, codebook[first])
        distance_2 = _squared_distance(x, codebook[second])
        closer = distance_2 < distance_1
        tied = distance_2 == distance_1
        swap = closer | (tied & (second < first))
        return jnp.where(swap, second, first)

    tiles = even_chunks(rows, rows_per_tile, 0)
    indices = lax.map(nearest, tiles)
    return indices.reshape(-1)[: len(rows)]


def _squared_distance(x: Array, y: Array) -> Array:
    return jnp.sum(jnp.square(x - y), axis=1)


def _center(codebook: Array) -> Array:
    """[D]: the mean of those codes that are no farther than average from the mean of all."""
    from_mean = codebook - jnp.mean(codebook, axis=0)
    distances = jnp.linalg.norm(from_mean, axis=1, keepdims=True)
    near = distances <= 1.001 * jnp.mean(distances)  # rounding must not exclude all of them
    near_codes = jnp.where(near, codebook, 0)
    return jnp.sum(near_codes, axis=0) / jnp.sum(near)


def _best_two(
    x: Array, codes: Array, half_norms: Array, precision: lax.PrecisionLike
) -> tuple[Array, Array]:
    """Indices of the two lowest scores for each row of x [N, D].

    Tiles are codes [T, D, C] and half_norms [T, C]. Code t C + j runs in lane j. A lane keeps its
    best two as the tiles go by, elementwise, which vectorizes where argmin does not; lanes are
    compared once, at the end.
    """
    num_tiles, lanes = half_norms.shape
    dtype = half_norms.dtype

    def step(best: Arrays, tile: Arrays) -> tuple[Arrays, None]:
        score_1, tile_1, score_2, tile_2 = best
        codes, half_norms, t = tile
        products = jnp.dot(x, codes, precision=precision, preferred_element_type=dtype)
        score = half_norms - products
        first = score < score_1
        second = score < score_2
        # A new best moves the old one to the second place.
        score_2 = jnp.where(second, score, score_2)
        score_2 = jnp.where(first, score_1, score_2)
        tile_2 = jnp.where(second, t, tile_2)
        tile_2 = jnp.where(first, tile_1, tile_2)
        score_1 = jnp.where(first, score, score_1)
        tile_1 = jnp.where(first, t, tile_1)
        return (score_1, tile_1, score_2, tile_2), None

    shape = (len(x), lanes)
    no_score = jnp.full(shape, jnp.inf, dtype)
    no_tile = jnp.zeros(shape, jnp.int32)
    numbers = jnp.arange(num_tiles, dtype=jnp.int32)
    start = (no_score, no_tile, no_score, no_tile)
    best_of_lanes, _ = lax.scan(step, start, (codes, half_norms, numbers))
    score_1, tile_1, score_2, tile_2 = best_of_lanes

    lane = lax.broadcasted_iota(jnp.int32, score_1.shape, 1)
    best = _lowest(score_1, tile_1 * lanes + lane)
    # For the runner-up, the lane of the best offers its second, all others their best.
    is_lane_of_best = lane == (best % lanes)[:, None]
    score = jnp.where(is_lane_of_best, score_2, score_1)
    tile = jnp.where(is_lane_of_best, tile_2, tile_1)
    second = _lowest(score, tile * lanes + lane)
    # With a single code, or scores that are not finite, there is no second.
    has_second = jnp.isfinite(row_min(score))
    second = jnp.where(has_second, second, best)
    return best, second


def _lowest(score: Array, index: Array) -> Array:
    """The lowest index among those of the minimum along the last axis; 0 if all scores are NaN."""
    at_minimum = score == row_min(score)[:, None]
    largest = jnp.iinfo(jnp.int32).max
    candidates = jnp.where(at_minimum, index, largest)
    return row_min(candidates)
