"""A classifier as a game with one player; its features measure distances between images."""

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import Array, Aux, ConfigError, Model, Network, Params, Player, State, checks

CLASSIFIER = "classifier"


def image_classifier(network: Network, image_shape: tuple[int, int, int]) -> Model:
    """Softmax cross-entropy of a network `images -> (features [B, F], logits [B, K])`.

    A batch is `{"x": [B, H, W, C], "label": int[B]}`; the loss is a mean over examples, in nats. A
    classifier draws nothing, so `sample` raises ConfigError.

    Metrics: `accuracy` on the batch.
    """

    checks.network(network, "network")
    image_shape = checks.sizes(image_shape, "image_shape")

    def init(key):
        params, state = network.init(checks.one_key(key), jnp.zeros((2, *image_shape)))
        return {CLASSIFIER: params}, {CLASSIFIER: state}

    def loss(params, state, batch, key):
        checks.batch(batch, "a classifier", x=image_shape, label=())
        (_, logits), new = network.apply(
            params[CLASSIFIER], state[CLASSIFIER], batch["x"], train=True, key=key
        )
        error = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]))
        accuracy = jnp.mean(jnp.argmax(logits, -1) == batch["label"])
        return error, Aux({**state, CLASSIFIER: new}, {"accuracy": accuracy.astype(jnp.float32)})

    def sample(params, state, key, num_samples):
        raise ConfigError("a classifier has no samples: see class_probabilities")

    return Model(init, {CLASSIFIER: Player((CLASSIFIER,), loss)}, sample)


def class_probabilities(network: Network, params: Params, state: State, images: Array) -> Array:
    """p(label | image) by the trained network in its inference form: [B, H, W, C] -> [B, K]."""
    (_, logits), _ = network.apply(params[CLASSIFIER], state[CLASSIFIER], images, train=False)
    return jax.nn.softmax(logits)
