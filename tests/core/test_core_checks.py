"""Checks of one argument: what is known is looked at, what is not passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax import core
from dgm_jax.core import ConfigError, checks

GOOD = [1, 0.5, np.float32(2), np.array([1.0, 3.0]), jnp.float32(0.1), jnp.bfloat16(2)]


@pytest.mark.parametrize("value", GOOD)
def test_a_positive_number_comes_back_as_it_is(value):
    assert checks.positive(value, "width") is value
    assert checks.not_negative(value, "width") is value


@pytest.mark.parametrize(
    "value",
    [0, -1.0, np.float64(-2), np.array([1.0, 0.0]), jnp.float32(0), float("nan"), "2", None, True],
)
def test_what_is_known_not_to_be_positive_is_refused_by_name(value):
    with pytest.raises(ConfigError, match="^width must be positive; got "):
        checks.positive(value, "width")


@pytest.mark.parametrize("value", [0, 0.0, np.array([0.0, 1.0]), jnp.int32(0)])
def test_zero_is_not_negative(value):
    assert checks.not_negative(value, "rate") is value


@pytest.mark.parametrize("value", [-1e-9, np.array([0.0, -1.0]), float("nan")])
def test_what_is_known_to_be_negative_is_refused_by_name(value):
    with pytest.raises(ConfigError, match="^rate must not be negative; got "):
        checks.not_negative(value, "rate")


def test_what_is_traced_or_on_a_device_passes():
    assert checks.is_known(jnp.float32(1)) and checks.is_known(np.zeros(3))
    device = jnp.array([-1.0, 2.0])
    assert not checks.is_known(device) and checks.positive(device, "scale") is device
    traced = jax.jit(lambda x: checks.positive(checks.not_negative(x, "x"), "x") * 2)
    assert traced(-1.0) == -2.0


@pytest.mark.parametrize("value", [2, np.int64(7)])
def test_a_whole_number_comes_back(value):
    assert checks.whole(value, "dim", at_least=2) is value


@pytest.mark.parametrize("value", [1, 2.0, True, "3", None, np.float32(4)])
def test_what_is_no_whole_number_or_too_small_is_refused(value):
    with pytest.raises(ConfigError, match="^dim must be an integer of at least 2; got "):
        checks.whole(value, "dim", at_least=2)


def test_lookup_takes_a_collection_of_names_as_well():
    assert core.lookup({"a": 1}, "a", "letter") == 1
    assert core.lookup(("alpha", "beta"), "beta", "letter") == "beta"
    words = r"unknown letter 'bet' \(did you mean 'beta'\?\); known: alpha, beta"
    with pytest.raises(ConfigError, match=words):
        core.lookup({"alpha", "beta"}, "bet", "letter")


@pytest.mark.parametrize(
    "given, expected",
    [
        (jnp.bfloat16, jnp.float32),
        (jnp.float16, jnp.float32),
        (jnp.float32, jnp.float32),
        (jnp.int8, jnp.float32),
        (jnp.float64, jnp.float64),
    ],
)
def test_densities_work_in_at_least_float32(given, expected):
    with jax.enable_x64(True):
        x = jnp.ones(2, given)
        assert core.at_least_float32(x).dtype == expected == core.float_type(x)
    assert core.float_type(jnp.bfloat16(1), jnp.float16(1)) == jnp.float32


def test_the_log_of_a_mean_over_one_axis():
    values = np.random.default_rng(0).normal(size=(5, 3)) + 800  # exp overflows
    for axis in (0, -1):
        expected = 800 + np.log(np.mean(np.exp(values - 800), axis))
        got = core.log_mean_exp(jnp.asarray(values, jnp.float32), axis).value
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert core.log_mean_exp(jnp.full(3, -jnp.inf)).value == -jnp.inf


@pytest.mark.parametrize("value", [0, 1.0, np.array([0.2, 1.0]), jnp.float32(0.5)])
def test_a_share_comes_back(value):
    assert checks.share(value, "decay") is value


@pytest.mark.parametrize("value", [-1e-6, 1.5, np.array([0.2, 1.1]), float("nan")])
def test_what_is_no_share_is_refused_by_name(value):
    with pytest.raises(ConfigError, match=r"^decay must be in \[0, 1\]; got "):
        checks.share(value, "decay")


def test_vectors_have_the_last_axis_that_was_asked_for():
    assert checks.vectors([[1.0, 2.0]], "z", 2).shape == (1, 2)
    for wrong in (np.zeros((2, 3)), np.float32(0)):
        with pytest.raises(ConfigError, match=r"^z must be \[\*B, 2\]; got "):
            checks.vectors(wrong, "z", 2)


def test_an_array_on_a_device_is_concrete_and_a_tracer_is_not():
    seen = []
    jax.jit(lambda x: seen.append(checks.is_concrete(x)))(1.0)
    assert seen == [False] and checks.is_concrete(jnp.ones(3)) and not checks.is_known(jnp.ones(3))
