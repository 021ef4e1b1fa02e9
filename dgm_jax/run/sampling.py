"""`dgm-jax sample`: samples of a run's model, as a picture or as arrays.

Flags are parsed, and wrong ones refused, before JAX is imported.
"""

import dataclasses
import io
import pathlib
from typing import TYPE_CHECKING, Literal

from dgm_jax.run.answers import answered
from dgm_jax.terminal import signals

if TYPE_CHECKING:
    import numpy as np

    from dgm_jax.run.loading import Trained

FORMATS = (".png", ".npz")
# Samples of each seed; the last number is for images of several seeds.
POINTS = 2_500
IMAGES = 64
IMAGES_IN_ALL = 16


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """Draws samples of the model that a run has trained: of a finished run, or of the newest
    checkpoint of an unfinished one. The data set is not needed."""

    arm: str | None = None
    """Name of the arm; needed if the run has several."""
    seed: int | None = None
    """Which seed, from 0; by default all of them."""
    num: int | None = None
    """Samples of each seed; by default 64 images of one seed, 16 of several, or 2,500 points."""
    text: str | None = None
    """What the images should show, such as "a dark wide pullover", if the run used captions."""
    experiment: str | None = None
    """The run's experiment if `dgm-jax list` does not have it: ./FILE.py or PACKAGE.MODULE."""
    out: str = "samples.png"
    """File to write, replacing an existing one: NAME.png for a picture, NAME.npz for arrays."""
    which: Literal["last", "best"] = "last"
    """The model after the last step, or the best of a run with --keep_best."""
    key: int = 0
    """Root of the noise; seed i of the run uses fold_in(key, i)."""


def sample(folder: str, settings: SampleConfig) -> int:
    """Draws samples of the model of a run.

    Args:
        folder: of the run.
        settings: the flags.

    Returns:
        The exit code.
    """
    return answered(lambda: _sample(folder, settings))


def _sample(folder: str, settings: SampleConfig) -> str:
    """Writes the samples; returns a sentence about them."""
    with signals.importing():
        from dgm_jax.core import require, require_at_least
        from dgm_jax.run import memory
        from dgm_jax.run.loading import load
        from dgm_jax.run.recorded import given

    out = pathlib.Path(settings.out)
    require(out.suffix in FORMATS, f"out must end in .png or .npz, got {settings.out!r}")
    require(out.parent.is_dir(), f"out: there is no folder {out.parent}")
    num = settings.num
    is_valid = num is None or 1 <= num < 2**31
    require(is_valid, f"num must be at least 1 and less than 2**31, got {num}")
    require_at_least(0, settings, "key")
    require(settings.key < 2**32, f"key must be less than 2**32, got {settings.key}")
    experiment = given(settings.experiment)
    trained = load(folder, settings.arm, settings.seed, which=settings.which, experiment=experiment)
    with memory.exhaustion_told("lower --num"):
        seeds, samples = draw(trained, settings)
    name = trained.experiment.name
    title = name if trained.arm == name else f"{name}, {trained.arm}"
    _write(out, samples, seeds, trained, title)
    if len(seeds) == 1:
        shown = f"seed {seeds[0]}"
    else:
        shown = f"each of {len(seeds)} seeds"
    num_samples = samples.shape[1]
    steps = _steps_text(trained.step)
    text = "" if settings.text is None else f", {settings.text!r}"
    return f"{out}: {num_samples} samples of {shown} of {title}, after {steps} steps{text}"


def _steps_text(step) -> str:
    """For example `300`, or `200 to 300` of models of several steps; None counts as 0."""
    steps = step if isinstance(step, list) else [step]
    numbers = [number or 0 for number in steps]
    least = min(numbers)
    most = max(numbers)
    if least == most:
        return str(least)
    return f"{least} to {most}"


def draw(trained: "Trained", settings: SampleConfig) -> "tuple[list[int], np.ndarray]":
    """Draws samples, sharing the device among lanes as a run would.

    Args:
        trained: the model.
        settings: the flags.

    Returns:
        The seeds, and their samples [S, N, ...].

    Raises:
        ConfigError: a text was given, and the experiment makes no samples from texts.
    """
    import jax

    from dgm_jax import parallel
    from dgm_jax.core import ConfigError, on_host

    options = {}
    if settings.text is not None:
        prompt = trained.experiment.functions.prompt
        if prompt is None:
            name = trained.experiment.name
            raise ConfigError(f"{name} makes no samples from texts: leave --text out")
        options = prompt(trained.config, trained.dataset, settings.text)
    params = trained.params
    state = trained.state
    if settings.seed is not None:
        add_axis = lambda x: x[None]
        params, state = jax.tree.map(add_axis, (params, state))
        seeds = [settings.seed]
    else:
        leaves = jax.tree.leaves((params, state))
        seeds = list(range(len(leaves[0])))
    root = jax.random.key(settings.key)
    fold_in = lambda i: jax.random.fold_in(root, i)
    indices = jax.numpy.array(seeds)
    keys = jax.vmap(fold_in)(indices)
    without_seeds = lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    one = jax.tree.map(without_seeds, params)
    strategy = parallel.choose_strategy("auto", one)

    def sample(num):
        def of(lane, _):
            params, state, key = lane
            return trained.model.sample(params, state, key, num, **options)

        return lambda lanes: parallel.over_seeds(of, strategy)(lanes, ())

    lanes = (params, state, keys)
    shape = jax.eval_shape(sample(1), lanes).shape
    are_images = len(shape) == 5
    num_images = IMAGES if len(seeds) == 1 else IMAGES_IN_ALL
    usual = num_images if are_images else POINTS
    num = settings.num or usual
    samples = jax.jit(sample(num))(lanes)
    return seeds, on_host(samples)


def _write(out: pathlib.Path, samples, seeds: list[int], trained: "Trained", title: str) -> None:
    import numpy as np

    from dgm_jax.report.samples import samples_figure
    from dgm_jax.store import records

    content = io.BytesIO()
    if out.suffix == ".npz":
        np.savez(content, samples=samples, seeds=np.array(seeds))
    else:
        figure = samples_figure(samples, trained.dataset, title)
        figure.savefig(content, format="png", metadata={"Software": None})
    records.write_atomically(out, content.getvalue())
