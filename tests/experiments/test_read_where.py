"""What experiments say about which settings are read (`Experiment.read_where`), against the
programs that are made of them: a setting is read where another value gives another program."""

import dataclasses
import fnmatch
import functools
import hashlib
import typing

import jax
import pytest
from experiment_parts import inputs_of

from dgm_jax import training
from dgm_jax.core import SOLO
from dgm_jax.run import catalogue
from dgm_jax.run.settings import OPTIMIZER_READ_WHERE, OptimizerConfig, StudyConfig, names_of

EXPERIMENTS = {name: entry.load() for name, entry in catalogue.experiments().items()}
SMALL = {
    "avb_four_points": {"critic_width": 8},
    "avb_images": {"hidden": (16,), "num_ais": 2, "ais_steps": 2, "num_chains": 2},
    "elbo_surgery": {"hidden": (16,), "num_surgery": 50},
    "gan_images": {"features": 4, "num_eval": 20},
    "gradient_estimators": {"batch_size": 20, "temperature": (1.0, 0.5)},
    "gumbel_vae_images": {"num_eval": 10, "num_importance": 20},
    "text_to_image": {"num_codes": 8, "width": 4, "prior_width": 8, "num_prompts": 10},
    "vae_priors": {"hidden": (16,), "num_importance": 20, "num_eval": 4, "num_ais": 2}
    | {"ais_steps": 2, "num_chains": 2, "num_surgery": 20, "num_components": 4},
    "vqvae_images": {"num_codes": 8, "code_width": 8, "width": 4, "prior_width": 8},
}


def small(name, **changes):
    """A cell of an experiment: its first arm, unless the changes say otherwise."""
    experiment = EXPERIMENTS[name]
    config = experiment.config(**SMALL.get(name, {}))
    field = experiment.arm_field
    if field:
        config = dataclasses.replace(config, **{field: getattr(config, field)[:1]})
    data = {"data": "digits"} if "data" in names_of(config) else {}
    return dataclasses.replace(config, **(data | {"num_steps": 40} | changes))


@functools.cache
def _inputs(name, config):
    return inputs_of(EXPERIMENTS[name], config)


@functools.cache
def programs(name, config) -> tuple[str, ...]:
    """The first state, steps and evaluations of a cell, lowered. Its inputs are those of another
    cell where it differs in no setting that `load` reads."""
    experiment = EXPERIMENTS[name]
    seen = {field: getattr(config, field) for field in experiment.data_settings}
    inputs = _inputs(name, small(name, **seen))
    view, hyper = experiment.build_view(config)
    program = training.lane_program(lambda lane: experiment.functions.build(view, hyper, inputs))
    lane = jax.eval_shape(lambda key: program.init(key, {}), jax.random.key(0))
    lowered = [jax.jit(lambda key: program.init(key, {})).lower(jax.random.key(0))]
    lowered += [
        jax.jit(function).lower(lane, inputs.arrays)
        for function in (
            lambda lane, data: program.advance(lane, data, 2, SOLO),
            program.evaluate,
            program.evaluate_final,
        )
    ]
    return tuple(hashlib.sha256(each.as_text().encode()).hexdigest() for each in lowered)


def another(name, setting):
    """Another value, of which the programs do not come out equal by chance."""
    experiment = EXPERIMENTS[name]
    value, hint = getattr(small(name), setting), typing.get_type_hints(experiment.config)[setting]
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in typing.get_args(hint) if choice not in (value, ""))
    if isinstance(value, tuple):
        return (2 * value[0], *value[1:]) if value else (8,)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):  # a normalisation
        return "layer"
    if value is None:  # of the protocol or the method
        return 0.25 if float in typing.get_args(hint) else 20
    if value == 0:
        return 0.25 if hint is float else 20
    return value / 2 if isinstance(value, float) else 2 * value


