"""Every public function of the rooms of the lecture in four floating types, and in the modes that
look for NaN and that compile nothing."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import public_functions as public
import pytest

ALL = public.CALLS | public.DRAWS
BY_ROOM = {room: [name for name in ALL if name.startswith(f"{room}.")] for room in public.ROOMS}


def _arguments(dtype):
    """The inputs in one type; in float64 only while that is enabled."""
    return {name: jnp.asarray(x, dtype) for name, x in public.inputs().items()}


def _results(room, dtype):
    """{name: tree} of a room's calls, compiled as one program."""

    def call(arrays):
        arrays = types.SimpleNamespace(**arrays)
        return {name: ALL[name](arrays) for name in BY_ROOM[room]}

    return jax.jit(call)(_arguments(dtype))


@pytest.fixture(scope="module")
def results_in():
    """The results of a room in one type, of the same inputs; compiled when first asked for."""
    found = {}

    def results(room, dtype):
        if (room, dtype) not in found:
            with jax.enable_x64(dtype == jnp.float64):
                found[room, dtype] = jax.tree.map(np.asarray, _results(room, dtype))
        return found[room, dtype]

    return results


def _floating(x):
    return jnp.issubdtype(x.dtype, jnp.floating)


@pytest.mark.parametrize("room", public.ROOMS)
def test_float64_in_gives_float64_out(room, results_in):
    for name, tree in results_in(room, jnp.float64).items():
        if name in public.OF_INTEGERS or name == "sampling.gumbel_noise":  # takes no numbers
            continue
        types_found = {leaf.dtype for leaf in jax.tree.leaves(tree) if _floating(leaf)}
        assert types_found <= {np.dtype(np.float64)}, (name, types_found)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("room", public.ROOMS)
def test_as_float64_within_the_precision(room, dtype, results_in):
    """Within what a result of its type can hold: sums in half precision would be far off."""
    for name, tree in results_in(room, dtype).items():
        exact = jax.tree.leaves(results_in(room, jnp.float64)[name])
        for got, right in zip(jax.tree.leaves(tree), exact, strict=True):
            assert got.shape == right.shape, name
            if not _floating(got):
                assert name in public.DRAWS or np.array_equal(got, right), name
                continue
            assert np.array_equal(np.isfinite(got), np.isfinite(right)), name
            if name in public.CALLS:
                own = name in public.IN_OWN_TYPE
                _require_close(name, got, right, dtype if own else got.dtype)


def _require_close(name, got, right, dtype):
    epsilon = float(jnp.finfo(dtype).eps)
    got = np.asarray(got, np.float64)
    finite = np.isfinite(right)
    size = np.max(np.abs(right), where=finite, initial=1.0)
    np.testing.assert_allclose(
        got[finite], right[finite], rtol=64 * epsilon, atol=64 * epsilon * size, err_msg=name
    )
    assert np.array_equal(got[~finite], right[~finite]), name


@pytest.mark.parametrize("room", public.ROOMS)
def test_no_nan_where_jax_looks_for_it(room, results_in):
    """With every operation by itself, its result is looked at too: also of branches not taken."""
    arrays = types.SimpleNamespace(**_arguments(jnp.float32))
    compiled = results_in(room, jnp.float32)
    with jax.debug_nans(True), jax.disable_jit():
        for name in BY_ROOM[room]:
            eager = ALL[name](arrays)
            for got, right in zip(
                jax.tree.leaves(eager), jax.tree.leaves(compiled[name]), strict=True
            ):
                if _floating(right):
                    np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-4, err_msg=name)


def test_every_public_function_has_a_call_or_a_reason():
    named = {name for name in public.public_names() if name not in ALL}
    modules = {name for name in public.EXCEPTIONS if any(n.startswith(f"{name}.") for n in named)}
    left = {name for name in named if not any(name.startswith(f"{m}.") for m in modules)}
    assert left - set(public.EXCEPTIONS) == set()
    gone = set(public.EXCEPTIONS) - modules - left
    assert gone == set(), "exceptions for what is not there, or has a call"
