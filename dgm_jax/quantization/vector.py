"""Vector quantization with the gradients of the VQ-VAE or of the rotation trick.

van den Oord et al. 2017; Fifty et al. 2024.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from dgm_jax import core
from dgm_jax.core import Array, DataError, Quantized, at_least_float32, checks, float_type, require
from dgm_jax.quantization.nearest import nearest_code, require_vectors
from dgm_jax.sampling import straight_through


def vector_quantize(
    z: Array,
    codebook: Array,
    *,
    gradient: str = "straight_through",
    cosine: bool = False,
    **search: Any,
) -> Quantized:
    """Replace each vector by the nearest row of a codebook (van den Oord et al. 2017, eq. 1-3).

    Both losses are |z - e|^2, one number per vector, in at least float32. `quantized` is bit for
    bit what `vector_lookup` of the codes returns, in the dtype of the codebook (for cosine codes
    the lookup is in `l2_normalize(codebook)`, which two compiled programs may round differently).

    Args:
        z: [*B, D].
        codebook: [K, D].
        gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.
        cosine: first `l2_normalize` z and the codebook, so codes of highest cosine are chosen,
            `quantized` has unit norm and the losses are 2 - 2 cos; gradients pass through both
            normalizations (Yu et al. 2022, ViT-VQGAN).
        **search: options of `nearest_code`.

    Returns:
        Values [*B, D], codes and losses [*B].

    Raises:
        ConfigError: as `nearest_code`, and for an unknown gradient.

    Example:
        >>> result = vector_quantize(jnp.array([[0.5, 0.0]]), jnp.array([[1.0, 0.0], [0.0, 9.0]]))
        >>> result.codes.tolist(), result.codebook_loss.tolist()
        ([0], [0.25])
    """
    require_vectors(z, codebook)
    if cosine:
        z = l2_normalize(z)
        codebook = l2_normalize(codebook)
    codes = nearest_code(z, codebook, **search)
    return quantize_with_codes(z, codebook, codes, gradient=gradient)


def quantize_with_codes(
    z: Array,
    codebook: Array,
    codes: Array,
    *,
    gradient: str = "straight_through",
) -> Quantized:
    """`vector_quantize` with codes chosen by the caller (drawn, say).

    Args:
        z: [*B, D].
        codebook: [K, D].
        codes: integers [*B]; the rows of codes out of range are NaN.
        gradient: how d loss / d quantized reaches z, a name of `GRADIENTS`.

    Returns:
        Values [*B, D], codes and losses [*B].

    Raises:
        ConfigError: shapes that do not fit, or an unknown gradient.

    Example:
        >>> codebook = jnp.array([[1.0, 0.0], [0.0, 9.0]])
        >>> quantize_with_codes(jnp.zeros((1, 2)), codebook, jnp.array([1])).quantized.tolist()
        [[0.0, 9.0]]
    """
    batch = require_vectors(z, codebook)
    require(
        jnp.shape(codes) == batch,
        f"codes must be {batch}, the leading axes of z; got {jnp.shape(codes)}",
    )
    chosen = gather(codebook, codes)
    quantized = join(z, chosen, gradient)
    codebook_loss, commitment_loss = code_losses(z, chosen)
    return Quantized(quantized, codes, codebook_loss, commitment_loss)


def vector_lookup(codebook: Array, codes: Array) -> Array:
    """codebook[codes]; the gradient is a scatter-add.

    Args:
        codebook: [K, D].
        codes: integers [*B]. Concrete ones are checked, which waits for the device. Inside a
            compiled program nothing can be raised: there the row of a code outside [0, K) is NaN,
            never a neighbor's.

    Returns:
        [*B, D].

    Raises:
        ConfigError: a codebook of another shape.
        DataError: codes that are not integers, or concrete ones outside [0, K).

    Example:
        >>> vector_lookup(jnp.array([[1.0, 0.0], [0.0, 9.0]]), jnp.array(1)).tolist()
        [0.0, 9.0]
    """
    shape = jnp.shape(codebook)
    require(len(shape) == 2 and shape[0] >= 1, f"codebook must be [K, D] with K >= 1; got {shape}")
    check_codes(codes, shape[0])
    return gather(codebook, codes)


def check_codes(codes: Array, num_codes: int) -> None:
    """Check that codes are integers and, where they are concrete, that all are in [0, num_codes).

    Args:
        codes: of any shape.
        num_codes: K.

    Raises:
        DataError: codes that are not integers, or concrete ones out of range.

    Example:
        >>> check_codes(jnp.array([0, 4]), 4)
        Traceback (most recent call last):
        dgm_jax.core.errors.DataError: codes must lie in [0, 4); got [0, 4]
    """
    dtype = jnp.result_type(codes)
    require(jnp.issubdtype(dtype, jnp.integer), f"codes must be integers; got {dtype}", DataError)
    if not checks.is_concrete(codes) or np.size(codes) == 0:
        return
    values = np.asarray(codes)
    low = int(np.min(values))
    high = int(np.max(values))
    require(
        0 <= low and high < num_codes,
        f"codes must lie in [0, {num_codes}); got [{low}, {high}]",
        DataError,
    )


def gather(codebook: Array, codes: Array) -> Array:
    """`vector_lookup` without a check.

    Args:
        codebook: [K, D].
        codes: [*B], integers.

    Returns:
        [*B, D], NaN for codes out of range.
    """
    rows = jnp.asarray(codebook).at[codes]
    return rows.get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


def code_losses(z: Array, chosen: Array) -> tuple[Array, Array]:
    """The codebook loss |sg(z) - e|^2 and the commitment loss |z - sg(e)|^2.

    Args:
        z: [*B, D].
        chosen: [*B, D], the codes' vectors e.

    Returns:
        Both losses [*B], summed over the last axis, in at least float32.
    """
    dtype = float_type(z, chosen)
    z = jnp.asarray(z, dtype)
    chosen = jnp.asarray(chosen, dtype)
    codebook_error = lax.stop_gradient(z) - chosen
    codebook_loss = jnp.sum(jnp.square(codebook_error), axis=-1)
    commitment_error = z - lax.stop_gradient(chosen)
    commitment_loss = jnp.sum(jnp.square(commitment_error), axis=-1)
    return codebook_loss, commitment_loss


def l2_normalize(x: Array) -> Array:
    """x / |x| along the last axis; a zero vector stays zero, with zero gradient.

    Args:
        x: [*B, D].

    Returns:
        [*B, D], at least float32.

    Example:
        >>> print(np.round(np.asarray(l2_normalize(jnp.array([3.0, 4.0]))), 4))
        [0.6 0.8]
    """
    x = jnp.asarray(x)
    x = at_least_float32(x)
    size = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    size = lax.stop_gradient(size)
    has_length = size > 0
    scaled = x / jnp.where(has_length, size, 1)  # squares of it neither overflow nor vanish
    squares = _dot(scaled, scaled)
    length = jnp.sqrt(jnp.where(has_length, squares, 1))
    return jnp.where(has_length, scaled / length, 0)


def unit(x: Array, cosine: bool) -> Array:
    """x, or for cosine codes `l2_normalize(x)`.

    Args:
        x: [*B, D].
        cosine: whether codes are compared by their angle.

    Returns:
        [*B, D].
    """
    return l2_normalize(x) if cosine else x


def join(
    z: Array,
    chosen: Array,
    gradient: str,
) -> Array:
    """The value of `chosen` with the gradient to z of `GRADIENTS[gradient]`, none to `chosen`.

    Args:
        z: [*B, D].
        chosen: [*B, D].
        gradient: a name in `GRADIENTS`.

    Returns:
        [*B, D].

    Raises:
        ConfigError: there is no such gradient.
    """
    soft = core.lookup(GRADIENTS, gradient, "gradient of a quantizer")
    chosen = lax.stop_gradient(chosen)
    return straight_through(chosen, soft(z, chosen))


def _identity(z: Array, chosen: Array) -> Array:
    """z: copies the gradient to z (Bengio et al. 2013; van den Oord et al. 2017, section 3.2)."""
    del chosen
    return jnp.asarray(z)


def rotate(z: Array, chosen: Array) -> Array:
    """lambda R z with lambda = |q| / |z| and R, which rotates z/|z| onto q/|q|, held constant.

    Here q = chosen and R = I - 2 r r^T + 2 q^ z^^T with r = (z^ + q^) / |z^ + q^|, so the value is
    q up to rounding and the gradient at z is lambda R^T g. Where z or q is zero, or they are
    opposite, R is undefined: there the value and gradient are those of z (straight-through). Fifty
    et al. (2024), arXiv:2410.06424, section 4.

    Args:
        z: [*B, D].
        chosen: q, [*B, D].

    Returns:
        [*B, D], at least float32.
    """
    z = jnp.asarray(z, float_type(z, chosen))
    fixed, chosen = lax.stop_gradient((z, chosen.astype(z.dtype)))
    z_unit = l2_normalize(fixed)
    q_unit = l2_normalize(chosen)
    middle = z_unit + q_unit
    length = _length(middle)
    z_length = _length(fixed)
    q_length = _length(chosen)
    q_is_not_zero = jnp.any(chosen != 0, axis=-1, keepdims=True)
    defined = (length > 1e-3) & (z_length > 0) & q_is_not_zero
    axis = middle / jnp.where(defined, length, 1)
    scale = q_length / jnp.where(defined, z_length, 1)
    reflected = z - 2 * axis * _dot(axis, z)
    turned = reflected + 2 * q_unit * _dot(z_unit, z)
    return jnp.where(defined, scale * turned, z)


def _length(x: Array) -> Array:
    return jnp.linalg.norm(x, axis=-1, keepdims=True)


def _dot(x: Array, y: Array) -> Array:
    return jnp.sum(x * y, axis=-1, keepdims=True)


# (z, chosen) -> a function of z whose derivative stands in for that of the quantizer.
GRADIENTS = {"straight_through": _identity, "rotation": rotate}
