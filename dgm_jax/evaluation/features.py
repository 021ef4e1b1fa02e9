"""What the distances between two sets of feature vectors share: the checks of their input, and
tiles of rows."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, checks, even_chunks, require


def require_pair(*, real: Array, fake: Array, at_least: int, reason: str) -> None:
    """`require_rows` for both sets, and as many features in one as in the other."""
    require_rows("real", real, at_least, reason)
    require_rows("fake", fake, at_least, reason)
    require(
        jnp.shape(real)[1] == jnp.shape(fake)[1],
        f"real has {jnp.shape(real)[1]} features a row and fake has {jnp.shape(fake)[1]}; they must"
        " be the same ones",
        DataError,
    )


def require_rows(name: str, x: Array, at_least: int, reason: str) -> None:
    """`DataError` unless x is [rows, features], with `at_least` rows, and finite where that can be
    seen.

    Values inside a compiled program cannot be seen; there a NaN makes the result NaN.
    """
    shape = jnp.shape(x)
    require(
        len(shape) == 2 and shape[1] >= 1,
        f"{name} must be feature vectors [rows, features]; got {shape} (flatten images, or pass a"
        " network's features)",
        DataError,
    )
    require(
        shape[0] >= at_least,
        f"{name} has {shape[0]} rows; at least {at_least} are needed: {reason}",
        DataError,
    )
    if not checks.is_concrete(x):
        return
    # On the device where x is, so that features are not copied to the host for the check.
    finite = (jnp if isinstance(x, jax.Array) else np).isfinite(x).all(axis=1)
    if not bool(finite.all()):
        bad = np.flatnonzero(~np.asarray(finite))
        raise DataError(
            f"{name} has NaN or infinity in {len(bad)} of {len(finite)} rows, the first is row"
            f" {bad[0]}"
        )


def row_tiles(x: Array, tile_size: int) -> tuple[Array, Array]:
    """(tiles [T, R, ...], rows int32[T, R]): x [N, ...] cut into T tiles of R <= tile_size rows,
    zeros at the end.

    `rows` is the index of each row in x; padding has indices from N on.
    """
    require(tile_size >= 1, f"tile_size must be at least 1; got {tile_size}")
    tiles = even_chunks(x, tile_size, 0)
    num_tiles, size = tiles.shape[:2]
    return tiles, jnp.arange(num_tiles * size, dtype=jnp.int32).reshape(num_tiles, size)
