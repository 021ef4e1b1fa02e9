"""A VAE of a prior, a data set and networks of one's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import own_parts
import pytest

from dgm_jax import training
from dgm_jax.core import Task
from dgm_jax.likelihood import importance_weighted
from dgm_jax.models import Vae, vae
from dgm_jax.models.latent import log_weights

IMAGES = own_parts.stripes(512)


def exact_log_prob(images) -> float:
    """Mean log p(x) of the distribution that the images were drawn from, nats."""
    flat = images.reshape(len(images), 2, 3)
    agrees = [np.where(flat == bit, 0.9, 0.1).prod(axis=1) for bit in (0, 1)]
    return float(np.log((0.5 * agrees[0] + 0.5 * agrees[1]).prod(axis=1)).mean())


@pytest.mark.parametrize("kind", own_parts.KINDS)
def test_it_trains_to_near_the_entropy_of_the_data(kind):
    """No model beats the true density in expectation; a trained one comes near it. Eight stripes
    with noise have 3 log 2 + noise nats; independent fair pixels would have 6 log 2 = 4.16."""
    recipe = Vae(*own_parts.coders(kind), own_parts.LATENTS, own_parts.laplace_prior(2))
    model = vae(recipe, own_parts.SHAPE)

    def draw(data, data_key, index):
        rows = jax.random.randint(jax.random.fold_in(data_key, index), (64,), 0, len(data))
        return {"x": data[rows], "step": index}

    def evaluate(train_state, data, key):
        weights = lambda key, x, num: log_weights(
            key, recipe, train_state.params, train_state.state, x, num
        )
        return {"log_prob": jnp.mean(importance_weighted(key, weights, data, 200).log_prob)}

    algorithm = functools.partial(training.alternating, model.players, {"vae": optax.adam(1e-2)})
    task = Task(model.init, draw, algorithm, evaluate)
    keys = jax.random.split(jax.random.key(0), 2)
    result = training.train(task, keys, jnp.asarray(IMAGES), 800)
    truth, got = exact_log_prob(IMAGES), result.evaluation["log_prob"]
    assert np.all(got < truth + 0.1)  # 512 images: their own best fit is a little above the truth
    assert np.max(got) > truth - 0.35 and truth - 0.35 > -6 * np.log(2)
    scales = np.exp(np.asarray(result.lanes.train_state.params["prior"]["log_scale"]))
    assert np.all(scales != 1)
