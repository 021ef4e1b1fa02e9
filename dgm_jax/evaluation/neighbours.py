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
# about ten times as fast.
_FEW_FEATURES = 16

# Up to this many features a product is one sum, beyond it a sum of several; see `_chunks`.
_WHOLE_SUM = 64


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
    if real.shape[1] > _FEW_FEATURES:
        centre = jnp.mean(real, axis=0)
        real, fake = real - centre, fake - centre
    real_radii = _squared_radii(real, nearest_k, tile_size)
    fake_radii = _squared_radii(fake, nearest_k, tile_size)
    tiles, rows = row_tiles(fake, tile_size)
    tile_radii, _ = row_tiles(fake_radii, tile_size)

    def compare_tile(found, tile):
        recalled, covered = found
        x, radii, row = tile
        closest = _lower_squared_distances(x, real)
        inside_real = (closest <= real_radii) & (row < len(fake))[:, None]
        inside_fake = (closest <= radii[:, None]) & (row < len(fake))[:, None]
        found = recalled | jnp.any(inside_fake, axis=0), covered | jnp.any(inside_real, axis=0)
        return found, jnp.sum(inside_real, axis=1, dtype=jnp.int32)

    nobody = jnp.zeros(len(real), bool)
    (recalled, covered), num_balls = lax.scan(
        compare_tile, (nobody, nobody), (tiles, tile_radii, rows)
    )
    num_balls = num_balls.reshape(-1)[: len(fake)].astype(real.dtype)
    scores = PrecisionRecall(
        precision=jnp.mean(num_balls > 0, dtype=real.dtype),
        recall=jnp.mean(recalled, dtype=real.dtype),
        density=jnp.mean(num_balls) / nearest_k,
        coverage=jnp.mean(covered, dtype=real.dtype),
    )
    finite = jnp.all(jnp.isfinite(real)) & jnp.all(jnp.isfinite(fake))
    return jax.tree.map(lambda score: jnp.where(finite, score, jnp.nan), scores)


@functools.partial(jax.jit, static_argnames=("nearest_k", "tile_size"))
def _squared_radii(x: Array, nearest_k: int, tile_size: int) -> Array:
    tiles, rows = row_tiles(x, tile_size)

    def radius(tile):
        rows, index = tile
        squares, _ = _squared_distances(rows, x)
        squares = jnp.where(index[:, None] == jnp.arange(len(x)), jnp.inf, squares)
        # A maximum and not [:, -1]: with that slice XLA sorts whole rows, some 30 times as slow on
        # CPU.
        return jnp.max(-lax.top_k(-squares, nearest_k)[0], axis=1)

    return lax.map(radius, (tiles, rows)).reshape(-1)[: len(x)]


def _lower_squared_distances(x: Array, y: Array) -> Array:
    """Squared distances [R, N] less what rounding can have added to them and taken from a
    radius."""
    squares, rounding = _squared_distances(x, y)
    return squares - 2 * rounding


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
