"""Temperature schedules in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.sampling import temperature

STEPS = np.array([0, 1, 499, 500, 501, 999, 1000, 23_104, 23_105, 100_000])


def test_constant():
    np.testing.assert_array_equal(
        temperature.constant(STEPS, 0.7), np.full(STEPS.shape, np.float32(0.7))
    )


@pytest.mark.parametrize("hold", [1, 500])
def test_exponential(hold):
    got = temperature.exponential(STEPS, start=1.0, rate=3e-5, floor=0.5, hold=hold)
    np.testing.assert_allclose(
        got, np.maximum(0.5, np.exp(-3e-5 * (STEPS // hold * hold))), rtol=1e-6
    )


def test_exponential_reaches_its_floor_where_the_closed_form_says():
    """log 2 / 1e-6 = 693,147.2 steps, held or not: a schedule that compounds at every update gets
    there far earlier."""
    for hold in (1, 100):
        reach = int(np.ceil(np.log(2) / 1e-6 / hold) * hold)
        for step, at_floor in ((11_800, False), (reach - 2000, False), (reach + hold, True)):
            value = float(temperature.exponential(step, start=1.0, rate=1e-6, floor=0.5, hold=hold))
            assert (value == 0.5) == at_floor
            np.testing.assert_allclose(
                value, max(0.5, np.exp(-1e-6 * (step // hold * hold))), rtol=1e-6
            )


@pytest.mark.parametrize(
    "step, expected", [(0, 2.0), (25, 1.6), (50, 1.2), (100, 0.4), (1000, 0.4), (-5, 2.0)]
)
def test_linear(step, expected):
    np.testing.assert_allclose(
        temperature.linear(step, start=2.0, end=0.4, num_steps=100), expected, rtol=1e-6
    )


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1 / 3, 0.5, 1.0, 2.0])
def test_cosine(fraction):
    expected = 1 / 16 + 15 / 16 * np.cos(np.pi * min(fraction, 1) / 2) ** 2
    got = temperature.cosine(round(150_000 * fraction), start=1.0, end=1 / 16, num_steps=150_000)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "schedule, options",
    [
        (temperature.constant, {}),
        (temperature.exponential, {"rate": 1e-3, "hold": 7}),
        (temperature.linear, {"num_steps": 90}),
        (temperature.cosine, {"num_steps": 90}),
    ],
)
def test_compiled_and_mapped_over_steps(schedule, options):
    steps = jnp.arange(100)
    one_by_one = np.array([float(schedule(int(s), **options)) for s in steps])
    mapped = jax.jit(jax.vmap(lambda s: schedule(s, **options)))(steps)
    np.testing.assert_allclose(mapped, one_by_one, rtol=1e-6)
    assert np.all(np.diff(one_by_one) <= 0) and one_by_one[0] == 1.0


def test_the_rate_may_ride_on_an_axis():
    rates = jnp.array([1e-3, 1e-2])
    got = jax.vmap(lambda r: temperature.exponential(50, start=1.0, rate=r, floor=0.1))(rates)
    np.testing.assert_allclose(got, np.exp([-0.05, -0.5]), rtol=1e-6)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: temperature.constant(0, 0.0), "value must be positive"),
        (lambda: temperature.exponential(0, floor=0.0), "floor must be positive"),
        (lambda: temperature.exponential(0, start=-1.0), "start must be positive"),
        (lambda: temperature.exponential(0, rate=-1e-5), "rate must not be negative"),
        (lambda: temperature.exponential(0, hold=0), "hold must be positive"),
        (lambda: temperature.linear(0, end=0.0, num_steps=10), "end must be positive"),
        (lambda: temperature.linear(0, num_steps=0), "num_steps must be positive"),
        (lambda: temperature.cosine(0, start=0.0, num_steps=10), "start must be positive"),
    ],
)
def test_bad_schedules(call, match):
    with pytest.raises(ConfigError, match=match):
        call()