def cells(name, setting):
    """Cells that read a setting and cells that do not, by what is declared."""
    (other, patterns), *more = EXPERIMENTS[name].read_where[setting].items()
    assert not more
    hint = typing.get_type_hints(EXPERIMENTS[name].config)[other]
    plain = typing.get_origin(hint) is not tuple
    choices = typing.get_args(hint if plain else typing.get_args(hint)[0])
    for choice in choices:
        reads = any(fnmatch.fnmatchcase(choice, pattern) for pattern in patterns)
        yield reads, {other: choice if plain else (choice,)}


# A factor on a loss that is 0 for this quantizer: it is in the program, and adds nothing.
TIMES_ZERO = ("vqvae_images", "commitment_weight", False)
# What the machine has no file for; what `load` reads before there is a program.
NOT_BUILT = {"inception_weights", "classifier"}
DECLARED = [
    (name, setting, reads, cell)
    for name, experiment in EXPERIMENTS.items()
    for setting in experiment.read_where
    if setting not in NOT_BUILT
    if setting not in OPTIMIZER_READ_WHERE or name in ("gumbel_vae_images", "mode_covering")
    for reads, cell in cells(name, setting)
    if (name, setting, reads) != TIMES_ZERO
]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_patterns_match_what_is_offered(name):
    """A pattern that matches nothing is a name that was misspelt or is gone."""
    for where in EXPERIMENTS[name].read_where.values():
        for other, patterns in where.items():
            hint = typing.get_type_hints(EXPERIMENTS[name].config)[other]
            offered = typing.get_args(hint)
            if typing.get_origin(hint) is tuple:
                offered = typing.get_args(offered[0])
            for pattern in patterns:
                assert fnmatch.filter(map(str, offered), pattern), (other, pattern)


def is_read(name, setting, cell) -> bool:
    """Whether some program of a cell is another one for another value of the setting."""
    first = small(name, **cell)
    second = dataclasses.replace(first, **{setting: another(name, setting)})
    return programs(name, first) != programs(name, second)


QUICK = [("gan_ring", "noise_scale"), ("avb_four_points", "critic_width")]


@pytest.mark.parametrize(
    ("name", "setting", "reads", "cell"),
    [
        case
        for case in DECLARED
        if case[:2] in QUICK and {*case[3].values()} & {("vanilla",), ("instance_noise",), ("vae",)}
    ],
)
def test_a_setting_is_read_where_it_is_said(name, setting, reads, cell):
    assert is_read(name, setting, cell) == reads


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting", "reads", "cell"), DECLARED)
def test_every_setting_is_read_where_it_is_said(name, setting, reads, cell):
    assert is_read(name, setting, cell) == reads


# What acts on the host (a table's column), and what decides how there are data.
ELSEWHERE = {"budget", "data", "binarization", "protocol", "side", "feature_extractor"}
# Where this one is read all others of the optimizer are (`run.optimizer_of`).
ONE_OF_THE_OPTIMIZER = {"clip_norm"}


def _undeclared(name):
    experiment = EXPERIMENTS[name]
    shared = {*names_of(StudyConfig), *names_of(OptimizerConfig)} - ONE_OF_THE_OPTIMIZER
    hidden = {*shared, *experiment.read_where, experiment.arm_field, *ELSEWHERE}
    return [s for s in names_of(experiment.config) if s not in hidden | NOT_BUILT]


def _arms(name):
    """The first and the last of the default arms."""
    experiment = EXPERIMENTS[name]
    field = experiment.arm_field
    if not field:
        return [{}]
    arms = getattr(experiment.config(), field)
    return [{field: (arm,)} for arm in dict.fromkeys((arms[0], arms[-1]))]


# Refused, or the arm's own.
NEVER = {("elbo_surgery", "latent_size")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "setting", "arm"),
    [
        (name, setting, arm)
        for name in EXPERIMENTS
        for setting in _undeclared(name)
        for arm in _arms(name)
        if (name, setting) not in NEVER
    ],
)
def test_every_arm_reads_what_is_not_declared(name, setting, arm):
    assert is_read(name, setting, arm)
