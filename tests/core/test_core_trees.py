"""Whether all numbers of a tree are finite, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core

LARGEST = float(np.finfo(np.float32).max)
SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4, 5), (40, 300)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", SHAPES)
def test_one_number_among_finite_ones(shape, bad):
    """The largest numbers are finite, though their sum is not."""
    finite = np.full(shape, LARGEST, np.float32)
    check = jax.jit(core.all_finite)
    assert bool(check({"a": jnp.ones(3), "b": finite}))
    places = {0, finite.size // 2, finite.size - 1}
    for place in places:
        x = finite.copy()
        x.reshape(-1)[place] = bad
        assert not bool(check({"a": jnp.ones(3), "b": x}))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.complex64])
def test_types_in_one_tree(dtype):
    tree = [jnp.ones((2, 3), dtype), jnp.full((2,), 3e38), jnp.arange(3), jnp.zeros((0, 4))]
    assert bool(core.all_finite(tree))
    tree[0] = tree[0].at[1, 2].set(jnp.inf)
    assert not bool(core.all_finite(tree))


def test_each_lane_of_its_own_and_nothing_to_look_at():
    x = jnp.zeros((4, 3, 5)).at[2, 1, 1].set(jnp.nan)
    found = jax.vmap(lambda lane: core.all_finite((lane, jnp.ones(2))))(x)
    assert found.tolist() == [True, True, False, True]
    assert bool(core.all_finite({})) and bool(core.all_finite([jnp.arange(3)]))
