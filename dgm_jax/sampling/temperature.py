"""Temperature schedules: pure functions of the step, in closed form.

Every schedule takes the step (a Python int or a traced array) and returns a scalar array of at
least float32. None of them keeps a state, so a resumed run has the temperature of its step, and
rounding cannot accumulate.
"""

import jax.numpy as jnp

from dgm_jax.core import Array, checks


def constant(step: Array | int, value: Array | float = 1.0) -> Array:
    """The same temperature at every step.

    Args:
        step: of training, a scalar or an array.
        value: the temperature, positive.

    Returns:
        The temperature, of the shape of `step`.

    Raises:
        ConfigError: a known value that is not positive.

    Example:
        >>> temperature.constant(3, 0.5).item()
        0.5
    """
    checks.positive(value, "value")
    return jnp.broadcast_to(
        jnp.asarray(value, jnp.result_type(value, jnp.float32)), jnp.shape(step)
    )


def exponential(
    step: Array | int,
    *,
    start: Array | float = 1.0,
    rate: Array | float = 3e-5,
    floor: Array | float = 0.5,
    hold: int = 1,
) -> Array:
    """max(floor, start * exp(-rate * s)), where s is `step` rounded down to a multiple of `hold`.

    The annealing of Jang et al. (2017, section 4.2: "max(0.5, exp(-rt))", with r in {1e-5, 1e-4}
    and a new temperature every 500 or 1000 steps). The floor is reached at step
    log(start / floor) / rate, whatever `hold` is.

    Args:
        step: of training.
        start: temperature at step 0, positive.
        rate: of the decay per step, not negative.
        floor: smallest temperature, positive.
        hold: number of steps for which the temperature is held.

    Returns:
        The temperature.

    Raises:
        ConfigError: a known argument out of its range.

    Example:
        >>> print(f"{temperature.exponential(1500, rate=1e-4, hold=1000):.4f}")  # exp(-.1)
        0.9048
    """
    checks.positive(start, "start")
    checks.positive(floor, "floor")
    checks.positive(hold, "hold")
    checks.not_negative(rate, "rate")
    held = jnp.asarray(step) // hold * hold
    return jnp.maximum(floor, start * jnp.exp(-rate * held))


def linear(
    step: Array | int,
    *,
    start: Array | float = 1.0,
    end: Array | float = 0.5,
    num_steps: Array | int,
) -> Array:
    """start + (end - start) * min(step / num_steps, 1).

    Args:
        step: of training.
        start: temperature at step 0, positive.
        end: temperature from step `num_steps` on, positive.
        num_steps: length of the change.

    Returns:
        The temperature.

    Raises:
        ConfigError: a known argument that is not positive.

    Example:
        >>> temperature.linear(50, start=1.0, end=0.5, num_steps=100).item()
        0.75
    """
    return start + (end - start) * _progress(step, start, end, num_steps)


def cosine(
    step: Array | int,
    *,
    start: Array | float = 1.0,
    end: Array | float = 1 / 16,
    num_steps: Array | int,
) -> Array:
    """end + (start - end) * (1 + cos(pi * min(step / num_steps, 1))) / 2.

    With start 1, end 1/16 and 150,000 steps this is the temperature of DALL-E's dVAE (Ramesh et al.
    2021, appendix A.2, which reports that a linear schedule diverged).

    Args:
        step: of training.
        start: temperature at step 0, positive.
        end: temperature from step `num_steps` on, positive.
        num_steps: length of the change.

    Returns:
        The temperature.

    Raises:
        ConfigError: a known argument that is not positive.

    Example:
        >>> print(f"{temperature.cosine(50, start=1.0, end=0.5, num_steps=100):.4f}")
        0.7500
    """
    wave = 1 + jnp.cos(jnp.pi * _progress(step, start, end, num_steps))
    return end + (start - end) * wave / 2


def _progress(
    step: Array | int, start: Array | float, end: Array | float, num_steps: Array | int
) -> Array:
    """The share of `num_steps` that is done, in [0, 1], after the checks of all arguments."""
    checks.positive(start, "start")
    checks.positive(end, "end")
    checks.positive(num_steps, "num_steps")
    return jnp.clip(jnp.asarray(step) / num_steps, 0.0, 1.0)
