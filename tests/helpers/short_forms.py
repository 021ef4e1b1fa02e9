"""The short form of every experiment, as tools/short_forms.toml has them."""

import pathlib
import tomllib

from dgm_jax.run import catalogue, start
from dgm_jax.run.launch import Job
from dgm_jax.run.planning import untrained

ROOT = pathlib.Path(__file__).parents[2]
FORMS = tomllib.loads((ROOT / "tools" / "short_forms.toml").read_text("utf-8"))
NAMES = sorted(catalogue.experiments().keys() & FORMS["experiments"].keys())


def short_form(name, *more):
    """(experiment, groups of arms, data) with the smallest settings, nothing trained before."""
    experiment = catalogue.load_experiment(name)
    flags = f"{FORMS['common']} {FORMS['experiments'][name]}".replace(
        "--classifier {classifier}", ""
    )
    settings = start.parse(experiment, [*flags.split(), *more])
    return experiment, *untrained(Job(experiment, settings.study, settings.launch, {}))
