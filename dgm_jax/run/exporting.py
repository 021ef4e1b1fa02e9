"""`dgm-jax export`: a trained model as files that can be used without this library.

    model.safetensors   parameters and state of one seed, and model.json, which describes them
    sample.stablehlo    the sampler, as `jax.export` serializes it for one or several platforms
    README.md           a model card: data, settings, results with their intervals, licence

The sampler takes the arrays of the file by their names and the data of a key:

    import jax, pathlib, safetensors.numpy
    from jax import export

    program = export.deserialize(bytearray(pathlib.Path("sample.stablehlo").read_bytes()))
    arrays = safetensors.numpy.load_file("model.safetensors")
    samples = program.call(arrays, jax.random.key_data(jax.random.key(0)))

Flags are parsed, and wrong ones refused, before JAX is imported.
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any, Literal

from dgm_jax.run.answers import answered
from dgm_jax.terminal import signals

if TYPE_CHECKING:
    from dgm_jax.run.loading import Trained

PLATFORMS = ("cpu", "cuda", "tpu")
MODEL = "model"
PROGRAM = "sample.stablehlo"
CARD = "README.md"


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Writes a trained model of a run as files that work without this library: its arrays, its
    sampler as a portable program, and a model card."""

    arm: str | None = None
    """Name of the arm; needed if the run has several."""
    seed: int = 0
    """Which seed, from 0."""
    which: Literal["last", "best"] = "last"
    """The model after the last step, or the best of a run with --keep_best."""
    num: int = 16
    """Samples that one call of the program draws."""
    platforms: tuple[Literal["cpu", "cuda", "tpu"], ...] = PLATFORMS
    """Platforms that the program is compiled for."""
    experiment: str | None = None
    """The run's experiment if `dgm-jax list` does not have it: ./FILE.py or PACKAGE.MODULE."""
    out: str = "exported"
    """Folder for the files; it must be new or empty."""
    license: str = "other"
    """Licence of the trained model, for its card; the licence of the data may bind you, too."""


def export(folder: str, settings: ExportConfig) -> int:
    """Exports the model of a run.

    Args:
        folder: of the run.
        settings: the flags.

    Returns:
        The exit code.
    """
    return answered(lambda: _export(folder, settings))


def _export(folder: str, settings: ExportConfig) -> str:
    """Writes the files; returns a sentence about them."""
    with signals.importing():
        from dgm_jax.core import require
        from dgm_jax.run.loading import load
        from dgm_jax.run.model_card import model_card
        from dgm_jax.run.recorded import given
        from dgm_jax.store import environment, records, weights

    out = pathlib.Path(settings.out)
    require(settings.num >= 1, f"num must be at least 1, got {settings.num}")
    require(bool(settings.platforms), f"platforms must name one of {', '.join(PLATFORMS)} at least")
    require(
        not out.exists() or out.is_dir() and not any(out.iterdir()),
        f"out must be a new or an empty folder, and {out} is neither",
    )
    experiment = given(settings.experiment)
    trained = load(folder, settings.arm, settings.seed, which=settings.which, experiment=experiment)
    tree = {"params": trained.params, "state": trained.state}
    program, about = _program(trained, tree, settings)
    about |= {"date": environment.utc_now(), "experiment": trained.experiment.name}
    about |= {"arm": trained.arm, "seed": settings.seed, "step": trained.step}
    out.mkdir(parents=True, exist_ok=True)
    weights.write_weights(out, MODEL, tree, about)
    records.write_atomically(out / PROGRAM, program)
    records.write_atomically(out / CARD, model_card(folder, trained, about, settings.license))
    where = ", ".join(settings.platforms)
    return (
        f"{out}: {MODEL}.safetensors, {PROGRAM} for {where} ({settings.num} samples a call) and"
        f" {CARD}, of seed {settings.seed} of {trained.arm} after {trained.step} steps"
    )


def _program(trained: "Trained", tree, settings: ExportConfig) -> tuple[bytes, dict[str, Any]]:
    """The serialized sampler, and its description: versions, platforms, inputs and output."""
    import jax
    import jax.export

    from dgm_jax.core import ConfigError
    from dgm_jax.native import use_convolutions
    from dgm_jax.store import weights

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    arrays = {name: weights.stored_shape(x) for name, x in weights.named_leaves(shapes).items()}
    key = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))

    def sample(arrays, key_data):
        model = weights.assembled(arrays, shapes)
        sampling_key = jax.random.wrap_key_data(key_data)
        return trained.model.sample(model["params"], model["state"], sampling_key, settings.num)

    # Custom calls of this library could not be run without it.
    with use_convolutions("lax"):
        exported = jax.export.export(jax.jit(sample), platforms=settings.platforms)(arrays, key)
    try:
        content = bytes(exported.serialize())
    except ImportError as error:
        raise ConfigError(
            f"the program cannot be serialized: {error}: pip install 'dgm_jax[export]'"
        ) from error
    [result] = exported.out_avals
    return content, {
        "jax": jax.__version__,
        "calling_convention_version": exported.calling_convention_version,
        "platforms": list(exported.platforms),
        "samples": weights.describe(result),
    }
