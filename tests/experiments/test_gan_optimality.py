"""The optimal discriminator: its published value, its grid, and that training comes near it."""

import functools
import json
import math

import jax
import numpy as np
import pytest
import scipy.integrate
from experiment_parts import inputs_of, task_of
from scipy.stats import norm

from dgm_jax import training
from dgm_jax.core import SOLO, ConfigError
from dgm_jax.experiments.gan_optimality import EXPERIMENT, Config
from dgm_jax.experiments.gan_optimality import task as gan_optimality
from dgm_jax.experiments.gan_optimality.pairs import PAIRS, SURE, tabulate
from dgm_jax.objectives import gan
from dgm_jax.run import ArmResult, main


@functools.cache
def known(arm):
    pair = PAIRS[arm]()
    grid = tabulate(pair)
    return pair, grid, gan.optimal_logits(grid.log_p, grid.log_q)


def two_jsd_less_two_log_two(p, q):
    """int p log(p / (p + q)) + q log(q / (p + q)), pointwise."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * np.log(p / (p + q)), 0) + np.where(
            q > 0, q * np.log(q / (p + q)), 0
        )


def blobs(x, means, weights, scale):
    squares = ((x[..., None, :] - np.array(means)) ** 2).sum(-1)
    return (np.array(weights) * np.exp(-squares / (2 * scale**2))).sum(-1) / (2 * np.pi * scale**2)


def test_the_published_value_on_the_line():
    def integrand(x):
        p = 0.3 * norm.pdf(x, -1.5, 0.4) + 0.7 * norm.pdf(x, 1.0, 0.8)
        return two_jsd_less_two_log_two(p, norm.pdf(x, 0, 1.5))

    value, _ = scipy.integrate.quad(integrand, -12, 12, points=[-1.5, 1.0], limit=400)
    assert abs(value - gan_optimality.OPTIMAL_VALUES["mixture_1d"]) < 6e-6


@pytest.mark.parametrize("arm", ["mixture_2d", "ring"])
def test_the_published_value_in_the_plane(arm):
    axis = np.arange(-9, 9, 0.03)
    x = np.stack(np.meshgrid(axis, axis), -1)
    if arm == "ring":
        angles = np.pi * np.arange(8) / 4
        p = blobs(x, 2 * np.stack([np.cos(angles), np.sin(angles)], -1), [1 / 8] * 8, 0.25)
        q = blobs(x, [(0, 0)], [1], 1.5)
    else:
        p = blobs(
            x, [(-1.5, -1.5), (-1.5, 1.5), (1.5, -1.5), (1.5, 1.5)], [0.1, 0.2, 0.3, 0.4], 0.6
        )
        q = blobs(x, [(0, 0)], [1], 1.6)
    value = two_jsd_less_two_log_two(p, q).sum() * 0.03**2
    assert abs(value - gan_optimality.OPTIMAL_VALUES[arm]) < 1e-5


@pytest.mark.parametrize("arm", PAIRS)
def test_the_grid_holds_both_densities(arm):
    pair, grid, best = known(arm)
    for log_density in (grid.log_p, grid.log_q):
        np.testing.assert_allclose(np.exp(np.float64(log_density)).sum() * pair.cell, 1, atol=2e-5)
    p, q = np.exp(np.float64(grid.log_p)), np.exp(np.float64(grid.log_q))
    undecided = np.asarray(grid.undecided)
    assert np.abs(np.asarray(best)[undecided]).max() <= SURE + 1e-5
    assert 0.2 < ((p + q) * undecided).sum() * pair.cell / 2 < 0.99


@pytest.mark.parametrize("arm", PAIRS)
def test_the_samplers_have_the_densities(arm):
    """The mean log-density of samples is minus the entropy, within five standard errors."""
    pair, grid, _ = known(arm)
    for sample, log_prob, table in (
        (pair.sample_p, pair.log_p, grid.log_p),
        (pair.sample_q, pair.log_q, grid.log_q),
    ):
        values = np.float64(log_prob(sample(jax.random.key(3), 20_000)))
        table = np.float64(table)
        expected = (np.exp(table) * np.where(np.exp(table) > 0, table, 0)).sum() * pair.cell
        assert abs(values.mean() - expected) < 5 * values.std() / math.sqrt(len(values)) + 1e-4


def test_training_closes_the_gap_from_below():
    config = Config(arm=("mixture_1d",), num_steps=400, hidden=32, batch_size=256)
    inputs = inputs_of(EXPERIMENT, config)
    program = training.lane_program(lambda hyper: task_of(EXPERIMENT, config, inputs))

    def one(key):
        lane = program.init(key, {})
        before = program.evaluate(lane, inputs.arrays)
        lane, _ = program.advance(lane, inputs.arrays, config.num_steps, SOLO)
        return before, program.evaluate(lane, inputs.arrays)

    before, after = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 3))
    assert np.all(before["gap"] > 0.05)
    assert np.all(after["gap"] < 0.01)
    assert np.all(after["gap"] > 0)
    assert np.all(after["js_lower_bound"] < after["jsd"])
    assert np.all(after["logit_rms_undecided"] < before["logit_rms_undecided"] / 3)


def test_settings_that_no_run_could_use():
    for wrong in (
        {"arm": ("rnig",)},
        {"hidden": 0},
        {"batch_size": 0},
        {"activation": "rleu"},
        {"learning_rate": 0.0},
    ):
        with pytest.raises(ConfigError):
            gan_optimality.validate(Config(**wrong))


def test_the_command(tmp_path):
    out = tmp_path / "run"
    argv = [
        "--arm",
        "ring",
        "--num_seeds",
        "2",
        "--num_steps",
        "40",
        "--log_every",
        "20",
        "--hidden",
        "8",
    ]
    assert main(EXPERIMENT, [*argv, "--out", str(out), "--progress", "quiet"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["metrics"]["gap"]["mean"] > 0
    assert {row["metric"] for row in summary["reference"]} == {"value", "gap"}
    assert (out / "figures" / "logit_ring.png").exists()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40]


def test_the_figure_on_the_line():
    inputs = inputs_of(EXPERIMENT, Config(arm=("mixture_1d",)))
    grid = inputs.arrays["mixture_1d"]
    logits = np.tile(np.asarray(gan.optimal_logits(grid.log_p, grid.log_q)), (2, 1))
    found = gan_optimality.plots(
        [ArmResult("mixture_1d", Config(arm=("mixture_1d",)), {"logits": logits})], inputs
    )
    optimal, *_, network = found["logit_mixture_1d"][0].axes[0].get_lines()
    np.testing.assert_allclose(optimal.get_ydata(), network.get_ydata(), atol=1e-6)
    assert np.abs(network.get_ydata()).max() == 8
