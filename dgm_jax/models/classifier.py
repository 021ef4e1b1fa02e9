"""A classifier as a game with one player; its features measure distances between images."""

import jax
import jax.numpy as jnp
import optax

from dgm_jax.core import Aux, Model, Network, Player

CLASSIFIER = "classifier"


def image_classifier(network: Network, image_shape: tuple[int, int, int]) -> Model:
    """Softmax cross-entropy of a network `images -> (features [B, F], logits [B, K])`.

    A batch is `{"x": [B, H, W, C], "label": int[B]}`; the loss is a mean over examples, in nats.
    `sample` is not defined for a classifier and returns the class probabilities of images instead:
    `(params, state, images) -> [B, K]`.
    """

    def init(key):
        params, state = network.init(key, jnp.zeros((2, *image_shape)))
        return {CLASSIFIER: params}, {CLASSIFIER: state}

    def loss(params, state, batch, key):
        del key
        (_, logits), new = network.apply(
            params[CLASSIFIER], state[CLASSIFIER], batch["x"], train=True
        )
        error = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]))
        accuracy = jnp.mean(jnp.argmax(logits, -1) == batch["label"])
        return error, Aux(
            {**state, CLASSIFIER: new}, {"train_accuracy": accuracy.astype(jnp.float32)}
        )

    def probabilities(params, state, images):
        (_, logits), _ = network.apply(params[CLASSIFIER], state[CLASSIFIER], images, train=False)
        return jax.nn.softmax(logits)

    return Model(init, {CLASSIFIER: Player((CLASSIFIER,), loss)}, probabilities)
