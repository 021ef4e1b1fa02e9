"""The toy problem E[(b - t)^2], b ~ Bernoulli(theta): every estimator's mean and spread against
closed forms.

Tucker et al. (2017) use t = 0.45, Grathwohl et al. (2018) t = 0.499. The gradient with respect to
the logit is (1 - 2 t) theta (1 - theta). The numbers of TABLE and of the spreads were computed by
quadrature outside of this repository, to the digits printed; what is tested is held against the
quadrature of `relaxed_moments`, and that against TABLE.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.sampling.estimators import ESTIMATORS

ROWS = [(0.499, 0.5), (0.499, 0.2), (0.45, 0.5), (0.45, 0.2)]
TEMPERATURES = (1.0, 0.5, 0.1)
NUM = 200_000
NUM_RAO = 20_000
CONDITIONAL = 50

# (t, theta) -> means of Gumbel-softmax and of its straight-through form at TEMPERATURES, standard
# deviation of Gumbel-Rao with the conditional noise integrated out.
TABLE = {
    (0.499, 0.5): (
        (0.000333, 0.000429, 0.000496),
        (0.000333, 0.000429, 0.000496),
        (0.167, 0.215, 0.248),
    ),
    (0.499, 0.2): ((-0.0366, -0.0342, -0.0091), (-0.0636, -0.0511, -0.0128), (0.125, 0.157, 0.190)),
    (0.45, 0.5): ((0.01667, 0.02146, 0.02480), (0.01667, 0.02146, 0.02480), (0.167, 0.215, 0.248)),
    (0.45, 0.2): ((-0.0231, -0.0188, 0.0066), (-0.0501, -0.0358, 0.0029), (0.127, 0.162, 0.201)),
}
SPREADS = {  # of Gumbel-softmax and of its straight-through form at t = 0.499, theta = 0.5
    "gumbel_softmax": (0.069, 0.118, 0.288),
    "straight_through_gumbel_softmax": (0.183, 0.279, 0.645),
}


def gradient_of(name, keys, t, theta, **options):
    """Estimates of the derivative with respect to the logit of theta, one a key."""
    logits = jnp.stack([jnp.zeros_like(theta), jnp.log(theta) - jnp.log1p(-theta)])
    one = lambda key: ESTIMATORS[name](
        key, lambda x: (x[..., 1] - t) ** 2, logits, **options
    ).gradient[1]
    return jax.vmap(one)(keys)


@functools.partial(
    jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)
def moments(name, keys, t, theta, **options):
    draws = gradient_of(name, keys, t, theta, **options).astype(jnp.float32)
    return jnp.mean(draws), jnp.std(draws)


def check(name, row, mean, sd, num=NUM, **options):
    keys = jax.random.split(jax.random.key(31), num)
    got_mean, got_sd = moments(name, keys, *map(jnp.float32, row), **options)
    assert abs(got_mean - mean) < 4 * sd / np.sqrt(num) + 1e-7, (
        f"{name} {row} {options}: {got_mean}, not {mean}"
    )
    assert abs(got_sd - sd) <= 0.05 * sd + 1e-6, f"{name} {row} {options}: sd {got_sd}, not {sd}"


def relaxed_moments(t, theta, temperature, num=400_000):
    """Quadrature over the logistic noise: (mean, sd) of Gumbel-softmax, of its straight-through
    form, of Gumbel-Rao."""
    u = (np.arange(num) + 0.5) / num
    z = np.log(theta / (1 - theta)) + np.log(u) - np.log1p(-u)
    y = 1 / (1 + np.exp(-z / temperature))
    b = (z > 0).astype(float)
    slope = y * (1 - y) / temperature
    soft, hard = 2 * (y - t) * slope, 2 * (b - t) * slope
    means = np.array([hard[b == 0].mean(), hard[b == 1].mean()])
    rao = np.sqrt(np.array([1 - theta, theta]) @ (means - hard.mean()) ** 2)
    return (soft.mean(), soft.std()), (hard.mean(), hard.std()), (hard.mean(), rao)


def two_point(values, theta):
    """Mean and standard deviation of a function of b given by its values at 0 and 1."""
    mean = (1 - theta) * values[0] + theta * values[1]
    return mean, np.sqrt(theta * (1 - theta)) * abs(values[1] - values[0])


def exact_gradient(t, theta):
    return (1 - 2 * t) * theta * (1 - theta)


@pytest.mark.parametrize("row", ROWS)
def test_the_quadrature_gives_the_published_table(row):
    for i, temperature in enumerate(TEMPERATURES):
        soft, hard, rao = relaxed_moments(*row, temperature)
        for got, expected in zip(
            (soft[0], hard[0], rao[1]), (column[i] for column in TABLE[row]), strict=True
        ):
            np.testing.assert_allclose(got, expected, rtol=0.01, atol=6e-5)
        if row == (0.499, 0.5):
            np.testing.assert_allclose(
                (soft[1], hard[1]), [s[i] for s in SPREADS.values()], rtol=0.01
            )


def test_exact():
    for t, theta in ROWS:
        check("exact", (t, theta), exact_gradient(t, theta), 0.0, num=2)


def test_score_function():
    for row, sd in zip(ROWS, (0.125, 0.100, 0.126, 0.113), strict=True):
        t, theta = row
        mean, spread = two_point((-theta * t**2, (1 - theta) * (1 - t) ** 2), theta)
        np.testing.assert_allclose((mean, spread), (exact_gradient(*row), sd), rtol=0.01)
        check("score_function", row, mean, spread)


def test_straight_through():
    for row, sd in zip(ROWS, (0.250, 0.128, 0.250, None), strict=True):
        t, theta = row
        mean, spread = two_point(
            (-2 * t * theta * (1 - theta), 2 * (1 - t) * theta * (1 - theta)), theta
        )
        assert sd is None or abs(spread - sd) < 1e-3
        check("straight_through", row, mean, spread)
    # the wrong sign
    assert abs(two_point((-2 * 0.499 * 0.16, 2 * 0.501 * 0.16), 0.2)[0] + 0.0957) < 1e-4


def test_reinmax_is_unbiased_on_quadratics():
    for row, sd in zip(ROWS, (0.250, 0.200, 0.250, 0.212), strict=True):
        t, theta = row
        q = np.array([theta / 2, (1 + theta) / 2])
        slope = 2 * (np.array([0.0, 1.0]) - t)
        mean, spread = two_point((2 * q * (1 - q) - theta * (1 - theta) / 2) * slope, theta)
        np.testing.assert_allclose((mean, spread), (exact_gradient(*row), sd), rtol=0.01)
        check("reinmax", row, mean, spread)


@pytest.mark.parametrize(
    "name, column", [("gumbel_softmax", 0), ("straight_through_gumbel_softmax", 1)]
)
def test_relaxed_estimators(name, column):
    for row in ROWS:
        for temperature in TEMPERATURES:
            check(
                name,
                row,
                *relaxed_moments(*row, temperature)[column],
                temperature=jnp.float32(temperature),
            )


def test_gumbel_rao():
    """With m conditional draws the variance is that of the limit, plus 1/m of the part that
    conditioning removes."""
    keys = jax.random.split(jax.random.key(32), NUM_RAO)
    rao = jax.jit(
        lambda t, theta, temperature: gradient_of(
            "gumbel_rao", keys, t, theta, temperature=temperature, num_conditional=CONDITIONAL
        )
    )
    for row in ROWS:
        for temperature in TEMPERATURES:
            _, (mean, hard_sd), (_, limit_sd) = relaxed_moments(*row, temperature)
            sd = np.sqrt(limit_sd**2 + (hard_sd**2 - limit_sd**2) / CONDITIONAL)
            draws = rao(*map(jnp.float32, (*row, temperature)))
            assert abs(np.mean(draws) - mean) < 4 * sd / np.sqrt(NUM_RAO)
            assert abs(np.std(draws) - sd) < 0.05 * sd


def test_pairs_of_draws():
    """Two draws: leave-one-out gives (f(1) - f(0)) / 2 where they differ, the antithetic pair
    max(theta, 1 - theta) times that."""
    for t, theta in ROWS:
        difference, mean = 1 - 2 * t, exact_gradient(t, theta)
        independent = 2 * theta * (1 - theta)
        sd = abs(difference) / 2 * np.sqrt(independent * (1 - independent))
        for name in ("score_function_leave_one_out", "vimco"):
            check(name, (t, theta), mean, sd)
        opposite = 2 * min(theta, 1 - theta)
        sd = abs(difference) / 2 * max(theta, 1 - theta) * np.sqrt(opposite * (1 - opposite))
        check("disarm", (t, theta), mean, sd)


def test_muprop():
    for t, theta in ROWS:
        at_mean, slope = (theta - t) ** 2, 2 * (theta - t)
        values = np.array(
            [((b - t) ** 2 - at_mean - slope * (b - theta)) * (b - theta) for b in (0.0, 1.0)]
        )
        mean, sd = two_point(values + slope * theta * (1 - theta), theta)
        np.testing.assert_allclose(mean, exact_gradient(t, theta), atol=1e-12)
        check("muprop", (t, theta), mean, sd)


@pytest.mark.parametrize("name", ["rebar", "relax", "nvil"])
def test_the_other_unbiased_estimators(name):
    keys = jax.random.split(jax.random.key(33), NUM)
    for row in ROWS:
        mean, sd = moments(name, keys, *map(jnp.float32, row))
        assert abs(mean - exact_gradient(*row)) < 4 * sd / np.sqrt(NUM)
