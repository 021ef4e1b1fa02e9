"""Temperature schedules: pure functions of the step, in closed form.

Every schedule takes the step (a Python int or a traced array) and returns a scalar
array of at least float32. None of them keeps a state, so a resumed run sees the
temperature of the step it is at, and a schedule that is held for some steps cannot compound.
"""

import jax.numpy as jnp

from dgm_jax.core import Array, checks


def constant(step, value=1.0) -> Array:
    """The same temperature at every step."""
    checks.positive(value, "value")
    return jnp.broadcast_to(
        jnp.asarray(value, jnp.result_type(value, jnp.float32)), jnp.shape(step)
    )


def exponential(step, *, start=1.0, rate=3e-5, floor=0.5, hold: int = 1) -> Array:
    """max(floor, start * exp(-rate * s)), where s is `step` rounded down to a multiple of `hold`.

    The annealing of Jang et al. (2017, section 4.2: "max(0.5, exp(-rt))", with r in
    {1e-5, 1e-4} and a new temperature every 500 or 1000 steps). The floor is reached at
    step log(start / floor) / rate, whatever `hold` is.
    """
    checks.positive(start, "start")
    checks.positive(floor, "floor")
    checks.positive(hold, "hold")
    checks.not_negative(rate, "rate")
    held = jnp.asarray(step) // hold * hold
    return jnp.maximum(floor, start * jnp.exp(-rate * held))


def linear(step, *, start=1.0, end=0.5, num_steps: int) -> Array:
    """start + (end - start) * min(step / num_steps, 1)."""
    return start + (end - start) * _progress(step, start, end, num_steps)


def cosine(step, *, start=1.0, end=1 / 16, num_steps: int) -> Array:
    """end + (start - end) * (1 + cos(pi * min(step / num_steps, 1))) / 2.

    With start 1, end 1/16 and 150,000 steps this is the temperature of DALL-E's dVAE
    (Ramesh et al. 2021, appendix A.2, which reports that a linear schedule diverged).
    """
    return end + (start - end) * (1 + jnp.cos(jnp.pi * _progress(step, start, end, num_steps))) / 2


def _progress(step, start, end, num_steps) -> Array:
    checks.positive(start, "start")
    checks.positive(end, "end")
    checks.positive(num_steps, "num_steps")
    return jnp.clip(jnp.asarray(step) / num_steps, 0.0, 1.0)
