"""Densities of absurd sizes are refused before memory is used; NumPy's numbers are numbers."""

import tracemalloc

import jax
import numpy as np
import pytest

from dgm_jax import data
from dgm_jax.core import ConfigError
from dgm_jax.data import DENSITIES
from dgm_jax.data.mixtures2d import _modes, isotropic_mixture, require_separated

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ring", {"num_modes": 10**9}, "num_modes must be at most 4096, got 1000000000"),
        ("ring", {"num_modes": 2.0}, "num_modes must be an integer of at least 1; got 2.0"),
        ("ring", {"num_modes": True}, "num_modes must be an integer"),
        ("ring", {"scale": 0.0}, "scale must be positive, between 1e-09 and 1e.09, got 0"),
        ("ring", {"scale": NAN}, "scale must be a finite number"),
        ("ring", {"scale": -0.1}, "scale must be positive"),
        ("ring", {"scale": 1e-300}, "scale must be positive, between 1e-09"),
        ("ring", {"scale": None}, "scale must be a finite number"),
        ("ring", {"radius": INF, "num_modes": 1}, "radius must be a finite number"),
        ("ring", {"radius": NAN, "num_modes": 1}, "radius must be a finite number"),
        ("ring", {"radius": 10**400}, "radius must be a finite number"),
        ("grid", {"side": 10**6}, "side must be at most 64"),
        ("grid", {"spacing": NAN, "side": 1}, "spacing must be a finite number"),
        ("mixture", {"means": ((0.0, NAN),), "weights": (1.0,)}, "means must be finite"),
        ("mixture", {"weights": (INF, 1.0, 1.0, 1.0)}, "weights must be finite"),
        ("mixture", {"means": "text"}, "means must be numbers"),
        ("mixture", {"means": ((0, 0),) * 5000, "weights": (1,) * 5000}, "components must be at"),
        ("spiral", {"num_components": 10**9}, "num_components must be at most 4096"),
        ("spiral", {"arms": 100, "num_components": 100}, "arms . num_components must be at most"),
        ("spiral", {"turns": 1e8}, "turns must be positive, between 1e-09 and 1000"),
        ("two_spirals", {"radius": INF}, "radius must be a finite"),
        ("two_moons", {"num_components": 10**8}, "num_components must be at most 2048"),
        ("two_moons", {"num_components": 0}, "num_components must be an integer of at least 1"),
        ("circles", {"radii": (1.0, NAN)}, "each of radii must be a finite"),
        ("circles", {"radii": 3.0}, "radii must be several numbers"),
        ("circles", {"radii": (1.0,) * 10_000}, "the number of radii must be at most"),
        ("pinwheel", {"num_arms": 10**9}, "num_arms must be at most 4096"),
        ("pinwheel", {"twist": NAN}, "twist must be a finite"),
        ("pinwheel", {"radial_scale": INF}, "radial_scale must be a finite"),
        ("checkerboard", {"side": 10**6}, "side must be at most 1024"),
        ("checkerboard", {"width": NAN}, "width must be a finite"),
        ("banana", {"curvature": INF}, "curvature must be a finite"),
        ("rosenbrock", {"centre": NAN}, "centre must be a finite"),
        ("rosenbrock", {"b": 1e300}, "b must be a finite number of at most 1e.09"),
    ],
)
def test_absurd_numbers_are_refused_in_little_memory(name, options, message):
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=message):
            DENSITIES[name](**options)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_train": 10**12}, "num_train must be at most 67108864"),
        ({"num_test": 10**400}, "num_test must be at most"),
        ({"num_train": 2.0}, "num_train takes int, got 2.0"),
        ({"num_modes": "8"}, "num_modes takes int, got the text '8'"),
        ({"scale": True}, "scale takes float, got True"),
        ({"scale": [0.1]}, "scale takes float, got .0.1."),
        ({"seed": 2**40}, "seed must be at most 4294967295"),
    ],
)
def test_absurd_options_of_load(options, message):
    with pytest.raises(ConfigError, match=message):
        data.load("ring", **options)


def test_numpy_numbers_are_numbers():
    given = {"num_modes": np.int64(5), "scale": np.float64(0.05), "radius": np.int32(2)}
    plain = {key: value.item() for key, value in given.items()}
    sizes = {"num_train": np.uint16(30), "num_test": np.int8(20)}
    a, b = (
        data.load("ring", **given, **sizes),
        data.load("ring", **plain, num_train=30, num_test=20),
    )
    assert a.info == b.info and a.info.identity == b.info.identity
    np.testing.assert_array_equal(a.train["x"], b.train["x"])
    for name, options in (("grid", {"side": np.int16(3), "scale": np.float32(0.125)}),):
        key, x = jax.random.key(0), np.array([[0.1, 0.2]])
        one, two = (
            DENSITIES[name](**o) for o in (options, {k: v.item() for k, v in options.items()})
        )
        np.testing.assert_array_equal(one.sample(key, 5), two.sample(key, 5))
        np.testing.assert_array_equal(one.log_prob(x), two.log_prob(x))
    assert DENSITIES["circles"](radii=np.array([1.0, 3.0]), scale=np.asarray(0.5)).log_prob(x).shape


def test_the_largest_mixture_is_drawn_in_little_memory():
    """Compared with each of 4096 components, 100,000 draws would take 400 MB."""
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 1.5, 4096)
    means = np.stack(np.meshgrid(np.arange(64.0), np.arange(64.0)), -1).reshape(-1, 2)
    density = isotropic_mixture(means, weights, 0.01)
    x = np.asarray(density.sample(jax.random.key(0), 100_000))
    found = np.bincount((np.rint(x) @ [1, 64]).astype(int), minlength=4096)
    expected = 100_000 * weights / weights.sum()
    assert np.sum((found - expected) ** 2 / expected) < 4095 + 5 * np.sqrt(2 * 4095)


def test_both_ways_to_find_a_component_agree(monkeypatch):
    rng = np.random.default_rng(1)
    thresholds = np.sort(rng.uniform(size=40)).astype(np.float32)
    u = np.concatenate([rng.uniform(size=500).astype(np.float32), thresholds, [0.0]])
    right = [sum(t <= value for t in thresholds) for value in u]
    jnp_u, jnp_thresholds = jax.numpy.asarray(u), jax.numpy.asarray(thresholds)
    np.testing.assert_array_equal(_modes(jnp_u, jnp_thresholds), right)
    monkeypatch.setattr("dgm_jax.data.mixtures2d.COMPARED", 0)
    np.testing.assert_array_equal(_modes(jnp_u, jnp_thresholds), right)


def test_the_nearest_centres_are_those_of_all_pairs():
    means = np.random.default_rng(2).normal(size=(50, 2))
    pairs = np.linalg.norm(means[:, None] - means[None], axis=-1) + 9 * np.eye(50)
    with pytest.raises(ConfigError, match=f"nearest of 50 centres are {pairs.min():.4g} apart"):
        require_separated(means, pairs.min() / 6)
    assert require_separated(means, pairs.min() / 6.001) is None
