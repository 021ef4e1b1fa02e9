"""Mode covering and seeking: the minima against scipy, the divergences against adaptive
quadrature."""

import json

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats
from experiment_parts import task_of

from dgm_jax import training
from dgm_jax.core import SOLO, ConfigError
from dgm_jax.experiments.mode_covering import EXPERIMENT, Config
from dgm_jax.experiments.mode_covering import task as mode_covering
from dgm_jax.run import main

NAMES = ("kl", "reverse_kl", "js")


def log_p(x, half):
    return np.logaddexp(
        scipy.stats.norm.logpdf(x, -half, 0.5), scipy.stats.norm.logpdf(x, half, 0.5)
    ) - np.log(2)


def integrand(name, log_p, log_q):
    if name == "kl":
        return np.exp(log_p) * (log_p - log_q)
    if name == "reverse_kl":
        return np.exp(log_q) * (log_q - log_p)
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    return (np.exp(log_p) * (log_p - log_m) + np.exp(log_q) * (log_q - log_m)) / 2


def trapezoid(name, half, loc, scale):
    x = np.linspace(-25, 25, 4001)
    return np.trapezoid(integrand(name, log_p(x, half), scipy.stats.norm.logpdf(x, loc, scale)), x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("half", "loc", "scale"), [(2, 0.0, 2.0), (2, 1.7, 0.6), (3, -2.5, 0.4), (3, 1.0, 3.0)]
)
def test_divergences_on_the_grid(name, half, loc, scale):
    def value(x):
        return integrand(name, log_p(x, half), scipy.stats.norm.logpdf(x, loc, scale))

    points = [-half, half, loc]
    expected, _ = scipy.integrate.quad(value, -25, 25, points=points, limit=400, epsabs=1e-10)
    np.testing.assert_allclose(
        mode_covering.divergence(f"{name}_{half}", loc, scale), expected, rtol=2e-5
    )


def minimum(name, half):
    """|mu|, sigma, value of the better of two descents, one from between the modes, one from a
    mode."""
    found = []
    for start in ((0.0, np.log(half)), (half, np.log(0.5))):
        result = scipy.optimize.minimize(
            lambda w: trapezoid(name, half, w[0], np.exp(w[1])),
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-12},
        )
        found.append((result.fun, abs(result.x[0]), np.exp(result.x[1])))
    value, loc, scale = min(found)
    return loc, scale, value


@pytest.mark.parametrize("arm", mode_covering.GLOBAL)
def test_the_table_holds_the_global_minima(arm):
    expected = minimum(*mode_covering.parse(arm))
    for (published, half_unit), value in zip(mode_covering.GLOBAL[arm], expected, strict=True):
        assert abs(published - value) <= half_unit * 1.01


def test_moments_of_p_and_the_value_of_one_mode():
    """KL(p || q) takes the moments of p; a q that is one of two separate modes costs log 2."""
    for half in (2, 3):
        loc, scale, _ = (value for value, _ in mode_covering.GLOBAL[f"kl_{half}"])
        np.testing.assert_allclose((loc, scale), (0, np.sqrt(half**2 + 0.25)), atol=5e-5)
    np.testing.assert_allclose(
        mode_covering.divergence("reverse_kl_8", 8.0, 0.5), np.log(2), rtol=1e-5
    )


def test_the_switch_of_the_jensen_shannon_divergence():
    def advantage_of_seeking(half):
        cover = scipy.optimize.minimize(
            lambda w: trapezoid("js", half, 0.0, np.exp(w[0])),
            (np.log(half),),
            method="Nelder-Mead",
            options={"xatol": 1e-6},
        )
        return cover.fun - trapezoid("js", half, half, 0.5)

    # Holding q to one mode exactly costs 1e-5 nats or less at this distance.
    assert abs(scipy.optimize.brentq(advantage_of_seeking, 2.0, 3.0, xtol=1e-3) - 2.1224) < 3e-3


def trained(arm, num_seeds, num_steps):
    """summarize's figures of a few seeds, through the engine."""
    config = Config(arm=(arm,), num_steps=num_steps)
    program = training.lane_program(lambda hyper: task_of(EXPERIMENT, config))

    def one(key):
        lane, _ = program.advance(program.init(key, {}), {}, num_steps, SOLO)
        return program.evaluate(lane, {})

    arrays = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), num_seeds))
    return mode_covering.summarize(jax.device_get(arrays), config, None)


@pytest.mark.parametrize("arm", ["kl_2", "reverse_kl_2", "js_2", "js_3"])
def test_descent_finds_the_global_minimum(arm):
    found = trained(arm, 8, 1500)
    for name, (published, half_unit) in zip(
        ("abs_mu", "sigma", "value"), mode_covering.GLOBAL[arm], strict=True
    ):
        np.testing.assert_allclose(found[f"global_{name}"], published, atol=2 * half_unit, rtol=0)
    assert found["reaches_global"].max() == 1
    between = found["global_abs_mu"][0] < 1e-3
    assert between == (arm in ("kl_2", "js_2"))
    if arm == "js_3":
        # some seeds end between the modes, in a local minimum
        assert 0 < found["covers"].mean() < 1


def test_the_best_seed_is_the_one_with_the_smallest_value():
    arrays = {"mu": [0.1, -2.0, 1.9], "sigma": [2.0, 0.5, 0.6], "value": [0.9, 0.69, 0.6905]}
    found = mode_covering.summarize(arrays, Config(arm=("reverse_kl_2",)), None)
    np.testing.assert_array_equal(found["global_abs_mu"], [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(found["global_sigma"], [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(found["reaches_global"], [0, 1, 1])
    np.testing.assert_array_equal(found["covers"], [1, 0, 0])


@pytest.mark.parametrize(
    "arm", ["jsd_2", "js", "js_", "js_wide", "js_-1", "js_nan", "kl_0", "kl_1e9"]
)
def test_arms_that_no_run_could_use(arm):
    with pytest.raises(ConfigError):
        mode_covering.validate(Config(arm=(arm,)))


def test_the_command(tmp_path):
    out = tmp_path / "run"
    argv = [
        "--arm",
        "js_2",
        "--num_seeds",
        "3",
        "--num_steps",
        "200",
        "--out",
        str(out),
        "--progress",
        "quiet",
    ]
    assert main(EXPERIMENT, argv) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert {row["metric"] for row in summary["reference"]} == {
        "global_abs_mu",
        "global_sigma",
        "global_value",
    }
    assert len(summary["metrics"]["mu"]["per_seed"]) == 3
    assert (out / "figures" / "fits_2.png").exists()
