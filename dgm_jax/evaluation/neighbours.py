"""Precision, recall, density and coverage: distances between samples through nearest neighbours.

Each sample of a set carries a ball whose radius is the distance to its k-th nearest neighbour in
its own set, not counting itself. The union of the balls is the set's estimated support
(Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing generative models",
eq. 1-2; Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", section
3). A point on the border counts as inside (`<=`): a set against itself has precision, recall and
coverage 1, where public code with `<` gives less, even 0 with duplicates.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dgm_jax.core import Array, at_least_float32, require
from dgm_jax.evaluation.features import require_pair, row_tiles

# Up to this many features the distance is a sum of squared differences: exact for tight, far-off
# clusters, such as modes in the plane. Beyond it |x|^2 + |y|^2 - 2 x.y, a matrix product, which is
# about ten times as fast, and only where its rounding could decide the differences again.
_FEW_FEATURES = 16

# What the product form leaves in doubt, because of its rounding, is formed anew from differences:
# whole runs of columns, as many runs at once as make this many numbers.
_RUN = 32
_AT_ONCE = 1 << 21

# Distances that agree to this many roundings count as equal.
_TIE = 8

# Up to this many features a product is one sum, beyond it a sum of several; see `_chunks`.
_WHOLE_SUM = 64


class _Rows(NamedTuple):
    """Feature vectors [N, D] as they were given, and less the centre of the real ones."""

    given: Array
    centred: Array


class PrecisionRecall(NamedTuple):
    """Scalars; see `precision_recall_density_coverage`."""

    precision: Array
    recall: Array
    density: Array
    coverage: Array


def precision_recall_density_coverage(
    *, real: Array, fake: Array, nearest_k: int = 5, tile_size: int = 256
) -> PrecisionRecall:
    """How much of `fake` lies where `real` lies, and the reverse.

    real: [N, D], fake: [M, D]; raw features, compared by the Euclidean distance.

    precision: share of fake samples inside at least one real ball (fidelity; a collapsed generator
        scores high).
    recall: share of real samples inside at least one fake ball (diversity; a collapsed generator
        scores low).
    density: mean number of real balls that hold a fake sample, over k; may exceed 1. Its mean is 1
        for two samples of one distribution, and it is (k + 1) / k for a set against itself: each
        point lies in its own ball and k others.
    coverage: share of real balls that hold a fake sample. For two samples of one distribution its
        mean is 1 - prod_{i<k} (N - 1 - i) / (N + M - 1 - i), about 1 - 2^-k for N = M (0.969 at k =
        5).

    Runs over tiles of `tile_size` rows: memory is linear in N + M (tile_size of them at a time).
    Works under jit and vmap. Two distances that agree to rounding count as equal. Raises
    `DataError` for a wrong rank, different D, fewer than k + 1 rows or non-finite values (inside a
    compiled program these give NaN).
    """
    require(nearest_k >= 1, f"nearest_k must be at least 1; got {nearest_k}")
    reason = f"a ball reaches to the neighbour number {nearest_k}, the sample itself not counted"
    require_pair(real=real, fake=fake, at_least=nearest_k + 1, reason=reason)
    return _compare(at_least_float32(real), at_least_float32(fake), nearest_k, tile_size)


@functools.partial(jax.jit, static_argnames=("nearest_k", "tile_size"))
def _compare(real: Array, fake: Array, nearest_k: int, tile_size: int) -> PrecisionRecall:
    # the size of the vectors sets the rounding of the product form
    centre = jnp.mean(real, axis=0)
    real_set, fake_set = _Rows(real, real - centre), _Rows(fake, fake - centre)
    real_radii = _squared_radii(real_set, nearest_k, tile_size)
    fake_radii = _squared_radii(fake_set, nearest_k, tile_size)
    tiles, rows = row_tiles(fake, tile_size)
    centred, _ = row_tiles(fake_set.centred, tile_size)
    tile_radii, _ = row_tiles(fake_radii, tile_size)

    def compare_tile(found, tile):
        recalled, covered = found
        tile, radii, row = tile
        squares, rounding = _squared_distances(tile.centred, real_set.centred)
        doubtful = jnp.abs(squares - real_radii) <= rounding
        doubtful |= jnp.abs(squares - radii[:, None]) <= rounding
        squares = _settle(squares, doubtful & (row < len(fake))[:, None], tile.given, real)
        closest = squares * (1 - _TIE * jnp.finfo(squares.dtype).eps)
        inside_real = (closest <= real_radii) & (row < len(fake))[:, None]
        inside_fake = (closest <= radii[:, None]) & (row < len(fake))[:, None]
        found = recalled | jnp.any(inside_fake, axis=0), covered | jnp.any(inside_real, axis=0)
        return found, jnp.sum(inside_real, axis=1, dtype=jnp.int32)

    nobody = jnp.zeros(len(real), bool)
    (recalled, covered), num_balls = lax.scan(
        compare_tile, (nobody, nobody), (_Rows(tiles, centred), tile_radii, rows)
    )
    num_balls = num_balls.reshape(-1)[: len(fake)].astype(real.dtype)
    scores = PrecisionRecall(
        precision=jnp.mean(num_balls > 0, dtype=real.dtype),
        recall=jnp.mean(recalled, dtype=real.dtype),
        density=jnp.mean(num_balls) / nearest_k,
        coverage=jnp.mean(covered, dtype=real.dtype),
    )
    finite = jnp.all(jnp.isfinite(real)) & jnp.all(jnp.isfinite(fake))
    # NaN that is there only where it is right, also for `jax_debug_nans` without compilation
    unless = jnp.where(finite, 0, jnp.inf).astype(real.dtype)
    return jax.tree.map(lambda score: jnp.where(finite, score, unless - unless), scores)


@functools.partial(jax.jit, static_argnames=("nearest_k", "tile_size"))
def _squared_radii(x: _Rows, nearest_k: int, tile_size: int) -> Array:
    tiles, rows = row_tiles(x.given, tile_size)
    centred, _ = row_tiles(x.centred, tile_size)
    num = len(x.given)

    def kth_smallest(squares):
        # A maximum and not [:, -1]: with that slice XLA sorts whole rows, some 30 times as slow on
        # CPU.
        return jnp.max(-lax.top_k(-squares, nearest_k)[0], axis=1)

    def radius(tile):
        tile, index = tile
        squares, rounding = _squared_distances(tile.centred, x.centred)
        own = index[:, None] == jnp.arange(num)
        squares = jnp.where(own, jnp.inf, squares)
        # no neighbour of the nearest k is farther than this
        bound = kth_smallest(squares + rounding)[:, None]
        doubtful = (squares - rounding <= bound) & ~own & (index < num)[:, None]
        settled = _settle(squares, doubtful, tile.given, x.given)
        return kth_smallest(jnp.where(own, jnp.inf, settled))

    return lax.map(radius, (_Rows(tiles, centred), rows)).reshape(-1)[:num]


def _settle(squares: Array, doubtful: Array, x: Array, y: Array) -> Array:
    """|x_i - y_j|^2 [R, N] with what is doubtful formed anew, as a sum of squared differences.

    The work is in proportion to the runs of `_RUN` columns that hold a doubtful entry, and goes
    over a few of them at a time: [some, _RUN, D] numbers in memory.
    """
    dim = x.shape[-1]
    if dim <= _FEW_FEATURES:
        return squares
    num_rows, num = squares.shape
    runs, padding = -(-num // _RUN), -num % _RUN
    columns = jnp.pad(y, ((0, padding), (0, 0))).reshape(runs, _RUN, dim)
    grid = jnp.pad(squares, ((0, 0), (0, padding))).reshape(num_rows, runs, _RUN)
    marked = jnp.pad(doubtful, ((0, 0), (0, padding))).reshape(num_rows, runs, _RUN).any(-1)
    some = max(_AT_ONCE // (_RUN * dim), 1)
    count = jnp.sum(marked, dtype=jnp.int32)
    (places,) = jnp.nonzero(marked.reshape(-1), size=marked.size, fill_value=marked.size)
    places = jnp.pad(places.astype(jnp.int32), (0, some), constant_values=marked.size)

    def settle(state):
        done, grid = state
        place = lax.dynamic_slice(places, (done,), (some,))
        row, run = place // runs, place % runs
        exact = jnp.sum(jnp.square(x[row][:, None] - columns[run]), axis=-1)
        return done + some, grid.at[row, run].set(exact, mode="drop")  # the fill lies outside

    _, grid = lax.while_loop(lambda state: state[0] < count, settle, (jnp.int32(0), grid))
    return grid.reshape(num_rows, -1)[:, :num]


def _squared_distances(x: Array, y: Array) -> tuple[Array, Array]:
    """|x_i - y_j|^2 [R, N] and a bound on its rounding error."""
    epsilon = jnp.finfo(x.dtype).eps
    if x.shape[-1] <= _FEW_FEATURES:
        squares = jnp.sum(jnp.square(x[:, None, :] - y), axis=-1)
        return squares, 4 * epsilon * squares
    parts = [(x[:, a:b], y[:, a:b]) for a, b in itertools.pairwise(_chunks(x.shape[-1]))]
    x_sizes = functools.reduce(jnp.add, [jnp.sum(a * a, axis=-1) for a, _ in parts])
    y_sizes = functools.reduce(jnp.add, [jnp.sum(b * b, axis=-1) for _, b in parts])
    products = sum(jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST) for a, b in parts)
    sizes = x_sizes[:, None] + y_sizes
    return jnp.maximum(sizes - 2 * products, 0.0), 8 * epsilon * sizes


def _chunks(num_features: int) -> list[int]:
    """Where sums over features are cut: borders of ceil(sqrt(D / 64)) chunks of about equal size.

    A sum of n terms of one sign, added one after the other, is off by about sqrt(n) roundings, each
    random; m partial sums of D / m terms each by about sqrt(D / m) / sqrt(m) of them, which is
    sqrt(64) for every D at this m (N. J. Higham and T. Mary 2019, "A new approach to probabilistic
    rounding error analysis"). So the bound holds in whatever order a product is summed on a device,
    and the chunks are few: 4 at 784 features, 6 at 2,048.
    """
    count = math.ceil(math.sqrt(num_features / _WHOLE_SUM))
    return [num_features * i // count for i in range(count + 1)]
