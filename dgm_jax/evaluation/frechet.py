"""The Fréchet distance between two sets of feature vectors, and the moments that it compares.

What the features are, and when values can be compared: see `sample_quality`.
"""

import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dgm_jax.core import Array, DataError, RunningMoments, at_least_float32, checks, require
from dgm_jax.evaluation.features import require_pair, require_rows, row_tiles


class Moments(NamedTuple):
    """Of a set of feature vectors; two of them are put together by `merge_moments`."""

    count: Array  # number of rows
    mean: Array  # [D]
    covariance: Array  # [D, D], divided by count - 1


def frechet_distance(*, real: Array, fake: Array) -> float:
    """|mu_r - mu_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^(1/2)), the squared Fréchet distance of the
    Gaussians that have the moments of real [N, D] and fake [M, D] (Dowson and Landau 1982; Heusel
    et al. 2017, "FID").

    In float64 on the host, see `frechet_from_moments`; equal sets give 0 to rounding.
    Raises `DataError` for a wrong rank, different D, fewer than two rows or non-finite values.
    Within a compiled program use `frechet_distance_on_device`.
    """
    for x in (real, fake):
        require(
            checks.is_concrete(x),
            "frechet_distance works in float64 on the host; inside a compiled program use"
            " frechet_distance_on_device",
        )
    require_pair(real=real, fake=fake, at_least=2, reason="a covariance is needed")
    return frechet_from_moments(*_host_moments(np.asarray(real)), *_host_moments(np.asarray(fake)))


def frechet_from_moments(
    mean_r: Array | np.ndarray,
    cov_r: Array | np.ndarray,
    mean_f: Array | np.ndarray,
    cov_f: Array | np.ndarray,
) -> float:
    """`frechet_distance` from means [D] and covariances [D, D], such as stored statistics; float64,
    on the host.

    With C = R^T R, tr (C_r C_f)^(1/2) is the sum of the singular values of R_r R_f^T: nothing can
    turn complex, and singular covariances (fewer rows than features, features that are always 0)
    need no special care. Raises `DataError` for shapes that do not fit, non-finite values, and
    matrices that are not covariances.
    """
    dim = np.size(mean_r)
    roots = []
    for name, mean, cov in (("real", mean_r, cov_r), ("fake", mean_f, cov_f)):
        require(
            np.shape(mean) == (dim,) and np.shape(cov) == (dim, dim),
            f"moments must be [D] and [D, D] with D = {dim} for both; {name} has {np.shape(mean)}"
            f" and {np.shape(cov)}",
            DataError,
        )
        require(
            bool(np.isfinite(mean).all() and np.isfinite(cov).all()),
            f"{name} moments have NaN or infinity",
            DataError,
        )
        roots.append(_covariance_root(name, np.asarray(cov, np.float64)))
    root_r, root_f = roots
    gap = np.asarray(mean_r, np.float64) - np.asarray(mean_f, np.float64)
    traces = np.square(root_r).sum() + np.square(root_f).sum()
    fidelity = np.linalg.svd(root_r @ root_f.T, compute_uv=False).sum()
    return max(float(np.square(gap).sum() + traces - 2 * fidelity), 0.0)


def frechet_distance_on_device(*, real: Array, fake: Array) -> Array:
    """`frechet_distance` in the features' own precision, as a scalar that works under jit and vmap.

    For curves during training. Its relative error in float32 was at most 3e-6 with 2 to 512
    features.
    """
    require_pair(real=real, fake=fake, at_least=2, reason="a covariance is needed")
    return _frechet_on_device(at_least_float32(real), at_least_float32(fake))


def moments(features: Array, *, chunk_size: int = 4096) -> Moments:
    """Count, mean and covariance of features [N, D], in one pass over chunks of rows, each centred
    by its own mean.

    Works under jit; results of several calls go together by `merge_moments` (streams, shards). The
    covariance of a single row is 0.
    """
    require_rows("features", features, 1, "an empty set has no moments")
    require(chunk_size >= 1, f"chunk_size must be at least 1; got {chunk_size}")
    return _moments(at_least_float32(features), chunk_size)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """The moments of two sets put together (Chan, Golub and LeVeque 1983); either may be empty
    (count 0)."""
    total = _sums(a).join(_sums(b), product=lambda shift: jnp.outer(shift, shift))
    return Moments(total.count, total.mean, total.squares / jnp.maximum(total.count - 1, 1))


def _host_moments(x: np.ndarray, chunk_size: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and covariance [D, D] in float64, without a float64 copy of all rows."""
    mean = x.mean(axis=0, dtype=np.float64)
    chunks = (x[start : start + chunk_size] - mean for start in range(0, len(x), chunk_size))
    squares = cast(np.ndarray, sum(centred.T @ centred for centred in chunks))  # len(x) >= 2
    return mean, squares / (len(x) - 1)


def _covariance_root(name: str, cov: np.ndarray) -> np.ndarray:
    """R [D, D] with R^T R = cov."""
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    slack = 1e-5 * max(values[-1], 0.0)
    require(
        values[0] >= -slack and np.abs(cov - cov.T).max() <= slack,
        f"the {name} covariance is not symmetric with eigenvalues >= 0; the smallest is"
        f" {values[0]:.3g}, the largest {values[-1]:.3g}",
        DataError,
    )
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


@jax.jit
def _frechet_on_device(real: Array, fake: Array) -> Array:
    def root(x):
        mean = jnp.mean(x, axis=0)
        mean = mean + jnp.mean(x - mean, axis=0)
        triangle = jnp.linalg.qr(x - mean, mode="r") / (len(x) - 1) ** 0.5
        return mean, jnp.pad(triangle, ((0, x.shape[1] - len(triangle)), (0, 0)))

    (mean_r, root_r), (mean_f, root_f) = root(real), root(fake)
    product = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    # tr(C_r + C_f - 2 (C_r C_f)^(1/2)) = min over rotations Q of |R_r - Q R_f|^2, which does not
    # cancel.
    u, _, v = jnp.linalg.svd(product(root_r, root_f.T))
    return jnp.sum(jnp.square(mean_r - mean_f)) + jnp.sum(
        jnp.square(root_r - product(product(u, v), root_f))
    )


def _sums(m: Moments) -> RunningMoments:
    return RunningMoments(m.count, m.mean, m.covariance * jnp.maximum(m.count - 1, 0))


@functools.partial(jax.jit, static_argnames="chunk_size")
def _moments(features: Array, chunk_size: int) -> Moments:
    num_rows, dim = features.shape
    origin = features[0]  # near the mean: what is subtracted first is not rounded away later
    tiles, rows = row_tiles(features - origin, chunk_size)

    def add(total, tile):
        x, row = tile
        here = (row < num_rows)[:, None]
        count = jnp.sum(here, dtype=features.dtype)
        mean = jnp.sum(x, axis=0) / count
        centred = jnp.where(here, x - mean, 0.0)
        scatter = jnp.matmul(centred.T, centred, precision=lax.Precision.HIGHEST)
        return merge_moments(total, Moments(count, mean, scatter / jnp.maximum(count - 1, 1))), None

    zero = jnp.zeros((), features.dtype)
    empty = Moments(zero, jnp.zeros(dim, features.dtype), jnp.zeros((dim, dim), features.dtype))
    total, _ = lax.scan(add, empty, (tiles, rows))
    return total._replace(mean=total.mean + origin)
