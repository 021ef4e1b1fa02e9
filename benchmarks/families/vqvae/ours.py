"""The VQ-VAE on the library's engine."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families._shared.images import noise_images
from benchmarks.families.vqvae import CODE_WIDTH, NUM_IMAGES
from dgm_jax import core, quantization, training
from dgm_jax.core import Aux, Player, Task
from dgm_jax.networks import ResidualDecoder, ResidualEncoder, from_flax, in_precision

IMAGE = (28, 28, 1)


def parts(
    width: int, residual_width: int, codes: int, precision: str = "float32"
) -> tuple[Callable[..., tuple], Callable[..., tuple]]:
    """(init, loss). The codebook is U(-1/K, 1/K) as published code has it, times 50 so that codes
    differ; the loss is the squared error, codebook and commitment terms, each a mean over all its
    numbers."""
    encoder, decoder = (
        in_precision(from_flax(module), precision)
        for module in (
            ResidualEncoder(CODE_WIDTH, width, residual_width),
            ResidualDecoder(IMAGE[2], width, residual_width),
        )
    )

    def init(key):
        keys = jax.random.split(key, 3)
        book = core.uniform(keys[2], (codes, CODE_WIDTH), minval=-50 / codes, maxval=50 / codes)
        first, _ = encoder.init(keys[0], jnp.zeros((2, *IMAGE)))
        second, _ = decoder.init(keys[1], jnp.zeros((2, 7, 7, CODE_WIDTH)))
        return {"encoder": first, "decoder": second, "codebook": book}, {}

    def loss(params, state, batch, key):
        del key
        z, _ = encoder.apply(params["encoder"], {}, batch["x"], train=True)
        found = quantization.vector_quantize(z, params["codebook"])
        shown, _ = decoder.apply(params["decoder"], {}, found.quantized, train=True)
        terms = jnp.mean(found.codebook_loss) + 0.25 * jnp.mean(found.commitment_loss)
        return jnp.mean(jnp.square(shown - batch["x"])) + terms / CODE_WIDTH, Aux(state, {})

    return init, loss


def task(
    width: int, residual_width: int, codes: int, batch: int, precision: str = "float32"
) -> Task:
    """The VQ-VAE on random batches, without evaluation."""
    init, loss = parts(width, residual_width, codes, precision)
    players = {"vqvae": Player(("encoder", "decoder", "codebook"), loss)}
    convert = lambda images: images.astype(jnp.float32) * (1 / 255) - 0.5
    algorithm = functools.partial(training.alternating, players, {"vqvae": optax.adam(3e-4)})
    draw = shared.random_batches(NUM_IMAGES, batch, convert)
    return Task(init, draw, algorithm, shared.no_evaluation)


def engine(
    shape: dict[str, int],
    seeds: int,
    steps: int,
    convolutions: str | None = None,
    precision: str = "float32",
) -> Case:
    """Steps on the library's engine."""
    made, images = task(**shape, precision=precision), {"image": noise_images(NUM_IMAGES)}
    return shared.engine(lambda hyper: made, images, seeds, steps, convolutions=convolutions)
