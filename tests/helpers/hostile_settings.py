"""Command lines with one wrong setting, for every experiment: what it is, and why no run could have
it.

A mutation is made to be illegal for the reason that it states, whatever the package says to it.
"""

import dataclasses
import random
import types
import typing
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dgm_jax.run import catalogue
from dgm_jax.run.experiment import Experiment
from dgm_jax.run.settings import LaunchConfig, StudyConfig

# So that a mutation that is taken for legal costs little.
SHORT = "--num_seeds 1 --num_steps 1 --log_every 1 --progress quiet".split()
COMMON = [field.name for field in dataclasses.fields(StudyConfig)]
# Sizes and counts of which a run needs at least one, wherever they occur.
AT_LEAST_ONE = """num_seeds num_steps log_every batch_size num_codes code_width width features side
    num_importance num_chains ais_steps noise_size num_critic_updates critic_width num_variables
    prior_width prior_layers num_prompts num_components num_samples num_kernels num_ais""".split()
MAY_BE_NEGATIVE = {"target"}
NO_NUMBERS = (
    "abc",
    "",
    "1,5",
    "0..1",
    "½",
    "²",
    "Ⅷ",
    "--",
    "1e",
    "0x1p",
    "none",
    "1 2",
    "\n",
    "9" * 20 + "?",
)
NO_INTEGERS = *NO_NUMBERS, "1.5", "1e3", "nan", "inf", "0x10", "9" * 5_000
NO_FLOATS_OF_A_RUN = "nan", "inf", "-inf", "1e400", "-1e999", "NaN", "Infinity"


class Mutation(NamedTuple):
    """A command line, the setting that is wrong in it, and why no run could have it."""

    command: str
    name: str
    flags: tuple[str, ...]
    setting: str
    reason: str

    @property
    def words(self) -> list[str]:
        """As `cli.main` takes them."""
        return [self.command, self.name, *self.flags]

    def __str__(self):
        shown = " ".join(
            repr(word) if len(word) < 80 else f"{word[:20]!r}..." for word in self.words
        )
        return f"{shown}: {self.setting}, {self.reason}"


def mutations(count: int, seed: int) -> list[Mutation]:
    """So many, spread evenly over the experiments and then over the kinds; the same for a seed."""
    rng = random.Random(f"settings {seed}")
    experiments = {name: entry.load() for name, entry in catalogue.experiments().items()}
    streams = [_of(experiment, experiments, rng) for experiment in experiments.values()]
    found, seen = [], set()
    while len(found) < count:
        for stream in streams:
            mutation = next(stream)
            if mutation not in seen:
                found.append(mutation)
                seen.add(mutation)
    return sorted(found[:count])


def _of(experiment: Experiment, others: dict[str, Experiment], rng) -> Iterator[Mutation]:
    """Mutations of one experiment without end, a kind after the other."""
    kinds: list[Callable] = [
        _wrong_type,
        _out_of_range,
        _misspelt_name,
        _wrong_choice,
        _too_large,
        _wrong_cell,
        _of_another,
        _of_the_launch,
        _wrong_list,
        _without_effect,
        _no_value,
        _switch,
    ]
    while True:
        rng.shuffle(kinds)
        for kind in kinds:
            made = kind(experiment, others, rng)
            if made is not None:
                yield made


def hints(experiment: Experiment) -> dict[str, typing.Any]:
    return typing.get_type_hints(experiment.config)


