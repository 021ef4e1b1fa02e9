"""Vector quantizers: exact values, closed-form gradients, several codebooks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core, quantization
from dgm_jax.core import ConfigError, DataError

GRADIENTS = list(quantization.GRADIENTS)


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def bits(x):
    return np.asarray(x, np.float32).view(np.uint32)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_value_is_the_looked_up_code_bit_for_bit(transform, gradient, dtype):
    z, codebook = 10 * draw(0, 6, 50, 8).astype(dtype), draw(1, 30, 8)
    found = transform(lambda z, e: quantization.vector_quantize(z, e, gradient=gradient))(
        z, codebook
    )
    np.testing.assert_array_equal(
        bits(found.quantized), bits(quantization.vector_lookup(codebook, found.codes))
    )
    np.testing.assert_array_equal(
        bits(found.quantized), bits(np.asarray(codebook)[np.asarray(found.codes)])
    )
    square = np.square(np.asarray(z, np.float64) - np.asarray(found.quantized, np.float64)).sum(-1)
    np.testing.assert_allclose(found.codebook_loss, square, rtol=1e-5)
    np.testing.assert_allclose(found.commitment_loss, square, rtol=1e-5)
    assert (
        found.codes.shape == found.codebook_loss.shape == (6, 50)
        and found.codebook_loss.dtype == jnp.float32
    )


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_codebook_has_no_gradient_from_the_reconstruction(gradient):
    z, codebook, weight = draw(0, 40, 8), draw(1, 12, 8), draw(2, 40, 8)

    def reconstruction(z, codebook):
        return jnp.sum(
            weight * quantization.vector_quantize(z, codebook, gradient=gradient).quantized ** 2
        )

    by_z, by_codebook = jax.jit(jax.grad(reconstruction, (0, 1)))(z, codebook)
    np.testing.assert_array_equal(by_codebook, 0)
    assert np.abs(by_z).max() > 0.1


def test_the_straight_through_jacobian_is_the_identity():
    z, codebook = draw(0, 5), draw(1, 12, 5)
    jacobian = jax.jacobian(lambda z: quantization.vector_quantize(z, codebook).quantized)(z)
    np.testing.assert_array_equal(jacobian, np.eye(5))


def test_gradients_of_the_losses_in_closed_form():
    z, codebook = draw(0, 60, 4), draw(1, 10, 4)
    codes = np.asarray(quantization.nearest_code(z, codebook))
    by_z, by_codebook = jax.jit(
        jax.grad(lambda z, e: quantization.vector_quantize(z, e).codebook_loss.sum(), (0, 1))
    )(z, codebook)
    np.testing.assert_array_equal(by_z, 0)
    counts = np.bincount(codes, minlength=10)
    means = np.array(
        [np.asarray(z)[codes == k].mean(0) if counts[k] else np.zeros(4) for k in range(10)]
    )
    np.testing.assert_allclose(
        by_codebook, 2 * (np.asarray(codebook) - means) * counts[:, None], rtol=1e-4, atol=1e-4
    )
    by_z, by_codebook = jax.jit(
        jax.grad(lambda z, e: quantization.vector_quantize(z, e).commitment_loss.sum(), (0, 1))
    )(z, codebook)
    np.testing.assert_array_equal(by_codebook, 0)
    np.testing.assert_allclose(by_z, 2 * (np.asarray(z) - np.asarray(codebook)[codes]), rtol=1e-6)


@pytest.mark.parametrize("dim", [2, 7])
def test_the_rotation_jacobian_is_a_rotation_and_a_scale(dim):
    codebook = 3 * draw(1, 16, dim)

    def quantized(z):
        return quantization.vector_quantize(z, codebook, gradient="rotation").quantized

    vectors = draw(0, 6, dim)
    values, jacobians = jax.jit(jax.vmap(lambda z: (quantized(z), jax.jacobian(quantized)(z))))(
        vectors
    )
    for z, q, jacobian in zip(
        *(np.asarray(x, np.float64) for x in (vectors, values, jacobians)), strict=True
    ):
        scale = np.linalg.norm(q) / np.linalg.norm(z)
        rotation = jacobian / scale
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(dim), atol=2e-6)
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)
        np.testing.assert_allclose(jacobian @ z, q, atol=1e-5)
        assert np.abs(rotation - np.eye(dim)).max() > 1e-3


@pytest.mark.parametrize(
    "z, code", [([0.0, 0], [1.0, 0]), ([1.0, 0], [0.0, 0]), ([1.0, 2], [-1.0, -2])]
)
def test_where_no_rotation_is_defined_the_gradient_is_straight_through(z, code):
    def f(z):
        return quantization.vector_quantize(z, jnp.array([code]), gradient="rotation").quantized

    f = jax.jit(f)
    np.testing.assert_array_equal(f(jnp.array(z)), code)
    np.testing.assert_array_equal(jax.jacobian(f)(jnp.array(z)), np.eye(2))


def test_a_duplicated_batch_changes_no_mean():
    z, codebook = draw(0, 20, 9, 4), draw(1, 16, 4)

    def loss(codebook, z):
        found = quantization.vector_quantize(z, codebook)
        return jnp.mean(jnp.sum(found.codebook_loss + 0.25 * found.commitment_loss, axis=1))

    once, twice = (
        jax.jit(jax.value_and_grad(loss))(codebook, x) for x in (z, jnp.concatenate([z, z]))
    )
    np.testing.assert_allclose(once[0], twice[0], rtol=1e-6)
    np.testing.assert_allclose(once[1], twice[1], rtol=1e-5, atol=1e-5)
    square = np.square(np.asarray(z)[:, :, None] - np.asarray(codebook)).sum(-1).min(-1)
    np.testing.assert_allclose(once[0], 1.25 * square.sum(1).mean(), rtol=1e-5)


def test_cosine_codes():
    z, codebook = draw(0, 200, 6), draw(1, 30, 6) * jnp.linspace(0.01, 100, 30)[:, None]
    found = quantization.vector_quantize(z, codebook, cosine=True)
    unit = [
        np.asarray(x, np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (z, codebook)
    ]
    cosine = unit[0] @ unit[1].T
    np.testing.assert_array_equal(found.codes, cosine.argmax(1))
    np.testing.assert_allclose(found.commitment_loss, 2 - 2 * cosine.max(1), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.quantized, axis=1), 1, rtol=1e-6)


def test_cosine_of_zero_huge_and_tiny_vectors():
    z = jnp.array([[0.0, 0], [1e30, 1e30], [1e-30, 1e-30]])
    codebook = jnp.array([[0.0, 0], [1.0, 1]])

    def loss(z, e):
        found = quantization.vector_quantize(z, e, cosine=True)
        return (
            jnp.sum(found.codebook_loss + found.commitment_loss + found.quantized.sum(-1)),
            found.codes,
        )

    gradients, codes = jax.grad(loss, (0, 1), has_aux=True)(z, codebook)
    assert codes.tolist() == [0, 1, 1]
    assert all(np.isfinite(g).all() for g in gradients)
    direction = jax.jacobian(quantization.l2_normalize)(jnp.array([3.0, 4.0]))
    np.testing.assert_allclose(direction, np.array([[16, -12], [-12, 9]]) / 125, atol=1e-6)


def test_lookup_refuses_codes_out_of_range():
    codebook = draw(0, 4, 2)
    for codes in ([0, 4], [-1, 2]):
        with pytest.raises(DataError, match=r"codes must lie in \[0, 4\); got \["):
            quantization.vector_lookup(codebook, jnp.array(codes))
        inside = jax.jit(quantization.vector_lookup)(codebook, jnp.array(codes))
        assert np.isnan(inside).all(axis=1).tolist() == [not 0 <= c < 4 for c in codes]
    with pytest.raises(DataError, match="codes must be integers; got float32"):
        quantization.vector_lookup(codebook, jnp.array([0.0]))
    gradient = jax.grad(lambda e: jnp.sum(quantization.vector_lookup(e, jnp.array([1, 1, 3]))))(
        codebook
    )
    np.testing.assert_array_equal(gradient, np.array([0, 2, 0, 1])[:, None] * np.ones(2))


def test_an_unknown_gradient_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'rotation'"):
        quantization.vector_quantize(draw(0, 3, 2), draw(1, 4, 2), gradient="rotate")


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_heads_are_vector_quantizers_side_by_side(gradient, cosine):
    z, codebooks = draw(0, 5, 7, 12), draw(1, 3, 10, 4)
    options = {"gradient": gradient, "cosine": cosine}
    weight = draw(2, 5, 7, 12)

    def whole(z, codebooks):
        found = quantization.multi_head_quantize(z, codebooks, **options)
        return (
            jnp.sum(weight * found.quantized)
            + jnp.sum(found.codebook_loss + 2 * found.commitment_loss),
            found,
        )

    def parts(z, codebooks):
        heads = [
            quantization.vector_quantize(z[..., 4 * h : 4 * h + 4], codebooks[h], **options)
            for h in range(3)
        ]
        quantized = jnp.concatenate([h.quantized for h in heads], -1)
        others = (jnp.stack([h[i] for h in heads], -1) for i in (1, 2, 3))
        found = core.Quantized(quantized, *others)
        return (
            jnp.sum(weight * quantized) + jnp.sum(found.codebook_loss + 2 * found.commitment_loss),
            found,
        )

    (by_whole, found), (by_parts, expected) = (
        jax.jit(jax.grad(f, (0, 1), has_aux=True))(z, codebooks) for f in (whole, parts)
    )
    np.testing.assert_array_equal(found.codes, expected.codes)
    for a, b in zip((*found, *by_whole), (*expected, *by_parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    decoded = quantization.multi_head_lookup(
        quantization.l2_normalize(codebooks) if cosine else codebooks, found.codes
    )
    if cosine:  # two programs may round the norms differently
        np.testing.assert_allclose(found.quantized, decoded, rtol=3e-7)
    else:
        np.testing.assert_array_equal(bits(found.quantized), bits(decoded))
    with pytest.raises(ConfigError, match=r"z must be \[\*B, 12\], 3 heads of width 4"):
        quantization.multi_head_quantize(z[..., :8], codebooks)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_residual_levels_decode_to_the_output_bit_for_bit(transform, gradient):
    z = draw(0, 8, 25, 6)
    codebooks = draw(1, 4, 64, 6) * jnp.array([1, 0.5, 0.25, 0.12])[:, None, None]
    found = transform(lambda z: quantization.residual_quantize(z, codebooks, gradient=gradient))(z)
    assert (
        found.codes.shape == found.codebook_loss.shape == (8, 25, 4)
        and found.codes.dtype == jnp.int32
    )
    np.testing.assert_array_equal(
        bits(quantization.residual_lookup(codebooks, found.codes)), bits(found.quantized)
    )

    residual = np.asarray(z)
    # greedy search in numpy, level by level
    for level, codebook in enumerate(np.asarray(codebooks)):
        square = np.square(residual[..., None, :].astype(np.float64) - codebook).sum(-1)
        np.testing.assert_array_equal(found.codes[..., level], square.argmin(-1))
        np.testing.assert_allclose(found.codebook_loss[..., level], square.min(-1), rtol=1e-4)
        residual = residual - codebook[square.argmin(-1)]
    np.testing.assert_allclose(np.asarray(z) - residual, found.quantized, atol=1e-5)
    assert np.all(np.diff(found.commitment_loss.mean((0, 1))) < 0)


def test_residual_gradients_in_closed_form():
    z, codebooks, weight = draw(0, 30, 5), draw(1, 3, 8, 5), draw(2, 30, 5)
    found = quantization.residual_quantize(z, codebooks)
    by_z, by_codebooks = jax.grad(
        lambda z, e: jnp.sum(weight * quantization.residual_quantize(z, e).quantized), (0, 1)
    )(z, codebooks)
    np.testing.assert_array_equal(by_z, weight)
    np.testing.assert_array_equal(by_codebooks, 0)
    chosen = np.stack([np.asarray(codebooks)[level][found.codes[:, level]] for level in range(3)])
    after = np.asarray(z) - np.cumsum(chosen, axis=0)  # r_l - e_l
    by_z, by_codebooks = jax.jit(
        jax.grad(lambda z, e: quantization.residual_quantize(z, e).commitment_loss.sum(), (0, 1))
    )(z, codebooks)
    np.testing.assert_allclose(by_z, 2 * after.sum(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(by_codebooks, 0)
    by_z, by_codebooks = jax.jit(
        jax.grad(lambda z, e: quantization.residual_quantize(z, e).codebook_loss.sum(), (0, 1))
    )(z, codebooks)
    expected = np.zeros(codebooks.shape)
    for level in range(3):
        np.add.at(expected[level], np.asarray(found.codes[:, level]), -2 * after[level])
    np.testing.assert_array_equal(by_z, 0)
    np.testing.assert_allclose(by_codebooks, expected, rtol=1e-4, atol=1e-4)


def test_fewer_levels_decode_a_prefix():
    z, codebooks = draw(0, 30, 5), draw(1, 3, 8, 5)
    codes = quantization.residual_quantize(z, codebooks).codes
    short = quantization.residual_quantize(z, codebooks[:2])
    np.testing.assert_array_equal(
        bits(quantization.residual_lookup(codebooks, codes[:, :2])), bits(short.quantized)
    )
    with pytest.raises(ConfigError, match="1 <= l <= 3"):
        quantization.residual_lookup(codebooks, jnp.zeros((2, 4), int))
    with pytest.raises(DataError, match="codes must lie in"):
        quantization.residual_lookup(codebooks, jnp.full((2, 3), 8))


def test_agrees_with_vector_quantize_pytorch():
    peer = pytest.importorskip("vector_quantize_pytorch")
    torch = pytest.importorskip("torch")
    z, codebook = draw(0, 1, 100, 8), draw(1, 32, 8)
    quantizer = peer.VectorQuantize(dim=8, codebook_size=32).eval()
    quantizer._codebook.embed.data.copy_(torch.tensor(np.asarray(codebook))[None])
    _, codes, _ = quantizer(torch.tensor(np.asarray(z)))
    np.testing.assert_array_equal(quantization.nearest_code(z, codebook), codes.numpy())
