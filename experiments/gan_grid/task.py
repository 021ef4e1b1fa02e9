"""The grid of Gaussians, and what is published about it."""

import pathlib
from typing import Any

from dgm_jax import data
from dgm_jax.core import require_at_least
from dgm_jax.experiments._shared.toy_gan import task as toy_gan
from dgm_jax.experiments._shared.toy_gan.task import build, model, plots, snapshots
from dgm_jax.experiments.gan_grid import Config
from dgm_jax.run import Inputs
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "references", "snapshots", "validate"]

PACGAN = "Lin et al. 2018, PacGAN, table 1, grid, 10 trials, +- standard error"

# method -> {metric: (published, spread)}, at 400,000 steps of the protocol `pacgan`
PUBLISHED = {
    "vanilla": {"modes_any_hit": (17.3, 0.8), "valid": (0.948, 0.007), "reverse_kl": (0.70, 0.07)},
    "packed2": {"modes_any_hit": (23.8, 0.7), "valid": (0.913, 0.008), "reverse_kl": (0.13, 0.04)},
    "packed3": {"modes_any_hit": (24.6, 0.4), "valid": (0.942, 0.004), "reverse_kl": (0.06, 0.02)},
    "packed4": {"modes_any_hit": (24.8, 0.2), "valid": (0.936, 0.006), "reverse_kl": (0.04, 0.01)},
}


def validate(config: Config) -> None:
    """Check names and sizes, and that the grid has at least two modes a side.

    Args:
        config: the settings.

    Raises:
        ConfigError: for settings that no run could use.
    """
    toy_gan.validate(config)
    require_at_least(2, config, "side")


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Make the grid with spacing 1.5 and sigma .1, or with PacGAN's spacing 2 and sigma .05.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    options = (
        {"spacing": 2.0, "scale": 0.05}
        if settings.protocol == "pacgan"
        else {"spacing": 1.5, "scale": 0.1}
    )
    return toy_gan.inputs_of(data.load("grid", side=settings.side, **options))


def references(config: Config) -> list[dict[str, Any]]:
    """PacGAN's values, for its protocol and number of steps.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    if (config.protocol, config.num_steps, config.side) != ("pacgan", 400_000, 5):
        return []
    rows = PUBLISHED.get(config.method[0], {})
    return [
        {"metric": k, "published": v, "spread": s, "source": PACGAN} for k, (v, s) in rows.items()
    ]