def _plain(hint):
    """The type of a setting that may be left out, or of the items of one that is a list."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        return next(a for a in typing.get_args(hint) if a not in (type(None), ...))
    return hint


def _named(experiment, kinds, rng) -> str | None:
    """Some setting of one of the types."""
    names = [name for name, hint in hints(experiment).items() if _plain(hint) in kinds]
    return rng.choice(names) if names else None


def _run(experiment, setting, reason, *values, command="run") -> Mutation:
    return _line(experiment, setting, reason, [f"--{setting}", *values], command)


def _line(experiment, setting, reason, words, command="run") -> Mutation:
    """The wrong words last, after those that keep a run short."""
    kept = [
        word
        for flag, value in zip(SHORT[::2], SHORT[1::2], strict=True)
        if flag != f"--{setting}"
        for word in (flag, value)
    ]
    return Mutation(command, experiment.name, (*kept, *words), setting, reason)


def _wrong_type(experiment, others, rng):
    name = _named(experiment, (int, float), rng)
    whole = _plain(hints(experiment)[name]) is int
    text = rng.choice(NO_INTEGERS if whole else NO_NUMBERS)
    reason = f"{text[:20]!r} is no {'integer' if whole else 'number'}"
    return _line(experiment, name, reason, [f"--{name}={text}"])


def _out_of_range(experiment, others, rng):
    name = _named(experiment, (int, float), rng)
    kind = _plain(hints(experiment)[name])
    if name in MAY_BE_NEGATIVE or kind is float and rng.random() < 0.5:
        if kind is float:
            text = rng.choice(NO_FLOATS_OF_A_RUN)
            return _line(experiment, name, f"{text} is not finite", [f"--{name}={text}"])
        return None
    if name in AT_LEAST_ONE and rng.random() < 0.4:
        return _run(experiment, name, "0 of what a run needs at least one", "0")
    text = rng.choice(["-1", "-7", "-1000000"] if kind is int else ["-0.5", "-1", "-1e-9"])
    return _line(experiment, name, f"{text} is negative", [f"--{name}={text}"])


def _misspelt_name(experiment, others, rng):
    known = {*hints(experiment), *typing.get_type_hints(LaunchConfig)}
    name = rng.choice([name for name in hints(experiment) if len(name) > 4])
    place = rng.randrange(1, len(name) - 2)
    wrong = rng.choice(
        [
            name[:place] + name[place + 1] + name[place] + name[place + 2 :],
            name[:place] + name[place + 1 :],
            name[:place] + name[place] + name[place:],
        ]
    )
    if wrong in known:  # also where two equal letters change places
        return None
    return _line(experiment, name, f"there is no setting {wrong}", [f"--{wrong}", "1"])


def _choices(hint):
    plain = _plain(hint)
    return typing.get_args(plain) if typing.get_origin(plain) is typing.Literal else ()


def _wrong_choice(experiment, others, rng):
    offered = {name: _choices(hint) for name, hint in hints(experiment).items() if _choices(hint)}
    if not offered:
        return None
    name = rng.choice(sorted(offered))
    right = rng.choice([choice for choice in offered[name] if choice])
    wrong = rng.choice(
        [right.upper(), right[:-1], f"{right} ", f"{right}\n", f"../{right}", "x" * 3_000]
    )
    if wrong in offered[name]:
        return None
    return _run(experiment, name, f"{wrong[:30]!r} is none of {len(offered[name])} choices", wrong)


def _too_large(experiment, others, rng):
    name = rng.choice(
        ["seed", "num_seeds", "num_steps", "log_every", _named(experiment, (int,), rng)]
    )
    if name == "seed":
        return _run(experiment, name, "a seed has 32 bits", str(2 ** rng.choice([32, 63, 100])))
    return _run(experiment, name, "counted in int32", str(2 ** rng.choice([31, 40, 63, 70])))


def _wrong_cell(experiment, others, rng):
    """--grid."""
    number = rng.choice([n for n, h in hints(experiment).items() if _plain(h) is int])
    own = [
        name
        for name, hint in hints(experiment).items()
        if name not in COMMON and _plain(hint) is float
    ]
    name = rng.choice(own) if own else None
    made = [
        (number + "x", f"{number}x=1,2", "there is no such setting"),
        ("grid", number, "a cell has no values"),
        ("seed", "seed=1,2", "it belongs to the run as a whole"),
        ("progress", "progress=quiet,lines", "it belongs to the launch"),
    ]
    if name:
        made += [
            (name, f"{name}=0.1,0.1", "one value twice"),
            (name, f"{name}=0.1,nan", "a value is not finite"),
            (name, f"{name}=0.1,", "the second value is empty"),
            (name, f"{name}=0.1;0.2", "a value is no number"),
            (name, f"{name}=", "no value at all"),
            (name, f"{name}=0.1,inf", "a value is not finite"),
        ]
    setting, cell, reason = rng.choice(made)
    return _line(experiment, setting, reason, ["--grid", cell], "ablate")


def _of_another(experiment, others, rng):
    own = {*hints(experiment), *typing.get_type_hints(LaunchConfig)}
    foreign = sorted({name for other in others.values() for name in hints(other)} - own)
    name = rng.choice(foreign)
    return _run(experiment, name, "a setting of other experiments", "1")


def _of_the_launch(experiment, others, rng):
    setting, value, reason = rng.choice(
        [
            ("devices", "tpu", "no layout"),
            ("strategy", "all", "no strategy"),
            ("convolutions", "cudnn", "no implementation"),
            ("progress", "fancy", "no display"),
            ("num_devices", "-1", "negative"),
            ("num_devices", "100000", "more than any machine has"),
            ("num_devices", "two", "no integer"),
            ("lanes_at_once", "-1", "negative"),
            ("microbatches", "0", "not even one"),
            ("keep_best", "error:least", "neither min nor max"),
            ("keep_best", ":max", "no metric"),
        ]
    )
    return _line(experiment, setting, reason, [f"--{setting}={value}"])


def _wrong_list(experiment, others, rng):
    """Arms, and other lists."""
    field = experiment.arm_field
    if field and rng.random() < 0.7:
        first = str(getattr(experiment.config(), field)[0])
        values, reason = rng.choice([((), "no arm"), ((first, first), "an arm twice")])
        return _run(experiment, field, reason, *values)
    lists = [
        n
        for n, h in hints(experiment).items()
        if typing.get_origin(h) is tuple and _plain(h) in (int, float)
    ]
    if not lists:
        return None
    name = rng.choice(lists)
    return _run(experiment, name, "an item is no number", "1", rng.choice(["x", "1,2", "(3)"]))


def _without_effect(experiment, others, rng):
    """Where no arm reads a setting; of those that say so."""
    cells = {
        "gan_ring": [("noise_scale", ["--method", "vanilla", "r1", "--noise_scale", "0.3"])],
        "gan_grid": [("penalty_weight", ["--method", "packed2", "--penalty_weight", "2"])],
        "gan_images": [("penalty_weight", ["--penalty_weight", "3"])],
        "vqvae_images": [
            ("cosine", ["--cosine"]),
            ("levels", ["--levels", "4", "4"]),
            ("num_levels", ["--num_levels", "3"]),
            ("decay", ["--quantizer", "codebook_loss", "--decay", "0.5"]),
        ],
        "vae_priors": [("num_components", ["--prior", "standard_normal", "--num_components", "9"])],
        "elbo_surgery": [("hidden", ["--network", "convolutional", "--hidden", "9"])],
        "avb_images": [("critic_rate", ["--model", "vae", "--critic_rate", "0.1"])],
        "avb_four_points": [("critic_width", ["--model", "vae", "--critic_width", "8"])],
        "avb_posteriors": [("critic_width", ["--arm", "torus/full_rank", "--critic_width", "8"])],
        "gradient_estimators": [
            ("temperature", ["--estimator", "exact", "nvil", "--temperature", "0.3"])
        ],
    }
    if experiment.name not in cells:
        return None
    setting, words = rng.choice(cells[experiment.name])
    return _line(experiment, setting, "no arm reads it", words)


def _no_value(experiment, others, rng):
    name = _named(experiment, (int, float), rng)
    if typing.get_origin(hints(experiment)[name]) is tuple:  # an empty list may be right
        return None
    return _run(experiment, name, "it has no value")


def _switch(experiment, others, rng):
    name = _named(experiment, (bool,), rng)
    name = "resume" if name is None or rng.random() < 0.3 else name
    value = rng.choice(["yes", "True", "0", "off"])
    return _run(experiment, name, "a switch takes no value", value)
