"""Parameters and state of a model's parts, and whether the parts fit each other.

Every check reads shapes only: nothing is computed.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dgm_jax.core import Array, Key, LatentModel, Network, Params, Prior, PyTree, State, require
from dgm_jax.priors import require_density


def init_parts(
    keys: Mapping[str, Key], networks: Mapping[str, Network], examples: Mapping[str, PyTree]
) -> tuple[Params, State]:
    """(params, state) by part.

    Args:
      keys: by part.
      networks: by part, in the order in which they are made.
      examples: an input of each, with its batch axis.
    """
    params, state = {}, {}
    for part, network in networks.items():
        params[part], state[part] = network.init(keys[part], examples[part])
    return params, state


def init_prior(
    key: Key, prior: Prior, latent_size: int, needed_by: str
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """(params, state) of the part "prior"; ConfigError unless its density is one of vectors of
    `latent_size` numbers, and normalised."""
    params = prior.init(key)
    require_density(prior, params, latent_size, needed_by)
    return {"prior": params}, {"prior": {}}


def output_of(network: Network, part: str, params: Params, state: State, example: PyTree) -> PyTree:
    """Shapes of what the network of a part gives for an example, in its inference form."""
    return jax.eval_shape(lambda: network.apply(params[part], state[part], example, train=False)[0])


def require_shape(giver: str, found: tuple[int, ...], expected: tuple[int, ...], told: str) -> None:
    """ConfigError "GIVER SHAPE, but TOLD" unless two shapes, with their batch axes, agree."""
    require(found == expected, f"{giver} {found[1:]}, but {told}")


def require_images(model: LatentModel, params: Params, state: State, z: Array, x: Array) -> None:
    """ConfigError unless what the model decodes from latents z [B, *E] has the shape of x."""
    shown = jax.eval_shape(lambda: model.decode(params, state, z)).shape
    told = f"examples are {jnp.shape(x)[1:]}"
    require_shape("the decoder gives images", shown, jnp.shape(x), told)
