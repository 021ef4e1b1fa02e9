"""Products of any function in bfloat16: 257, which bfloat16 rounds to 256, goes in wherever a
product may stand, and the numbers beside products stay as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.networks import convolution, narrow_products

ONE = jnp.ones((1, 1))
ODD = jnp.full((1, 1), 257.0)  # between 256 and 258, the neighbours that bfloat16 holds


def product(x):
    return jnp.sum(x @ ONE)


def in_scan(x):
    return jax.lax.scan(lambda carry, _: (carry @ ONE, carry), x, length=2)[0].sum()


def in_while(x):
    turns = jax.lax.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, s[1] @ ONE), (0, x))
    return turns[1].sum()


def in_cond(x):
    return jax.lax.cond(x.sum() > 0, product, lambda x: 0.0, x)


def by_lax(x):
    return convolution.conv(x[None, None], ONE[None, None], backend="lax").sum()


def by_the_primitive(x):
    return convolution.conv(x[None, None], ONE[None, None], backend="plain").sum()


def with_a_batch(x):
    return jax.vmap(jnp.matmul)(x[None], ONE[None]).sum()


PLACES = (product, jax.jit(product), jax.checkpoint(product), in_scan, in_while, in_cond)
PLACES += (by_lax, by_the_primitive, with_a_batch)


@pytest.mark.parametrize("function", PLACES)
def test_the_operands_are_rounded_wherever_a_product_is(function):
    assert float(function(ODD)) == 257
    result = jax.jit(narrow_products(function))(ODD)
    assert float(result) == 256 and result.dtype == jnp.float32


def of_its_own(x):
    @jax.custom_jvp
    def own(x):
        return x @ ONE

    own.defjvp(lambda x, d: (own(*x), d[0]))
    return own(x)


KEPT = {
    "sum": lambda x: x + 0.0,
    "factor": lambda x: x * ONE,
    "mean": lambda x: jnp.mean(jnp.stack([x, x]), axis=0),
    "precision": lambda x: jnp.dot(x, ONE, precision="highest"),
    "integers": lambda x: x.astype(jnp.int32) @ ONE.astype(jnp.int32),
    "own derivative": of_its_own,
}


@pytest.mark.parametrize("name", KEPT)
def test_all_else_is_kept(name):
    assert float(jax.jit(narrow_products(KEPT[name]))(ODD)[0, 0]) == 257


def test_gradients_are_products_of_rounded_numbers_too():
    """d/da of a b^2 at a = 257, b = 257 with each factor rounded: 256^2 where 257^2 is exact."""
    function = lambda a, b: jnp.sum(a @ b @ b)
    gradient, other = jax.jit(jax.grad(narrow_products(function), (0, 1)))(ODD, ODD)
    assert float(gradient[0, 0]) == 256**2
    assert float(other[0, 0]) == 2 * 256**2
    # (a b) b is symmetric in how it curves: d^2/da db = 2 b
    second = jax.grad(lambda b: jax.grad(narrow_products(function))(ODD, b).sum())(ODD)
    assert float(second[0, 0]) == 512
    _, tangent = jax.jvp(narrow_products(product), (ODD,), (ODD,))
    assert float(tangent) == 256


def test_trees_of_arrays_and_of_constants():
    """What is no array stays what it is, so that Python may branch on it."""

    def function(tree, times, name):
        assert isinstance(times, int) and name is None
        return {"y": [tree["x"] @ ONE] * times, "n": jnp.int32(times)}

    found = narrow_products(function)({"x": ODD}, 2, None)
    assert [float(y[0, 0]) for y in found["y"]] == [256, 256] and int(found["n"]) == 2


def test_close_to_the_product_in_float64():
    """Each of both operands and the result is off by a share of at most 2^-9."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, (5, 40)), rng.uniform(1, 2, (40, 3))
    found = np.asarray(narrow_products(jnp.matmul)(jnp.float32(a), jnp.float32(b)), np.float64)
    error = np.abs(found / (a @ b) - 1).max()
    assert 2**-14 < error < 3.01 * 2**-9


def test_a_function_without_products_is_traced_as_it_is():
    function = lambda x: jnp.sum(jnp.tanh(x)) + 1.0
    text = str(jax.make_jaxpr(function)(ODD))
    assert str(jax.make_jaxpr(narrow_products(function))(ODD)) == text
