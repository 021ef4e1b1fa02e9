"""Programs for GPU and TPU, lowered on whatever is at hand: steps of a VQ-VAE and a DCGAN over
seeds."""

import functools
import re

import jax
import jax.numpy as jnp
import optax
import pytest

from dgm_jax import core, native, parallel, quantization, training
from dgm_jax.core import Aux, ConfigError, Player, Task
from dgm_jax.models import gan
from dgm_jax.networks import (
    Discriminator,
    Generator,
    ResidualDecoder,
    ResidualEncoder,
    from_flax,
)
from dgm_jax.objectives.gan import LOSSES

NUM_LANES, BATCH, IMAGE = 3, 2, (8, 8, 1)
CONVOLUTION = re.compile(r"stablehlo\.convolution\(.*feature_group_count = (\d+)")


def vqvae_task(hyper):
    encoder = from_flax(ResidualEncoder(4, width=8, residual_width=4))
    decoder = from_flax(ResidualDecoder(1, width=8, residual_width=4))

    def init(key):
        keys = jax.random.split(key, 3)
        book = core.uniform(keys[2], (5, 4), minval=-1.0, maxval=1.0)
        first, _ = encoder.init(keys[0], jnp.zeros((2, *IMAGE)))
        second, _ = decoder.init(keys[1], jnp.zeros((2, 2, 2, 4)))
        return {"encoder": first, "decoder": second, "codebook": book}, {}

    def loss(params, state, batch, key):
        z, _ = encoder.apply(params["encoder"], {}, batch["x"], train=True)
        found = quantization.vector_quantize(z, params["codebook"])
        shown, _ = decoder.apply(params["decoder"], {}, found.quantized, train=True)
        distances = jnp.mean(found.codebook_loss) + jnp.mean(found.commitment_loss)
        return jnp.mean(jnp.square(shown - batch["x"])) + distances, Aux(state, {})

    players = {"vqvae": Player(("encoder", "decoder", "codebook"), loss)}
    algorithm = functools.partial(
        training.alternating, players, {"vqvae": optax.adam(hyper["rate"])}
    )
    return Task(init, draw, algorithm, lambda *_: {})


def dcgan_task(hyper):
    networks = from_flax(Generator(IMAGE, features=4)), from_flax(Discriminator(features=4))
    made = gan(*networks, LOSSES["non_saturating"], latent_size=3, example_shape=IMAGE)
    optimizers = {name: optax.adam(hyper["rate"]) for name in made.players}
    algorithm = functools.partial(training.alternating, made.players, optimizers)
    return Task(made.init, draw, algorithm, lambda *_: {})


def draw(data, data_key, index):
    return {"x": data, "z": core.normal(jax.random.fold_in(data_key, index), (BATCH, 3))}


TASKS = {"vqvae": vqvae_task, "dcgan": dcgan_task}
DATA = jax.ShapeDtypeStruct((BATCH, *IMAGE), jnp.float32)
KEYS, HYPER = jax.random.split(jax.random.key(0), NUM_LANES), {"rate": jnp.full(NUM_LANES, 1e-3)}


def distributed(task, num_devices=1, **options):
    only = jax.devices("cpu")[:num_devices]
    return parallel.distribute(
        training.lane_program(TASKS[task]), KEYS, HYPER, only=only, **options
    )


def text_of(program):
    """StableHLO of the steps."""
    return program.lower_advance(program.abstract(KEYS, HYPER), DATA).as_text()


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
@pytest.mark.parametrize("task", TASKS)
def test_a_step_for_an_accelerator_has_its_lanes_at_once_and_lax_convolutions(task, platform):
    program = distributed(task, platform=platform)
    assert (program.strategy, program.platform) == ("vmap", platform)
    text = text_of(program)
    assert "dgm_jax" not in text
    groups = [int(found) for found in CONVOLUTION.findall(text)]
    # each kernel has one lane a seed, and convolutions with it are one of as many groups; its own
    # gradient has the lanes in groups of the batch
    assert len(groups) >= 8 and NUM_LANES in groups
    assert text.count("stablehlo.convolution(") == len(groups)


@pytest.mark.parametrize("task", TASKS)
def test_the_step_for_an_accelerator_is_that_of_convolutions_by_lax(task):
    """As many convolutions with as many groups as where every one of them is lax's own from the
    start, differentiated and batched by JAX."""
    count = lambda text: sorted(re.findall(r"(?:feature|batch)_group_count = \d+", text))
    found = count(text_of(distributed(task, platform="tpu")))
    with native.use_convolutions("lax"):
        assert found == count(text_of(distributed(task, platform="tpu")))


@pytest.mark.parametrize("task", TASKS)
def test_at_hand_the_step_is_the_one_that_names_what_cpu_takes(task):
    """Lanes one after the other, and the program of `use_convolutions` with the name of the
    convolutions that are taken where nothing is asked for."""
    program = distributed(task)
    assert (program.strategy, program.platform) == ("map", "cpu")
    text = text_of(program)
    with native.use_convolutions("plain"):  # all of these convolutions are small
        assert text == text_of(distributed(task, platform="cpu", strategy="map"))
    assert f"feature_group_count = {NUM_LANES}" not in text


def test_a_program_lowered_for_another_platform_leaves_the_one_at_hand_as_it_was():
    before = text_of(distributed("dcgan"))
    text_of(distributed("dcgan", platform="tpu"))
    assert text_of(distributed("dcgan")) == before


@pytest.mark.skipif(jax.device_count() < NUM_LANES, reason="needs a device for each lane")
def test_devices_at_hand_stand_in_for_as_many():
    text = text_of(distributed("vqvae", NUM_LANES, platform="tpu"))
    assert f"mhlo.num_partitions = {NUM_LANES}" in text and "dgm_jax" not in text


def test_one_traced_network_is_exported_for_several_platforms():
    """Outside of the engine: `jax.export` of a program for CPU by "plain", GPU and TPU at once."""
    network = from_flax(Discriminator(features=4))
    params, state = network.init(jax.random.key(0), jnp.zeros((2, *IMAGE)))
    logits = lambda x: network.apply(params, state, x, train=False)[0]
    platforms = ("cpu", "cuda", "tpu")
    with native.use_convolutions("plain"):
        exported = jax.export.export(jax.jit(logits), platforms=platforms)(DATA)
    assert exported.platforms == platforms
    x = jax.random.normal(jax.random.key(1), DATA.shape)
    with native.use_convolutions("lax"):
        expected = jax.jit(lambda x: network.apply(params, state, x, train=False)[0])(x)
    assert jnp.allclose(exported.call(x), expected, atol=1e-5)


def test_what_cannot_be_made_for_a_platform_is_refused():
    with pytest.raises(ConfigError, match=r"unknown platform 'tpuu' .did you mean 'tpu'"):
        distributed("vqvae", platform="tpuu")
    with pytest.raises(ConfigError, match="'cuda' or for 'rocm'"):
        distributed("vqvae", platform="gpu")
    with pytest.raises(ConfigError, match="pmap .* not for tpu: use 'jit'"):
        distributed("vqvae", platform="tpu", devices="pmap")
    with pytest.raises(ConfigError, match="devices of one platform, got none"):
        distributed("vqvae", num_devices=0)
    program = distributed("vqvae", platform="tpu")
    lanes = program.abstract(KEYS, HYPER)
    for compile_one in (
        lambda: program.compile_advance(lanes, DATA),
        lambda: program.compile_evaluate(lanes, DATA),
    ):
        with pytest.raises(ConfigError, match="no tpu is at hand to compile for: `lower_advance`"):
            compile_one()
