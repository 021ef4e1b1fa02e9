"""The table and the spectra of the Dirac-GAN: references/gan.md sections 3.5 and 4.9, through the
real engine."""

import json

import numpy as np
import pytest

from dgm_jax.core import ConfigError
from dgm_jax.experiments.dirac_gan import EXPERIMENT, Config
from dgm_jax.experiments.dirac_gan import task as dirac_gan
from dgm_jax.experiments.dirac_gan.steps import ARMS, GameRule, spectrum, trajectory
from dgm_jax.models import DIRAC_GAMES, DiracGame, dirac_spectrum
from dgm_jax.run import main

STEP = 0.2


def slope(t):
    return 1 / (1 + np.exp(t))


def half_consensus(t, p):
    f, r2 = slope(p * t), t**2 + p**2
    bend = -0.5 * r2 * f * f * slope(-p * t)
    return -p * f - t * f**2 - p * bend, t * f - p * f**2 - t * bend


# The notebook's vector fields in double precision, as a loop that shares nothing with the library.
FIELDS = {
    "gan": lambda t, p: (-p * slope(p * t), t * slope(p * t)),
    "non_saturating": lambda t, p: (-p * slope(-p * t), t * slope(p * t)),
    "wgan_clip": lambda t, p: (-p, t),
    "wgan_gp": lambda t, p: (-p, t - 0.7 * (abs(p) - 1) * np.sign(p)),
    "r1_0.3": lambda t, p: (-p * slope(p * t), t * slope(p * t) - 0.3 * p),
    "r1_1": lambda t, p: (-p * slope(p * t), t * slope(p * t) - p),
    "non_saturating_r1_0.3": lambda t, p: (-p * slope(-p * t), t * slope(p * t) - 0.3 * p),
    "half_consensus": half_consensus,
}


def simulated(arm):
    """float64[501, 2]: the path of the notebook."""
    bound = 1.0 if arm.game == "wgan_clip" else np.inf
    t, p = 1.0, 1.0
    path = [(t, p)]
    for _ in range(500):
        dt, dp = FIELDS[arm.game](t, p)
        t = t + STEP * dt
        if arm.dynamics == "alternating":
            _, dp = FIELDS[arm.game](t, p)
        p = np.clip(p + STEP * dp, -bound, bound)
        path.append((t, p))
    return np.array(path)


IN_THE_NOTEBOOK = [
    name for name, arm in ARMS.items() if arm.dynamics in ("simultaneous", "alternating")
]


@pytest.mark.parametrize("name", IN_THE_NOTEBOOK)
def test_the_engine_walks_the_notebooks_path(name):
    path = trajectory(ARMS[name], STEP, 500)
    expected = simulated(ARMS[name])
    size = np.hypot(*expected.T)[:, None]
    assert path.shape == (501, 2)
    np.testing.assert_allclose(path / size, expected / size, atol=1e-3)
    if name in dirac_gan.DISTANCES:
        published, half_unit = dirac_gan.DISTANCES[name]
        assert abs(np.hypot(*path[-1]) - published) <= half_unit


def test_the_table_has_all_published_rows():
    """Two digits as printed; the table holds a third one, recomputed."""
    printed = {
        "gan": (3.10, 1.421),
        "non_saturating": (0.640, 0.284),
        "wgan_clip": (1.002, 1.024),
        "wgan_gp": (1.80, 1.22),
        "r1_0.3": (2.6e-6, 2.3e-7),
        "r1_1": (9.5e-22, 7.5e-17),
        "non_saturating_r1_0.3": (2.2e-6, None),
        "half_consensus": (2.1e-10, None),
    }
    for name, (simultaneous, alternating) in printed.items():
        np.testing.assert_allclose(dirac_gan.DISTANCES[name][0], simultaneous, rtol=0.02)
        if alternating is not None:
            np.testing.assert_allclose(
                dirac_gan.DISTANCES[f"{name}_alternating"][0], alternating, rtol=0.02
            )


def test_consensus_of_the_paper_ends_elsewhere_than_the_notebooks_formula():
    """2.579e-10 against 2.081e-10: the gradient of ||v||^2 / 2 by hand, with the term that the
    notebook halves."""
    t, p = 1.0, 1.0
    for _ in range(500):
        f, r2 = slope(p * t), t**2 + p**2
        bend = -r2 * f * f * slope(-p * t)
        t, p = t + STEP * (-p * f - t * f**2 - p * bend), p + STEP * (t * f - p * f**2 - t * bend)
    np.testing.assert_allclose(
        np.hypot(*trajectory(ARMS["gan_consensus"], STEP, 500)[-1]), np.hypot(t, p), rtol=1e-3
    )


def assert_same(values, expected, atol=1e-6):
    """The same eigenvalues, whatever their order."""
    np.testing.assert_allclose(
        np.sort_complex(values), np.sort_complex(np.array(expected, complex)), atol=atol, rtol=0
    )


