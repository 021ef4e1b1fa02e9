"""Helpers of the distances between two sets of feature vectors: input checks and tiles of rows."""

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, DataError, checks, even_chunks, require


def require_pair(*, real: Array, fake: Array, at_least: int, reason: str) -> None:
    """Check two sets of feature vectors with `require_rows`, and that they have the same features.

    Args:
        real: [N, D].
        fake: [M, D].
        at_least: smallest number of rows of each set.
        reason: why that many rows are needed, for the message.

    Raises:
        DataError: if a set fails `require_rows`, or the numbers of features differ.
    """
    require_rows("real", real, at_least, reason)
    require_rows("fake", fake, at_least, reason)
    require(
        jnp.shape(real)[1] == jnp.shape(fake)[1],
        f"real has {jnp.shape(real)[1]} features a row and fake has {jnp.shape(fake)[1]}; they must"
        " be the same ones",
        DataError,
    )


def require_rows(name: str, x: Array, at_least: int, reason: str) -> None:
    """Check that x is [rows, features], with enough rows and finite values.

    Values inside a compiled program cannot be checked; a NaN among them makes the result NaN.

    Args:
        name: name of x in the message.
        x: the feature vectors.
        at_least: smallest number of rows.
        reason: why that many rows are needed, for the message.

    Raises:
        DataError: if x is not a matrix, has too few rows, or (where values are known) is not
            finite.
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
    # Checked on the device of x, so that features are not copied to the host.
    finite = (jnp if isinstance(x, jax.Array) else np).isfinite(x).all(axis=1)
    if not bool(finite.all()):
        bad_rows = np.flatnonzero(~np.asarray(finite))
        raise DataError(
            f"{name} has NaN or infinity in {len(bad_rows)} of {len(finite)} rows, the first is row"
            f" {bad_rows[0]}"
        )


def row_tiles(x: Array, tile_size: int) -> tuple[Array, Array]:
    """Cut x into tiles of rows, padded with zeros at the end.

    Args:
        x: [N, ...].
        tile_size: largest number of rows in a tile.

    Returns:
        tiles: [T, R, ...], with R <= tile_size.
        rows: int32[T, R], the index of each row in x; padding has indices from N on.

    Raises:
        ConfigError: if tile_size < 1.
    """
    require(tile_size >= 1, f"tile_size must be at least 1; got {tile_size}")
    tiles = even_chunks(x, tile_size, 0)
    num_tiles, size = tiles.shape[:2]
    return tiles, jnp.arange(num_tiles * size, dtype=jnp.int32).reshape(num_tiles, size)
