"""The ring of Gaussians, and what is published about it."""

import pathlib
from typing import Any

from dgm_jax import data
from dgm_jax.experiments._shared.toy_gan import task as toy_gan
from dgm_jax.experiments._shared.toy_gan.task import build, model, plots, snapshots, validate
from dgm_jax.experiments.gan_ring import Config
from dgm_jax.run import Inputs
from dgm_jax.run.settings import SettingsView

__all__ = ["build", "load", "model", "plots", "references", "snapshots", "validate"]

SANDLUND = (
    "brycesandlund/paired-discriminator, ring, vanilla, 5 seeds, +- sample standard deviation"
)
PACGAN = "Lin et al. 2018, PacGAN, table 1, ring, 10 trials, +- standard error"

# (protocol, method, steps) -> {metric: (published, spread)}
PUBLISHED = {
    ("sandlund", "vanilla", 10_000): {
        "modes": (7.60, 0.89),
        "valid": (0.849, 0.012),
        "mode_tv": (0.226, 0.072),
    },
    ("sandlund", "vanilla", 50_000): {
        "modes": (6.80, 0.84),
        "valid": (0.927, 0.016),
        "mode_tv": (0.183, 0.074),
    },
    ("pacgan", "vanilla", 400_000): {
        "modes_any_hit": (6.3, 0.5),
        "valid": (0.982, 0.002),
        "reverse_kl": (0.45, 0.09),
    },
    ("pacgan", "packed2", 400_000): {
        "modes_any_hit": (7.9, 0.1),
        "valid": (0.956, 0.020),
        "reverse_kl": (0.07, 0.03),
    },
    ("pacgan", "packed3", 400_000): {
        "modes_any_hit": (7.8, 0.1),
        "valid": (0.977, 0.003),
        "reverse_kl": (0.10, 0.02),
    },
    ("pacgan", "packed4", 400_000): {
        "modes_any_hit": (7.8, 0.1),
        "valid": (0.959, 0.014),
        "reverse_kl": (0.07, 0.02),
    },
}


def load(settings: SettingsView, needed: tuple[pathlib.Path | None, ...]) -> Inputs:
    """Make the ring with radius 2 and sigma .1, or with PacGAN's radius 1 and sigma .01.

    Args:
        settings: the settings that concern the data.
        needed: folders of the runs of `needs`.

    Returns:
        Arrays, identity and context of the run.
    """
    options = (
        {"radius": 1.0, "scale": 0.01}
        if settings.protocol == "pacgan"
        else {"radius": 2.0, "scale": 0.1}
    )
    return toy_gan.inputs_of(data.load("ring", num_modes=8, **options))


def references(config: Config) -> list[dict[str, Any]]:
    """The published values of this method, at this number of steps.

    Args:
        config: the settings.

    Returns:
        Rows with metric, published value, spread and source.
    """
    rows = PUBLISHED.get((config.protocol, config.method[0], config.num_steps), {})
    source = PACGAN if config.protocol == "pacgan" else SANDLUND
    return [
        {"metric": k, "published": v, "spread": s, "source": source} for k, (v, s) in rows.items()
    ]
