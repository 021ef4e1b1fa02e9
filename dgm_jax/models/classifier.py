"""A classifier as a game with one player. Its features measure distances between images."""

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import (
    Array,
    Aux,
    ConfigError,
    Key,
    Model,
    Network,
    Params,
    Player,
    PyTree,
    State,
    checks,
)

CLASSIFIER = "classifier"


def image_classifier(network: Network, image_shape: tuple[int, int, int]) -> Model:
    """Train a classifier by softmax cross-entropy.

    A batch is `{"x": [B, H, W, C], "label": int[B]}`.

    Args:
        network: `images -> (features [B, F], logits [B, K])`.
        image_shape: (H, W, C).

    Returns:
        The model, whose loss is a mean over examples, in nats. Its metric is `accuracy` on the
        batch. A classifier has no samples, so `sample` raises ConfigError.

    Raises:
        ConfigError: an argument that is not a network or a shape; from the loss, a batch that does
            not fit.
    """
    checks.network(network, "network")
    image_shape = checks.sizes(image_shape, "image_shape")

    def init(key: Key) -> tuple[Params, State]:
        params, state = network.init(checks.one_key(key), jnp.zeros((2, *image_shape)))
        return {CLASSIFIER: params}, {CLASSIFIER: state}

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        checks.batch(batch, "a classifier", x=image_shape, label=())
        (_, logits), moved = network.apply(
            params[CLASSIFIER], state[CLASSIFIER], batch["x"], train=True, key=key
        )
        error = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]))
        accuracy = jnp.mean(jnp.argmax(logits, -1) == batch["label"])
        return error, Aux({**state, CLASSIFIER: moved}, {"accuracy": accuracy.astype(jnp.float32)})

    def sample(params: Params, state: State, key: Key, num_samples: int) -> PyTree:
        raise ConfigError("a classifier has no samples: see class_probabilities")

    return Model(init, {CLASSIFIER: Player((CLASSIFIER,), loss)}, sample)


def class_probabilities(network: Network, params: Params, state: State, images: Array) -> Array:
    """Compute p(label | image) by the network in its inference form.

    Args:
        network: the classifier.
        params: of the model, by part.
        state: of the model, by part.
        images: [B, H, W, C].

    Returns:
        [B, K], probabilities that sum to 1.
    """
    (_, logits), _ = network.apply(params[CLASSIFIER], state[CLASSIFIER], images, train=False)
    return jax.nn.softmax(logits)
