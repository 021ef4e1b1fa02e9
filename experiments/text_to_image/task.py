"""Images from words: a discrete VAE's tokens and one transformer over text and image, trained in
one game."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax import core, data, sampling, training
from dgm_jax.core import (
    Model,
    Task,
    chunked,
    lookup,
    require,
    require_at_least,
    require_at_most,
    require_positive,
)
from dgm_jax.data import captions
from dgm_jax.experiments._shared.available import resolve
from dgm_jax.experiments._shared.feature_classifier import classifier_of, features_of
from dgm_jax.experiments.text_to_image import Config
from dgm_jax.experiments.text_to_image.figures import figures, snapshots
from dgm_jax.models import (
    AUTOENCODER,
    AUTOREGRESSIVE,
    RELAXATIONS,
    GumbelVae,
    TextImage,
    autoregressive,
    decode_tokens,
    discrete_vae,
    gumbel_bounds,
    on_tokens,
    tokens_of,
)
from dgm_jax.networks import (
    ResidualDecoder,
    ResidualEncoder,
    Transformer,
    from_flax,
    from_transformer,
)
from dgm_jax.objectives.elbo import warm_up
from dgm_jax.run import Inputs, Need

__all__ = [
    "build",
    "figures",
    "load",
    "model",
    "needs",
    "prompt",
    "resolve",
    "snapshots",
    "validate",
]

NUM_TEXTS = 4  # captions of each image
# of training texts that are all padding, for classifier-free guidance (Ho and Salimans 2022)
NULL_SHARE = 0.1


def validate(config: Config) -> None:
    """Names and ranges, before anything is loaded."""
    lookup(RELAXATIONS, config.relaxation, "relaxation")
    require_at_least(
        1, config, "batch_size", "num_codes", "width", "prior_width", "prior_layers", "num_prompts"
    )
    require_at_most(1_000, config, "prior_layers")
    require_at_most(2**30, config, "num_codes")  # words are numbered after them
    require(config.width % 2 == 0, f"width must be even, got {config.width}")
    require(
        config.prior_width % 4 == 0,
        f"prior_width must be a multiple of 4 (heads), got {config.prior_width}",
    )
    for name in ("autoencoder_share", "final_temperature"):
        require(
            0 < getattr(config, name) <= 1, f"{name} must be in (0, 1], got {getattr(config, name)}"
        )
    require_at_least(0, config, "beta", "guidance")
    require_positive(config, "learning_rate")


def _dataset(settings) -> data.Dataset:
    """Labelled images in [0, 1]."""
    dataset = data.load_images(settings.data, scaling="unit")
    labelled = len(dataset.info.class_names) > 1
    require(labelled, f"data must be labelled images, got {settings.data!r}")
    return dataset


def needs(settings) -> tuple[Need, ...]:
    """The classifier that judges."""
    _dataset(settings)
    return (classifier_of(data.load(settings.data), settings.data, settings.classifier),)


def load(settings, needed) -> Inputs:
    """Images with captions, prompts, and the classifier, trained on real images alone, that
    judges."""
    dataset = _dataset(settings)
    info = dataset.info
    limits = captions.terciles(dataset.train["image"])
    texts = {
        split: captions.captions(
            part["image"], part["label"], info.class_names, limits, num_texts=NUM_TEXTS, seed=seed
        )
        for seed, (split, part) in enumerate((("train", dataset.train), ("test", dataset.test)))
    }
    reader = captions.tokenizer(info.class_names)
    judge = features_of(data.load(settings.data), *needed)
    arrays = {
        split: data.arrays(dataset, split) | {"texts": texts[split]} for split in ("train", "test")
    }
    identity = info.record() | {"vocabulary": list(reader.vocabulary)}
    return Inputs(
        arrays,
        identity | {"judge": judge.identity},
        {"set": dataset, "reader": reader, "judge": judge},
    )


def prompts_of(
    class_names: tuple[str, ...], reader: captions.Tokenizer, num: int
) -> tuple[np.ndarray, np.ndarray]:
    """(int32[num, L], labels [num]): "a NOUN" for the classes in turn, and for the names of a class
    in turn."""
    labels = np.arange(num) % len(class_names)
    names = [captions.nouns(class_names[label]) for label in labels]
    chosen = [name[(i // len(class_names)) % len(name)] for i, name in enumerate(names)]
    return np.stack([reader.encode(captions.sentence("a {}", noun)) for noun in chosen]), labels


def recipe(config: Config, shape, reader: captions.Tokenizer):
    """(discrete VAE, stream, transformer) of the settings."""
    grid = (shape[0] // 4, shape[1] // 4)
    vae = GumbelVae(
        from_flax(ResidualEncoder(config.num_codes, config.width)),
        from_flax(ResidualDecoder(2 * shape[2], config.width)),
        grid,
        config.num_codes,
        "logit_laplace",
    )
    stream = TextImage(reader.length, len(reader.vocabulary), math.prod(grid), config.num_codes)
    transformer = Transformer(
        stream.text_vocab + stream.image_vocab,
        stream.text_length + stream.image_length,
        width=config.prior_width,
        num_layers=config.prior_layers,
        num_prefix=stream.text_length,
        grid=grid,
        pad_id=0,
    )
    return (
        vae,
        stream,
        autoregressive(from_transformer(transformer), stream=stream, text_weight=None),
    )


def _num_tokenizer(config: Config) -> int:
    """Steps in which the tokeniser learns."""
    return max(1, int(config.autoencoder_share * config.num_steps))


def model(config: Config, hyper, dataset) -> Model:
    """Tokeniser and transformer in one game.

    `sample(params, state, key, num_samples, *, prompt=None)` gives images [num_samples, H, W, C] in
    [0, 1] for texts int32[num_samples, L] or one text [L]; by default, as the run's evaluation, for
    "a NOUN" of the classes in turn. `decode` takes tokens; `latent` is the tokeniser's.
    """
    shape, names = tuple(dataset["shape"]), tuple(dataset["class_names"])
    reader = captions.tokenizer(names)
    vae, stream, words = recipe(config, shape, reader)
    num_tokenizer = _num_tokenizer(config)
    tokenizer_model = discrete_vae(
        vae,
        shape,
        temperature=functools.partial(
            sampling.temperature.cosine,
            start=1.0,
            end=hyper["final_temperature"],
            num_steps=num_tokenizer,
        ),
        beta=functools.partial(warm_up, end=hyper["beta"], num_steps=max(1, num_tokenizer // 4)),
        relaxation=config.relaxation,
    )
    players = tokenizer_model.players | {
        AUTOREGRESSIVE: on_tokens(words.players[AUTOREGRESSIVE], vae)
    }

    def init(key):
        key_tokenizer, key_model = jax.random.split(key)
        first, second = tokenizer_model.init(key_tokenizer), words.init(key_model)
        return first[0] | second[0], first[1] | second[1]

    def sample(params, state, key, num_samples, *, prompt=None):
        prompts = prompts_of(names, reader, num_samples)[0] if prompt is None else prompt
        null = jnp.zeros_like(prompts)
        options = {} if config.guidance == 1 else {"guidance": config.guidance, "null_prompt": null}
        drawn = words.sample(params, state, key, num_samples, prompt=prompts, **options)
        codes = stream.codes(drawn.tokens).reshape(-1, *vae.latent_shape)
        return decode(params, state, codes)

    decode = functools.partial(decode_tokens, vae)
    return Model(init, players, sample, decode, tokenizer_model.latent)


def prompt(config: Config, dataset, text: str) -> dict:
    """A caption such as "a dark wide pullover"; DataError for a word that no caption has."""
    reader = captions.tokenizer(tuple(dataset["class_names"]))
    return {"prompt": reader.encode(captions.sentence("{}", text))}


def build(config: Config, hyper, inputs: Inputs) -> Task:
    """One seed: tokeniser and transformer move at once; evaluation draws images for prompts and
    judges them."""
    dataset, reader = inputs.context["set"], inputs.context["reader"]
    game, num_tokenizer = model(config, hyper, inputs.identity), _num_tokenizer(config)
    optimizers = {
        AUTOENCODER: optax.adam(
            training.learning_rate("cosine", hyper["learning_rate"], num_tokenizer)
        ),
        AUTOREGRESSIVE: optax.adam(
            training.learning_rate("cosine", hyper["learning_rate"], config.num_steps)
        ),
    }
    algorithm = functools.partial(training.simultaneous, game.players, optimizers)
    parts = (game, *recipe(config, dataset.info.shape, reader))
    evaluate = functools.partial(_evaluate, config, hyper["final_temperature"], inputs, *parts)
    return Task(game.init, _draw(config, dataset, reader), algorithm, evaluate)


def _draw(config, dataset, reader):
    """Images with one of their captions each; a tenth of the captions is blank."""
    draw_images = data.draws(dataset, config.batch_size)

    def draw(arrays, data_key, index):
        batch = draw_images(arrays["train"], data_key, index)
        key_which, key_blank = jax.random.split(
            jax.random.fold_in(jax.random.fold_in(data_key, 2), index)
        )
        which = jax.random.randint(key_which, (config.batch_size,), 0, NUM_TEXTS)
        text = batch["texts"][jnp.arange(config.batch_size), which]
        blank = core.uniform(key_blank, (config.batch_size,)) < NULL_SHARE
        return {"x": batch["x"], "text": jnp.where(blank[:, None], 0, text), "step": index}

    return draw


def _evaluate(config, temperature, inputs, game, vae, stream, words, train_state, arrays, key):
    params, state = train_state.params, train_state.state
    test = arrays["test"]
    key_sample, key_bound = jax.random.split(key)
    names = inputs.context["set"].info.class_names
    _, labels = prompts_of(names, inputs.context["reader"], config.num_prompts)
    images = game.sample(params, state, key_sample, config.num_prompts)
    verdict = jnp.argmax(inputs.context["judge"].logits(2 * images - 1), axis=-1)
    sentences, real = test["texts"][:1000, 0], data.to_model_range(test["image"][:1000], "unit")
    found = gumbel_bounds(key_bound, vae, params, state, real, temperature)
    codes = tokens_of(vae, params, state, real)
    log_p = words.log_prob(params, codes.reshape(len(real), -1) + stream.text_vocab, sentences)
    rebuilt = decode_tokens(vae, params, state, codes)
    judged = jnp.argmax(inputs.context["judge"].logits(2 * rebuilt - 1), axis=-1)
    return {
        "agreement": jnp.mean((verdict == labels).astype(jnp.float32)),
        "reconstruction_agreement": jnp.mean((judged == test["label"][:1000]).astype(jnp.float32)),
        "bits_per_image_token": -jnp.mean(log_p) / (stream.image_length * math.log(2)),
        "squared_error": jnp.mean(jnp.square(rebuilt - real)),
        "hard_elbo": jnp.mean(found["hard"].elbo),
        "relaxed_elbo": jnp.mean(found["relaxed"].elbo),
        "test_kl": jnp.mean(found["hard"].kl),
        "distance_to_train": jnp.median(nearest_distance(images, arrays["train"]["image"])),
        "test_distance_to_train": jnp.median(
            nearest_distance(real[: config.num_prompts], arrays["train"]["image"])
        ),
        "images": images,
    }


def nearest_distance(images, train):
    """Euclidean distance [N], pixels in [0, 1], of each image to the nearest training image."""
    rows = images.reshape(len(images), -1)

    def distances(block):
        block = data.to_model_range(block, "unit").reshape(block.shape[0], -1)
        cross = rows @ block.T
        squares = jnp.sum(rows**2, 1)[:, None] - 2 * cross + jnp.sum(block**2, 1)
        return squares.T

    nearest = jnp.min(chunked(distances, train, 1000), axis=0)
    return jnp.sqrt(jnp.maximum(nearest, 0.0))
