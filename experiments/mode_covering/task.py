"""Descent of a divergence on a grid, and where its global minimum is."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import plotting, training
from dgm_jax.core import (
    Aux,
    Model,
    Player,
    Task,
    lookup,
    normal,
    require,
    require_positive,
    uniform,
)
from dgm_jax.densities import gaussian, mixture
from dgm_jax.experiments.mode_covering import Config
from dgm_jax.objectives import divergences
from dgm_jax.run import Inputs

SCALE = 0.5  # of both modes
# of the grid: the midpoint rule is exact to rounding for a Gaussian of twice that scale and more
SPACING = 0.05

_NUMBER = re.compile(r"(?=.*[0-9])[0-9]{0,9}\.?[0-9]{0,9}")

DIVERGENCES = {
    "kl": divergences.kl_on_grid,
    "reverse_kl": lambda log_p, log_q, spacing: divergences.kl_on_grid(log_q, log_p, spacing),
    "js": divergences.js_on_grid,
}

MINIMA = (
    "global minimum by quadrature and scipy.optimize (KL: moments of p), +- half a unit of the last"
    " digit"
)
# arm -> |mu|, sigma and value at the global minimum, with half a unit of the last digit
GLOBAL = {
    "kl_2": ((0.0, 5e-4), (2.0616, 5e-5), (0.72355, 5e-6)),
    "reverse_kl_2": ((1.9998, 5e-5), (0.5004, 5e-5), (0.69305, 5e-6)),
    "js_2": ((0.0, 5e-4), (2.0424, 5e-5), (0.20096, 5e-6)),
    "kl_3": ((0.0, 5e-4), (3.0414, 5e-5), (1.11231, 5e-6)),
    "reverse_kl_3": ((3.0000, 5e-5), (0.5000, 5e-5), (0.69315, 5e-6)),
    "js_3": ((3.0000, 5e-5), (0.5000, 5e-5), (0.21576, 5e-6)),
}


def parse(arm: str) -> tuple[str, float]:
    """The divergence and the half-separation of an arm."""
    name, _, distance = arm.rpartition("_")
    lookup(DIVERGENCES, name, "divergence (arms are DIVERGENCE_D, such as js_2.5)")
    half = float(distance) if _NUMBER.fullmatch(distance) else math.nan
    require(
        0 < half <= 20,
        f"arm {arm!r} must end in half the distance of the modes, in (0, 20], got {distance!r}",
    )
    return name, half


def validate(config: Config) -> None:
    """Arms that name a divergence and a distance."""
    for arm in config.arm:
        parse(arm)
    require_positive(config, "learning_rate")


def grid(half: float) -> jax.Array:
    """[G], far enough on both sides for p and for the widest q."""
    reach = math.ceil((6 + 5 * half) / SPACING)
    return SPACING * jnp.arange(-reach, reach + 1)


def log_p(x, half: float):
    """log density of the two modes; [G] -> [G]."""
    return mixture.log_prob(
        x[:, None], jnp.log(jnp.full(2, 0.5)), jnp.array([[-half], [half]]), SCALE
    )


def divergence(arm: str, loc, scale):
    """The arm's divergence between p and N(loc, scale^2), in nats."""
    name, half = parse(arm)
    x = grid(half)
    return DIVERGENCES[name](log_p(x, half), gaussian.log_prob(x, loc, scale), SPACING)


def load(settings, needed) -> Inputs:
    """Nothing: the density is known."""
    return Inputs({}, {"name": f"two Gaussians of scale {SCALE} in one dimension, known density"})


def _value(arm: str, params):
    own = params["gaussian"]
    return divergence(arm, own["loc"], jnp.exp(own["log_scale"]))


def model(config: Config, hyper, dataset) -> Model:
    """A Gaussian that is fitted by the arm's divergence; samples are [num_samples]."""
    arm = config.arm[0]
    half = parse(arm)[1]

    def init(key):
        key_loc, key_scale = jax.random.split(key)
        loc = uniform(key_loc, (), minval=-1.5 * half, maxval=1.5 * half)
        log_scale = uniform(key_scale, (), minval=math.log(SCALE), maxval=math.log(2 * half))
        return {"gaussian": {"loc": loc, "log_scale": log_scale}}, {}

    def loss(params, state, batch, key):
        return _value(arm, params), Aux(state, {})

    def sample(params, state, key, num_samples):
        own = params["gaussian"]
        return own["loc"] + jnp.exp(own["log_scale"]) * normal(key, (num_samples,))

    return Model(init, {"fit": Player(("gaussian",), loss)}, sample)


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed: a Gaussian descends a divergence from where it happens to start."""
    arm, game = config.arm[0], model(config, hyper, inputs.identity)

    def evaluate(train_state, arrays, key):
        own = train_state.params["gaussian"]
        return {
            "mu": own["loc"],
            "sigma": jnp.exp(own["log_scale"]),
            "value": _value(arm, train_state.params),
        }

    optimizers = {
        "fit": optax.adam(
            training.learning_rate("cosine", hyper["learning_rate"], config.num_steps)
        )
    }
    algorithm = functools.partial(training.simultaneous, game.players, optimizers)
    return Task(game.init, lambda arrays, data_key, index: {}, algorithm, evaluate)


def finalise(arrays, config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """Every seed's fit, and the best of them."""
    mu, sigma, value = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma", "value"))
    best = int(np.argmin(value))
    own = {"mu": mu, "abs_mu": np.abs(mu), "sigma": sigma, "value": value}
    return own | {
        **{
            f"global_{name}": np.full(mu.shape, own[name][best])
            for name in ("abs_mu", "sigma", "value")
        },
        "reaches_global": (value < value[best] + 1e-3).astype(np.float64),
        "covers": (np.abs(mu) < parse(config.arm[0])[1] / 2).astype(np.float64),
    }


def references(config: Config) -> list[dict]:
    """The global minimum of this arm."""
    names = ("global_abs_mu", "global_sigma", "global_value")
    published = GLOBAL.get(config.arm[0])
    rows = zip(names, published, strict=True) if published else ()
    return [
        {"metric": name, "published": v, "spread": s, "source": MINIMA} for name, (v, s) in rows
    ]


def figures(results, inputs: Inputs) -> dict:
    """For each separation, p and the best fit of every divergence."""
    found = {}
    for half in sorted({parse(result.config.arm[0])[1] for result in results}):
        x = np.arange(-3 * half, 3 * half, SPACING)
        curves = {"p": np.exp(log_p(jnp.asarray(x), half))}
        for result in results:
            if parse(result.config.arm[0])[1] == half:
                best = np.argmin(result.arrays["value"])
                loc, scale = result.arrays["mu"][best], result.arrays["sigma"][best]
                curves[f"q of {result.name}"] = np.exp(
                    gaussian.log_prob(jnp.asarray(x), loc, scale)
                )
        figure = plotting.lines(
            x, curves, title=f"half-separation {half:g}", xlabel="x", ylabel="density"
        )
        caption = (
            f"Two modes at +-{half:g}, and the best Gaussian of each divergence over all seeds."
        )
        found[f"fits_{half:g}"] = (figure, caption)
    return found