ROOT = 0.47696960070847283  # sqrt(1/4 - .15^2)
RATES = {
    "gan": (0.5j, -0.5j),
    "non_saturating": (0.5j, -0.5j),
    "r1_0.3": (-0.15 + ROOT * 1j, -0.15 - ROOT * 1j),
    "non_saturating_r1_0.3": (-0.15 + ROOT * 1j, -0.15 - ROOT * 1j),
    "r1_1": (-0.5, -0.5),
    "gan_consensus": (-0.25 + 0.5j, -0.25 - 0.5j),
    "half_consensus": (-0.25 + 0.5j, -0.25 - 0.5j),
}


@pytest.mark.parametrize("name", RATES)
def test_simultaneous_steps_have_the_eigenvalues_of_the_field(name):
    assert_same((spectrum(ARMS[name], STEP) - 1) / STEP, RATES[name])


def test_overdamped_r1(monkeypatch):
    monkeypatch.setitem(DIRAC_GAMES, "r1_2", DiracGame("minimax", "r1", 2.0))
    root = np.sqrt(0.75)
    assert_same(
        (spectrum(GameRule("r1_2", "simultaneous"), STEP) - 1) / STEP, (-1 + root, -1 - root)
    )


@pytest.mark.parametrize(
    ("name", "moduli"),
    [
        ("gan", (1.0049875621, 1.0049875621)),
        ("gan_alternating", (1.0, 1.0)),
        ("r1_0.3", (0.9746794345, 0.9746794345)),
        ("r1_1", (0.9, 0.9)),
        ("r1_0.3_alternating", (0.9695359715, 0.9695359715)),
        ("r1_1_alternating", (0.9270156212, 0.8629843788)),
    ],
)
def test_moduli_at_step_size_one_fifth(name, moduli):
    np.testing.assert_allclose(np.abs(spectrum(ARMS[name], STEP)), moduli, atol=1e-6, rtol=0)


@pytest.mark.parametrize("step_size", [0.2, 1.0, 4.2])
@pytest.mark.parametrize("updates", [(1, 1), (1, 5), (2, 3)])
def test_alternating_updates_stay_on_the_unit_circle_up_to_alpha_two(step_size, updates):
    """Mescheder et al. 2018, section 2: with alpha = sqrt(n_g n_d) h / 2, |lambda| = 1 exactly
    where alpha <= 2."""
    values = spectrum(GameRule("gan", "alternating"), step_size, updates)
    alpha = np.sqrt(updates[0] * updates[1]) * step_size / 2
    half_trace = 1 - alpha**2 / 2
    root = np.sqrt(complex(half_trace**2 - 1))
    assert_same(values, (half_trace + root, half_trace - root))
    np.testing.assert_array_equal(np.isclose(np.abs(values).max(), 1, atol=1e-6), alpha <= 2)


def test_a_large_step_diverges_even_in_turns():
    np.testing.assert_allclose(
        np.abs(spectrum(ARMS["gan_alternating"], 4.2)).max(), 1.877328, atol=1e-6
    )


@pytest.mark.parametrize("name", ARMS)
def test_every_spectrum_is_that_of_linear_algebra(name):
    game, values = DIRAC_GAMES[ARMS[name].game], spectrum(ARMS[name], 0.37)
    expected = dirac_spectrum(game, ARMS[name].dynamics, 0.37)
    assert np.isnan(expected).all() == (ARMS[name].game == "wgan_gp")
    if ARMS[name].game == "wgan_gp":
        assert np.isnan(values).all()
    else:
        assert_same(values, expected)


def test_a_path_shrinks_at_the_rate_of_its_spectrum():
    """Ten turns of the decaying spiral near the equilibrium, against the leading eigenvalue."""
    for name in ("r1_0.3", "r1_0.3_alternating", "gan_consensus", "half_consensus"):
        size = np.hypot(*trajectory(ARMS[name], STEP, 400).T)
        values = spectrum(ARMS[name], STEP)
        turn = 2 * np.pi / abs(np.angle(values[0]))
        late, early = 400, 400 - round(4 * turn)
        assert (
            abs((np.log(size[late] / size[early]) / (late - early)) - np.log(np.abs(values[0])))
            < 2e-3
        )


def test_the_command_prints_and_stores_the_table(tmp_path, capsys):
    arms = ["wgan_gp", "r1_1_alternating"]
    out = tmp_path / "run"
    code = main(EXPERIMENT, ["--arm", *arms, "--out", str(out), "--progress", "quiet"])
    assert code == 0
    summary = json.loads((out / "summary.json").read_text())
    rows = {row["metric"]: row for row in summary["reference"]}
    assert all(rows[f"{arm}/distance"]["within"] for arm in arms)
    assert [name for name, row in rows.items() if not row["within"]] == []
    assert summary["metrics"]["wgan_gp/spectral_radius"]["mean"] is None
    assert summary["metrics"]["r1_1_alternating/distance"]["mean"] < 1e-16
    assert "r1_1_alternating/distance" in capsys.readouterr().out
    assert (out / "figures" / "paths_simultaneous.png").exists()


def test_settings_that_no_run_could_use():
    with pytest.raises(ConfigError, match="gna.*gan"):
        dirac_gan.validate(Config(arm=("gna",)))
    with pytest.raises(ConfigError, match="step_size"):
        dirac_gan.validate(Config(step_size=0.0))
